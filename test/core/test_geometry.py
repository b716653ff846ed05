"""Cameras against analytic planes, and distortion against OpenCV's own projection."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import camera_from_info
from depthnet_ros.geometry.lens import LensCalibration, is_called_raw
from depthnet_ros.geometry.rectify import ImageViewer, Rectifier

cameras = st.builds(
    PinholeCamera,
    st.integers(2, 40),
    st.integers(2, 40),
    st.floats(5, 100),
    st.floats(5, 100),
    st.floats(-5, 45),
    st.floats(-5, 45),
)


@given(cameras, st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.5, 10))
def test_a_plane_unprojects_onto_itself(camera, a, b, distance):
    """The plane z = a x + b y + d has inverse depth (1 - a rx - b ry) / d along the ray (rx, ry, 1)."""
    inverse = (1 - a * camera.ray_x[None, :].astype(float) - b * camera.ray_y[:, None].astype(float)) / distance
    depth = np.where(inverse > 1e-3, 1 / np.maximum(inverse, 1e-3), np.nan)
    points = camera.unproject(depth).reshape(-1, 3).astype(float)
    points = points[np.isfinite(points[:, 2])]
    np.testing.assert_allclose(points[:, 2] - a * points[:, 0] - b * points[:, 1], distance, rtol=2e-3)


@given(cameras, st.floats(0.1, 100))
def test_projection_undoes_unprojection(camera, depth):
    points = camera.unproject(np.full((camera.height_px, camera.width_px), depth)).reshape(-1, 3)
    u, v = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    np.testing.assert_allclose(camera.project(points), np.stack((u.ravel(), v.ravel()), 1), atol=2e-3)


def test_points_behind_the_camera_have_no_pixel():
    camera = PinholeCamera.from_fov(64, 48, 1.0)
    assert np.isnan(camera.project(np.array([[0.0, 0.0, -1.0], [1.0, 1.0, 0.0]]))).all()


def test_resize_crop_and_stride_keep_the_rays():
    camera = PinholeCamera(64, 48, 50.0, 52.0, 30.0, 25.0)
    half = camera.resized(32, 24)
    centre_of_block = (camera.ray_x[0::2] + camera.ray_x[1::2]) / 2
    np.testing.assert_allclose(half.ray_x, centre_of_block, atol=1e-6)
    np.testing.assert_allclose(camera.strided(3).ray_y, camera.ray_y[::3], atol=1e-6)
    assert camera.strided(5).width_px == len(range(0, 64, 5))
    np.testing.assert_allclose(camera.cropped(7, 9, 20, 10).ray_x, camera.ray_x[7:27], atol=1e-6)


@pytest.mark.parametrize(
    "values", [(0, 4, 1, 1, 0, 0), (4, 4, 0, 1, 0, 0), (4, 4, -1, 1, 0, 0), (4, 4, 1, float("nan"), 0, 0)]
)
def test_impossible_cameras_are_refused(values):
    with pytest.raises(CameraInfoError):
        PinholeCamera(*values)


def test_depth_of_another_size_is_refused():
    with pytest.raises(CameraInfoError, match="depth is 3x2 but the camera 4x4"):
        PinholeCamera(4, 4, 1, 1, 0, 0).unproject(np.ones((2, 3)))


@pytest.mark.parametrize(
    ("model", "distortion"), [("plumb_bob", [-0.3, 0.1, 0.001, -0.002, 0.0]), ("equidistant", [0.05, -0.01, 0.0, 0.0])]
)
def test_rectified_image_shows_points_where_the_pinhole_camera_has_them(model, distortion):
    camera = PinholeCamera(320, 240, 180.0, 181.0, 160.0, 118.0)
    matrix = np.array([[camera.fx_px, 0, camera.cx_px], [0, camera.fy_px, camera.cy_px], [0, 0, 1]])
    point = np.array([[[0.5, -0.3, 1.0]]])
    if model == "equidistant":
        raw, _ = cv2.fisheye.projectPoints(point, np.zeros(3), np.zeros(3), matrix, np.array(distortion))
    else:
        raw, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), matrix, np.array(distortion))
    u, v = raw.ravel()
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, (round(u), round(v)), 4, (255, 255, 255), -1)
    lens = LensCalibration(camera, camera, tuple(distortion), model)
    rectified = Rectifier(lens)(image)[..., 0].astype(float)
    rows, columns = np.mgrid[:240, :320]
    seen = (rectified * columns).sum() / rectified.sum(), (rectified * rows).sum() / rectified.sum()
    np.testing.assert_allclose(seen, camera.project(point[0])[0], atol=1.0)
    assert lens.largest_shift_px() > 5


@pytest.mark.parametrize(
    ("focal_px", "distortion", "model"),
    [
        (300, [-0.35, 0.12, 0.0, 0.0, -0.02], "plumb_bob"),
        (400, [-0.42, 0.2, 0.0, 0.0, -0.05], "plumb_bob"),
        (220, [-0.25, 0.05, 0.0, 0.0, -0.004], "plumb_bob"),
        (250, [0.0] * 4, "equidistant"),
    ],
)
def test_a_lens_that_bends_too_much_to_be_undone_is_not_called_straight(focal_px, distortion, model):
    """cv2.undistortPoints gives its input back where its iteration fails."""
    camera = PinholeCamera(640, 480, focal_px, focal_px, 319.5, 239.5)
    assert LensCalibration(camera, camera, tuple(distortion), model).largest_shift_px() > 50


@pytest.mark.parametrize("bend", [0.0, -0.05])
def test_a_stereo_camera_s_rotation_and_projection_count_as_the_lens_does(bend):
    """What rectifying moves, by OpenCV's own map for it; with a rig that is turned by degrees."""
    raw = PinholeCamera(640, 480, 600.0, 600.0, 320.0, 240.0)
    matrix, distortion = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), np.array([bend, 0.01, 0.0, 0.0, 0.0])
    turn, _ = cv2.Rodrigues(np.radians((1.0, 5.0, 0.5)))
    shift = np.array((-0.12, 0.0, 0.0))
    rotation, _, projection, *_ = cv2.stereoRectify(matrix, distortion, matrix, distortion, (640, 480), turn, shift)
    rectified = PinholeCamera(640, 480, *projection[[0, 1, 0, 1], [0, 1, 2, 2]])
    lens = LensCalibration(raw, rectified, tuple(distortion), "plumb_bob", tuple(rotation.ravel()))
    maps = cv2.initUndistortRectifyMap(matrix, distortion, rotation, projection, (640, 480), cv2.CV_32FC1)
    moved = [
        np.abs(place - pixel).max() for place, pixel in zip(maps, np.meshgrid(range(640), range(480)), strict=True)
    ]
    assert max(moved) > 32.0
    assert lens.largest_shift_px() == pytest.approx(max(moved), rel=0.02)
    with pytest.raises(CameraInfoError, match="called raw: set rectify"):
        lens.check_unrectified("/left/image_raw")
    assert "would move pixels by up to" in lens.check_unrectified("/left/image_rect")


