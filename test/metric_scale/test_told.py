"""What the scaler tells beside depth: covariance and sigma in the network's unit, and troubles of sensors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler, ScaleState

from .world import CAMERA, FRAME_S, SIZE, World, run


def scaler(**settings) -> MetricScaler:
    return MetricScaler(MetricScaleConfig(mode="anchors", **settings), CAMERA)


def test_covariance_is_of_the_scale_and_shift_that_are_told() -> None:
    """A network's step by three, which is taken out: its scale is a third, and so is what that is known to."""
    world, s = World(noise=0.02), scaler()
    before = run(s, world, 30, anchors=lambda t: [world.points(t)])[-1].estimate
    world.scale, world.shift = 3.0 * world.scale, 3.0 * world.shift
    after = run(s, world, 1, start=30, anchors=lambda t: [world.points(t)])[-1].estimate
    assert before is not None and after is not None
    assert after.scale == pytest.approx(before.scale / 3.0, rel=0.1)
    ratio = np.sqrt(np.diag(after.covariance) / np.diag(before.covariance))
    assert ratio[0] == pytest.approx(1 / 3, rel=0.25)


def test_a_network_s_own_sigma_gives_the_pattern() -> None:
    world, s = World(noise=0.02), scaler()
    log_sigma = np.zeros(SIZE, np.float32)
    log_sigma[:, 80:] = 1.0
    for index in range(10):
        s.add(world.points(index * FRAME_S))
        result = s.update(replace(world.prediction(), log_sigma=log_sigma), index * FRAME_S)
    share = result.sigma_m(*SIZE) / result.depth_m(*SIZE)
    assert np.median(share[:, 90:]) > 1.8 * np.median(share[:, :70])


def test_fixed_metres_are_as_unsure_as_a_network_is() -> None:
    config = MetricScaleConfig(mode="fixed", network_sigma=0.2)
    result = MetricScaler(config).update(DepthPrediction(np.full((4, 4), 0.5, np.float32), (4, 4)), 0.0)
    assert result.sigma_m(4, 4) == pytest.approx(0.2 * 2.0) and (result.confidence(4, 4) < 0.9).all()


def test_a_network_s_bent_curve_is_straightened_where_that_is_asked_for() -> None:
    errors = {}
    for monotone in (True, False):
        world, s = World(noise=0.0), scaler(monotone=monotone)
        bent = DepthPrediction((5.0 * world.inverse_depth**0.6).astype(np.float32), SIZE)
        for index in range(40):
            s.add(world.points(index * FRAME_S))
            result = s.update(bent, index * FRAME_S)
        errors[monotone] = world.abs_rel(result)
    assert errors[True] < 0.6 * errors[False]


def test_a_sonar_that_hears_nothing_while_the_robot_drives_is_not_stuck() -> None:
    """Its limit is no reading that stays."""
    world, s = World(), scaler(sources=("range", "points"), stuck_after_s=1.0)
    start, troubles = world.inverse_depth.copy(), set()
    for index in range(90):
        world.inverse_depth = start * (0.5 + 0.5 * index / 90)
        anchors = [world.points(index * FRAME_S), world.sonar(index * FRAME_S, reading_m=math.inf)]
        (result,) = run(s, world, 1, start=index, anchors=lambda _, said=anchors: said)
        troubles.update(result.troubles)
    assert not any("stuck at" in trouble for trouble in troubles)


def test_a_sonar_that_contradicts_a_lidar_is_told() -> None:
    world, s = World(noise=0.02), scaler(sources=("range", "points"))
    wrong_m = 0.4 * world.true_range_m()
    results = run(
        s, world, 60,
        anchors=lambda t: [world.points(t), world.sonar(t, reading_m=wrong_m * (1 + 0.02 * world.rng.normal()))],
    )  # fmt: skip
    assert any(trouble == "range: contradicts the other sensors" for trouble in results[-1].troubles)
    assert results[-1].state is ScaleState.DEGRADED and world.abs_rel(results[-1]) < 0.1


def test_a_sensor_of_before_time_ran_back_is_missed_now() -> None:
    """A simulation that starts anew without its lidar."""
    world, s = World(), scaler(sources=("points",))
    run(s, world, 20, start=3000, anchors=lambda t: [world.points(t)])
    last = run(s, world, 30, start=0)[-1]
    assert any("points" in trouble for trouble in last.troubles)


def test_a_sensor_that_says_nothing_usable_is_alive() -> None:
    """A scan of nothing but misses, say."""
    troubles = {}
    for heard in (True, False):
        world, s = World(), scaler(sources=("range", "points"))
        for index in range(30):
            s.add(world.points(index * FRAME_S))
            if heard:
                s.hear("range", index * FRAME_S)
            troubles[heard] = s.update(world.prediction(), index * FRAME_S).troubles
    assert not troubles[True] and any("range" in trouble for trouble in troubles[False])


def test_after_a_cut_scale_is_doubted_until_it_is_measured() -> None:
    world, s = World(noise=0.02), scaler()
    before = run(s, world, 30, anchors=lambda t: [world.points(t)])[-1].estimate
    world.inverse_depth = np.ascontiguousarray(world.inverse_depth[::-1])  # another picture
    after = run(s, world, 1, start=30)[-1].estimate
    measured = run(s, world, 1, start=31, anchors=lambda t: [world.points(t)])[-1].estimate
    assert before is not None and after is not None and measured is not None
    assert before.relative_sigma < 0.1 and after.relative_sigma > 0.25 and measured.relative_sigma < 0.15


@pytest.mark.parametrize(("metric", "follows"), [(True, 1.6), (False, 1.0)])
def test_a_step_of_all_depth_is_a_metric_network_s_word_and_another_one_s_wander(metric: bool, follows: float) -> None:
    world, s = World(noise=0.0), scaler()
    world.scale, world.shift = 1.0, 0.0
    for index in range(20):
        s.add(world.points(index * FRAME_S))
        before = s.update(replace(world.prediction(), metric=metric), index * FRAME_S)
    world.scale = 1.6
    after = s.update(replace(world.prediction(), metric=metric), 20 * FRAME_S)
    assert np.median(after.inverse_depth / before.inverse_depth) == pytest.approx(follows, rel=0.05)


def test_a_sonar_that_hangs_is_not_used_any_more() -> None:
    world, s = World(), scaler(sources=("range",), stuck_after_s=1.0)
    start, reading_m = world.inverse_depth.copy(), world.true_range_m()
    for index in range(90):
        world.inverse_depth = start / (1.0 - 0.6 * index / 90)
        run(s, world, 1, start=index, anchors=lambda t: [world.sonar(t, reading_m=reading_m)])
    last = run(s, world, 45, start=90, anchors=lambda t: [world.sonar(t, reading_m=reading_m)])[-1]
    assert any("stuck at" in trouble for trouble in last.troubles)
    assert last.state is ScaleState.STALE and not last.published, "nothing else measures"
