"""Metres from the robot's own sensors on a real graph: found, told, given to planners, and withheld when they end."""

from __future__ import annotations

import importlib.util
import math
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depthnet_ros.ros.conversions import xyz_cloud_message

from .graph import CAMERA, Graph, wait_until

SCALE, SHIFT = 0.05, 0.3
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ANCHORS = {"scale.mode": "anchors", "scale.use_tf": False, "diagnostics_period_s": 0.1, "scale.temporal_filter": False}


class Robot:
    """A node in mode anchors and a sensor that measures 1 / depth = SCALE * relative + SHIFT at some pixels."""

    def __init__(self, graph: Graph, weights: str, sources: str = "[points]", **parameters) -> None:
        self.graph = graph
        graph.listen_to_diagnostics()
        self.relative = graph.listen("/inverse_depth/image", Image)
        self.depth = graph.listen("/depth/image_rect", Image)
        self.state: list[DiagnosticStatus] = []
        graph.node.create_subscription(DiagnosticStatus, "/scale/state", self.state.append, LATCHED)
        arguments = ["-p", f"scale.sources:={sources}"]
        self.process = graph.start({"weights": weights, **ANCHORS, **parameters}, arguments=arguments)
        graph.send_until(lambda: bool(self.relative), timeout_s=40.0)
        relative = np.frombuffer(self.relative[-1].data, "<f4").reshape(120, 160)
        self.true_depth_m = 1.0 / (SCALE * relative + SHIFT)

    def frame(self, anchors: bool = True) -> None:
        header = self.graph.header()
        if anchors:
            rows, columns = np.mgrid[8:120:16, 8:160:16]
            optical = CAMERA.unproject(self.true_depth_m.astype(np.float32))[rows, columns].reshape(-1, 3)
            body = np.stack((optical[:, 2], -optical[:, 0], -optical[:, 1]), axis=1)  # x ahead, y left, z up
            lidar = Header(stamp=header.stamp, frame_id="lidar")  # a body frame: TF would not turn the camera's own
            self.graph.publisher("/anchors/points", PointCloud2).publish(xyz_cloud_message(body, lidar))
        self.graph.send_image(header=header)
        time.sleep(0.06)

    def frames_until(self, condition, timeout_s: float = 45.0, anchors: bool = True) -> None:
        def step() -> bool:
            self.frame(anchors)
            return condition()

        wait_until(step, timeout_s, lambda: self.process.output + str(self.state[-1:]))

    def told(self, key: str) -> str:
        return next((pair.value for pair in self.state[-1].values if pair.key == key), "") if self.state else ""


@pytest.fixture
def robot(graph: Graph, tiny_weights) -> Robot:
    robot = Robot(graph, str(tiny_weights))
    robot.frames_until(lambda: robot.told("scale_state") == "calibrated" and bool(robot.depth))
    return robot


def test_scale_is_found_told_and_right(robot: Robot, graph: Graph):
    pytest.importorskip("torch", reason="SCALE is what the network of tiny_weights has")
    assert float(robot.told("scale")) == pytest.approx(SCALE, rel=0.2)
    robot.depth.clear()
    robot.frames_until(lambda: len(robot.depth) > 3)
    depth_m = np.frombuffer(robot.depth[-1].data, "<f4").reshape(120, 160)
    finite = np.isfinite(depth_m)
    assert np.median(np.abs(depth_m / robot.true_depth_m - 1)[finite]) < 0.05
    assert {"scale", "shift", "covariance", "anchors", "inliers", "anchor_age_s"} <= {
        p.key for p in robot.state[-1].values
    }
    late: list[DiagnosticStatus] = []
    graph.node.create_subscription(DiagnosticStatus, "/scale/state", late.append, LATCHED)
    wait_until(lambda: bool(late))  # latched: no frame has been sent since


def test_metres_end_with_the_sensor_and_come_back_with_it(robot: Robot):
    robot.frames_until(lambda: robot.told("scale_state") == "stale", anchors=False)
    time.sleep(0.3)
    robot.depth.clear()
    relative = len(robot.relative)
    for _ in range(5):
        robot.frame(anchors=False)
    assert not robot.depth and len(robot.relative) > relative
    robot.frames_until(lambda: bool(robot.depth))


