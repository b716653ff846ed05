"""depthnet_node on a real graph: one process for the node, one for the test."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depthnet_ros.ros.conversions import image_message

from .graph import CAMERA, Graph, picture, wait_until

README = Path(__file__).resolve().parents[2] / "README.md"
FIXED = {"scale.mode": "fixed", "scale.fixed_scale": 0.05, "scale.fixed_shift": 0.3}


def test_relative_depth_has_the_inputs_stamp_frame_and_size(graph: Graph, tiny_weights):
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights)})
    graph.send_until(lambda: bool(depth), camera=None)
    header = graph.send_image()
    wait_until(lambda: depth[-1].header == header)
    message = depth[-1]
    assert message.header.frame_id == "camera_optical"
    assert (message.width, message.height, message.encoding) == (CAMERA.width_px, CAMERA.height_px, "32FC1")
    values = np.frombuffer(message.data, "<f4")
    assert np.isfinite(values).all() and values.std() > 0


def test_fixed_scale_gives_metres_cloud_and_camera_info(graph: Graph, tiny_weights):
    inverse = graph.listen("/inverse_depth/image", Image)
    depth = graph.listen("/depth/image_rect", Image)
    info = graph.listen("/depth/camera_info", CameraInfo)
    points = graph.listen("/points", PointCloud2)
    graph.start({"weights": str(tiny_weights), **FIXED, "points.stride": 2, "nav.remove_flying_pixels": False})
    graph.send_until(lambda: bool(points and depth and info))
    stamp = points[-1].header.stamp
    cloud = np.frombuffer(points[-1].data, "<f4").reshape(60, 80, 4)
    z = np.frombuffer(next(m for m in depth if m.header.stamp == stamp).data, "<f4").reshape(120, 160)
    relative = np.frombuffer(next(m for m in inverse if m.header.stamp == stamp).data, "<f4").reshape(120, 160)
    finite = np.isfinite(z)
    assert finite.mean() > 0.5
    np.testing.assert_allclose(1 / z[finite], 0.05 * relative[finite] + 0.3, rtol=1e-3)
    small = CAMERA.resized(80, 60)
    points_m = cloud[np.isfinite(cloud[..., 2])][:, :3]
    assert len(points_m) > 0.5 * cloud[..., 0].size
    u, v = np.meshgrid(np.arange(80), np.arange(60))
    pixels = np.stack((u, v), axis=2)[np.isfinite(cloud[..., 2])]
    np.testing.assert_allclose(small.project(points_m), pixels, atol=1e-3)  # every point on its own pixel's ray
    blocks = z.reshape(60, 2, 80, 2).transpose(0, 2, 1, 3).reshape(60, 80, 4)
    both = np.isfinite(blocks).all(axis=2) & np.isfinite(cloud[..., 2])
    off = np.abs(cloud[..., 2] / blocks.mean(axis=2) - 1)[both]
    assert np.median(off) < 0.02 and np.percentile(off, 95) < 0.1
    assert info[-1].k[0] == CAMERA.fx_px and (info[-1].width, info[-1].height) == (160, 120)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_cloud_has_the_pictures_colours(graph: Graph, tiny_weights, stride):
    """At stride 2 they come of a picture that was made for the network."""
    camera, image = CAMERA.resized(512, 384), picture(512, 384)
    points = graph.listen("/points", PointCloud2)
    graph.start({"weights": str(tiny_weights), **FIXED, "points.stride": stride})
    graph.send_until(lambda: bool(points), camera=camera, message=image_message(image, "rgb8", Header()))
    height, width = -(-384 // stride), -(-512 // stride)
    assert (points[-1].height, points[-1].width) == (height, width)
    colours = np.frombuffer(points[-1].data, np.uint8).reshape(height, width, 16)[..., 12:15]
    want = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(colours[..., ::-1], want)


def test_readme_lists_exactly_the_topics_of_the_node(graph: Graph, tiny_weights):
    rows = [line for line in README.read_text().splitlines() if re.match(r"\| (in: )?`", line) and "_msgs/" in line]
    ours = {"inputs": set(), "outputs": set()}
    for row in rows:
        cell = row.split("|")[1]
        ours["inputs" if "in:" in cell else "outputs"] |= set(re.findall(r"`([^`]+)`", cell))
    sources = "scale.sources:=[range, scan, points, depth]"
    graph.start({"weights": str(tiny_weights), "scale.mode": "anchors"}, arguments=["-p", sources])
    own = {"/parameter_events", "/rosout", "/depthnet_node/transition_event", "/clock", "/tf", "/tf_static"}

    def topics(count) -> set[str]:
        # Not by node: rmw_fastrtps may lose the message that tells whose they are (rmw_fastrtps #792).
        names = {name for name, _ in graph.node.get_topic_names_and_types() if name not in own and count(name)}
        names = {name for name in names if not name.endswith("/transition_event")}  # of another test's node
        return {name if name == "/diagnostics" else name[1:] for name in names}

    # They are discovered one by one, and a killed node's go with its lease, 20 s.
    for count, expected in (
        (graph.node.count_publishers, ours["outputs"]),
        (graph.node.count_subscribers, ours["inputs"] - {"image/compressed"}),
    ):
        with suppress(AssertionError):
            wait_until(lambda count=count, expected=expected: topics(count) == expected, 40.0)
        assert topics(count) == expected
