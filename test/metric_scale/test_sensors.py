"""Sensors that are silent, deaf, stuck or looking at nothing: told, and not believed."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale import GroundPlane, MetricScaleConfig, MetricScaler, RangeFinder, ScaleState, from_range
from depthnet_ros.metric_scale.health import SourceMonitor
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .world import CAMERA, FOV, FRAME_S, SIZE, World, run


def scaler(**settings) -> MetricScaler:
    return MetricScaler(MetricScaleConfig(mode="anchors", **settings), CAMERA)


def sonar_of(reading_m: float, stamp_s: float):
    return from_range(reading_m, RangeFinder(FOV, 0.2, 4.0), CAMERA, OPTICAL_FROM_BODY, stamp_s)


@pytest.mark.parametrize("wall_m", [1.0, 1.5])
@pytest.mark.parametrize(("reading", "said"), [(np.inf, "no echo, though"), (-np.inf, "reports something too near")])
def test_a_deaf_or_ringing_sonar_before_a_wall_moves_nothing(wall_m, reading, said):
    """Walls that send no echo are common: an inequality that is broken is no number, and is outweighed by the floor."""
    world, plane = World(noise=0.02), GroundPlane.from_height(0.4, 0.1)
    rows, columns = np.mgrid[0:120, 0:160]
    world.inverse_depth = np.maximum(plane.inverse_depth(columns, rows, CAMERA), 1.0 / wall_m).astype(np.float32)
    robot = scaler(sources=("range",), ground_height_m=0.4, ground_pitch_rad=0.1)
    run(robot, world, 30, anchors=lambda t: [sonar_of(world.true_range_m(), t)])
    told = run(robot, world, 60, start=30, anchors=lambda t: [sonar_of(reading, t)])
    published = [metric for metric in told if metric.published]
    assert published
    for metric in published:
        assert 0.75 < np.median(metric.depth_m(*SIZE) / world.depth_m) < 1.35
    assert any(said in trouble for trouble in told[-1].troubles)


def test_limits_alone_give_no_metres():
    world, robot = World(noise=0.02), scaler(sources=("range",))
    told = run(robot, world, 30, anchors=lambda t: [sonar_of(np.inf, t)])
    assert not any(metric.published for metric in told)


def test_dead_sensor_is_noticed_and_stale_stops_metres():
    world, s = World(), scaler(source_timeout_s=0.3, stale_after_s=0.6)
    run(s, world, 20, anchors=lambda t: [world.points(t)])
    silent = run(s, world, 30, start=20)
    stamps = FRAME_S * (np.arange(30) + 1)
    told = next(t for t, r in zip(stamps, silent, strict=True) if r.troubles)
    assert told == pytest.approx(0.3, abs=1.5 * FRAME_S) and "silent" in silent[-1].troubles[0]
    stale = next(t for t, r in zip(stamps, silent, strict=True) if r.state is ScaleState.STALE)
    assert stale == pytest.approx(0.6, abs=1.5 * FRAME_S)
    assert not silent[-1].published
    back = run(s, world, 10, start=50, anchors=lambda t: [world.points(t)])
    assert back[0].state is ScaleState.CALIBRATING and back[-1].state is ScaleState.CALIBRATED


def test_a_constant_reading_under_a_changing_picture_is_reported():
    world, s = World(), scaler(stuck_after_s=1.0)
    start = world.inverse_depth.copy()
    reading, results = world.true_range_m(), []
    for index in range(90):  # comes nearer by half: the sensor stays at its first reading
        world.inverse_depth = start / (1 - 0.6 * index / 90)
        results += run(s, world, 1, start=index, anchors=lambda t: [world.sonar(t, reading_m=reading)])
    assert any("stuck at" in line for line in results[-1].troubles)
    assert results[-1].state is not ScaleState.CALIBRATED


def test_a_cloud_that_repeats_itself_under_a_changing_picture_is_reported_and_not_used():
    """A driver that hangs sends its last points with fresh stamps."""
    world, s = World(), scaler(stuck_after_s=1.0, sources=("points",))
    start, results = world.inverse_depth.copy(), []
    run(s, world, 10, anchors=lambda t: [world.points(t)])
    frozen = world.points(0.0)
    for index in range(90):
        world.inverse_depth = start / (1 - 0.6 * index / 90)
        results += run(s, world, 1, start=10 + index, anchors=lambda t: [replace(frozen, stamp_s=t)])
    assert any("stuck at identical points" in line for line in results[-1].troubles)
    later = run(s, world, 45, start=100, anchors=lambda t: [replace(frozen, stamp_s=t)])[-1]
    assert later.state is ScaleState.STALE and not later.published, "nothing else measures"
    back = run(s, world, 60, start=145, anchors=lambda t: [world.points(t)])[-1]
    assert back.published and not back.troubles
    assert np.median(back.inverse_depth / world.inverse_depth) == pytest.approx(1.0, abs=0.1)


def test_a_still_cloud_of_a_robot_at_rest_is_no_lie():
    world, s = World(), scaler(stuck_after_s=1.0, sources=("points",))
    still = world.points(0.0)
    assert not run(s, world, 90, anchors=lambda t: [replace(still, stamp_s=t)])[-1].troubles


@pytest.mark.parametrize("kind", ["range", "points"])
def test_a_robot_at_rest_whose_network_changes_its_unit_has_honest_sensors(kind):
    """Twice; a noisy network tells its steps but roughly."""
    world, s, troubles = World(), scaler(stuck_after_s=1.0, sources=(kind,)), set()
    still, reading_m = world.points(0.0), world.true_range_m()
    for index in range(120):
        if index in (50, 80):
            world.scale, world.shift = 2.5 * world.scale, 2.5 * world.shift

        def at_rest(stamp_s: float):
            return [replace(still, stamp_s=stamp_s) if kind == "points" else world.sonar(stamp_s, reading_m=reading_m)]

        (result,) = run(s, world, 1, start=index, anchors=at_rest)
        troubles.update(result.troubles)
    assert not troubles


def test_someone_who_is_followed_at_one_distance_is_no_lie():
    """The reading stays, and so does the picture at its place: only the background opens."""
    world, s, results = World(noise=0.01), scaler(stuck_after_s=1.0, sources=("range",)), []
    world.shift = 0.0  # the network's zero is infinity
    for index in range(120):
        world.inverse_depth = np.full(SIZE, 1.0 / (1.8 + 6.0 * index / 120), np.float32)
        world.inverse_depth[:, 50:110] = 1.0 / 1.2

        def sonar(stamp_s: float):
            return [world.sonar(stamp_s, reading_m=1.2)]

        s.add(*sonar(index * FRAME_S))
        results.append(s.update(replace(world.prediction(), zero_sigma=0.5), index * FRAME_S))
    assert not any("stuck at" in line for result in results for line in result.troubles)


def test_a_constant_reading_of_a_robot_at_rest_is_no_lie():
    world, s = World(), scaler(stuck_after_s=1.0)
    results = run(s, world, 90, anchors=lambda t: [world.sonar(t, reading_m=world.true_range_m())])
    assert not results[-1].troubles


def test_nothing_is_learnt_where_a_rectified_picture_is_black():
    """A network says something of black corners, too; and a lidar sees what is behind them."""
    seen = np.ones(SIZE, bool)
    seen[:, :40] = seen[:, -40:] = False
    ratios = {}
    for mask in (None, seen):
        world, robot = World(noise=0.02), scaler(sources=("points",))
        for index in range(30):
            prediction = world.prediction()
            prediction.inverse_depth[~seen] *= 0.5
            robot.add(world.points(index * FRAME_S))
            metric = robot.update(prediction, index * FRAME_S, seen=mask)
        ratios[mask is None] = float(np.median((metric.inverse_depth / world.inverse_depth)[seen]))
    assert abs(ratios[False] - 1.0) < 0.05 < abs(ratios[True] - 1.0)
    assert metric.anchor_count < 100, "half of them lie in the black"


def test_what_a_network_makes_of_the_black_of_a_rectified_picture_changes_nothing():
    """A sonar and a guess of the view's range: no points that would outweigh it."""
    seen = np.ones(SIZE, bool)
    seen[:, :40] = seen[:, -40:] = False
    levels = []
    for invented in (0.2, 5.0):
        world, robot = World(noise=0.02), scaler(sources=("range",), temporal_filter=False)
        for index in range(30):
            prediction = world.prediction()
            prediction.inverse_depth[~seen] *= invented
            robot.add(world.sonar(index * FRAME_S))
            metric = robot.update(prediction, index * FRAME_S, seen=seen)
        levels.append(np.median(metric.inverse_depth[seen]))
    assert levels[0] == pytest.approx(levels[1], rel=1e-3)


