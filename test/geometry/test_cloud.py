"""Cloud packing against a loop over pixels, and against the message type where ROS is installed."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthnet_ros.errors import CameraInfoError, ConfigError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import FIELD_OFFSETS, POINT_STEP, CloudPacker

SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-30, 3e30)
SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def naive(depth_m, camera, rgb, low, high):
    """One point after another, by the formula of the pinhole camera."""
    data = b""
    for v in range(camera.height_px):
        for u in range(camera.width_px):
            z = float(depth_m[v, u])
            if not (math.isfinite(z) and z > 0 and low <= z <= high):
                xyz = (math.nan, math.nan, math.nan)
            else:
                xyz = ((u - camera.cx_px) / camera.fx_px * z, (v - camera.cy_px) / camera.fy_px * z, z)
            red, green, blue = (0, 0, 0) if rgb is None else (int(value) for value in rgb[v, u])
            data += struct.pack("<3f4B", *xyz, blue, green, red, 0)
    return data


def assert_same_cloud(packed, expected):
    got, want = (np.frombuffer(bytes(data), dtype=np.float32).reshape(-1, 4) for data in (packed, expected))
    np.testing.assert_allclose(got[:, :3], want[:, :3], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got[:, 3].view(np.uint32), want[:, 3].view(np.uint32))


def camera_of(height, width):
    return PinholeCamera(width, height, 0.8 * width, 0.9 * width, 0.45 * width, 0.55 * height)


@settings(max_examples=60, deadline=None)
@given(st.data(), SIZES, st.booleans(), st.sampled_from([(0.0, math.inf), (0.5, 8.0), (0.0, 3.0)]))
def test_matches_the_naive_loop(data, size, coloured, limits):
    values = st.one_of(st.sampled_from(SPECIAL), st.floats(0.125, 20, width=32))
    depth_m = data.draw(hnp.arrays(np.float32, size, elements=values))
    rgb = data.draw(hnp.arrays(np.uint8, (*size, 3))) if coloured else None
    camera = camera_of(*size)
    assert_same_cloud(CloudPacker(*limits).pack(depth_m, camera, rgb), naive(depth_m, camera, rgb, *limits))


@settings(max_examples=40, deadline=None)
@given(st.data(), SIZES, st.sampled_from([(0.0, math.inf), (0.5, 8.0)]))
def test_dropped_points_are_as_if_depth_were_unknown(data, size, limits):
    values = st.one_of(st.sampled_from(SPECIAL), st.floats(0.125, 20, width=32))
    depth_m = data.draw(hnp.arrays(np.float32, size, elements=values))
    drop = data.draw(hnp.arrays(np.bool_, size))
    camera, kept = camera_of(*size), depth_m.copy()
    packed = CloudPacker(*limits).pack(depth_m, camera, drop=drop)
    np.testing.assert_array_equal(depth_m, kept)
    assert_same_cloud(packed, naive(np.where(drop, np.float32(np.nan), depth_m), camera, None, *limits))


@pytest.mark.parametrize("size", [(257, 301), (1, 50_001), (480, 640)])
def test_several_bands(size):
    """Sizes whose rows do not divide into the bands that the packer works in."""
    rng = np.random.default_rng(0)
    depth_m = rng.uniform(0.5, 9, size).astype(np.float32)
    depth_m[rng.random(size) < 0.2] = np.nan
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    camera = camera_of(*size)
    points = np.frombuffer(CloudPacker().pack(depth_m, camera, rgb), np.float32).reshape(*size, 4)
    np.testing.assert_allclose(
        points[..., :3], np.where(np.isnan(depth_m)[..., None], np.nan, camera.unproject(depth_m))
    )
    np.testing.assert_array_equal(points.view(np.uint8)[..., 12:15], rgb[..., ::-1])


def test_memory_is_used_again_and_nothing_of_the_last_frame_stays():
    packer, camera = CloudPacker(), camera_of(6, 8)
    rgb = np.full((6, 8, 3), 200, np.uint8)
    first = packer.pack(np.full((6, 8), 2.0, np.float32), camera, rgb)
    assert first.shape == (6, 8, 4)
    second = packer.pack(np.full((6, 8), np.nan, np.float32), camera)
    assert second is first
    points = np.frombuffer(second, np.float32).reshape(-1, 4)
    assert np.isnan(points[:, :3]).all()
    assert not points[:, 3].any()
    assert packer.pack(np.ones((3, 4), np.float32), camera.resized(4, 3)) is not first


def test_packs_into_memory_of_the_caller():
    packer, camera, depth_m = CloudPacker(), camera_of(6, 8), np.full((6, 8), 2.0, np.float32)
    data = bytearray(4 + 6 * 8 * POINT_STEP)
    out = np.frombuffer(data, np.float32, offset=4).reshape(6, 8, 4)
    assert packer.pack(depth_m, camera, out=out) is out
    assert bytes(data[4:]) == packer.pack(depth_m, camera).tobytes()


def test_another_camera_of_the_same_size_is_noticed():
    packer, depth_m = CloudPacker(), np.ones((4, 4), np.float32)
    for focal_px in (2.0, 5.0):
        camera = PinholeCamera(4, 4, focal_px, focal_px, 1.5, 1.5)
        assert_same_cloud(packer.pack(depth_m, camera), naive(depth_m, camera, None, 0, math.inf))


def test_views_and_float64_give_the_same_points():
    rng = np.random.default_rng(1)
    depth_m, rgb = rng.uniform(1, 5, (20, 30)), rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    camera = camera_of(20, 30).strided(2)
    from_views = bytes(CloudPacker().pack(depth_m[::2, ::2], camera, rgb[::2, ::2]))
    copies = np.ascontiguousarray(depth_m[::2, ::2], dtype=np.float32), np.ascontiguousarray(rgb[::2, ::2])
    assert from_views == bytes(CloudPacker().pack(copies[0], camera, copies[1]))


def test_sizes_that_do_not_fit_are_refused():
    depth_m = np.ones((4, 6), np.float32)
    with pytest.raises(CameraInfoError, match="6x5"):
        CloudPacker().pack(depth_m, camera_of(5, 6))
    with pytest.raises(ImageError, match="RGB"):
        CloudPacker().pack(depth_m, camera_of(4, 6), np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="drop"):
        CloudPacker().pack(depth_m, camera_of(4, 6), drop=np.zeros((4, 5), np.bool_))
    with pytest.raises(ConfigError, match="min < max"):
        CloudPacker(2.0, 1.0)


def test_read_back_by_the_message_library():
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2", reason="needs a full ROS installation")
    from sensor_msgs.msg import PointCloud2, PointField

    camera, depth_m = camera_of(3, 5), np.arange(1, 16, dtype=np.float32).reshape(3, 5)
    depth_m[1, 1] = np.nan
    fields = [PointField(name=n, offset=o, datatype=PointField.FLOAT32, count=1) for n, o in FIELD_OFFSETS.items()]
    message = PointCloud2(height=3, width=5, fields=fields, point_step=POINT_STEP, row_step=5 * POINT_STEP)
    message.data = CloudPacker().pack(depth_m, camera).tobytes()
    points = point_cloud2.read_points_numpy(message, ("x", "y", "z"), skip_nans=True)
    np.testing.assert_allclose(points, camera.unproject(depth_m).reshape(-1, 3)[~np.isnan(depth_m.ravel())], rtol=1e-5)
