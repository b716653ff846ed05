"""Cloud packing against a loop over pixels, and against the message type where ROS is installed."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import FIELD_OFFSETS, POINT_STEP, CloudPacker

SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 2.0**-100, 2.0**101)  # all of them exact in float32
SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def naive(depth_m, camera, rgb, farthest_m=math.inf):
    """One point after another, by the formula of the pinhole camera."""
    data = b""
    for v in range(camera.height_px):
        for u in range(camera.width_px):
            z = float(depth_m[v, u])
            if not (math.isfinite(z) and 0 < z <= farthest_m):
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


def packed(depth_m, camera, rgb=None, **options):
    out = np.empty((*depth_m.shape, 4), np.float32)
    CloudPacker().pack(depth_m, camera, out, rgb=rgb, **options)
    return out


def camera_of(height, width):
    return PinholeCamera(width, height, 0.8 * width, 0.9 * width, 0.45 * width, 0.55 * height)


@settings(max_examples=60, deadline=None)
@given(st.data(), SIZES, st.booleans(), st.sampled_from([math.inf, 8.0, 3.0]))
def test_matches_the_naive_loop(data, size, coloured, farthest_m):
    values = st.one_of(st.sampled_from(SPECIAL), st.floats(0.125, 20, width=32))
    depth_m = data.draw(hnp.arrays(np.float32, size, elements=values))
    rgb = data.draw(hnp.arrays(np.uint8, (*size, 3))) if coloured else None
    camera = camera_of(*size)
    assert_same_cloud(packed(depth_m, camera, rgb, max_depth_m=farthest_m), naive(depth_m, camera, rgb, farthest_m))


@settings(max_examples=40, deadline=None)
@given(st.data(), SIZES, st.sampled_from([math.inf, 8.0]))
def test_dropped_points_are_as_if_depth_were_unknown(data, size, farthest_m):
    values = st.one_of(st.sampled_from(SPECIAL), st.floats(0.125, 20, width=32))
    depth_m = data.draw(hnp.arrays(np.float32, size, elements=values))
    drop = data.draw(hnp.arrays(np.bool_, size))
    camera, kept = camera_of(*size), depth_m.copy()
    points = packed(depth_m, camera, drop=drop, max_depth_m=farthest_m)
    np.testing.assert_array_equal(depth_m, kept)
    assert_same_cloud(points, naive(np.where(drop, np.float32(np.nan), depth_m), camera, None, farthest_m))


@pytest.mark.parametrize("size", [(257, 301), (1, 50_001), (480, 640)])
def test_several_bands(size):
    """Sizes whose rows do not divide into the bands that the packer works in."""
    rng = np.random.default_rng(0)
    depth_m = rng.uniform(0.5, 9, size).astype(np.float32)
    depth_m[rng.random(size) < 0.2] = np.nan
    rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    camera = camera_of(*size)
    points = packed(depth_m, camera, rgb)
    np.testing.assert_allclose(
        points[..., :3], np.where(np.isnan(depth_m)[..., None], np.nan, camera.unproject(depth_m))
    )
    np.testing.assert_array_equal(points.view(np.uint8)[..., 12:15], rgb[..., ::-1])


def test_nothing_of_the_last_frame_stays():
    packer, camera = CloudPacker(), camera_of(6, 8)
    points = np.empty((6, 8, 4), np.float32)
    packer.pack(np.full((6, 8), 2.0, np.float32), camera, points, rgb=np.full((6, 8, 3), 200, np.uint8))
    assert np.isfinite(points).all() and points[..., 3].view(np.uint32).all()
    packer.pack(np.full((6, 8), np.nan, np.float32), camera, points)
    assert np.isnan(points[..., :3]).all()
    assert not points[..., 3].view(np.uint32).any()
    smaller = np.empty((3, 4, 4), np.float32)
    packer.pack(np.ones((3, 4), np.float32), camera.resized(4, 3), smaller)
    assert np.isfinite(smaller).all()


def test_packs_into_memory_at_any_address_of_a_float():
    camera, depth_m = camera_of(6, 8), np.full((6, 8), 2.0, np.float32)
    data = bytearray(4 + 6 * 8 * POINT_STEP)
    CloudPacker().pack(depth_m, camera, np.frombuffer(data, np.float32, offset=4).reshape(6, 8, 4))
    assert bytes(data[4:]) == packed(depth_m, camera).tobytes()


def test_another_camera_of_the_same_size_is_noticed():
    packer, depth_m, points = CloudPacker(), np.ones((4, 4), np.float32), np.empty((4, 4, 4), np.float32)
    for focal_px in (2.0, 5.0):
        camera = PinholeCamera(4, 4, focal_px, focal_px, 1.5, 1.5)
        packer.pack(depth_m, camera, points)
        assert_same_cloud(points, naive(depth_m, camera, None))


def test_views_and_float64_give_the_same_points():
    rng = np.random.default_rng(1)
    depth_m, rgb = rng.uniform(1, 5, (20, 30)), rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    camera = camera_of(20, 30).strided(2)
    from_views = packed(depth_m[::2, ::2], camera, rgb[::2, ::2]).tobytes()
    copies = np.ascontiguousarray(depth_m[::2, ::2], dtype=np.float32), np.ascontiguousarray(rgb[::2, ::2])
    assert from_views == packed(copies[0], camera, copies[1]).tobytes()


def test_sizes_that_do_not_fit_are_refused():
    depth_m = np.ones((4, 6), np.float32)
    with pytest.raises(CameraInfoError, match="6x5"):
        packed(depth_m, camera_of(5, 6))
    with pytest.raises(ImageError, match="RGB"):
        packed(depth_m, camera_of(4, 6), np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="drop"):
        packed(depth_m, camera_of(4, 6), drop=np.zeros((4, 5), np.bool_))
    with pytest.raises(ValueError, match="out"):
        CloudPacker().pack(depth_m, camera_of(4, 6), np.empty((6, 4, 4), np.float32))


def test_read_back_by_the_message_library():
    point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2", reason="needs a full ROS installation")
    from sensor_msgs.msg import PointCloud2, PointField

    camera, depth_m = camera_of(3, 5), np.arange(1, 16, dtype=np.float32).reshape(3, 5)
    depth_m[1, 1] = np.nan
    fields = [PointField(name=n, offset=o, datatype=PointField.FLOAT32, count=1) for n, o in FIELD_OFFSETS.items()]
    message = PointCloud2(height=3, width=5, fields=fields, point_step=POINT_STEP, row_step=5 * POINT_STEP)
    message.data = packed(depth_m, camera).tobytes()
    points = point_cloud2.read_points_numpy(message, ("x", "y", "z"), skip_nans=True)
    np.testing.assert_allclose(points, camera.unproject(depth_m).reshape(-1, 3)[~np.isnan(depth_m.ravel())], rtol=1e-5)
