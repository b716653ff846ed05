"""Depth and confidence of one frame, against the formulas written out, on the network's grid and on others."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale.config import ScaleState
from depthnet_ros.metric_scale.result import MetricDepth, ScaleEstimate
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.reach import trusted


def metric_depth(inverse, covariance=None, tolerance=0.25):
    covariance = np.zeros((2, 2)) if covariance is None else covariance
    return MetricDepth(
        ScaleState.CALIBRATED, True, "", 0.5, 10.0, ScaleEstimate(1.0, 0.0, covariance, 0.1, 0.2),
        inverse_depth=inverse, relative=inverse, steady_covariance=covariance, tolerance=tolerance,
    )  # fmt: skip


@pytest.fixture
def inverse():
    return np.random.default_rng(0).uniform(0.01, 3.0, (24, 32)).astype(np.float32)


def test_depth_is_the_reciprocal_within_limits(inverse):
    depth_m = metric_depth(inverse).depth_m(24, 32)
    want = np.where(inverse > 2.0, -np.inf, np.where(inverse < 0.1, np.inf, 1.0 / inverse))
    np.testing.assert_allclose(depth_m, want, rtol=1e-6)
    assert np.isposinf(depth_m).any() and np.isneginf(depth_m).any()


@pytest.mark.parametrize("lowest", [0.01, 0.2])
def test_unknown_stays_unknown(inverse, lowest):
    inverse = np.maximum(inverse, np.float32(lowest))
    inverse[3, 4] = np.nan
    depth_m = metric_depth(inverse).depth_m(24, 32)
    assert np.isnan(depth_m[3, 4])
    assert np.isnan(depth_m).sum() == 1


def test_a_pixel_that_is_unknown_is_not_sure_and_leaves_its_neighbours_as_they_are():
    whole = np.full((24, 32), 1.0, np.float32)
    whole[:, 16:] = 0.5
    holed = whole.copy()
    holed[5, 7] = holed[12, 16] = np.nan
    metric, of_whole = metric_depth(holed), metric_depth(whole)
    elsewhere = ~np.isnan(holed)
    for name in ("sigma_m", "confidence"):
        values, want = getattr(metric, name)(24, 32), getattr(of_whole, name)(24, 32)
        assert np.isfinite(values[elsewhere]).all() and np.isnan(values[~elsewhere]).all()
        np.testing.assert_array_equal(values[elsewhere], want[elsewhere])
    assert metric.unsure(24, 32, below=0.01)[~elsewhere].all()
    for flying in (False, True):
        doubtful = metric.doubtful(24, 32, below=0.5, flying=flying)
        np.testing.assert_array_equal(
            doubtful[elsewhere], of_whole.doubtful(24, 32, below=0.5, flying=flying)[elsewhere]
        )


@pytest.mark.parametrize("size", [(24, 32), (48, 64)])
def test_depth_into_memory_of_the_caller(inverse, size):
    memory = np.full(size, 7.0, np.float32)
    metric = metric_depth(inverse)
    kept = inverse.copy()
    assert metric.depth_m(*size, out=memory) is memory
    np.testing.assert_array_equal(memory, metric.depth_m(*size))
    np.testing.assert_array_equal(inverse, kept)


@pytest.mark.parametrize("below", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("covariance", [None, np.array([[0.01, -0.002], [-0.002, 0.003]])])
def test_unsure_is_what_confidence_says(inverse, below, covariance):
    metric = metric_depth(inverse, covariance)
    differing = metric.unsure(24, 32, below=below) != (metric.confidence(24, 32) < below)
    assert differing.sum() <= 1  # rounding at the limit


def test_what_is_unsure_beyond_the_farthest_depth_is_not_trusted_for_being_there():
    """A wall that may be at 4 m is no free view where depth is told up to 5 m only; the sky is, however unsure."""
    inverse = np.full((24, 32), 1.0 / 5.2, np.float32)
    inverse[:12] = 0.002
    covariance = np.diag([0.0, 0.09**2])
    metric = replace(metric_depth(inverse, covariance), max_depth_m=5.0)
    depth_m = metric.depth_m(24, 32)
    assert np.isposinf(depth_m).all() and metric.unsure(24, 32, below=0.5).all()
    known = trusted(metric, depth_m, NavigationConfig(max_range_m=4.5, clearing_range_m=4.5))
    assert known[:11].all() and not known[13:].any()


def test_sigma_of_what_is_too_near_or_too_far_is_infinite_and_of_the_unknown_unknown():
    inverse = np.full((24, 32), 0.5, np.float32)
    inverse[0], inverse[1], inverse[2] = 3.0, 0.01, np.nan
    metric = metric_depth(inverse)
    depth_m, sigma_m = metric.depth_m(24, 32), metric.sigma_m(24, 32)
    assert np.isneginf(depth_m[0]).all() and np.isposinf(depth_m[1]).all() and np.isnan(depth_m[2]).all()
    assert np.isposinf(sigma_m[:2]).all() and np.isnan(sigma_m[2]).all() and (sigma_m[4:] > 0).all()


def test_flying_pixels_are_doubtful_where_they_are_asked_for():
    inverse = np.full((24, 32), 0.2, np.float32)
    inverse[:, :15] = 1.0
    inverse[:, 15:17] = 0.6
    metric = replace(metric_depth(inverse), edge_share=0.0)  # sure of all
    assert not metric.doubtful(24, 32, below=0.5, flying=False).any()
    assert metric.doubtful(24, 32, below=0.5, flying=True)[:, 15:17].all()
    assert not metric.doubtful(24, 32, below=0.5, flying=False).any(), "the second answer is not the first's"
