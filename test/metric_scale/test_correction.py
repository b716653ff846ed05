"""The correction of a network's curve: it learns a bend from anchors, and is careful where they say little."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.metric_scale.correction import MonotoneCorrection

RNG = np.random.default_rng(0)
ESTIMATE = np.geomspace(0.1, 1.0, 200)


def bent(inverse: np.ndarray) -> np.ndarray:
    """What the anchors say: a quarter nearer at the far end, as the network says in the middle."""
    return np.asarray(inverse * (inverse / 0.3) ** -0.2)


def learnt(
    estimate: np.ndarray,
    anchors: np.ndarray,
    weights: np.ndarray | None = None,
    frames: int = 60,
    effective: float = 40.0,
) -> MonotoneCorrection:
    correction = MonotoneCorrection()
    for _ in range(frames):
        correction.update(estimate, anchors, np.ones(len(estimate)) if weights is None else weights, effective)
    return correction


def at(correction: MonotoneCorrection, inverse: np.ndarray) -> np.ndarray:
    return correction.apply(inverse.astype(np.float32)[None, :])[0]


def test_a_bend_is_taken_out() -> None:
    correction = learnt(ESTIMATE, bent(ESTIMATE))
    assert correction.active
    np.testing.assert_allclose(at(correction, ESTIMATE), bent(ESTIMATE), rtol=0.03)


def test_a_picture_is_corrected_as_its_pixels_are() -> None:
    """A table stands in for the curve where there are many of them."""
    correction = learnt(ESTIMATE, bent(ESTIMATE))
    picture = RNG.uniform(0.05, 1.5, (90, 120)).astype(np.float32)
    np.testing.assert_allclose(correction.apply(picture)[7], at(correction, picture[7]), rtol=2e-3)


@pytest.mark.parametrize("count", [4095, 4096, 100_000])
def test_anchors_of_any_number_keep_their_shape(count: int) -> None:
    correction, estimate = learnt(ESTIMATE, bent(ESTIMATE)), np.geomspace(0.1, 1.0, count).astype(np.float32)
    assert correction.active
    found = correction.apply(estimate)
    assert found.shape == (count,)
    np.testing.assert_allclose(found[:4095], correction.apply(estimate[:4095, None].repeat(2, 1))[:, 0], rtol=1e-2)


def test_before_anchors_have_shown_otherwise_nothing_is_changed() -> None:
    picture = RNG.uniform(-0.1, 1.5, (90, 120)).astype(np.float32)
    assert MonotoneCorrection().apply(picture) is picture
    assert not learnt(ESTIMATE, ESTIMATE).active


@pytest.mark.parametrize("picture_size", [20, 9000])
def test_what_is_not_in_front_stays_where_it_is(picture_size: int) -> None:
    correction = learnt(ESTIMATE, bent(ESTIMATE))
    values = np.linspace(-0.5, 0.0, picture_size).astype(np.float32)
    np.testing.assert_allclose(at(correction, values), values, atol=1e-5)


@pytest.mark.parametrize(
    ("estimate", "anchors"),
    [
        pytest.param(ESTIMATE[::20], bent(ESTIMATE[::20]), id="few"),
        pytest.param(np.geomspace(0.3, 0.36, 200), bent(np.geomspace(0.1, 0.12, 200)), id="of one depth"),
    ],
)
def test_anchors_that_say_little_teach_nothing(estimate: np.ndarray, anchors: np.ndarray) -> None:
    assert not learnt(estimate, anchors).active


def test_outliers_and_what_has_no_depth_teach_nothing() -> None:
    estimate, anchors, weights = ESTIMATE.copy(), bent(ESTIMATE), np.ones(200)
    anchors[::4], weights[::4] = 5.0, 0.01
    estimate[1::8], anchors[2::8] = -0.2, 0.0
    found = at(learnt(estimate, anchors, weights), ESTIMATE)
    np.testing.assert_allclose(found, bent(ESTIMATE), rtol=0.05)


def test_a_wild_anchor_draws_the_curve_no_farther_than_others() -> None:
    """A hundredfold error is one of e at most."""
    anchors = ESTIMATE.copy()
    anchors[::10] *= 100.0
    assert at(learnt(ESTIMATE, anchors), ESTIMATE).max() < 1.35


def test_anchors_of_one_surface_count_as_the_few_that_they_are() -> None:
    sure, unsure = (learnt(ESTIMATE, bent(ESTIMATE), frames=1, effective=number) for number in (200.0, 2.0))
    bends = [float(np.abs(at(correction, ESTIMATE) / ESTIMATE - 1).max()) for correction in (sure, unsure)]
    assert bends[1] < 0.3 * bends[0]


def test_order_of_depth_is_kept_however_anchors_contradict_it() -> None:
    """Anchors that fall while the network rises, each way about the middle."""
    for anchors in (0.03 / ESTIMATE, np.where(ESTIMATE > 0.3, 0.03 / ESTIMATE, ESTIMATE)):
        correction = learnt(ESTIMATE, anchors, frames=300, effective=400.0)
        assert correction.active
        log_rise = np.diff(np.log(at(correction, ESTIMATE).astype(float))) / np.diff(np.log(ESTIMATE))
        assert log_rise.min() > 0.2


def test_what_is_not_seen_again_is_forgotten() -> None:
    correction = learnt(ESTIMATE, bent(ESTIMATE))
    for _ in range(200):
        correction.update(ESTIMATE, ESTIMATE, np.ones(200), 40.0)
    np.testing.assert_allclose(at(correction, ESTIMATE), ESTIMATE, rtol=0.02)
    after_one = learnt(ESTIMATE, bent(ESTIMATE))
    after_one.update(ESTIMATE, ESTIMATE, np.ones(200), 40.0)
    np.testing.assert_allclose(at(after_one, ESTIMATE), bent(ESTIMATE), rtol=0.04)


def test_a_view_of_other_depths_is_learnt_anew() -> None:
    correction, far = learnt(ESTIMATE, bent(ESTIMATE)), 0.05 * ESTIMATE
    for _ in range(60):
        correction.update(far, 0.05 * bent(ESTIMATE), np.ones(200), 40.0)
    np.testing.assert_allclose(at(correction, far), 0.05 * bent(ESTIMATE), rtol=0.03)
