"""How far a planner is told of depth: no farther than depth goes, and no pixel that may be nearer than it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale import MetricDepth, ScaleState
from depthnet_ros.metric_scale.result import ScaleEstimate
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.reach import height_band, trusted, within_depth
from test.navigation.test_scan import projector

CONFIG = NavigationConfig(min_height_m=0.1, max_height_m=1.5, min_range_m=0.3, max_range_m=5.0, clearing_range_m=7.0)


def test_the_band_is_the_configuration_s() -> None:
    band = height_band(CONFIG)
    assert (band.min_height_m, band.max_height_m, band.min_range_m, band.max_range_m) == (0.1, 1.5, 0.3, 5.0)


@pytest.mark.parametrize("max_depth_m", [3.0, 5.5, 7.5, 20.0])
def test_ranges_end_where_depth_ends(max_depth_m: float) -> None:
    p = projector(0.5, 0.3)
    per_depth = p.band_view(height_band(CONFIG)).range_per_depth
    assert per_depth < 0.98  # a camera that looks down: a metre of depth is less of a way ahead
    cut, lost = within_depth(CONFIG, max_depth_m, p)
    assert not lost
    assert cut.max_range_m == pytest.approx(min(5.0, max_depth_m * per_depth))
    assert cut.clearing_range_m == pytest.approx(min(7.0, max_depth_m * per_depth))
    assert (cut.min_range_m, cut.min_height_m, cut.max_height_m) == (0.3, 0.1, 1.5)


def test_depth_that_ends_before_the_least_range_tells_nothing() -> None:
    _, lost = within_depth(CONFIG, 0.25, projector(0.5))
    assert "scale.max_depth_m, 0.25, is all nearer than nav.min_range_m" in lost


def metric(inverse: np.ndarray, sigma: float, max_depth_m: float = 20.0) -> MetricDepth:
    """Depth whose inverse has one standard deviation everywhere, 1/m."""
    covariance = np.diag([0.0, sigma**2])
    estimate = ScaleEstimate(1.0, 0.0, covariance, 0.1, 0.0)
    return MetricDepth(
        ScaleState.CALIBRATED, True, "", 0.1, max_depth_m, estimate,
        inverse_depth=inverse, relative=inverse, steady_covariance=covariance, edge_share=0.0,
    )  # fmt: skip


def test_what_is_not_known_is_not_trusted_however_little_confidence_is_asked_for() -> None:
    inverse = np.full((24, 32), 0.5, np.float32)
    inverse[4:6] = np.nan
    found = metric(inverse, 0.001)
    depth_m = found.depth_m(24, 32)
    depth_m[20:] = np.nan  # left out of the picture by the caller
    known = trusted(found, depth_m, replace(CONFIG, min_confidence=0.0))
    assert not known[4:6].any() and known[9:20].all() and not known[20:].any()


@pytest.mark.parametrize(("sigma", "free"), [(0.05, True), (0.15, False), (0.3, False)])
def test_endless_view_is_trusted_where_one_sigma_leaves_it_beyond_all_ranges(sigma: float, free: bool) -> None:
    """Seen at 50 m, of 20: within a sigma of 0.15/m it may stand between the marking and the clearing range."""
    found = metric(np.full((24, 32), 0.02, np.float32), sigma)
    depth_m = found.depth_m(24, 32)
    assert np.isposinf(depth_m).all() and found.unsure(24, 32, below=0.5).all()
    assert (trusted(found, depth_m, replace(CONFIG, min_confidence=0.5)) == free).all()


def test_sure_depth_is_trusted_and_unsure_depth_is_not() -> None:
    for sigma, sure in ((0.01, True), (0.3, False)):
        found = metric(np.full((24, 32), 0.5, np.float32), sigma)
        assert (trusted(found, found.depth_m(24, 32), CONFIG) == sure).all()
