"""Metres that something contradicts: less sure, `degraded`, less of the way is free; and views that nothing does."""

import cv2
import numpy as np
import pytest

from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import (
    GroundPlane,
    MetricDepth,
    MetricScaleConfig,
    MetricScaler,
    PointAnchors,
    ScaleState,
    from_points,
)
from depthnet_ros.metric_scale.contrast import bare_patch, small_grey
from depthnet_ros.metric_scale.evidence import Floor
from depthnet_ros.metric_scale.tracker import ScaleTracker
from depthnet_ros.metric_scale.uncertainty import ResidualLevel

from .world import CAMERA, FRAME_S, SIZE, World

RNG = np.random.default_rng(1)
TEXTURE = RNG.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
FLOOR = GroundPlane.from_height(0.4, 0.1)
ROWS, COLUMNS = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]


def before_a_wall(wall_m: float = 2.0) -> World:
    world = World(noise=0.02)
    world.inverse_depth = np.maximum(FLOOR.inverse_depth(COLUMNS, ROWS, CAMERA), 1.0 / wall_m).astype(np.float32)
    return world


def drive(world: World, scaler: MetricScaler, frames: range, factor: float = 1.0, **faults) -> list[MetricDepth]:
    """``factor``: of the points' depth; ``flip``: the network's picture is upside down; ``picture``: RGB or None."""
    told = []
    for index in frames:
        scaler.add(world.points(index * FRAME_S, factor=factor))
        prediction = world.prediction()
        if faults.get("flip"):
            prediction = DepthPrediction(np.ascontiguousarray(prediction.inverse_depth[::-1]), SIZE)
        told.append(scaler.update(prediction, index * FRAME_S, faults.get("picture")))
    return told


def scaler(**settings) -> MetricScaler:
    return MetricScaler(MetricScaleConfig(mode="anchors", sources=("points",), **settings), CAMERA)


def test_a_picture_that_turns_upside_down_is_not_calibrated_and_is_unsure_within_half_a_second():
    world, robot = World(noise=0.02), scaler()
    healthy = drive(world, robot, range(300))[-1]
    assert healthy.state is ScaleState.CALIBRATED and healthy.estimate is not None
    turned = drive(world, robot, range(300, 315), flip=True)
    assert not any(metric.state is ScaleState.CALIBRATED for metric in turned[10:])
    last = [metric for metric in turned if metric.published][-1]
    assert last.estimate is not None and last.estimate.network_sigma > 3.0 * healthy.estimate.network_sigma
    again = drive(world, robot, range(315, 375))[-1]
    assert again.state is ScaleState.CALIBRATED and world.abs_rel(again) < 0.1


@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_the_sensor_s_own_outliers_do_not_make_the_network_unsure(outliers):
    world, robot = World(noise=0.05), scaler()
    for index in range(120):
        robot.add(world.points(index * FRAME_S, outliers=outliers))
        told = robot.update(world.prediction(), index * FRAME_S)
        assert index < 5 or told.state is ScaleState.CALIBRATED
    assert told.estimate is not None and told.estimate.network_sigma < 0.15


def test_the_level_follows_a_sudden_change_in_some_frames_and_noise_not_at_all():
    level, ones = ResidualLevel(0.1), np.ones(40)
    for _ in range(20):
        level.look(np.full(40, 0.93), ones)
    assert level.recent == pytest.approx(1.6 * 0.0753, rel=0.05) and level.present == 0.1
    for _ in range(5):
        level.look(np.full(40, 0.5), ones)
    assert 0.5 < level.present <= 1.0
    for _ in range(20):
        level.look(ones, ones)
    assert level.present == 0.1


def test_points_in_feet_over_a_declared_floor_leave_no_more_free_than_there_is():
    """What has all 3.28 times as far lies below the floor: one of the two is wrong, and nothing is cleared by it."""
    world, robot = before_a_wall(), scaler(ground_height_m=0.4, ground_pitch_rad=0.1)
    feet = drive(world, robot, range(60), factor=3.28)[-1]
    assert feet.published and feet.state is ScaleState.DEGRADED
    assert feet.caution == pytest.approx(3.28, rel=0.15) and "things may be up to 3." in feet.message
    depth = np.clip(feet.depth_m(*SIZE), 0.05, 50.0) / feet.caution
    assert np.median(depth / world.depth_m) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_right_points_and_such_that_have_all_nearer_ask_for_no_caution(factor):
    world, robot = before_a_wall(), scaler(ground_height_m=0.4, ground_pitch_rad=0.1)
    assert all(metric.caution == 1.0 for metric in drive(world, robot, range(60), factor=factor)[5:])