def test_a_wide_lens_without_distortion_is_doubted():
    for degrees, said in ((110, ""), (150, "undistorted 150-degree pinhole camera")):
        camera = PinholeCamera.from_fov(64, 48, math.radians(degrees))
        assert said in LensCalibration(camera, camera, (0.0,) * 5).check_unrectified("/image_rect")
        assert bool(LensCalibration(camera, camera).check_unrectified("/image_raw")) == bool(said)
        assert "pinhole" not in LensCalibration(camera, camera, (1e-5, 0.0, 0.0, 0.0)).check_unrectified("/image_rect")


def test_no_distortion_moves_nothing_and_unknown_models_are_refused():
    camera = PinholeCamera.from_fov(32, 24, 1.0)
    straight = LensCalibration(camera, camera, (0.0,) * 5)
    assert straight.largest_shift_px() == LensCalibration(camera, camera, (), "").largest_shift_px() == 0.0
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Rectifier(straight)(image), image)
    with pytest.raises(CameraInfoError, match="'spherical' is unknown"):
        Rectifier(LensCalibration(camera, camera, (0.1,), "spherical"))
    wrong = [
        ("equidistant", 1),
        ("plumb_bob", 1),
        ("plumb_bob", 3),
        ("plumb_bob", 6),
        ("rational_polynomial", 16),
        ("", 7),
    ]
    for model, count in wrong:
        for call in (Rectifier, LensCalibration.largest_shift_px):
            with pytest.raises(CameraInfoError, match="finite coefficients"):
                call(LensCalibration(camera, camera, (0.1,) * count, model))


def test_pixels_that_the_raw_image_does_not_have_are_known():
    camera = PinholeCamera(320, 240, 180.0, 181.0, 160.0, 118.0)
    wide = PinholeCamera(320, 240, 90.0, 90.0, 160.0, 118.0)  # rectified to a wider view than the lens has
    rectifier = Rectifier(LensCalibration(camera, wide))
    white = rectifier(np.full((240, 320, 3), 255, np.uint8))
    np.testing.assert_array_equal(rectifier.valid_mask, (white == 255).all(axis=2))
    assert 0.1 < rectifier.valid_mask.mean() < 0.6