def test_a_camera_that_hangs_while_the_robot_drives_gives_no_metres(robot: Robot):
    for _ in range(10):
        robot.frame()
    robot.true_depth_m = 0.8 * robot.true_depth_m  # and the picture stays
    robot.frames_until(lambda: "has the camera or its stream frozen?" in robot.state[-1].message)
    robot.depth.clear()
    for _ in range(5):
        robot.frame()
    assert not robot.depth and robot.told("metric_published") == "False"


def test_what_is_latched_ends_with_the_images_and_with_the_node(robot: Robot, graph: Graph):
    wait_until(lambda: robot.told("scale_state") == "stale", 20.0)  # no image, no anchor: nothing calls the scaler
    assert "no image was used for more than 2 s" in robot.state[-1].message
    robot.frames_until(lambda: robot.told("scale_state") == "calibrated")
    change = graph.node.create_client(ChangeState, "/depthnet_node/change_state")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert graph.call(change, request).success
    wait_until(lambda: robot.told("scale_state") == "uncalibrated", 20.0)
    assert robot.told("metric_published") == "False"


def test_a_sensor_that_nothing_places_is_told(graph: Graph, tiny_weights):
    if importlib.util.find_spec("tf2_ros"):
        pytest.skip("with tf2_ros a sensor that TF does not know is refused")
    robot = Robot(graph, str(tiny_weights), **{"scale.use_tf": True})
    robot.frames_until(
        lambda: "is taken to sit at the camera" in graph.diagnostics()["/depthnet_node: camera"]["message"]
    )


def test_a_state_is_latched_before_the_first_image(graph: Graph, tiny_weights):
    graph.start({"weights": str(tiny_weights), **ANCHORS}, arguments=["-p", "scale.sources:=[points]"])
    told: list[DiagnosticStatus] = []
    graph.node.create_subscription(DiagnosticStatus, "/scale/state", told.append, LATCHED)
    wait_until(lambda: bool(told), 40.0)
    assert told[-1].message == "no image was used yet" and told[-1].level == DiagnosticStatus.WARN


def test_a_ring_of_sonars_on_one_topic_is_several_sensors(graph: Graph, tiny_weights):
    """One that lies or falls silent must not be hidden by the others'; they differ in their frames."""
    robot = Robot(graph, str(tiny_weights), "[range]")

    def said(**readings_m: float) -> str:
        for frame_id, reading_m in readings_m.items():
            message = Range(field_of_view=0.3, min_range=0.05, max_range=6.0, range=reading_m)
            message.header = graph.header()
            message.header.frame_id = frame_id
            graph.publisher("/anchors/range", Range).publish(message)
        robot.frame(anchors=False)
        return next((status["message"] for name, status in graph.diagnostics().items() if "camera" in name), "")

    # The first that is heard has the source's name, the others their frame's as well.
    wait_until(lambda: "anchors/range: range: a range cannot be nan" in said(left=math.nan), 30.0)
    wait_until(lambda: "anchors/range right: range right: a range" in said(left=2.0, right=math.nan), 30.0)
    wait_until(lambda: "anchors/range: " not in said(left=2.0, right=math.nan), 30.0)
    assert "anchors/range right: " in said(left=2.0, right=math.nan)


def test_sensors_are_listened_to_in_mode_anchors_only(graph: Graph, tiny_weights):
    robot = Robot(graph, str(tiny_weights), "[range, points]", **{"scale.mode": "fixed", "scale.use_tf": True})
    robot.frames_until(lambda: bool(robot.depth), anchors=False)
    assert graph.node.count_subscribers("/anchors/range") == graph.node.count_subscribers("/anchors/points") == 0
    assert "taken to sit at the camera" not in graph.diagnostics()["/depthnet_node: camera"]["message"]


