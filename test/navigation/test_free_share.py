"""How far short of what is seen free view ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale.config import ScaleState
from depthnet_ros.metric_scale.result import MetricDepth, ScaleEstimate
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.reach import free_share, trusted
from test.navigation.test_scan import ALL, projector


def metric(network_sigma: float, scale_sigma: float, caution: float = 1.0) -> MetricDepth:
    estimate = ScaleEstimate(1.0, 0.0, np.zeros((2, 2)), scale_sigma, network_sigma)
    return MetricDepth(ScaleState.CALIBRATED, True, "", 0.1, 20.0, estimate, caution=caution)


def test_free_view_ends_one_sigma_of_inverse_depth_before_what_is_seen():
    assert free_share(metric(0.3, 0.4)) == pytest.approx(1.0 / 1.5)
    assert free_share(metric(0.3, 0.0)) == pytest.approx(1.0 / 1.3)


def test_a_sigma_of_next_to_nothing_still_leaves_a_tenth():
    assert free_share(metric(0.02, 0.02)) == pytest.approx(0.9)
    assert free_share(MetricDepth(ScaleState.UNCALIBRATED, False, "", 0.1, 20.0)) == pytest.approx(0.9)


def test_where_things_may_be_three_times_nearer_no_more_than_that_is_free():
    assert free_share(metric(0.02, 0.02, caution=3.0)) == pytest.approx(0.3)
    assert free_share(metric(1.0, 0.0, caution=1.5)) == pytest.approx(0.5), "sigma asks for more"


@pytest.mark.parametrize("share", [0.9, 0.6])
def test_points_that_clear_end_there(share: float):
    """A wall at 3 m before a level camera."""
    p = projector(0.5, 0.0)
    depth = np.full(ALL.shape, 3.0, np.float32)
    band = HeightBand(0.1, 1.5, 0.1, 5.0)
    pixels = p.classify(depth, ALL, band)
    planar = p.clearing_points(p.scan(pixels), 4.0, 0.5, share)
    lines = lines_of_sight(p, pixels, 4.0, free_share=share)
    assert len(planar) > 10
    assert len(lines) > 10
    assert planar[:, 2].max() == pytest.approx(3.0 * share, rel=0.01)
    assert lines[:, 2].max() == pytest.approx(3.0 * share, rel=0.01)


@pytest.mark.parametrize(
    ("told_m", "caution", "range_m", "free_m"),
    [
        (4.8, 1.0, 4.8, 4.8),
        (4.8, 1.6, 4.8, 3.0),
        (30.0, 1.0, np.inf, 30.0),
        (30.0, 4.0, np.inf, 7.5),
        (30.0, 10.0, np.nan, 0.0),
    ],
)
def test_what_may_be_nearer_than_told_is_marked_where_it_is_told_and_free_no_farther_than_it_may_be(
    told_m: float, caution: float, range_m: float, free_m: float
):
    """A wall all over the view; a band that ends at 5 m."""
    p = projector(0.5, 0.0)
    depth = np.full(ALL.shape, told_m, np.float32)
    band = HeightBand(0.1, 1.5, 0.1, 5.0)
    pixels = p.place(depth, band, 0.01 * depth).classified(ALL, caution)
    scan = p.scan(pixels)
    middle = slice(len(scan.ranges_m) // 2 - 3, len(scan.ranges_m) // 2 + 3)
    assert scan.ranges_m[middle] == pytest.approx(range_m, rel=0.02, nan_ok=True)
    assert scan.free_m[middle] == pytest.approx(free_m, rel=0.02)
    share = free_share(metric(0.01, 0.0, caution))
    ends = p.clearing_points(scan, 4.0, 0.5, share)
    lines = lines_of_sight(p, pixels, 4.0, free_share=share)
    assert (len(ends) > 10) == (free_m > 0)
    assert len(lines) > 10
    assert np.concatenate((ends, lines))[:, 2].max() <= told_m / caution


@pytest.mark.parametrize("caution", [1.0, 3.0])
def test_no_return_is_known_by_its_distance_where_things_may_be_nearer(caution):
    """Both confident: one at 25 m, beyond the farthest depth, and one at 100 m."""
    inverse = np.array([[1 / 25.0, 1 / 100.0]], np.float32).repeat(2, axis=0)
    told = replace(
        metric(0.02, 0.0, caution), inverse_depth=inverse, relative=inverse, steady_covariance=np.zeros((2, 2))
    )
    told = replace(told, edge_share=0.0)
    depth = told.depth_m(2, 2)
    assert np.isposinf(depth).all()
    known = trusted(told, depth, NavigationConfig(max_range_m=10.0, clearing_range_m=10.0))
    assert known[:, 1].all() and known[:, 0].all() == (caution == 1.0)
