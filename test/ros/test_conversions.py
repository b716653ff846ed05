"""Messages and arrays: cv_bridge against the ROS-free decoder, REP 118 depth, intrinsics, pairing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, PointCloud2, RegionOfInterest
from std_msgs.msg import Header

from depthnet_ros import imaging
from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import camera_from_info
from depthnet_ros.geometry.cloud import CloudPacker
from depthnet_ros.ros import conversions
from depthnet_ros.ros.pairing import StampPairer


@pytest.mark.parametrize("encoding", sorted(conversions._BRIDGE_ENCODINGS))
def test_cv_bridge_and_the_ros_free_decoder_agree(encoding, rng):
    layout = imaging.ENCODINGS[encoding]
    shape = (48, 64) if layout.channels == 1 else (48, 64, layout.channels)
    message = conversions.image_message(rng.integers(0, 255, shape, dtype=np.uint8), encoding, Header())
    np.testing.assert_array_equal(conversions.to_rgb(message), imaging.to_rgb(message))


def test_a_picture_that_cannot_be_demosaiced_is_refused_whoever_would_convert_it():
    """OpenCV gives black for it, and cv_bridge with it."""
    message = conversions.image_message(np.full((2, 2), 200, np.uint8), "bayer_rggb8", Header())
    with pytest.raises(ImageError, match="needs 3 rows and columns at least, got 2x2"):
        conversions.to_rgb(message)


def test_a_cloud_of_no_points_is_a_message():
    message = conversions.xyz_cloud_message(np.empty((0, 3), np.float32), Header(frame_id="camera"))
    assert (message.width, message.row_step, len(message.data)) == (0, 0, 0)


def test_depth_in_millimetres_has_0_for_what_is_not_a_depth():
    depth = np.array([[1.5, np.nan, np.inf, -np.inf], [0.0, -1.0, 65.535, 70.0]], np.float32)
    millimetres = conversions.to_millimetres(depth, np.full((2, 4), 7, np.uint16))
    assert millimetres.ravel().tolist() == [1500, 0, 0, 0, 0, 0, 65535, 0]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 20), st.integers(0, 20))
@settings(max_examples=30)
def test_roi_and_binning_move_the_intrinsics(bx, by, x, y):
    full = PinholeCamera(640, 480, 500.0, 510.0, 320.0, 240.0)
    info = conversions.info_from_camera(full, Header())
    info.binning_x, info.binning_y = bx, by
    info.roi = RegionOfInterest(x_offset=x, y_offset=y, width=600, height=400)
    camera = camera_from_info(info, 600 // bx, 400 // by)
    assert camera.fx_px == pytest.approx(500 / bx) and camera.cy_px == pytest.approx((240 - y) / by)


def test_p_for_rectified_and_k_for_raw():
    info = CameraInfo(width=64, height=48, k=[50.0, 0, 30, 0, 51, 20, 0, 0, 1], r=np.eye(3).ravel())
    info.p = [60.0, 0, 31, 0, 0, 61, 21, 0, 0, 0, 1, 0]
    assert camera_from_info(info, 64, 48).fx_px == 60
    assert camera_from_info(info, 64, 48, rectified=False).fx_px == 50
    info.p = [0.0] * 12
    assert camera_from_info(info, 64, 48).fx_px == 50
    with pytest.raises(CameraInfoError, match="64x48 pixels but the image has 32x24"):
        camera_from_info(info, 32, 24)
    info.k = [0.5, 0.0, 31.5, 0.0, 0.5, 23.5, 0.0, 0.0, 1.0]
    with pytest.raises(CameraInfoError, match=r"no pinhole camera's of 64x48 pixels.*Are they in pixels"):
        camera_from_info(info, 64, 48, rectified=False)


def test_an_independent_reader_understands_the_cloud(rng):
    reader = pytest.importorskip("sensor_msgs_py.point_cloud2", reason="sensor_msgs_py comes with a ROS installation")
    camera = PinholeCamera.from_fov(16, 12, 1.0)
    depth = rng.uniform(0.5, 5, (12, 16)).astype(np.float32)
    rgb = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    points = np.empty((12, 16, 4), np.float32)
    CloudPacker().pack(depth, camera, points, rgb=rgb)
    message = conversions.cloud_message(points, Header())
    assert isinstance(message, PointCloud2)
    read = reader.read_points(message)
    np.testing.assert_allclose(read["z"].reshape(12, 16), depth)
    packed = read["rgb"].copy().view(np.uint32).reshape(12, 16)
    np.testing.assert_array_equal(packed >> 16 & 255, rgb[..., 0])


def test_pairing_by_stamp_in_any_order_and_in_bounded_memory():
    pairer: StampPairer[str, str] = StampPairer()
    assert pairer.add_image(1, "image 1", 0.0, 0.1) == []
    assert pairer.add_info(1, "info 1") == [("image 1", "info 1")]
    assert pairer.add_info(2, "info 2") == []
    assert pairer.add_image(2, "image 2", 0.0, 0.1) == [("image 2", "info 2")]
    assert pairer.add_image(3, "image 3", 0.0, 0.0) == [("image 3", None)]
    assert pairer.add_image(4, "image 4", 1.0, 0.1) == [] and pairer.is_waiting
    assert pairer.expire(1.05) == [] and pairer.expire(1.1) == [("image 4", None)]
    assert pairer.add_image(10, "image 10", 1.0, 0.1) == [] and pairer.add_image(11, "image 11", 1.0, 0.1) == []
    assert pairer.add_info(11, "info 11") == [("image 10", None), ("image 11", "info 11")]  # never out of order
    ready = [pair for stamp in range(100, 150) for pair in pairer.add_image(stamp, str(stamp), 2.0, 9.0)]
    assert [image for image, _ in ready] == [str(stamp) for stamp in range(100, 142)]
    assert pairer.add_image(149, "twice", 2.0, 9.0) == [("149", None)]


@pytest.mark.parametrize(("info", "wait_s"), [(None, 0.0), ("info 2", 0.1)])
def test_an_image_that_waits_goes_out_before_a_newer_one_that_need_not(info, wait_s):
    """Whether the newer one's info is there or nobody sends any."""
    pairer: StampPairer[str, str] = StampPairer()
    assert pairer.add_image(1, "image 1", 0.0, 0.1) == []
    if info is not None:
        assert pairer.add_info(2, info) == []
    assert pairer.add_image(2, "image 2", 0.0, wait_s) == [("image 1", None), ("image 2", info)]
    assert not pairer.is_waiting