def test_what_rectifying_would_leave_as_it_is_is_told():
    camera, wide = PinholeCamera(64, 48, 50.0, 50.0, 31.5, 23.5), PinholeCamera(64, 48, 40.0, 40.0, 31.5, 23.5)
    turned = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for rotation in ((), (0.0,) * 9, tuple(np.eye(3).ravel())):
        lens = LensCalibration(camera, camera, (0.0,) * 5, rotation=rotation)
        assert lens.is_rectified
        rectifier = Rectifier(lens)
        np.testing.assert_array_equal(rectifier(image), image)
        assert rectifier.valid_mask.all()
    assert not LensCalibration(camera, camera, (0.1, 0.0, 0.0, 0.0, 0.0)).is_rectified
    assert not LensCalibration(camera, camera, (0.0,) * 4, "equidistant").is_rectified
    assert not LensCalibration(camera, wide).is_rectified
    assert not LensCalibration(camera, camera, rotation=turned).is_rectified


def test_a_calibration_that_changes_is_taken_over_and_a_bad_one_is_not_kept():
    """As a camera whose mode is switched says it, message by message."""
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)

    def info(focal_px: float, bend: float) -> SimpleNamespace:
        k = np.array((focal_px, 0.0, 31.5, 0.0, focal_px, 23.5, 0.0, 0.0, 1.0))
        p = np.insert(k, (3, 6, 9), 0.0)
        roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
        return SimpleNamespace(
            width=64, height=48, k=k, p=p, d=np.array((bend, 0.0, 0.0, 0.0, 0.0)), r=np.eye(3).ravel(),
            distortion_model="plumb_bob", binning_x=0, binning_y=0, roi=roi,
        )  # fmt: skip

    viewer = ImageViewer("/camera/image_raw", rectify=True)
    plain, bent = viewer.view(rgb, info(50.0, 0.0)), viewer.view(rgb, info(50.0, -0.3))
    assert plain.rgb is rgb and plain.valid_mask is None and plain.camera == bent.camera
    assert bent.valid_mask is not None and (bent.rgb != rgb).any()
    longer = viewer.view(rgb, info(60.0, 0.0))
    assert longer.rgb is rgb and longer.camera is not None and longer.camera.fx_px == 60.0
    for _ in range(2):  # the second time, too
        with pytest.raises(CameraInfoError, match="not calibrated"):
            viewer.view(rgb, _zero(info(50.0, 0.0)))
    assert viewer.view(rgb, info(60.0, 0.0)).camera == longer.camera


def _zero(info: SimpleNamespace) -> SimpleNamespace:
    info.k, info.p = np.zeros(9), np.zeros(12)
    return info


@pytest.mark.parametrize(
    ("topic", "raw"),
    [
        ("/cam/image_raw", True),
        ("/cam/image_raw/compressed", True),
        ("/cam/raw/image", True),
        ("/drawer/image_rect", False),
        ("/crawler/camera/image", False),
        ("image", False),
    ],
)
def test_what_a_topic_calls_its_image(topic, raw):
    assert is_called_raw(topic) == raw


