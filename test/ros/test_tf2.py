"""The node with real TF: broadcasters, a rendered camera with its sonar and the node, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import Image

from depthnet_ros.bags.transforms import OPTICAL_IN_BODY
from depthnet_ros.metric_scale import AnchorError, GroundPlane, MetricScaleConfig
from depthnet_ros.metric_scale.pose import rotation_from_rpy
from depthnet_ros.ros.scale_inputs import SensorPoses
from depthnet_ros.ros.transforms import TfLookup, tf_lookup

from .graph import REPOSITORY, Graph, wait_until
from .tf_robot import HEIGHT_M, PITCH_RAD, body, joint, transform

tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros comes with a ROS installation, it is not on PyPI")

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NOW = Time(seconds=10_000)
CONFIG = MetricScaleConfig(mode="anchors", sources=["range"], ground_frame="base_footprint")


@pytest.fixture
def listener(graph: Graph) -> Iterator[LifecycleNode]:
    node = LifecycleNode("listener", context=graph.context)
    graph.executor.add_node(node)
    yield node
    graph.executor.remove_node(node)
    node.destroy_node()


def told(lookup: TfLookup, *moving: TransformStamped) -> TfLookup:
    """A lookup that has heard the robot's still frames and, as from a listener, these moving ones."""
    for message in body(stamp=NOW.to_msg()):
        lookup._buffer.set_transform_static(message, "test")
    for message in moving:
        lookup._buffer.set_transform(message, "test")
    return lookup


def at(seconds: float):
    return (NOW + Duration(seconds=seconds)).to_msg()


def test_the_ground_over_a_graph(graph: Graph, listener: LifecycleNode):
    broadcaster = tf2_ros.StaticTransformBroadcaster(graph.node)
    broadcaster.sendTransform(body(stamp=NOW.to_msg()))
    lookup = tf_lookup(listener, CONFIG)
    wait_until(lambda: lookup.find("base_footprint", "camera_optical", at(5.0), 0.5) is not None)
    plane = SensorPoses(CONFIG, lookup).ground("camera_optical", at(-5.0))  # what stands still does so at any time
    assert plane.same_as(GroundPlane.from_height(HEIGHT_M, PITCH_RAD))


def test_tf_of_a_namespace_is_heard_where_it_is_remapped(graph: Graph):
    """As robots in a namespace have it, and launch/depthnet.launch.py's ``tf_in_namespace``."""
    remaps = ["--ros-args", "-r", "/tf:=tf", "-r", "/tf_static:=tf_static"]
    settings = {"namespace": "robot1", "cli_args": remaps, "context": graph.context}
    listener, driver = LifecycleNode("listener", **settings), Node("driver", **settings)
    graph.executor.add_node(listener)
    try:
        tf2_ros.StaticTransformBroadcaster(driver).sendTransform(body(stamp=NOW.to_msg()))
        assert graph.node.count_publishers("/tf_static") == 0
        lookup = tf_lookup(listener, CONFIG)
        wait_until(lambda: lookup.find("base_footprint", "camera_optical", at(0.0), 0.5) is not None)
    finally:
        graph.executor.remove_node(listener)
        listener.destroy_node()
        driver.destroy_node()


def test_a_moving_frame_is_found_at_its_time_and_not_long_after(listener: LifecycleNode):
    lookup = told(TfLookup(listener), joint(at(-0.1)), joint(at(0.0)))
    for stamp in (at(-0.05), at(0.3), at(-0.4), Time().to_msg()):
        pose = lookup.find("camera_optical", "sonar", stamp, 0.5)
        assert pose[:3, 3] == pytest.approx([0, 0, 0], abs=1e-9) and pose[:3, 0] == pytest.approx([0, 0, 1], abs=1e-9)
    with pytest.raises(AnchorError, match=r"'sonar' to 'camera_optical' is 2 s older"):
        lookup.find("camera_optical", "sonar", at(2.0), 0.5)
    with pytest.raises(AnchorError, match="newer than this stamp"):
        lookup.find("camera_optical", "sonar", at(-5.0), 0.5)


def eye(seconds: float, pitch_rad: float, height_m: float = HEIGHT_M) -> TransformStamped:
    """A camera right over the ground frame, which TF tells of at that time."""
    rotation = rotation_from_rpy(0.0, pitch_rad, 0.0) @ OPTICAL_IN_BODY[:3, :3]
    return transform("ground", "eye", rotation, height_m, at(seconds))


