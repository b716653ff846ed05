"""Pictures, sensors and grounds that say nothing, whatever the network makes of them: a reason, and no metres."""

import math

import cv2
import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import (
    MetricScaleConfig,
    MetricScaler,
    RangeFinder,
    ScaleState,
    from_depth_image,
    from_points,
    from_range,
)
from depthnet_ros.metric_scale.contrast import shows_nothing, small_grey
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .room import Room
from .world import CAMERA, FOV, FRAME_S, SIZE, World, run

RNG = np.random.default_rng(0)
ROWS, COLUMNS = np.mgrid[0:480, 0:640]
SHADE = 190 - 60 * np.hypot((COLUMNS - 320) / 400, (ROWS - 240) / 400)


def noisy(grey: np.ndarray | float) -> np.ndarray:
    """(480, 640, 3) as a camera gives it."""
    levels = np.broadcast_to(np.asarray(grey, float)[..., None], (480, 640, 3))
    return np.clip(levels + RNG.normal(0, 4, (480, 640, 3)), 0, 255).astype(np.uint8)


BARE = {"covered": noisy(np.full((480, 640), 8)), "wall": noisy(np.full((480, 640), 170)), "lamp": noisy(SHADE)}


def scaler(**settings) -> MetricScaler:
    return MetricScaler(MetricScaleConfig(mode="anchors", **settings), CAMERA)


@pytest.mark.parametrize("name", BARE)
def test_bare_pictures_show_nothing_and_a_small_thing_in_them_something(name):
    picture = BARE[name]
    assert "hardly anything" in shows_nothing(small_grey(picture))
    seen = np.zeros((480, 640), bool)
    seen[60:-60, 80:-80] = True
    framed = np.where(seen[..., None], picture, 255).astype(np.uint8)  # as rectifying leaves it
    assert not shows_nothing(small_grey(framed)) and "hardly anything" in shows_nothing(small_grey(framed), seen)
    cv2.circle(framed, (300, 250), 60, (90, 100, 100), -1)
    assert not shows_nothing(small_grey(framed), seen)


def test_a_covered_lens_stops_metres_within_the_frame_and_is_stale_in_time():
    world, robot, (_, picture) = World(), scaler(stale_after_s=0.5), Room().view(np.zeros(3), np.zeros(3))
    covered = np.full(SIZE, 8, np.uint8)

    def frame(index: int, image: np.ndarray):
        robot.add(world.points(index * FRAME_S))
        return robot.update(world.prediction(), index * FRAME_S, image)

    assert [frame(index, picture) for index in range(20)][-1].state is ScaleState.CALIBRATED
    dark = [frame(index, covered) for index in range(20, 50)]
    assert not any(metric.published for metric in dark) and "covered lens" in dark[0].message
    assert dark[-1].age_s > 0.5
    assert dark[0].state is ScaleState.CALIBRATED and dark[-1].state is ScaleState.STALE
    assert [frame(index, picture) for index in range(50, 56)][-1].published


def test_a_moment_of_darkness_is_forgiven_at_once():
    world, robot, (_, picture) = World(), scaler(), Room().view(np.zeros(3), np.zeros(3))
    for index in range(24):
        robot.add(world.points(index * FRAME_S))
        dark = 20 <= index < 23
        metric = robot.update(world.prediction(), index * FRAME_S, np.full(SIZE, 8, np.uint8) if dark else picture)
        assert metric.published == (index >= 2 and not dark)
    assert world.abs_rel(metric) < 0.1


@pytest.mark.parametrize(("mode", "metric_network"), [("fixed", False), ("none", True)])
def test_in_the_other_modes_too(mode, metric_network):
    robot, relative = MetricScaler(MetricScaleConfig(mode=mode), CAMERA), World().inverse_depth
    for picture, published in ((Room().view(np.zeros(3), np.zeros(3))[1], True), (np.full(SIZE, 8, np.uint8), False)):
        told = robot.update(DepthPrediction(relative, SIZE, metric=metric_network), 0.0, picture)
        assert told.published == published


@pytest.mark.parametrize(("height_m", "pitch_rad"), [(1.0, 0.0), (0.3, 0.0), (0.4, 0.1)])
@pytest.mark.parametrize("warm", [False, True])
def test_what_stands_before_sonar_and_lens_is_no_floor(height_m, pitch_rad, warm):
    """At 0.15 m, too near for the sonar (-Inf). What the network makes of such a picture is noise."""
    world = World(noise=0.05)
    world.shift = 0.0
    world.inverse_depth[:] = 1 / 0.3 if warm else 1 / 0.15
    settings = {"ground_height_m": height_m, "ground_pitch_rad": pitch_rad, "calibrate_frames": 1}
    robot = scaler(sources=("range",), **settings)

    def frames(start: int, count: int, reading_m: float):
        for index in range(start, start + count):
            robot.add(from_range(reading_m, RangeFinder(FOV, 0.2, 4.0), CAMERA, OPTICAL_FROM_BODY, index / 15.0))
            prediction = world.prediction()
            yield robot.update(DepthPrediction(prediction.inverse_depth, SIZE, zero_sigma=0.5), index / 15.0)

    if warm:
        assert list(frames(0, 20, 0.3))[-1].published
        world.inverse_depth[:] = 1 / 0.15
    for metric in frames(20, 40, -math.inf):
        assert not metric.published or np.median(metric.depth_m(*SIZE)) < 0.4
    assert not metric.published and metric.message


