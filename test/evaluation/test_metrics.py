"""Metrics against values worked out by hand, against scipy, and their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthnet_ros.evaluation.metrics import boundary_f1, depth_metrics, sdr, spearman, whdr

ALL = np.ones((2, 2), dtype=bool)


def test_depth_metrics_by_hand():
    truth = np.array([[1.0, 2.0], [4.0, 5.0]])
    prediction = np.array([[1.1, 2.0], [2.0, 10.0]])
    found = depth_metrics(prediction, truth, ALL)
    assert found["abs_rel"] == pytest.approx((0.1 + 0 + 0.5 + 1.0) / 4)
    assert found["bias"] == pytest.approx((0.1 + 0 - 0.5 + 1.0) / 4)
    assert found["rmse"] == pytest.approx(math.sqrt((0.01 + 0 + 4 + 25) / 4))
    assert found["log10"] == pytest.approx((math.log10(1.1) + 2 * math.log10(2)) / 4)
    assert (found["delta1"], found["delta2"], found["delta3"]) == (0.5, 0.5, 0.5)
    logs = np.log([1.1, 1.0, 0.5, 2.0])
    assert found["silog"] == pytest.approx(100 * math.sqrt((logs**2).mean() - logs.mean() ** 2))


def test_delta_thresholds():
    truth = np.ones((2, 2))
    found = depth_metrics(np.array([[1.24, 1 / 1.3], [1 / 1.6, 1.97]]), truth, ALL)
    assert (found["delta1"], found["delta2"], found["delta3"]) == (0.25, 0.5, 0.75)


@given(st.floats(0.01, 100))
def test_silog_knows_no_scale(scale: float):
    rng = np.random.default_rng(0)
    truth, prediction = rng.uniform(1, 9, (8, 8)), rng.uniform(1, 9, (8, 8))
    mask = np.ones_like(truth, dtype=bool)
    expected = depth_metrics(prediction, truth, mask)["silog"]
    assert depth_metrics(scale * prediction, truth, mask)["silog"] == pytest.approx(expected)


def test_spearman_equals_scipy_with_ties():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 9, (20, 20)), rng.integers(0, 9, (20, 20))
    mask = rng.random(a.shape) < 0.6
    assert spearman(a, b, mask) == pytest.approx(stats.spearmanr(a[mask], b[mask]).statistic)


def test_order_metrics_on_perfect_reversed_and_constant():
    target = np.random.default_rng(2).uniform(0.1, 1.0, (40, 40))
    mask = np.ones_like(target, dtype=bool)
    assert (spearman(target**3, target, mask), whdr(target**3, target, mask)) == (pytest.approx(1.0), 0.0)
    assert (spearman(-target, target, mask), whdr(-target, target, mask)) == (pytest.approx(-1.0), 1.0)
    assert (spearman(0 * target, target, mask), whdr(0 * target, target, mask)) == (0.0, 1.0)
    assert np.isnan(spearman(target, 0 * target + 0.3, mask)) and np.isnan(whdr(target, 0 * target + 0.3, mask))


def test_whdr_leaves_out_near_ties():
    target = np.array([[1.0, 1.001], [1.002, 2.0]])
    noise_among_equals = np.array([[1.2, 1.1], [1.0, 2.0]])
    assert whdr(noise_among_equals, target, ALL) == 0.0


def test_whdr_leaves_out_what_differs_by_less_than_a_thousandth_of_the_range_however_far_away():
    """Near infinity that is much of a value, and no tie by its share."""
    target = np.array([[0.001, 0.0015], [0.0012, 2.0]])
    assert whdr(np.array([[1.2, 1.1], [1.0, 2.0]]), target, ALL) == 0.0


def test_whdr_of_a_truth_with_an_arbitrary_zero_does_not_depend_on_it():
    rng = np.random.default_rng(0)
    target = rng.uniform(-10, 10, (60, 60))
    prediction, mask = target + rng.normal(0, 3, target.shape), np.ones_like(target, dtype=bool)
    shifted = [whdr(prediction, 5 * target + zero, mask, has_zero=False) for zero in (0, 20, 1000)]
    assert shifted == pytest.approx([shifted[0]] * 3, abs=1e-3)
    assert abs(whdr(prediction, target + 200, mask) - shifted[0]) > 0.05


def test_sdr_counts_equal_and_unequal_pairs_apart():
    truth = np.where(np.arange(40)[None] < 20, 1.0, 2.0).repeat(4, axis=0)
    mask = np.ones_like(truth, dtype=bool)
    flat = sdr(np.ones_like(truth), truth, mask)
    assert (flat["sdr_equal"], flat["sdr_unequal"]) == (0.0, 1.0)
    assert flat["sdr"] == pytest.approx(0.5, abs=0.05)
    assert sdr(3 * truth, truth, mask)["sdr"] == 0.0


def test_boundaries_shifted_by_one_pixel_are_missed():
    truth = np.where(np.arange(20)[None] < 10, 1.0, 2.0).repeat(6, axis=0)
    mask = np.ones_like(truth, dtype=bool)
    assert boundary_f1(truth, truth, mask) == 1.0
    assert boundary_f1(np.roll(truth, 1, axis=1), truth, mask) == 0.0
    assert boundary_f1(1 / truth, truth, mask) == 0.0  # the contour is there, but its near side is the wrong one
    assert math.isnan(boundary_f1(truth, np.ones_like(truth), mask))


def test_sdr_takes_depths_for_equal_up_to_a_tenth_more():
    """Depths 1 and 1.2 are not, 1 and 1.05 are."""
    truth = np.where(np.arange(40)[None] < 20, 1.0, 1.2).repeat(4, axis=0)
    mask = np.ones_like(truth, dtype=bool)
    near = np.where(truth > 1.1, 1.05, 1.0)
    assert sdr(np.ones_like(truth), truth, mask)["sdr_unequal"] == 1.0
    assert sdr(near, np.ones_like(truth), mask)["sdr"] == 0.0
    assert sdr(truth, near, mask)["sdr_equal"] == pytest.approx(0.5, abs=0.05)


def test_boundaries_are_looked_for_along_both_axes_where_both_sides_are_valid():
    truth = np.where(np.arange(12)[:, None] < 6, 1.0, 2.0).repeat(10, axis=1)
    mask = np.ones_like(truth, dtype=bool)
    assert boundary_f1(truth, truth, mask) == 1.0
    assert boundary_f1(np.ones_like(truth), truth, mask) == 0.0
    broken = truth.copy()
    broken[6:, :5] = 1.0  # 5 of the contour's 10 pixels are not found, and 6 along the other axis are too many
    assert boundary_f1(broken, truth, mask) == pytest.approx(2 * 5 / (10 + 5 + 6))
    mask[6:, :5] = False  # and there it is not looked at
    assert boundary_f1(broken, truth, mask) == 1.0


def test_strong_boundaries_weigh_more():
    """A step of 1.3 is found at all five ratios or, as one of 1.12, at the two least, whose weights are .05 and .1."""
    truth = np.where(np.arange(12)[None] < 6, 1.0, 1.3).repeat(4, axis=0)
    weak = np.where(truth > 1.1, 1.12, 1.0)
    assert boundary_f1(weak, truth, np.ones_like(truth, dtype=bool)) == pytest.approx(0.15 / 0.75)


def test_nothing_valid_is_an_error():
    with pytest.raises(ValueError, match="no valid pixel"):
        depth_metrics(np.ones((2, 2)), np.ones((2, 2)), np.zeros((2, 2), dtype=bool))
