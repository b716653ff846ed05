"""What must not end metres for ever, nor go unsaid: networks that step, sensors that come back, clouds out of reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.inference.postprocess import without_holes
from depthnet_ros.metric_scale import GroundPlane, MetricScaleConfig, MetricScaler, ScaleState
from depthnet_ros.metric_scale.state import FrameOutcome, StateMachine

from .world import CAMERA, FRAME_S, SIZE, World, run


def scaler(**settings) -> MetricScaler:
    return MetricScaler(MetricScaleConfig(mode="anchors", **settings), CAMERA)


def looking_down(height_m: float) -> np.ndarray:
    """Inverse depth of a flat ground under a camera that looks down by 0.9 rad."""
    rows, columns = np.mgrid[0:120, 0:160]
    plane = GroundPlane.from_height(height_m, 0.9)
    return np.clip(plane.inverse_depth(columns, rows, CAMERA), 1e-3, 3.0).astype(np.float32)


def test_a_drone_that_sank_while_no_frames_came_finds_its_scale_again() -> None:
    """A network whose unit is each picture's own mean: the old estimate is out by 13 times, which no gate lets in."""
    world, s = World(noise=0.01), scaler(max_depth_m=60.0)
    states, last = [], None
    for height_m, start_s, frames in ((20.0, 0.0, 40), (1.5, 6.0, 120)):
        world.inverse_depth = looking_down(height_m)
        world.scale, world.shift = 1.0 / float(world.inverse_depth.mean()), 0.0
        s.set_ground(GroundPlane.from_height(height_m, 0.9))
        for index in range(frames):
            last = s.update(world.prediction(), start_s + index * FRAME_S)
            states.append(last.state)
    assert ScaleState.STALE in states[40:]
    assert last is not None and last.published
    assert world.abs_rel(last) < 0.1


def test_pixels_that_the_network_does_not_know_are_no_far_wall() -> None:
    """A sonar that hears what the network leaves out says nothing; the floor, which is known, tells."""
    world, s = World(noise=0.01), scaler(ground_height_m=0.5, ground_pitch_rad=0.2)
    plane = GroundPlane.from_height(0.5, 0.2)
    rows, columns = np.mgrid[0:120, 0:160]
    world.inverse_depth = np.maximum(plane.inverse_depth(columns, rows, CAMERA), 0.25).astype(np.float32)
    hole = (abs(columns - 80) < 50) & (abs(rows - 60) < 36)
    published = []
    for index in range(60):
        s.add(world.sonar(index * FRAME_S))
        raw = world.prediction().inverse_depth.copy()
        raw[hole] = np.nan
        holed = replace(world.prediction(), inverse_depth=raw, unknown_share=float(hole.mean()))
        result = s.update(holed, index * FRAME_S)
        if result.published:
            depth_m = result.depth_m(*SIZE)
            published.append(float(np.median((depth_m * world.inverse_depth)[~hole])))
            assert np.isnan(depth_m[hole]).all()
    assert len(published) > 30
    assert np.median(published) == pytest.approx(1.0, abs=0.15)


def test_a_sensor_with_nobody_left_to_contradict_it_is_accused_no_more() -> None:
    world, s = World(noise=0.02), scaler(sources=("range", "points"))
    wrong_m = 0.4 * world.true_range_m()

    def crosstalk(time_s: float):
        return [world.points(time_s), world.sonar(time_s, reading_m=wrong_m * (1 + 0.02 * world.rng.normal()))]

    accused = "range: contradicts the other sensors"
    assert accused in run(s, world, 60, anchors=crosstalk)[-1].troubles
    for index in range(60, 120):  # the lidar's returns end, and the crosstalk
        s.hear("points", index * FRAME_S)
        s.add(world.sonar(index * FRAME_S))
        last = s.update(world.prediction(), index * FRAME_S)
    assert accused not in last.troubles


def test_points_that_all_lie_beyond_what_depth_is_told_to_are_told() -> None:
    world, s = World(), scaler(max_depth_m=0.5)
    told = "points: all of its points lie beyond scale.max_depth_m (0.5 m)"
    results = run(s, world, 40, anchors=lambda t: [world.points(t)])
    assert told not in results[10].message
    assert told in results[-1].message
    near = scaler(max_depth_m=20.0)
    assert told not in run(near, world, 40, anchors=lambda t: [world.points(t)])[-1].message


def test_anchors_that_the_picture_does_not_fit_are_no_calibration() -> None:
    for misfit, wanted in ((0.19, ScaleState.CALIBRATED), (0.3, ScaleState.DEGRADED)):
        machine = StateMachine(MetricScaleConfig())
        for index in range(20):
            machine.step(index * FRAME_S, FrameOutcome(True, 0, True, 0.05, misfit=misfit))
        assert machine.state is wanted
    assert machine.reason == "anchors and estimated depth differ by 30%"
    poor = StateMachine(MetricScaleConfig(network_sigma=0.4))  # a network that is known to be poor
    for index in range(20):
        poor.step(index * FRAME_S, FrameOutcome(True, 0, True, 0.05, misfit=0.3))
    assert poor.state is ScaleState.CALIBRATED


def test_rejected_frames_are_told_while_stale() -> None:
    machine = StateMachine(MetricScaleConfig())
    for index in range(20):
        machine.step(index * FRAME_S, FrameOutcome(True, 0, True, 0.05))
    for index in range(20, 120):
        machine.step(index * FRAME_S, FrameOutcome(False, index - 19, True, 0.05))
    assert machine.state is ScaleState.STALE
    assert "100 frames in a row contradict what was known" in machine.reason


def test_holes_are_filled_with_the_farthest_and_remembered() -> None:
    world = World()
    raw = world.prediction()
    assert without_holes(raw) == (raw, None)
    holed = raw.inverse_depth.copy()
    holed[:10] = np.nan
    with_holes = replace(raw, inverse_depth=holed, unknown_share=1 / 12)
    assert np.isnan(with_holes.at(60, 80)).any()
    filled, unknown = without_holes(with_holes)
    assert not np.isnan(filled.at(60, 80)).any()
    assert unknown is not None and unknown[:10].all() and not unknown[10:].any()
    assert (filled.inverse_depth[:10] == np.nanmin(holed)).all()


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_points_of_a_wrong_unit_are_at_odds_with_the_floor(factor: float) -> None:
    """A visual odometry whose own scale is wrong: believed, but never `calibrated`, and said."""
    plane = GroundPlane.from_height(0.5, 0.3)
    rows, columns = np.mgrid[0:120, 0:160]
    world, s = World(noise=0.02), scaler(ground_height_m=0.5, ground_pitch_rad=0.3)
    world.inverse_depth = np.maximum(plane.inverse_depth(columns, rows, CAMERA), 0.2).astype(np.float32)
    right = scaler(ground_height_m=0.5, ground_pitch_rad=0.3)
    last = run(s, world, 40, anchors=lambda t: [world.points(t, factor=factor)])[-1]
    which = "nearer" if factor < 1.0 else "farther"
    assert last.state is not ScaleState.CALIBRATED
    assert any(
        f"times {which} than range finders or floor say: one of them is wrong" in trouble for trouble in last.troubles
    )
    assert run(right, world, 40, anchors=lambda t: [world.points(t)])[-1].state is ScaleState.CALIBRATED


def test_a_lidar_and_a_sonar_that_agree_are_not_at_odds() -> None:
    world, s = World(noise=0.05), scaler(sources=("range", "points"))
    for result in run(s, world, 60, anchors=lambda t: [world.points(t), world.sonar(t)]):
        assert not any("one of them is wrong" in trouble for trouble in result.troubles)