@pytest.mark.parametrize(("height_m", "pitch_rad"), [(1.0, 0.0), (0.3, 0.0), (0.6, 0.0)])
def test_a_bare_wall_without_an_echo_is_no_floor_either(height_m, pitch_rad):
    world = World(noise=0.05)
    world.shift = 0.0
    world.inverse_depth[:] = 1 / 0.5
    robot = scaler(sources=("range",), ground_height_m=height_m, ground_pitch_rad=pitch_rad)
    for index in range(40):
        robot.add(from_range(math.inf, RangeFinder(FOV, 0.2, 4.0), CAMERA, OPTICAL_FROM_BODY, index / 15.0))
        prediction = DepthPrediction(world.prediction().inverse_depth, SIZE, zero_sigma=0.5)
        assert not robot.update(prediction, index / 15.0).published


@pytest.mark.parametrize(("noise", "own_zero"), [(0.0, False), (0.0, True), (0.02, True)])
@pytest.mark.parametrize("moves", [False, True])
def test_a_sensor_that_says_the_same_everywhere_is_told_and_never_calibrates(noise, own_zero, moves):
    """Told from a wall by the network's own zero; without one only where it is the very same."""
    world, robot, zones = World(), scaler(sources=("depth",)), CAMERA.resized(8, 8)
    world.shift = 0.0
    before = world.inverse_depth.copy()
    for index in range(150):
        if moves:
            world.inverse_depth = (before * (1 + 0.02 * index)).astype(np.float32)
        told_m = (2.0 * (1 + noise * world.rng.normal(size=(8, 8)))).astype(np.float32)
        robot.add(from_depth_image(told_m, zones, CAMERA, np.eye(4), index * FRAME_S))
        prediction = DepthPrediction(world.prediction().inverse_depth, SIZE, zero_sigma=0.5 * own_zero)
        metric = robot.update(prediction, index * FRAME_S)
        assert metric.state is not ScaleState.CALIBRATED
    told = "; ".join((metric.message, *metric.troubles))
    if noise == 0.0 and moves:
        assert "stuck at identical points" in told and not metric.published
    else:
        assert "all are at about 2.0" in told


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("ground_height_m", [0.0, 1.5])
def test_a_floor_straight_below_has_its_metres_whatever_relief_the_network_gives_it(noise, ground_height_m):
    """As networks do of grass, tiles and a landing pad. Where a ground is known there, points on it are no surprise."""
    ground = {"ground_height_m": ground_height_m, "ground_pitch_rad": 1.57}
    relief, robot, world = World(noise=0.02), scaler(sources=("points",), **ground), World()
    relief.shift = 0.0
    world.inverse_depth[:] = 1 / 1.5
    for index in range(60):
        rows, columns = world.rng.integers(0, 120, 150), world.rng.integers(0, 160, 150)
        depth = 1.5 * (1 + noise * world.rng.normal(size=150))
        points = np.stack((CAMERA.ray_x[columns] * depth, CAMERA.ray_y[rows] * depth, depth), axis=1)
        robot.add(from_points(points, CAMERA, np.eye(4), index * FRAME_S))
        prediction = DepthPrediction(relief.prediction().inverse_depth, SIZE, zero_sigma=0.5)
        metric = robot.update(prediction, index * FRAME_S)
        assert index < 5 or (metric.published and world.abs_rel(metric) < 0.05)
    surprised = any("all are at about 1.5" in trouble for trouble in metric.troubles)
    assert surprised == (not ground_height_m)


def test_a_camera_that_sees_hardly_any_floor_has_the_sonar_s_metres():
    """22 degrees wide and level: the horizon is in the middle of its picture, the declared floor is right."""
    narrow, world = PinholeCamera.from_fov(160, 120, math.radians(22)), World()
    robot = MetricScaler(MetricScaleConfig(mode="anchors", sources=("range",), ground_height_m=1.2), narrow)
    for index in range(30):
        robot.add(from_range(2.0, RangeFinder(0.2, 0.2, 4.0), narrow, OPTICAL_FROM_BODY, index * FRAME_S))
        metric = robot.update(DepthPrediction(world.prediction().inverse_depth, SIZE, zero_sigma=0.5), index * FRAME_S)
    assert metric.published and any("hardly any ground is in view" in trouble for trouble in metric.troubles)


@pytest.mark.parametrize("own_zero", [False, True])
def test_a_robot_that_drives_up_to_a_wall_keeps_its_metres(own_zero):
    world, robot = World(noise=0.02), scaler(sources=("points",))
    world.shift = 0.0
    before = world.inverse_depth.copy()
    for index in range(90):
        share = min(max(index - 30, 0) / 30, 1.0)
        world.inverse_depth = ((1 - share) * before + share * 0.8).astype(np.float32)
        robot.add(world.points(index * FRAME_S))
        prediction = DepthPrediction(world.prediction().inverse_depth, SIZE, zero_sigma=0.5 * own_zero)
        told = robot.update(prediction, index * FRAME_S)
        assert index < 5 or (told.published and world.abs_rel(told) < 0.1)


@pytest.mark.parametrize("sensor", ["sonar", "points"])
def test_a_pitch_that_puts_the_horizon_below_the_image_leaves_metres_to_points_alone(sensor):
    world, robot = World(), scaler(ground_height_m=0.5, ground_pitch_rad=-1.0)
    told = run(robot, world, 30, anchors=lambda t: [world.sonar(t) if sensor == "sonar" else world.points(t)])[-1]
    assert "no ground is in view: check ground_pitch_rad" in told.message
    assert told.published == (sensor == "points")