def test_points_that_have_all_farther_than_a_sonar_leave_no_more_free_than_that():
    """Without a declared floor: the sonar is the witness, asked now and then."""
    world = World(noise=0.02)
    robot = MetricScaler(MetricScaleConfig(mode="anchors", sources=("points", "range")), CAMERA)
    for index in range(60):
        robot.add(world.points(index * FRAME_S, factor=3.0))
        robot.add(world.sonar(index * FRAME_S))
        told = robot.update(world.prediction(), index * FRAME_S)
    assert told.caution == pytest.approx(3.0, rel=0.3)
    for index in range(60, 120):  # the sonar falls silent: there is no witness any more
        robot.add(world.points(index * FRAME_S, factor=3.0))
        told = robot.update(world.prediction(), index * FRAME_S)
    assert told.caution == 1.0


@pytest.mark.parametrize("every", [2, 3, 6])
def test_a_sonar_that_is_slower_than_the_camera_is_a_witness_all_the_time(every):
    world = World(noise=0.02)
    robot = MetricScaler(MetricScaleConfig(mode="anchors", sources=("points", "range")), CAMERA)
    for index in range(150):
        robot.add(world.points(index * FRAME_S, factor=3.0))
        if index % every == 0:
            robot.add(world.sonar(index * FRAME_S))
        told = robot.update(world.prediction(), index * FRAME_S)
        assert index < 12 * every or told.caution == pytest.approx(3.0, rel=0.4)


def test_when_wrong_points_end_and_a_sonar_goes_on_nothing_of_them_is_left():
    world = World(noise=0.02)
    robot = MetricScaler(MetricScaleConfig(mode="anchors", sources=("points", "range")), CAMERA)
    for index in range(300):
        if index < 60:
            robot.add(world.points(index * FRAME_S, factor=3.0))
        robot.add(world.sonar(index * FRAME_S))
        told = robot.update(DepthPrediction(world.prediction().inverse_depth, SIZE, zero_sigma=0.5), index * FRAME_S)
    assert told.published and told.caution == 1.0 and "times nearer" not in told.message


def test_a_misfit_of_points_that_come_no_more_is_forgotten():
    level, ones = ResidualLevel(0.1), np.ones(40)
    for _ in range(5):
        level.look(np.full(40, 0.5), ones)
    before = level.present
    level.pass_time(0.4, 0.5)
    assert level.present == before, "they may be slow"
    for _ in range(100):
        level.pass_time(0.1, 0.5)
    assert level.present == 0.1


def off_by(pitch_rad: float, **settings) -> list[MetricDepth]:
    """Right points over a floor whose pitch is declared wrong."""
    return drive(before_a_wall(), scaler(ground_height_m=0.4, ground_pitch_rad=0.1 + pitch_rad, **settings), range(60))


def test_a_ground_that_is_declared_to_be_uncertain_asks_for_less_caution():
    assert off_by(0.15)[-1].caution > 1.3
    assert off_by(0.15, ground_tilt_sigma_rad=0.3)[-1].caution == 1.0


def test_at_the_limit_caution_does_not_come_and_go():
    ends = []
    for pitch_rad in np.linspace(0.02, 0.12, 11):
        cautious = [metric.caution > 1.0 for metric in off_by(float(pitch_rad))[10:]]
        assert np.count_nonzero(np.diff(cautious)) <= 2
        ends.append(cautious[-1])
    assert ends[-1] and not ends[0]


def points_in(world: World, stamp_s: float, rows: tuple[int, int]) -> PointAnchors:
    row, column = RNG.integers(*rows, 60), RNG.integers(0, 160, 60)
    depth = world.depth_m[row, column]
    rays = np.stack((CAMERA.ray_x[column] * depth, CAMERA.ray_y[row] * depth, depth), axis=1)
    return from_points(rays, CAMERA, np.eye(4), stamp_s)


def with_patch(rows: slice, columns: slice, level: int = 225) -> np.ndarray:
    picture = TEXTURE.copy()
    noise = RNG.normal(0, 2, picture[rows, columns].shape)
    picture[rows, columns] = np.clip(level + noise, 0, 255).astype(np.uint8)
    return picture


WALL = with_patch(slice(0, 80), slice(0, 160))


