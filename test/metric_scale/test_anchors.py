"""Measurements to anchors: geometry, and input that cannot be used."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthnet_ros.bags.messages import depth_image
from depthnet_ros.errors import CameraInfoError, ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.messages.anchors import anchor_from_message
from depthnet_ros.metric_scale import (
    AnchorError,
    GroundPlane,
    MetricScaleConfig,
    RangeFinder,
    ScanGeometry,
    from_depth_image,
    from_points,
    from_range,
    from_scan,
    mounted,
    optical_from_sensor,
    pose_from_quaternion,
)
from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.ground import GroundView
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .world import CAMERA, FOV


def test_pose_of_a_sensor_above_the_camera_looking_down():
    pose = optical_from_sensor([0.1, 0.0, 0.2, 0.0, math.pi / 2, 0.0])
    ahead_of_sensor = pose @ [1.0, 0.0, 0.0, 1.0]
    assert ahead_of_sensor[:3] == pytest.approx([0.0, 0.8, 0.1])  # one metre down, from 0.2 above and 0.1 before


@settings(deadline=None, max_examples=50)
@given(st.floats(-3, 3), st.floats(-1.5, 1.5), st.floats(-3, 3))
def test_poses_are_rigid(roll, pitch, yaw):
    rotation = optical_from_sensor([0, 0, 0, roll, pitch, yaw])[:3, :3]
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_quaternion_of_a_quarter_turn():
    half = math.sqrt(0.5)
    pose = pose_from_quaternion([1, 2, 3], [0, 0, half, half])
    assert pose @ [1, 0, 0, 1] == pytest.approx([1, 3, 3, 1])
    with pytest.raises(ConfigError, match="rigid"):
        pose_from_quaternion([0, 0, 0], [0, 0, 0, 0])


def test_scan_draws_a_line_through_the_middle():
    anchors = from_scan([2.0] * 21, ScanGeometry(-0.2, 0.02, 0.1, 10.0), CAMERA, OPTICAL_FROM_BODY, 0.0)
    assert anchors.v_px == pytest.approx(CAMERA.cy_px)
    assert 1 / anchors.inverse_depth == pytest.approx(2.0 * np.cos(np.linspace(-0.2, 0.2, 21)))
    assert anchors.u_px[0] > anchors.u_px[-1]  # angles grow to the left


def test_a_level_scanner_tells_where_down_is():
    pose = optical_from_sensor([0, 0, -0.3, 0, -0.2, 0])  # the camera looks down by 0.2 beside it
    level = from_scan([2.0] * 9, ScanGeometry(-0.04, 0.01, 0.1, 10.0), CAMERA, pose, 0.0, level=True)
    assert level.down == pytest.approx(GroundPlane.from_height(1.0, 0.2).down)
    assert level.thinned(3).down is level.down
    hung = optical_from_sensor([0, 0, -0.3, math.pi, -0.2, 0])
    upside_down = from_scan([2.0] * 9, ScanGeometry(-0.04, 0.01, 0.1, 10.0), CAMERA, hung, 0.0, level=True)
    assert upside_down.down == pytest.approx(level.down, abs=1e-9)
    assert from_scan([2.0] * 9, ScanGeometry(-0.04, 0.01, 0.1, 10.0), CAMERA, pose, 0.0).down is None


def test_scan_takes_only_measurements():
    ranges = [math.nan, math.inf, -math.inf, -1.0, 0.0, 0.05, 20.0, 2.0]
    assert len(from_scan(ranges, ScanGeometry(-0.05, 0.01, 0.1, 10.0), CAMERA, OPTICAL_FROM_BODY, 0.0)) == 1
    with pytest.raises(AnchorError, match="none of 3 ranges"):
        from_scan([math.nan] * 3, ScanGeometry(0.0, 0.01, 0.1, 10.0), CAMERA, OPTICAL_FROM_BODY, 0.0)
    with pytest.raises(AnchorError, match="angle_increment"):
        from_scan([1.0], ScanGeometry(0.0, 0.0, 0.1, 10.0), CAMERA, OPTICAL_FROM_BODY, 0.0)


@pytest.mark.parametrize(
    ("first", "step", "beams"), [(-90.0, 0.5, 361), (0.0, 1.0, 360), (-20.0, 0.5, 5), (180.0, -1.0, 360)]
)
def test_a_scan_in_degrees_is_refused(first: float, step: float, beams: int) -> None:
    with pytest.raises(AnchorError, match="angles are in radians"):
        from_scan([2.0] * beams, ScanGeometry(first, step, 0.1, 10.0), CAMERA, OPTICAL_FROM_BODY, 0.0)
    first, step = math.radians(first), math.radians(step)
    pose = optical_from_sensor([0.0, 0.0, 0.0, 0.0, 0.0, -first])
    assert len(from_scan([2.0] * beams, ScanGeometry(first, step, 0.1, 10.0), CAMERA, pose, 0.0)) > 2


@pytest.mark.parametrize(("first", "beams"), [(-math.pi, 721), (0.0, 721), (math.pi, 721), (-2.0 * math.pi, 760)])
def test_a_scan_of_a_whole_turn_and_a_little_is_used(first: float, beams: int) -> None:
    scan = ScanGeometry(first, math.pi / 360.0, 0.1, 10.0)
    assert len(from_scan([2.0] * beams, scan, CAMERA, OPTICAL_FROM_BODY, 0.0)) > 50


def test_points_behind_outside_and_not_finite_are_counted():
    points = [[0, 0, -1], [9, 0, 1], [math.nan, 0, 1]]
    with pytest.raises(AnchorError, match="1 not finite or zero, 1 behind the camera, 1 outside"):
        from_points(np.array(points, float), CAMERA, np.eye(4), 0.0)


def test_hidden_points_are_left_out_where_sensor_and_camera_differ():
    near = np.stack(np.meshgrid(np.linspace(-0.3, 0.3, 10), np.linspace(-0.3, 0.3, 10), [1.0]), -1).reshape(-1, 3)
    far = near * 4.0
    aside = np.eye(4)
    aside[0, 3] = 0.2
    points = np.concatenate((near, far)) - aside[:3, 3]
    kept = from_points(points, CAMERA, aside, 0.0)
    assert (1 / kept.inverse_depth < 1.1).all()
    assert len(from_points(np.concatenate((near, far)), CAMERA, np.eye(4), 0.0)) == 200


def test_depth_image_of_a_few_zones():
    zones = PinholeCamera.from_fov(8, 8, 0.8)
    depth = np.full((8, 8), 1.5)
    depth[0] = [math.nan, 0, -1, math.inf, 1.5, 1.5, 1.5, 1.5]
    anchors = from_depth_image(depth, zones, CAMERA, np.eye(4), 0.0)
    assert len(anchors) == 60 and 1 / anchors.inverse_depth == pytest.approx(1.5)


def test_a_depth_sensor_is_mounted_like_the_others_and_speaks_optically():
    """A ToF sensor of 8 x 8 zones at the camera, its pose left at zero, with its own field of view."""
    message = depth_image(np.full((8, 8), 1.5, np.float32), "32FC1", 0, "tof")
    pose = mounted("depth", [0.0] * 6)
    np.testing.assert_allclose(pose, np.eye(4), atol=1e-12)
    own = anchor_from_message("depth", message, CAMERA, pose, MetricScaleConfig(depth_fov_rad=0.4))
    registered = anchor_from_message("depth", message, CAMERA, pose, MetricScaleConfig())
    assert len(own) == len(registered) == 64
    assert 1 / own.inverse_depth == pytest.approx(1.5)
    assert np.ptp(own.u_px) < 0.5 * np.ptp(registered.u_px)
    raised = mounted("depth", [0.0, 0.0, 0.2, 0.0, 0.0, 0.0])  # 0.2 m above the camera: its points lie higher up
    assert raised @ [0, 0, 1, 1] == pytest.approx([0, -0.2, 1, 1])
    np.testing.assert_array_equal(mounted("range", [0.0] * 6), OPTICAL_FROM_BODY)


def test_variance_follows_the_range():
    anchors = from_points(np.array([[0, 0, 1.0], [0, 0.1, 4.0]]), CAMERA, np.eye(4), 0.0)
    sigma_m = np.sqrt(anchors.variance) / anchors.inverse_depth**2
    assert sigma_m == pytest.approx([math.hypot(0.02, 0.01), math.hypot(0.02, 0.04)], rel=0.01)


def sonar(reading, fov=FOV, low=0.05, high=6.0, pose=OPTICAL_FROM_BODY):
    return from_range(reading, RangeFinder(fov, low, high), CAMERA, pose, 0.0)


def test_cone_lies_on_a_cap_around_the_axis():
    cone = sonar(2.0)
    assert cone.reading is Reading.MEASURED and cone.inverse_depth[0] == pytest.approx(0.5)
    assert cone.inverse_depth.max() < 0.5 / math.cos(0.5 * FOV)
    assert cone.u_px.mean() == pytest.approx(CAMERA.cx_px, abs=0.5)


@pytest.mark.parametrize(
    ("reading", "kind", "range_m"),
    [(math.inf, Reading.FARTHER, 6.0), (6.0, Reading.FARTHER, 6.0), (-math.inf, Reading.NEARER, 0.05)],
)
def test_out_of_range_is_censored(reading, kind, range_m):
    cone = sonar(reading)
    assert cone.reading is kind and cone.range_m == range_m


def test_sensor_of_fixed_distance_gives_inequalities():
    assert sonar(math.inf, low=1.0, high=1.0).reading is Reading.FARTHER
    assert sonar(-math.inf, low=1.0, high=1.0).reading is Reading.NEARER


@pytest.mark.parametrize("reading", [math.nan, -0.5])
def test_readings_that_cannot_be(reading):
    with pytest.raises(AnchorError, match="cannot be"):
        sonar(reading)


@pytest.mark.parametrize("fov", [0.0, -0.1, math.nan, 4.0])
def test_cone_without_angle(fov):
    with pytest.raises(AnchorError, match="field_of_view"):
        sonar(1.0, fov=fov)


def test_limits_that_make_no_sense():
    with pytest.raises(AnchorError, match="limits"):
        sonar(1.0, low=2.0, high=1.0)


def test_cone_that_looks_elsewhere():
    with pytest.raises(AnchorError, match="the camera sees 0% of the cone"):
        sonar(1.0, pose=optical_from_sensor([0, 0, 0, 0, 0, math.pi]))


def test_nearest_surface_of_a_cone_is_found():
    cone = sonar(1.0)
    relative = np.full(len(cone.u_px), 0.2)
    block = np.hypot(cone.u_px - 90, cone.v_px - 60) < 10
    relative[block] = 1.0
    middle, top = cone.resolve(relative, 1.0, 0.0)
    assert block[middle] and block[top].mean() > 0.7


@settings(deadline=None, max_examples=50)
@given(st.floats(0.2, 3.0), st.floats(-0.2, 1.2), st.floats(-0.3, 0.3))
def test_ground_inverse_depth_is_that_of_the_plane(height, pitch, roll):
    plane = GroundPlane.from_height(height, pitch, roll)
    u, v = np.array([40.0, 120.0, 80.0]), np.array([119.0, 110.0, 100.0])
    inverse = plane.inverse_depth(u, v, CAMERA)
    below = inverse > 1e-3
    rays = np.stack(((u - CAMERA.cx_px) / CAMERA.fx_px, (v - CAMERA.cy_px) / CAMERA.fy_px, np.ones(3)), axis=1)
    points = rays[below] / inverse[below, None]
    assert points @ plane.down == pytest.approx(height)
    level = plane.levelled_from_optical
    assert points @ level[2, :3] + level[2, 3] == pytest.approx(0.0, abs=1e-6)


def test_what_is_ahead_of_a_camera_that_looks_down_does_not_turn_with_a_sway():
    """Nor of one that looks up: past the vertical the optical axis points the other way along the ground."""
    for pitch in (-1.0, 1.0):
        ahead = [
            GroundPlane.from_height(3.0, pitch * math.radians(90.0 + sway)).levelled_from_optical[0, :3]
            for sway in (-16.0, -1.0, -0.1, 0.0, 0.1, 1.0, 16.0)
        ]
        assert all(np.array([0.0, -pitch, 0.0]) @ forward > 0.95 for forward in ahead)


def test_ground_from_a_transform_is_that_of_height_and_pitch():
    plane = GroundPlane.from_height(0.7, 0.2, 0.1)
    again = GroundPlane.from_pose(plane.levelled_from_optical)
    assert again.down == pytest.approx(plane.down) and again.height_m == pytest.approx(0.7)


@pytest.mark.parametrize("height", [0.0, -1.0, math.nan])
def test_height_must_be_positive(height):
    with pytest.raises(ConfigError, match="height"):
        GroundPlane.from_height(height)


def test_no_ground_in_view():
    with pytest.raises(AnchorError, match="horizon"):
        GroundView.of(GroundPlane.from_height(1.0, -1.2), CAMERA)


def test_points_farther_than_depth_is_given_out_are_left_out():
    anchors = from_points(np.array([[0, 0, 1.0], [0, 0.1, 4.0], [0.1, 0, 60.0]]), CAMERA, np.eye(4), 0.0)
    assert len(anchors.within(20.0)) == 2 and anchors.within(100.0) is anchors
    assert 1 / anchors.within(20.0).inverse_depth == pytest.approx([1.0, 4.0])


@pytest.mark.parametrize("points", [np.empty((0, 3)), np.full((5, 3), np.nan)])
def test_a_sensor_that_sees_nothing_is_not_called_misplaced(points):
    with pytest.raises(AnchorError, match="nothing in range"):
        from_points(points, CAMERA, np.eye(4), 0.0)


def test_of_a_large_measurement_enough_is_looked_at():
    """A depth camera of a million pixels, or a lidar of as many points, is not kept whole to use a few hundred."""
    camera = PinholeCamera.from_fov(1280, 720, 1.2)
    depth_m = np.full((720, 1280), 2.0, np.float32)
    anchors = from_depth_image(depth_m, camera, camera, np.eye(4), 0.0)
    assert 2000 < len(anchors) <= 8192
    np.testing.assert_allclose(anchors.inverse_depth, 0.5)
    columns, rows = np.unique(anchors.u_px.round(3)), np.unique(anchors.v_px.round(3))
    assert np.ptp(columns) > 1200 and np.ptp(rows) > 680, "from all over the image"
    points = np.concatenate([camera.unproject(depth_m).reshape(-1, 3)] * 2)
    assert 2000 < len(from_points(points, camera, np.eye(4), 0.0)) <= 8192


def test_a_depth_image_of_another_size_than_its_camera_is_refused():
    camera = PinholeCamera.from_fov(64, 48, 1.2)
    with pytest.raises(CameraInfoError, match="64x48"):
        from_depth_image(np.ones((24, 32), np.float32), camera, camera, np.eye(4), 0.0)


def test_a_range_that_stands_for_no_return_is_no_measurement():
    ranges = [2.0, 10.0, 10.0, 3.0, 2.5]  # range_max
    assert len(from_scan(ranges, ScanGeometry(-0.02, 0.01, 0.1, 10.0), CAMERA, OPTICAL_FROM_BODY, 0.0)) == 3


@pytest.mark.parametrize("beams", [16, 32, 64, 128])
def test_a_large_cloud_is_thinned_over_all_beams(beams):
    """In the order in which they fire: every so-many-th may be the same few beams all over."""
    count = 1800
    pitch = np.tile(np.linspace(-0.2, 0.2, beams), count)
    yaw = np.repeat(np.linspace(-0.4, 0.4, count), beams)
    ways = np.stack((np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)), axis=1)
    anchors = from_points(5.0 * ways, CAMERA, OPTICAL_FROM_BODY, 0.0)
    assert len(anchors) > 1000
    rows = (anchors.v_px - CAMERA.cy_px) / CAMERA.fy_px
    seen = np.arctan(-rows * np.cos(np.arctan((anchors.u_px - CAMERA.cx_px) / CAMERA.fx_px)))
    used = {int(beam) for beam in np.rint((seen + 0.2) / 0.4 * (beams - 1))}
    assert len(used) == beams