@pytest.mark.parametrize(("pitch_rad", "rise_m"), [(0.02, 0.0), (0.0, 0.02)])
def test_a_frame_waits_for_the_ground_of_its_own_time_while_the_camera_sways(
    listener: LifecycleNode, pitch_rad: float, rise_m: float
):
    swaying = [eye(0.1 * step, pitch_rad * step, HEIGHT_M + rise_m * step) for step in range(4)]
    lookup, asked = told(TfLookup(listener), *swaying[:2]), []
    look = lookup._pose

    def look_and_tell(target: str, source: str, at_ns: int) -> np.ndarray | None:
        asked.append(at_ns)
        if asked.count((NOW + Duration(seconds=0.2)).nanoseconds) == 3:  # so it is waiting
            lookup._buffer.set_transform(swaying[3], "test")
        return look(target, source, at_ns)

    lookup._pose = look_and_tell
    found = lookup.find("ground", "eye", at(0.2), 0.5, wait_s=60.0)
    expected = GroundPlane.from_height(HEIGHT_M + 2 * rise_m, 2 * pitch_rad)
    assert GroundPlane.from_pose(found).same_as(expected)


def test_where_simulated_time_has_just_begun_there_is_no_time_before(listener: LifecycleNode):
    lookup = TfLookup(listener)
    for seconds in (0.01, 0.02):
        message = eye(0.0, 0.2)
        message.header.stamp = Time(seconds=seconds).to_msg()
        lookup._buffer.set_transform(message, "test")
    assert lookup.find("ground", "eye", Time(seconds=0.05).to_msg(), 0.5, wait_s=0.05) is not None


def test_what_does_not_come_in_time_is_the_newest(listener: LifecycleNode):
    lookup = told(TfLookup(listener), eye(-0.2, 0.2), eye(-0.1, 0.25))
    plane = GroundPlane.from_pose(lookup.find("ground", "eye", at(0.0), 0.5, wait_s=0.2))
    assert plane.same_as(GroundPlane.from_height(HEIGHT_M, 0.25))
    config = MetricScaleConfig(mode="anchors", ground_frame="ground", tf_timeout_s=0.0)
    assert SensorPoses(config, lookup).ground("eye", at(0.0)).same_as(plane)


def test_nobody_waits_for_a_camera_at_rest_or_of_which_nothing_is_near(listener: LifecycleNode):
    start_s = time.monotonic()
    lookup = told(TfLookup(listener), eye(-0.3, 0.2), eye(-0.1, 0.2))
    assert lookup.find("ground", "eye", at(0.0), 0.5, wait_s=60.0) is not None
    assert lookup.find("ground", "nowhere", at(0.0), 0.5, wait_s=60.0) is None
    lookup._buffer.set_transform(eye(0.1, 0.4), "test")
    assert lookup.find("ground", "eye", at(70.0), 100.0, wait_s=60.0) is not None  # far behind: it would not come
    with pytest.raises(AnchorError, match="older"):
        lookup.find("ground", "eye", at(5.0), 0.5, wait_s=60.0)
    with pytest.raises(AnchorError, match="newer"):
        lookup.find("ground", "eye", at(-5.0), 0.5, wait_s=60.0)
    assert time.monotonic() - start_s < 30.0


@pytest.mark.parametrize("frame", ["nowhere", "", "/sonar"])
def test_a_frame_without_a_way_is_none(listener: LifecycleNode, frame: str):
    assert told(TfLookup(listener)).find("camera_optical", frame, at(0.0), 0.5) is None


def test_after_a_jump_back_in_time_moving_frames_are_learnt_anew(listener: LifecycleNode):
    """tf2 drops what is older than its newest by more than its cache; kept, no transform would come in for an hour."""
    lookup = told(TfLookup(listener), joint(at(0.0)))
    lookup._buffer.set_transform(joint(at(-3600.0)), "test")
    with pytest.raises(AnchorError):
        lookup.find("camera_optical", "sonar", at(-3600.0), 0.5)
    lookup.forget()
    assert lookup.find("base_footprint", "camera_optical", at(0.0), 0.5) is not None  # static: nobody sends them again
    assert lookup.find("camera_optical", "sonar", at(0.0), 0.5) is None
    lookup._buffer.set_transform(joint(at(-3600.0)), "test")
    assert lookup.find("camera_optical", "sonar", at(-3600.0), 0.5) is not None


