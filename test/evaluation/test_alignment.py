"""Alignment against numpy's own least squares, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthnet_ros.evaluation.alignment import (
    align_scale_shift,
    aligned_depth,
    crop_window,
    depth_cap_m,
)


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.1, 2.0, (24, 32))
    prediction = 0.4 * target + rng.normal(0, 0.1, target.shape)
    return prediction, target, rng.random(target.shape) < 0.7


def test_equals_lstsq():
    prediction, target, mask = scene()
    design = np.stack([prediction[mask], np.ones(mask.sum())], axis=1)
    expected, *_ = np.linalg.lstsq(design, target[mask], rcond=None)
    assert align_scale_shift(prediction, target, mask) == pytest.approx(expected, rel=1e-9)


def test_weights_equal_repetition():
    prediction, target, mask = scene(1)
    weights = np.ones_like(target)
    weights[:12] = 3.0
    thrice = [np.concatenate([a, a[:12], a[:12]]) for a in (prediction, target, mask)]
    assert align_scale_shift(prediction, target, mask, weights) == pytest.approx(align_scale_shift(*thrice))


@given(scale=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_recovers_any_scale_and_shift(scale: float, shift: float):
    _, target, mask = scene(2)
    found = align_scale_shift((target - shift) / scale, target, mask)
    assert found == pytest.approx((scale, shift), rel=1e-6, abs=1e-6)


def test_invalid_pixels_are_never_read():
    prediction, target, mask = scene(3)
    before = align_scale_shift(prediction, target, mask)
    prediction[~mask], target[~mask] = np.nan, 1e9
    assert align_scale_shift(prediction, target, mask) == before


def test_pixels_that_a_network_does_not_know_are_left_out():
    prediction, target, mask = scene(5)
    known = mask.copy()
    known[:4] = False
    prediction[:4] = np.nan
    assert align_scale_shift(prediction, target, mask) == align_scale_shift(prediction, target, known)


def test_constant_prediction_gives_the_mean():
    _, target, mask = scene(4)
    scale, shift = align_scale_shift(np.full_like(target, 7.0), target, mask)
    assert scale == 0.0
    assert shift == pytest.approx(target[mask].mean())


def test_depth_is_capped_where_aligned_inverse_depth_is_small_or_negative():
    _, target, mask = scene(6)
    prediction = target.copy()
    prediction[0, 0], mask[0, 0] = -5.0, False
    depth = aligned_depth(prediction, target, mask, cap=10.0)
    assert depth[0, 0] == pytest.approx(10.0)
    np.testing.assert_allclose(depth[mask], 1.0 / target[mask], rtol=1e-6)


def test_without_a_cap_the_truth_gives_it():
    _, target, mask = scene(8)
    prediction = target.copy()
    prediction[~mask] = -9.0
    assert aligned_depth(prediction, target, mask).max() == pytest.approx(1.0 / target[mask].min())


def test_too_few_pixels_and_other_shapes_are_named():
    prediction, target, mask = scene(7)
    with pytest.raises(ValueError, match="at least 10 valid pixels, got 0"):
        align_scale_shift(prediction, target, np.zeros_like(mask))
    with pytest.raises(ValueError, match="shapes differ"):
        align_scale_shift(prediction[1:], target, mask)


@pytest.mark.parametrize(
    ("dataset", "cap_m"),
    [
        ("nyuv2_train", 10),
        ("tum_pioneer", 10),
        ("misc", 10),
        ("7scenes_redkitchen", 10),
        ("kitti_vo_sgbm", 80),
        ("my_kitti", 80),
        ("eth3d_courtyard", 72),
        ("DIODE", 150),
        ("autumn_walk", 80),
        ("field", 80),
    ],
)
def test_caps_by_data_set(dataset: str, cap_m: float):
    assert depth_cap_m(dataset) == cap_m


def test_crops_of_the_benchmarks():
    assert crop_window("eigen", 480, 640) == (slice(45, 471), slice(41, 601))
    assert crop_window("eigen", 240, 320) == (slice(22, 235), slice(20, 300))
    assert crop_window("garg", 375, 1242) == (slice(153, 371), slice(44, 1197))
    assert np.ones((5, 7))[crop_window("none", 5, 7)].shape == (5, 7)
    with pytest.raises(ValueError, match="crop must be one of none, eigen, garg, got 'kb'"):
        crop_window("kb", 375, 1242)
