"""The camera's own motion, from flow and depth of a textured room."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricScaler, from_points
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.egomotion import CameraMotion, MotionFilter
from depthnet_ros.metric_scale.temporal import PixelFilter

from .room import BLOCK, Room
from .world import CAMERA, FRAME_S, SIZE

STILL = np.zeros(3)


@pytest.fixture(scope="module")
def room() -> Room:
    return Room()


def estimate(views, relative_scale: float = 1.0) -> list[CameraMotion]:
    """Motion from each view to the one before."""
    pixels, motions, found = PixelFilter(0.1, 0.05), MotionFilter(), []
    small = CAMERA.resized(80, 60)
    for (_, before), (inverse, now) in pairwise(views):
        grey, nearness = (cv2.resize(each, (80, 60), interpolation=cv2.INTER_AREA) for each in (now, inverse))
        found.append(motions.update(pixels._flow_to(before, now), grey, relative_scale * nearness, small))
    return found


@pytest.mark.parametrize("turn", [(0.01, 0.0, 0.0), (0.0, 0.02, 0.0), (0.0, 0.0, -0.015), (-0.01, 0.01, 0.02)])
def test_a_turn_is_found_in_one_frame(room, turn):
    motion = estimate([room.view(STILL, STILL), room.view(STILL, np.array(turn))])[0]
    assert motion.turn == pytest.approx(turn, abs=0.0025)


@pytest.mark.parametrize("velocity", [(0.0, 0.0, 0.03), (0.03, 0.0, 0.0), (0.01, -0.01, -0.02)])
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_steady_velocity_is_found_in_the_unit_of_the_depth(room, velocity, scale):
    views = [room.view(index * np.array(velocity), STILL) for index in range(12)]
    motion = estimate(views, scale)[-1]
    assert scale * motion.shift == pytest.approx(velocity, abs=0.006)
    assert motion.turn == pytest.approx(STILL, abs=0.002)


def test_flow_and_ratio_are_those_of_the_geometry(room):
    place, turn = np.array([0.02, -0.01, 0.04]), np.array([0.01, -0.008, 0.005])
    before, now = room.view(STILL, STILL)[0], room.view(place, turn)[0]
    flow, ratio = CameraMotion(turn.astype(np.float32), place.astype(np.float32)).flow_and_ratio(now, CAMERA)
    columns, rows = np.meshgrid(np.arange(160, dtype=np.float32), np.arange(120, dtype=np.float32))
    moved = ratio * cv2.remap(before, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    inner = np.s_[10:110, 10:150]
    assert np.median(np.abs(moved / now - 1)[inner]) < 5e-4
    assert np.median(np.abs(before / now - 1)[inner]) > 5e-3


def test_what_moves_by_itself_is_not_taken_for_the_camera(room):
    views = [room.view(STILL, STILL, block_m=3.0 - 0.05 * index) for index in range(20)]
    for motion in estimate(views):
        assert motion.shift == pytest.approx(STILL, abs=0.004) and motion.turn == pytest.approx(STILL, abs=0.002)


def test_without_a_picture_the_velocity_is_forgotten(room):
    moving = [room.view(index * np.array([0.0, 0.0, 0.03]), STILL) for index in range(12)]
    dark = [(moving[-1][0], np.zeros((120, 160), np.uint8))] * 100
    found = estimate(moving + dark)
    assert found[10].shift[2] > 0.02
    assert found[-1].shift == pytest.approx(STILL, abs=0.003) and found[-1].turn == pytest.approx(STILL, abs=1e-4)
    assert np.isfinite(estimate([(np.zeros((120, 160), np.float32), dark[0][1])] * 3)[-1].shift).all()


def test_a_motion_that_is_no_number_is_forgotten(room):
    """As of intrinsics that no camera has: numbers that are not finite would stay in the filter for good."""
    inverse, grey = (cv2.resize(each, (80, 60), interpolation=cv2.INTER_AREA) for each in room.view(STILL, STILL))
    small, motions = CAMERA.resized(80, 60), MotionFilter()
    flow = np.zeros((60, 80, 2), np.float32)
    beyond = PinholeCamera(80, 60, small.fx_px, small.fy_px, 1e38, small.cy_px)
    for camera in (small, beyond, small):
        with np.errstate(all="ignore"):
            found = motions.update(flow, grey, inverse, camera)
        assert np.isfinite(found.turn).all() and np.isfinite(found.shift).all()


def lag(frames, follow: bool, place=np.s_[:]) -> float:
    """Largest share that the filtered inverse depth of a place is behind the true one, median over the place, after the
    tenth frame."""
    config = MetricScaleConfig()
    pixels, worst = PixelFilter(config.temporal_gain, config.temporal_gate), 0.0
    for index, (inverse, image) in enumerate(frames):
        filtered = pixels.update(inverse, 0.0, image, CAMERA) if follow else pixels.update(inverse, 0.0, image)
        if index >= 10:
            worst = max(worst, float(np.median(np.abs(filtered / inverse - 1)[place])))
    return worst


def test_a_wall_that_the_camera_approaches_does_not_lag(room):
    frames = [room.view(np.array([0.0, 0.0, 0.03 * index]), STILL) for index in range(30)]
    assert lag(frames, follow=True) < 0.005
    assert lag(frames, follow=False) > 0.015


def test_a_turning_camera_s_depth_does_not_lag(room):
    frames = [room.view(STILL, np.array([0.0, 0.012 * index, 0.0])) for index in range(25)]
    wall = np.s_[20:60]
    assert lag(frames, follow=True, place=wall) < 0.003
    assert lag(frames, follow=False, place=wall) > 0.015


@pytest.mark.parametrize("speed", [0.0, 0.01, 0.02, 0.04])
@pytest.mark.parametrize("own", [0.0, 0.02])
def test_an_obstacle_that_comes_nearer_lags_by_a_frame_at_most_while_the_camera_moves(room, speed, own):
    """``speed``: of the obstacle, m per frame, from the tenth frame on; ``own``: of the camera, all the time."""
    frames = [
        room.view(np.array([0.0, 0.0, own * index]), STILL, 3.0 - speed * max(0, index - 10)) for index in range(30)
    ]
    config = MetricScaleConfig()
    pixels, last = PixelFilter(config.temporal_gain, config.temporal_gate), None
    for index, (inverse, image) in enumerate(frames):
        filtered = pixels.update(inverse, 0.0, image, CAMERA)
        true, behind = float(np.median(inverse[BLOCK])), float(np.median((inverse / filtered)[BLOCK]))
        if index >= 5 and last is not None:
            assert -0.02 <= behind - 1 <= max(true / last - 1, 0.02)  # a frame's motion, or what noise hides
        last = true


def test_the_scaler_s_depth_does_not_lag_behind_a_camera_that_turns(room):
    scaler, rng = MetricScaler(MetricScaleConfig(mode="anchors", monotone=False), CAMERA), np.random.default_rng(0)
    for index in range(25):
        inverse, image = room.view(STILL, np.array([0.0, 0.012 * index, 0.0]))
        row, column = rng.integers(0, 120, 150), rng.integers(0, 160, 150)
        depth = 1.0 / inverse[row, column]
        points = np.stack((CAMERA.ray_x[column] * depth, CAMERA.ray_y[row] * depth, depth), axis=1)
        scaler.add(from_points(points, CAMERA, np.eye(4), index * FRAME_S))
        metric = scaler.update(DepthPrediction(5.0 * inverse, SIZE), index * FRAME_S, image)
        if index >= 10:
            assert np.median(np.abs(metric.depth_m(*SIZE) * inverse - 1)[20:60]) < 0.005


@pytest.mark.parametrize("late_s", [0.08, -0.05])
def test_points_of_another_moment_are_turned_with_the_camera(room, late_s):
    """A lidar's points are up to a tenth of a second old: at 1 rad/s that is six degrees, half a door at 2 m."""
    rate, scales = 1.5, {}
    for name, follows, gap_s in (("same moment", True, 0.0), ("turned", True, late_s), ("as they are", False, late_s)):
        config = MetricScaleConfig(mode="anchors", sources=("points",), source_timeout_s=2.0, temporal_filter=follows)
        scaler, rng = MetricScaler(config, CAMERA), np.random.default_rng(0)
        for index in range(30):
            stamp_s = index * FRAME_S
            inverse, grey = room.view(STILL, np.array([0.0, rate * stamp_s - 0.5, 0.0]), 2.0)
            then, _ = room.view(STILL, np.array([0.0, rate * (stamp_s - gap_s) - 0.5, 0.0]), 2.0)
            row, column = rng.integers(0, 120, 300), rng.integers(0, 160, 300)
            depth_m = 1.0 / then[row, column].astype(np.float64)
            points = np.stack((CAMERA.ray_x[column] * depth_m, CAMERA.ray_y[row] * depth_m, depth_m), axis=1)
            scaler.add(from_points(points, CAMERA, np.eye(4), stamp_s - gap_s))
            metric = scaler.update(DepthPrediction(7.0 * inverse + 1.0, SIZE), stamp_s, grey)
        scales[name] = metric.estimate.scale
    off = {name: abs(scale / scales["same moment"] - 1.0) for name, scale in scales.items()}
    assert off["turned"] < 0.5 * off["as they are"] and off["as they are"] > 0.05


def approach(pixels: PixelFilter, room: Room, frames: range, gain: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """What is given out of the last of these frames, by a network of that unit."""
    for frame in frames:
        inverse, grey = room.view(np.array([0.0, 0.0, 0.08 * frame]), np.zeros(3), 3.0)
        found = pixels.update(np.float32(gain) * inverse + np.float32(offset), offset, grey, CAMERA)
    return found


def test_the_camera_s_way_goes_on_in_a_new_unit_and_begins_anew_with_a_scene(room):
    one, stepping, cut, fresh = (PixelFilter(0.1, 0.05) for _ in range(4))
    want = approach(one, room, range(8))
    approach(stepping, room, range(6))
    stepping.change_unit(5.0, 2.0)
    found = approach(stepping, room, range(6, 8), 5.0, 2.0)
    np.testing.assert_allclose((found - 2.0) / 5.0, want, atol=1e-4)
    approach(cut, room, range(8))
    cut.reset()
    np.testing.assert_array_equal(approach(cut, room, range(3)), approach(fresh, room, range(3)))