def test_a_cone_in_the_black_is_not_looked_at():
    world, robot = World(noise=0.02), scaler(sources=("range",))
    seen = np.ones(SIZE, bool)
    seen[30:90, 40:120] = False
    for index in range(20):
        robot.add(world.sonar(index * FRAME_S))
        metric = robot.update(world.prediction(), index * FRAME_S, seen=seen)
    assert metric.state is ScaleState.UNCALIBRATED


@pytest.mark.parametrize("speed_m_s", [0.05, 0.1, 0.4])
def test_a_hanging_sonar_is_told_before_a_slow_robot_is_at_the_wall(speed_m_s):
    """The picture changes little within any few seconds, and much since the reading came to stay."""
    monitor = SourceMonitor(MetricScaleConfig(mode="anchors", sources=("range",)))
    wall_m, now_s = 4.0, 0.0
    while wall_m > 1.0 and not monitor.is_stuck("range"):
        now_s += 0.1
        wall_m -= 0.1 * speed_m_s
        monitor.record_range("range", now_s, 3.98, 0.05, 1.0 / wall_m)
        monitor.check_stuck("range")
    assert monitor.is_stuck("range") and wall_m > 2.5


def test_a_robot_that_stands_and_drives_on_has_an_honest_sonar():
    rng = np.random.default_rng(0)
    monitor = SourceMonitor(MetricScaleConfig(mode="anchors", sources=("range",)))
    wall_m = 4.0
    for step in range(1500):
        wall_m -= 0.02 if step > 1400 else 0.0
        monitor.record_range("range", 0.1 * step, wall_m + rng.normal(0.0, 0.03), 0.05, rng.normal(1.0, 0.05) / wall_m)
        monitor.check_stuck("range")
        assert not monitor.is_stuck("range")