def test_who_asks_nothing_of_tf_does_not_listen_to_it(listener: LifecycleNode):
    for config in (
        MetricScaleConfig(),
        MetricScaleConfig(mode="anchors"),
        MetricScaleConfig(mode="anchors", sources=["range"], use_tf=False),
    ):
        assert tf_lookup(listener, config) is None
    for config in (CONFIG, MetricScaleConfig(mode="fixed", ground_frame="base_footprint")):  # scan needs the ground
        lookup = tf_lookup(listener, config)
        assert lookup is not None
        lookup.destroy()
    lookup = tf_lookup(listener, CONFIG)
    assert [s.topic_name for s in listener.subscriptions if "tf" in s.topic_name] == ["/tf", "/tf_static"]
    lookup.destroy()
    assert not [s for s in listener.subscriptions if "tf" in s.topic_name]


@contextmanager
def broadcaster() -> Iterator[None]:
    command = [sys.executable, "-m", "test.ros.tf_robot"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stdout is not None and process.stdout.readline() == "sending\n"
        yield
    finally:
        process.kill()
        process.wait()


class RenderedRobot:
    """camera_replay with its sonar, and depthnet_node that knows its robot from TF alone."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        graph.listen_to_diagnostics()
        self.relative = graph.listen("/inverse_depth/image", Image)
        self.depth = graph.listen("/depth/image_rect", Image)
        self.truth = graph.listen("/ground_truth/depth", Image, reliable=False)
        self.state: list[DiagnosticStatus] = []
        graph.node.create_subscription(DiagnosticStatus, "/scale/state", self.state.append, LATCHED)
        scene = {"input": "scene:room", "rate_hz": 5.0, "frame_id": "camera_optical", "sonar_frame_id": "sonar"}
        graph.start(scene, executable="camera_replay")
        settings = {"scale.mode": "anchors", "scale.ground_frame": "base_footprint", "diagnostics_period_s": 0.2}
        arguments = ["-p", "scale.sources:=[range]", "-r", "anchors/range:=sonar"]
        self.node = graph.start(settings, arguments=arguments)

    def scale_state(self) -> str:
        values = self.state[-1].values if self.state else ()
        return next((pair.value for pair in values if pair.key == "scale_state"), "")

    def complaint(self) -> str:
        return self.graph.diagnostics().get("/depthnet_node: camera", {}).get("message", "")

    def wait(self, condition, timeout_s: float = 60.0) -> None:
        wait_until(condition, timeout_s, lambda: f"{self.complaint()}\n{self.state[-1:]}\n{self.node.output}")

    def median_ratio(self) -> float:
        """Metric depth over the renderer's, median over the newest picture that both are there of."""
        truth = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in self.truth}
        for message in reversed(self.depth):
            true = truth.get((message.header.stamp.sec, message.header.stamp.nanosec))
            if true is None:
                continue
            true_m = np.frombuffer(true.data, "<f4").reshape(true.height, true.width)
            depth_m = np.frombuffer(message.data, "<f4").reshape(message.height, message.width)
            both = np.isfinite(true_m) & np.isfinite(depth_m)
            return float(np.median(depth_m[both] / true_m[both]))
        raise AssertionError("no depth with a truth of its stamp")


def test_a_robot_known_from_tf_alone(graph: Graph):
    robot = RenderedRobot(graph)
    robot.wait(lambda: bool(robot.relative))
    robot.wait(lambda: "from 'sonar' to 'camera_optical'" in robot.complaint())
    assert "scale.ground_frame 'base_footprint'" in robot.complaint() and not robot.depth
    with broadcaster():
        robot.wait(lambda: robot.scale_state() == "calibrated" and bool(robot.depth))
        robot.wait(lambda: "TF" not in robot.complaint())
        robot.depth.clear()
        robot.wait(lambda: len(robot.depth) > 3)
        time.sleep(0.3)
        assert robot.median_ratio() == pytest.approx(1.0, abs=0.3)
    # The joint's publisher is dead: the sonar looks nobody knows where, whatever it says.
    robot.wait(lambda: "is its publisher alive" in robot.complaint())
    count = len(robot.relative)
    robot.wait(lambda: len(robot.relative) > count + 3)
    assert robot.node.alive
    told = lambda: sum("/sonar: TF" in line for line in robot.node.output.splitlines())  # noqa: E731
    robot.wait(lambda: told() >= 2)  # the log has it again after ten seconds
    assert told() <= 12, robot.node.output  # but not five times a second
    with broadcaster():
        robot.wait(lambda: "TF" not in robot.complaint() and robot.scale_state() == "calibrated")
