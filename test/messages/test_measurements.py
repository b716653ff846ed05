"""Depth images, clouds and scans to depth in the camera's image; what made the messages is the inverse."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.frame_sources import SceneFrames
from depthnet_ros.bags.make import POINTS, SCAN, TF_STATIC, MakeOptions, make_bag
from depthnet_ros.bags.pairing import NearestInTime, Stamped
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.transforms import TransformTree
from depthnet_ros.bags.types import standard_types
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import ImageError, MessageError
from depthnet_ros.messages.anchors import anchor_from_message
from depthnet_ros.messages.measurements import (
    depth_from_compressed,
    depth_from_image,
    depth_from_points,
    points_from_cloud,
    points_from_scan,
)
from depthnet_ros.messages.stamps import header_stamp_ns
from depthnet_ros.metric_scale import AnchorError, MetricScaleConfig
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY
from test.bags.bag_scene import CAMERA, FRAME, scene_depth


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_depth_image_round_trip(encoding: str) -> None:
    depth = scene_depth(0)
    depth[0, :3] = np.nan, np.inf, -1.0
    found = depth_from_image(messages.depth_image(depth, encoding, 0, FRAME))
    assert np.isnan(found[0, [0, 2]]).all()
    assert np.isinf(found[0, 1]) == (encoding == "32FC1")
    np.testing.assert_allclose(found[1:], depth[1:], atol=0.0006 if encoding == "16UC1" else 0)


def test_compressed_depth_round_trip() -> None:
    depth = scene_depth(0)
    depth[0, 0] = np.nan
    found = depth_from_compressed(messages.compressed_depth(depth, 0, FRAME))
    np.testing.assert_allclose(found, depth, atol=0.0006)


def test_compressed_float_depth_is_dequantised() -> None:
    """The quantisation of compressed_depth_image_transport: code = A / depth + B."""
    depth = scene_depth(0).astype(np.float64)
    maximum, precision = 10.0, 100.0
    quant_a = precision * (precision + 1.0)
    quant_b = 1.0 - quant_a / maximum
    code = np.where(depth < maximum, quant_a / depth + quant_b, 0).astype(np.uint16)
    header = np.zeros(1, "<i4").tobytes() + np.array([quant_a, quant_b], "<f4").tobytes()
    data = header + cv2.imencode(".png", code)[1].tobytes()
    found = depth_from_compressed(messages.compressed_image(data, "32FC1; compressedDepth png", 0, FRAME))
    near = depth < maximum
    np.testing.assert_allclose(found[near], depth[near], rtol=0.01)
    assert np.isnan(found[~near]).all()


def _png_that_claims(side_px: int) -> bytes:
    """A PNG of 16-bit grey whose header says that it is as large as no decoder takes."""
    data = bytearray(cv2.imencode(".png", np.ones((8, 8), np.uint16))[1].tobytes())
    data[16:24] = side_px.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("fmt", "data", "says"),
    [
        ("jpeg", b"x" * 40, "is it a camera image"),
        ("16UC1; compressedDepth rvl", b"x" * 40, "RVL"),
        ("16UC1; compressedDepth png", b"x" * 5, "cut short"),
        ("16UC1; compressedDepth png", b"x" * 40, "16-bit grey PNG"),
        ("16UC1; compressedDepth png", bytes(12) + _png_that_claims(60_000), "cannot be decoded"),
    ],
)
def test_bad_compressed_depth(fmt: str, data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        depth_from_compressed(messages.compressed_image(data, fmt, 0, FRAME))


def test_colour_is_no_depth() -> None:
    with pytest.raises(ImageError, match="16UC1 or 32FC1"):
        depth_from_image(messages.image(np.zeros((4, 4, 3), np.uint8), "rgb8", 0, FRAME))


def test_cloud_with_other_fields_padding_and_byte_order() -> None:
    kind = np.dtype({"names": ["i", "z", "x", "y"], "formats": [">u2", ">f8", ">f4", ">f4"], "itemsize": 32})
    table = np.zeros((2, 3), kind)
    table["x"], table["y"], table["z"] = 1.0, 2.0, np.arange(6).reshape(2, 3)
    table["z"][1, 2] = np.nan
    cloud = messages.point_cloud(np.zeros((1, 3)), 0, FRAME)
    make = standard_types().types["sensor_msgs/msg/PointField"]
    codes = {"i": 4, "z": 8, "x": 7, "y": 7}
    cloud.fields = [make(name, kind.fields[name][1], codes[name], 1) for name in kind.names]
    cloud.height, cloud.width, cloud.point_step, cloud.row_step, cloud.is_bigendian = 2, 3, 32, 100, True
    padded = np.zeros((2, 100), np.uint8)
    padded[:, :96] = table.view(np.uint8).reshape(2, 96)
    cloud.data = padded.ravel()
    np.testing.assert_allclose(points_from_cloud(cloud), [[1, 2, z] for z in range(5)])


def test_cloud_without_z_or_with_too_little_data() -> None:
    cloud = messages.point_cloud(np.ones((4, 3)), 0, FRAME)
    cloud.data = cloud.data[:-1]
    with pytest.raises(MessageError, match="does not fit 47 bytes"):
        points_from_cloud(cloud)
    cloud.fields = cloud.fields[:2]
    with pytest.raises(MessageError, match=r"lacks the fields \['z'\]"):
        points_from_cloud(cloud)


def test_made_cloud_and_scan_lie_on_the_made_depth(tmp_path) -> None:
    """A cloud and a scan of a made recording, taken through its TF into the image, agree with its exact depth."""
    frames = SceneFrames("room", CAMERA, frames=2, rate_hz=5.0)
    with BagWriter(tmp_path / "room.mcap") as writer:
        assert make_bag(frames, CAMERA, writer, MakeOptions(points_stride=2)) == 2
    truth = next(iter(frames)).depth_m
    tree = TransformTree()
    compared = {}
    with BagReader(tmp_path / "room.mcap") as reader:
        for topic, _, message in reader.messages([TF_STATIC, POINTS, SCAN]):
            if topic == TF_STATIC:
                tree.add(message, static=True)
                continue
            pose = tree.lookup("camera_optical_frame", message.header.frame_id, header_stamp_ns(message))
            points = points_from_cloud(message) if topic == POINTS else points_from_scan(message)
            compared.setdefault(topic, depth_from_points(points, CAMERA, pose))
    for topic, least in ((POINTS, 2000), (SCAN, 60)):
        known = np.isfinite(compared[topic])
        assert known.sum() >= least
        error = np.abs(compared[topic][known] / truth[known] - 1)
        assert np.median(error) < 1e-3
        assert np.mean(error < 0.05) > 0.97


def test_nearest_in_time_keeps_little() -> None:
    near = NearestInTime(keep_ns=1000, most=50)
    for stamp in range(0, 100_000, 10):
        near.add(Stamped(stamp, stamp, None))
    assert len(near._items) <= 50
    assert near.nearest(99_984, 5).stamp_ns == 99_980
    assert near.nearest(99_985, 5).stamp_ns == 99_980
    assert near.nearest(99_986, 5).stamp_ns == 99_990
    assert near.nearest(200_000, 5) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"datatype": 77}, "unknown datatype 77"),
        ({"offset": 14}, "at byte 14 does not fit"),
    ],
)
def test_clouds_of_a_broken_layout_say_so(change: dict[str, int], says: str) -> None:
    cloud = messages.point_cloud(np.ones((5, 3)), 0, FRAME)
    for name, value in change.items():
        setattr(cloud.fields[2], name, value)
    with pytest.raises(MessageError, match=says):
        points_from_cloud(cloud)


def test_rows_of_a_cloud_matter_where_there_are_several() -> None:
    cloud = messages.point_cloud(np.ones((6, 3)), 0, FRAME)
    cloud.row_step = 0
    assert points_from_cloud(cloud).shape == (6, 3)
    cloud.height, cloud.width = 2, 3
    with pytest.raises(MessageError, match="3 x 2 points"):
        points_from_cloud(cloud)


def test_a_scan_s_beams_without_a_return_are_no_points() -> None:
    """Many drivers give 0 or range_max where nothing returns; both decoders of scans leave it out."""
    ranges = np.array([0.0, 0.05, 1.0, 2.0, 9.99, 10.0, 12.0, np.inf, -np.inf, np.nan])
    for nearest_m, kept in ((0.1, [1.0, 2.0, 9.99]), (0.0, [0.05, 1.0, 2.0, 9.99])):
        scan = messages.laser_scan(ranges, -0.2, 0.05, (nearest_m, 10.0), 0, FRAME)
        points = points_from_scan(scan)
        np.testing.assert_allclose(np.linalg.norm(points, axis=1), kept, rtol=1e-6)
        anchors = anchor_from_message("scan", scan, CAMERA, OPTICAL_FROM_BODY, MetricScaleConfig())
        assert len(anchors) == len(kept)


def test_a_scan_of_one_angle_is_told() -> None:
    with pytest.raises(AnchorError, match="angle_increment"):
        points_from_scan(messages.laser_scan(np.ones(3), 0.0, 0.0, (0.1, 10.0), 0, FRAME))
