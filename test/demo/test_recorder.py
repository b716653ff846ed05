"""The demo's ear on a real graph."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from depthnet_ros.demo.recorder import DemoRecorder
from depthnet_ros.demo.session import GraphDomain


@pytest.fixture
def camera() -> Iterator[Node]:
    """A node beside the recorder, on a graph of their own, whose settings no later test must inherit."""
    before = dict(os.environ)
    with GraphDomain():
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node("camera_and_depth", context=context)
        yield node
        node.destroy_node()
        rclpy.shutdown(context=context)
    os.environ.clear()
    os.environ.update(before)


def picture(node: Node, encoding: str, values: np.ndarray, number: int) -> Image:
    message = Image(encoding=encoding, height=6, width=8, step=values.nbytes // 6, data=values.tobytes())
    message.header.stamp.sec = number
    return message


def test_a_camera_that_is_discovered_late_is_waited_for(camera: Node):
    depth, image = (camera.create_publisher(Image, topic, 5) for topic in ("inverse_depth/image", "image"))
    recorder = DemoRecorder(moments=2, seconds=0.5)
    began, sent = time.monotonic(), [0]

    def publish() -> str:
        """Depth at once, pictures after three times the time asked for."""
        sent[0] += 1
        if time.monotonic() - began > 1.5:
            image.publish(picture(camera, "rgb8", np.full((6, 8, 3), 90, np.uint8), sent[0]))
        depth.publish(picture(camera, "32FC1", np.ones((6, 8), np.float32), sent[0]))
        time.sleep(0.02)
        return "" if time.monotonic() - began < 30.0 else "it waits for ever"

    try:
        assert recorder.run(10.0, publish, lambda _: None) == ""
    finally:
        recorder.close()
    assert recorder.record.moments
    assert 1.5 < time.monotonic() - began < 10.0
