"""How far a planner is told of depth: no farther than depth goes, and no pixel that may be nearer than it says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale import MetricDepth, ScaleState
from depthnet_ros.metric_scale.result import ScaleEstimate
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.reach import height_band, trusted, within_depth
from depthnet_ros.navigation.scan import ScanProjector
from test.navigation.test_scan import projector

CONFIG = NavigationConfig(min_height_m=0.1, max_height_m=1.5, min_range_m=0.3, max_range_m=5.0, clearing_range_m=7.0)


def test_the_band_is_the_configuration_s() -> None:
    band = height_band(CONFIG)
    assert (band.min_height_m, band.max_height_m, band.min_range_m, band.max_range_m) == (0.1, 1.5, 0.3, 5.0)


def first_unknown_m(p: ScanProjector, max_depth_m: float) -> float:
    """The least range at which some line is in the band beyond ``max_depth_m``, by trying; +Inf if none is."""
    nearest = math.inf
    for depth_m in max_depth_m * np.geomspace(1.0001, 30.0, 3000):
        height_m = p.heights_m(np.full(p.range_per_metre.shape, depth_m, np.float32))
        inside = (height_m >= CONFIG.min_height_m) & (height_m <= CONFIG.max_height_m)
        if inside.any():
            nearest = min(nearest, float((depth_m * p.range_per_metre[inside]).min()))
    return nearest


@pytest.mark.parametrize("pitch", [0.8, 1.0, 1.2, 1.57])
def test_a_camera_that_looks_down_is_told_all_that_it_sees(pitch: float) -> None:
    """Its lines end at the ground metres before depth does, those straight down among them."""
    p = projector(1.8, pitch)
    assert np.isposinf(first_unknown_m(p, 20.0))
    assert within_depth(CONFIG, 20.0, p) == (CONFIG, "")


def test_a_range_too_small_for_a_parameter_is_told() -> None:
    near = replace(CONFIG, min_range_m=0.01)
    cut, lost = within_depth(near, 0.06, projector(0.5))
    assert cut is near and "scale.max_depth_m, 0.06, is all nearer" in lost


@pytest.mark.parametrize("max_depth_m", [3.0, 5.5, 7.5, 20.0])
def test_ranges_end_where_depth_ends(max_depth_m: float) -> None:
    p = projector(0.5, 0.3)
    known_to_m = first_unknown_m(p, max_depth_m)
    cut, lost = within_depth(CONFIG, max_depth_m, p)
    assert not lost
    assert cut.max_range_m == pytest.approx(min(5.0, known_to_m), rel=0.01)
    assert cut.clearing_range_m == pytest.approx(min(7.0, known_to_m), rel=0.01)
    assert (cut.min_range_m, cut.min_height_m, cut.max_height_m) == (0.3, 0.1, 1.5)


def test_what_comes_into_the_band_beyond_the_depth_that_is_told_is_cut_only_there() -> None:
    """A drone that looks ahead: its steepest line comes down into the band two metres on."""
    p = projector(2.5)
    known_to_m = first_unknown_m(p, 1.5)
    assert 1.9 < known_to_m < 2.2
    assert within_depth(CONFIG, 1.5, p)[0].max_range_m == pytest.approx(known_to_m, rel=0.01)


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