def test_what_waits_when_a_recording_begins_anew_goes_out_before_its_first_image():
    pairer: StampPairer[str, str] = StampPairer()
    second = 10**9
    assert pairer.add_image(100 * second, "last of the bag", 0.0, 0.1) == []
    assert pairer.add_image(50 * second + 40, "mixed up", 0.05, 0.1) == []
    assert pairer.add_image(50 * second, "first of the next lap", 0.05, 0.1) == []
    assert pairer.add_info(50 * second, "info") == [("last of the bag", None), ("first of the next lap", "info")]
    assert pairer.add_info(50 * second + 40, "info 2") == [("mixed up", "info 2")]


def test_infos_of_images_that_never_come_are_forgotten_the_oldest_first():
    pairer: StampPairer[str, str] = StampPairer()
    for stamp in range(1000):
        pairer.add_info(stamp, f"info {stamp}")
        if stamp % 20 == 0:
            pairer.add_info(0, "info 0")  # a driver that says one again
    kept = [stamp for stamp in range(1000) if pairer.has_info(stamp)]
    assert 25 < len(kept) < 100 and kept == [0, *range(1001 - len(kept), 1000)]


def test_after_time_jumped_no_info_is_paired_with_an_image_of_its_stamp():
    pairer: StampPairer[str, str] = StampPairer()
    second = 10**9
    pairer.add_info(108 * second, "info of before")
    pairer.forget_after(100 * second)
    assert pairer.add_image(108 * second, "image", 0.0, 0.1) == []


def test_what_came_before_the_clock_told_of_the_jump_is_paired():
    """Clock and images come by different topics, in any order; stamps are a little ahead of the clock's last tick."""
    pairer: StampPairer[str, str] = StampPairer()
    second = 10**9
    pairer.add_image(108 * second, "last of the bag", 0.0, 0.1)
    pairer.add_image(100 * second + 40, "first of the next lap", 0.05, 0.1)
    pairer.add_info(100 * second + 50, "info 2")
    pairer.forget_after(100 * second)
    assert pairer.add_info(100 * second + 40, "info 1") == [("first of the next lap", "info 1")]
    assert pairer.add_image(100 * second + 50, "second", 0.1, 0.1) == [("second", "info 2")]
    assert not pairer.is_waiting
