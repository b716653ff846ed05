"""Which topics a node listens to under remapping rules; rules as on the command line, resolved by rcl."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import LaserScan

from depthnet_ros.messages.anchors import SensorNames
from depthnet_ros.metric_scale import MetricScaleConfig
from depthnet_ros.ros.camera_input import CameraInput
from depthnet_ros.ros.scale_inputs import ScaleInputs

from .graph import Graph, wait_until


@pytest.fixture
def remapped(graph: Graph) -> Iterator[Callable[..., LifecycleNode]]:
    """Makes a node under rules."""
    nodes: list[LifecycleNode] = []

    def make(*rules: str) -> LifecycleNode:
        arguments = [item for rule in rules for item in ("-r", rule)]
        nodes.append(LifecycleNode("camera_node", context=graph.context, cli_args=["--ros-args", *arguments]))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.mark.parametrize(
    ("transport", "rules", "image", "info"),
    [
        ("raw", [], "/image", "/camera_info"),
        ("compressed", [], "/image/compressed", "/camera_info"),
        ("raw", ["image:=/front/image_raw"], "/front/image_raw", "/front/camera_info"),
        ("compressed", ["image:=/front/image_raw"], "/front/image_raw/compressed", "/front/camera_info"),
        ("compressed", ["image/compressed:=/front/raw/compressed"], "/front/raw/compressed", "/front/camera_info"),
        ("compressed", ["image/compressed:=/front/jpeg"], "/front/jpeg", "/front/camera_info"),
        ("compressed", ["image/compressed:=/a/b/compressed", "camera_info:=/c"], "/a/b/compressed", "/c"),
        ("raw", ["image/compressed:=/front/jpeg"], "/image", "/camera_info"),
        ("raw", ["image:=/image_raw", "image_raw:=/other"], "/image_raw", "/camera_info"),
        ("raw", ["camera_info:=/info", "info:=/other"], "/image", "/info"),
    ],
)
def test_a_camera_is_heard_where_the_rules_say(remapped, transport, rules, image, info):
    node = remapped(*rules)
    source = CameraInput(node, "", {"image_transport": transport}, lambda frame: None)
    heard = tuple(subscription.topic_name for subscription in node.subscriptions)
    assert heard == (image, info) == (source.image_topic, source.info_topic)


def test_two_cameras_change_places(remapped):
    node = remapped("left/image:=/right/image", "right/image:=/left/image")
    for name, image in (("left", "/right/image"), ("right", "/left/image")):
        source = CameraInput(node, name, {"image_transport": "raw"}, lambda frame: None)
        assert source.image_topic == image == list(node.subscriptions)[-2].topic_name


def test_a_sensor_is_heard_where_the_rules_say(remapped):
    node = remapped("anchors/scan:=/scan", "scan:=depth/scan")
    node.create_publisher(LaserScan, "scan", 1)
    config = MetricScaleConfig(mode="anchors", sources=["scan"], use_tf=False)
    inputs = ScaleInputs(node, "", config, None, lambda depth: depth, SensorNames())
    assert inputs.topics == {"scan": "/scan"} and not inputs.problems
    assert [subscription.topic_name for _, subscription in inputs._subscriptions] == ["/scan"]


def test_a_lidar_on_scan(graph: Graph, tiny_weights):
    """The node's own scan must make way for it, or it would be its own sensor."""
    pytest.importorskip("torch")
    settings = {"weights": str(tiny_weights), "scale.mode": "anchors", "scale.use_tf": False, "backend": "torch"}
    settings |= {"precision": "float32", "diagnostics_period_s": 0.1}
    listen = ["-p", "scale.sources:=[scan]", "-r", "anchors/scan:=/scan"]
    graph.listen_to_diagnostics()
    node = graph.start(settings, arguments=listen)
    node.wait_for_output("anchors/scan: not used: /scan is an output of this node itself", timeout_s=120.0)
    wait_until(lambda: "/scan is an output" in graph.diagnostics().get("/depthnet_node: camera", {}).get("message", ""))
    wait_until(lambda: graph.node.count_publishers("/scan") == 1)
    assert graph.node.count_subscribers("/scan") == 0
    node.stop()
    wait_until(lambda: graph.node.count_publishers("/scan") == 0)
    graph.start(settings, arguments=[*listen, "-r", "scan:=depth/scan"])
    wait_until(lambda: graph.node.count_subscribers("/scan") == 1, 120.0)
    wait_until(lambda: graph.node.count_publishers("/depth/scan") == 1)
    assert graph.node.count_publishers("/scan") == 0