def test_resized_strided_and_cropped_cameras_see_the_same_rays():
    """By pixel centres, across and down alike; no two numbers of this camera are alike."""
    camera = PinholeCamera(64, 48, 50.0, 60.0, 30.25, 21.75)
    u, v = 20.0, 32.0
    ray = (u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px
    seen = {
        camera.resized(32, 16): ((u + 0.5) / 2 - 0.5, (v + 0.5) / 3 - 0.5),
        camera.strided(4): (u / 4, v / 4),
        camera.cropped(3, 5, 20, 20): (u - 3, v - 5),
    }
    for other, (x, y) in seen.items():
        np.testing.assert_allclose(((x - other.cx_px) / other.fx_px, (y - other.cy_px) / other.fy_px), ray)


@pytest.mark.parametrize("changed", ["fx_px", "fy_px", "cx_px", "cy_px"])
def test_two_cameras_are_as_far_apart_as_the_farthest_corner_moves(changed):
    """A zoom, or a calibration made anew: each of the four numbers alone."""
    camera = PinholeCamera(64, 48, 50.0, 60.0, 20.0, 30.0)
    other = replace(camera, **{changed: 1.1 * getattr(camera, changed)})
    corners = np.array([(u, v) for u in (0.0, 63.0) for v in (0.0, 47.0)])
    rays = np.stack(
        (
            (corners[:, 0] - other.cx_px) / other.fx_px,
            (corners[:, 1] - other.cy_px) / other.fy_px,
            np.ones(4),
        ),
        axis=1,
    )
    moved = np.linalg.norm(camera.project(rays) - corners, axis=1).max()
    assert moved > 1.5
    assert camera.largest_shift_px(other) == pytest.approx(moved)
    assert camera.largest_shift_px(camera.resized(32, 24)) == math.inf


def _info(focal_px: float = 50.0, **changed: object) -> SimpleNamespace:
    k = np.array((focal_px, 0.0, 31.0, 0.0, focal_px + 4.0, 23.0, 0.0, 0.0, 1.0))
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    values = {
        "width": 64, "height": 48, "k": k, "p": np.insert(k, (3, 6, 9), 0.0), "d": np.zeros(5), "r": np.eye(3).ravel(),
        "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0, "roi": roi,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changed})


def test_intrinsics_are_those_of_the_window_that_the_image_is():
    """ROI in pixels of the full picture, before binning (sensor_msgs/CameraInfo)."""
    roi = SimpleNamespace(x_offset=8, y_offset=4, width=40, height=36)
    camera = camera_from_info(_info(roi=roi, binning_x=2, binning_y=4), 20, 9)
    assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px) == (25.0, 13.5, 11.5, 4.75)
    with pytest.raises(CameraInfoError, match="describes 20x9 pixels but the image has 64x48"):
        camera_from_info(_info(roi=roi, binning_x=2, binning_y=4), 64, 48)


@pytest.mark.parametrize(("index", "value"), [(0, 1e38), (4, 1e9), (2, 1e38), (5, -1e9)])
def test_intrinsics_beyond_any_camera_are_refused(index: int, value: float):
    """Squares of their rays have no place in float32."""
    k = _info().k.copy()
    k[index] = value
    with pytest.raises(CameraInfoError, match="64x48"):
        camera_from_info(_info(k=k, p=np.zeros(12)), 64, 48)


def test_p_is_for_rectified_images_and_k_where_p_is_empty():
    assert camera_from_info(_info(p=2.0 * _info().p), 64, 48).fx_px == 100.0
    assert camera_from_info(_info(p=2.0 * _info().p), 64, 48, rectified=False).fx_px == 50.0
    assert camera_from_info(_info(p=np.zeros(12)), 64, 48).fx_px == 50.0


def test_each_part_of_a_calibration_is_looked_at():
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    viewer = ImageViewer("/camera/image_raw", rectify=True)
    plain = viewer.view(rgb, _info())
    turn, _ = cv2.Rodrigues(np.array((0.0, 0.0, 0.1)))
    turned = viewer.view(rgb, _info(r=turn.ravel()))
    assert plain.rgb is rgb and (turned.rgb != rgb).any()
    roi = SimpleNamespace(x_offset=2, y_offset=0, width=64, height=48)
    moved = viewer.view(rgb, _info(width=80, height=60, roi=roi))
    assert moved.camera is not None and plain.camera is not None
    assert moved.camera.cx_px == plain.camera.cx_px - 2.0
    farther = SimpleNamespace(x_offset=5, y_offset=0, width=64, height=48)
    shifted = viewer.view(rgb, _info(width=80, height=60, roi=farther))
    assert shifted.camera is not None and shifted.camera.cx_px == plain.camera.cx_px - 5.0
    zoomed = viewer.view(
        rgb, _info(width=80, height=60, roi=farther, p=np.diag((1.5, 1.5, 1.0)) @ _info().p.reshape(3, 4))
    )
    assert zoomed.camera is not None and zoomed.camera.fx_px == 1.5 * shifted.camera.fx_px


def test_a_calibration_that_fails_half_way_leaves_nothing_of_the_one_before():
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    viewer, bent = ImageViewer("/camera/image_raw", rectify=True), _info(d=np.array((-0.3, 0.0, 0.0, 0.0, 0.0)))
    first = viewer.view(rgb, bent)
    with pytest.raises(CameraInfoError, match="finite coefficients"):
        viewer.view(rgb, _info(d=np.full(3, 0.1)))
    again = viewer.view(rgb, bent)
    np.testing.assert_array_equal(again.rgb, first.rgb)
    assert again.valid_mask is not None