@pytest.mark.parametrize("level", [6, 225])
def test_a_bare_wall_or_a_dirty_lens_is_told_and_less_is_free(level):
    world, robot = before_a_wall(), scaler(ground_height_m=0.4, ground_pitch_rad=0.1)
    bare, told = with_patch(slice(0, 80), slice(0, 160), level), []
    for index in range(60):
        robot.add(points_in(world, index * FRAME_S, (85, 120)))
        told.append(robot.update(world.prediction(), index * FRAME_S, bare if 40 <= index < 50 else TEXTURE))
    assert told[39].state is told[-1].state is ScaleState.CALIBRATED
    for metric in told[40:50]:
        assert metric.state is ScaleState.DEGRADED and metric.published and metric.caution == 1.5
        assert "% of the image shows no texture: a bare surface or a dirty lens" in metric.message


def test_a_wall_that_points_measure_needs_no_caution():
    """All over it; those beside it say nothing of it."""
    world, robot = before_a_wall(), scaler()
    for index in range(30):
        robot.add(points_in(world, index * FRAME_S, (0, 70) if index < 20 else (85, 120)))
        told = robot.update(world.prediction(), index * FRAME_S, WALL)
        if told.published:
            assert ("shows no texture" in told.message) == (index >= 20)


@pytest.mark.parametrize("gain", [1.0, 0.4, 0.2])
def test_in_dim_light_a_textured_room_is_not_bare_and_a_white_wall_is(gain):
    soft = cv2.resize(TEXTURE[::5, ::5], (640, 480), interpolation=cv2.INTER_CUBIC)
    noise = RNG.normal(0, 2, soft.shape)
    dim = np.clip(gain * soft + noise, 0, 255).astype(np.uint8)
    assert bare_patch(small_grey(dim)) is None
    dim[:320] = np.clip(gain * 225 + noise[:320], 0, 255).astype(np.uint8)
    assert bare_patch(small_grey(dim)) is not None


def test_a_bare_sky_is_far_and_asks_for_no_caution():
    world = before_a_wall(40.0)
    robot = scaler(ground_height_m=0.4, ground_pitch_rad=0.1, max_depth_m=50.0)
    told = drive(world, robot, range(40), picture=with_patch(slice(0, 50), slice(0, 160)))[-1]
    assert told.published and told.caution == 1.0 and "shows no texture" not in told.message


def test_a_large_patch_is_connected_and_where_the_picture_shows_something():
    patch = bare_patch(small_grey(WALL))
    assert patch is not None and patch.shape == (6, 8) and patch[:3].all() and not patch[4:].any()
    assert bare_patch(small_grey(TEXTURE)) is None
    assert bare_patch(small_grey(with_patch(slice(0, 40), slice(0, 100)))) is None, "a ninth of the picture"
    split = WALL.copy()
    split[:, 70:90] = TEXTURE[:, 70:90]
    split[40:80] = TEXTURE[40:80]
    assert bare_patch(small_grey(split)) is None, "two of a sixth"
    seen = np.ones(SIZE, bool)
    seen[:70] = False
    assert bare_patch(small_grey(WALL), seen) is None, "rectifying has left that black"


def test_where_the_picture_shows_little_the_patch_is_a_share_of_that():
    framed, seen = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, bool)
    seen[:, 40:120] = True
    framed[:, 40:120] = with_patch(slice(0, 60), slice(40, 120))[:, 40:120]
    patch = bare_patch(small_grey(framed), seen)
    assert patch is not None and patch[:2, 2:6].all() and np.count_nonzero(patch) == 8


def test_a_shaded_wall_is_bare_and_a_face_of_bricks_is_not():
    shade = np.broadcast_to((120 + 80 * COLUMNS / SIZE[1])[..., None], (*SIZE, 3)).astype(np.uint8)
    bricks = np.where(((ROWS // 8) % 2 == 0) ^ ((COLUMNS // 16) % 2 == 0), 140, 190).astype(np.uint8)
    assert bare_patch(small_grey(shade)) is not None
    assert bare_patch(small_grey(cv2.merge((bricks, bricks, bricks)))) is None


def test_caution_has_a_limit_where_the_estimate_has_the_floor_beyond_infinity():
    robot = ScaleTracker(MetricScaleConfig(mode="anchors"))
    robot.filter.state = np.array([1.0, -5.0])
    everywhere = np.ones(20)
    assert robot.caution(Floor(everywhere, everywhere, 0.03 * everywhere)) == 10.0
    robot.filter.state = np.array([0.5, 0.0])
    assert robot.caution(Floor(everywhere, everywhere, 0.03 * everywhere)) == pytest.approx(2.0)
    assert robot.caution(None) == robot.caution(Floor(everywhere, everywhere, everywhere, height_known=False)) == 1.0
