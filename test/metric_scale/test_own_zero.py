"""A network that knows where infinity is leaves one unknown: a lone sonar or a short line of points is then enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler
from depthnet_ros.metric_scale.evidence import ZeroPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.frame import Frame
from depthnet_ros.metric_scale.spread import BEYOND, SpreadMemory
from depthnet_ros.metric_scale.tracker import ScaleTracker

from .world import CAMERA, FRAME_S, World

VIEW = ViewNormalisation(pivot=2.0, spread=2.0, far=-0.5)


def error_with(zero_sigma: float, gain: float, wander: bool) -> float:
    """Of metric depth from one sonar; the network's zero is real, its scale ``gain``, wandering or not."""
    world = World()
    world.scale, world.shift = gain, 0.0
    scaler = MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    errors = []
    for index in range(25):
        stamp = index * FRAME_S
        scaler.add(world.sonar(stamp))
        prediction = replace(world.prediction(0.03 if wander else 0.0), zero_sigma=zero_sigma)
        result = scaler.update(prediction, stamp)
        if result.inverse_depth is not None:
            errors.append(world.abs_rel(result))
    return float(np.mean(errors[5:]))


@pytest.mark.parametrize("gain", [0.2, 5.0])
@pytest.mark.parametrize("wander", [False, True])
def test_a_sonar_alone_is_enough(gain: float, wander: bool):
    with_zero, without = error_with(0.15, gain, wander), error_with(0.0, gain, wander)
    assert with_zero < 0.6 * without, (with_zero, without)


@pytest.mark.parametrize(
    ("scale", "shift", "zero"),
    [
        (2.4, 0.2, -0.153),  # wanders, to raw = 1.2 steady + 0.2, of which nine tenths are taken out
        (5.0, 1.0, 0.0),  # jumps, and its unit is the steady one from then on
    ],
)
def test_it_is_where_the_steadied_prediction_has_it(
    monkeypatch: pytest.MonkeyPatch, scale: float, shift: float, zero: float
):
    world, given = World(noise=0.0), []
    world.scale, world.shift = 2.0, 0.0
    scaler = MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    update = ScaleTracker.update

    def listening(self: ScaleTracker, frame: Frame, *arguments: Any) -> Any:
        given.append(frame.own_zero)
        return update(self, frame, *arguments)

    monkeypatch.setattr(ScaleTracker, "update", listening)
    for index in range(4):
        if index == 3:
            world.scale, world.shift = scale, shift
        scaler.add(world.sonar(index * FRAME_S))
        scaler.update(replace(world.prediction(), zero_sigma=0.3), index * FRAME_S)
    assert given[0] == ZeroPrior(0.0, 0.3)
    assert given[-1].value == pytest.approx(zero, abs=0.03)


def test_the_prior_is_the_network_s_own_as_far_as_its_zero_is_known():
    memory = SpreadMemory(MetricScaleConfig(mode="anchors"))
    usual = memory.prior(VIEW, False, None)
    assert usual.mean == pytest.approx(1.01, abs=0.01)
    vague, sure = (memory.prior(VIEW, False, ZeroPrior(1.0 - 1e-3, sigma)) for sigma in (2.0, 0.05))
    assert 1.01 < vague.mean < 1.2 and vague.sigma < usual.sigma
    assert sure.mean == pytest.approx(BEYOND, abs=0.2)
    assert 0.2 < sure.sigma < 0.25  # never so sure that scale would be calibrated by it alone
    at_infinity = memory.prior(VIEW, False, ZeroPrior(0.0, 0.3))
    assert at_infinity.mean == pytest.approx(np.log(3.0), abs=0.03)  # 3 to 1 from near to far
    assert memory.prior(VIEW, True, ZeroPrior(0.0, 0.3)) == memory.prior(VIEW, True, None)  # metres say it already


def remembering(zero: float) -> ScaleTracker:
    """A tracker of whose network points have told where infinity is."""
    tracker = ScaleTracker(MetricScaleConfig(mode="anchors"))
    tracker.spread.learn(VIEW, zero)
    return tracker


def test_where_points_once_had_infinity_is_remembered_in_the_network_s_new_unit():
    tracker = remembering(0.5)
    before, usual = tracker.spread.prior(VIEW, False, None), remembering(9.0).spread.prior(VIEW, False, None)
    assert before.sigma < 0.15 and abs(before.mean - usual.mean) > 0.2
    tracker.change_unit(3.0, 4.0)
    after = tracker.spread.prior(replace(VIEW, pivot=3.0 * 2.0 + 4.0, spread=3.0 * 2.0), False, None)
    assert (after.mean, after.sigma) == pytest.approx((before.mean, before.sigma))


def test_that_memory_fades_and_ends_with_the_scene():
    tracker, usual = remembering(0.5), remembering(9.0).spread.prior(VIEW, False, None)
    sigmas = [tracker.spread.prior(VIEW, False, None).sigma]
    for elapsed_s in (FRAME_S, 60.0):
        tracker.predict(VIEW, elapsed_s, cut=False)
        sigmas.append(tracker.spread.prior(VIEW, False, None).sigma)
    assert sigmas[0] < sigmas[1] < 0.5 * sigmas[2]
    tracker.predict(VIEW, FRAME_S, cut=True)
    assert tracker.spread.prior(VIEW, False, None) == usual