def test_limits_change_without_forgetting_the_scale(robot: Robot, graph: Graph):
    limit = float(np.median(robot.true_depth_m))
    graph.set_parameters("depthnet_node", {"scale.max_depth_m": limit})
    robot.state.clear()
    robot.depth.clear()

    def limited() -> bool:
        values = np.frombuffer(robot.depth[-1].data, "<f4") if robot.depth else np.array([np.inf])
        return bool(
            np.isposinf(values).any() and np.isfinite(values).any() and values[np.isfinite(values)].max() <= limit
        )

    robot.frames_until(limited)
    assert {next(p.value for p in s.values if p.key == "scale_state") for s in robot.state} <= {
        "calibrated",
        "degraded",
    }


def test_unusable_readings_are_told_and_change_nothing(graph: Graph, tiny_weights):
    robot = Robot(graph, str(tiny_weights), "[range, points]")
    robot.frames_until(lambda: robot.told("scale_state") == "degraded" and bool(robot.depth))
    assert "range: no message yet" in robot.state[-1].message
    wait_until(lambda: "no message yet" in graph.diagnostics()["/depthnet_node: camera"]["message"])
    told = graph.diagnostics()["/depthnet_node: camera"]
    assert told["message"].count("range: no message yet") == 1
    assert "anchors/range: nobody publishes /anchors/range: remap" in told["message"]
    assert "nobody publishes /anchors/points" not in told["message"]
    assert int(told["level"]) == robot.state[-1].level[0]  # an aggregator sees what scale/state says
    for reading in (math.nan, -1.0, math.inf):
        message = Range(field_of_view=0.3, min_range=0.1, max_range=4.0, range=reading, header=graph.header())
        graph.publisher("/anchors/range", Range).publish(message)
        robot.frame()
    message = Range(field_of_view=0.0, min_range=0.1, max_range=4.0, range=1.0, header=graph.header())
    graph.publisher("/anchors/range", Range).publish(message)
    wait_until(lambda: "anchors/range" in graph.diagnostics()["/depthnet_node: camera"]["message"])
    robot.depth.clear()
    robot.frames_until(lambda: len(robot.depth) > 2)


def test_planar_outputs_need_the_ground_and_follow_rep_117(graph: Graph, tiny_weights):
    scan = graph.listen("/scan", LaserScan)
    nearest = graph.listen("/obstacle/nearest", Range)
    clearing = graph.listen("/points/clearing", PointCloud2)
    robot = Robot(graph, str(tiny_weights))
    robot.frames_until(lambda: "scale.ground_height_m" in graph.diagnostics()["/depthnet_node: camera"]["message"])
    assert not scan
    robot.process.stop()
    graph.messages["/inverse_depth/image"].clear()
    ground = {"scale.ground_height_m": 0.5, "nav.scan_frame": "base_camera", "scale.ground_height_sigma": 1.0}
    robot = Robot(graph, str(tiny_weights), **ground)
    robot.frames_until(lambda: bool(scan and nearest and clearing))
    ranges = np.array(scan[-1].ranges)
    assert scan[-1].header.frame_id == "base_camera" == nearest[-1].header.frame_id
    assert scan[-1].angle_min < 0 < scan[-1].angle_max
    assert len(ranges) == round((scan[-1].angle_max - scan[-1].angle_min) / scan[-1].angle_increment) + 1
    finite = ranges[np.isfinite(ranges)]
    assert (finite >= scan[-1].range_min).all() and (finite <= scan[-1].range_max * 1.001).all()
    graph.set_parameters("depthnet_node", {"nav.scan_rays": 33})
    robot.frames_until(lambda: len(scan[-1].ranges) == 33)
    points = np.frombuffer(clearing[-1].data, "<f4")
    assert np.isfinite(points).all() and clearing[-1].header.frame_id == "camera_optical"


def test_a_ground_frame_that_tf_cannot_give_is_told(graph: Graph, tiny_weights):
    """Without tf2_ros, or without that transform: the reason is in diagnostics, and metres come all the same."""
    settings = {
        "scale.use_tf": True,
        "scale.ground_frame": "base_footprint",
        "scale.points_pose": [0.001, 0.0, 0.0, 0.0, 0.0, 0.0],
    }
    robot = Robot(graph, str(tiny_weights), **settings)
    robot.frames_until(lambda: "scale.ground_frame" in graph.diagnostics()["/depthnet_node: camera"]["message"])
    robot.frames_until(lambda: bool(robot.depth))
