"""Scan, nearest obstacle, clouds: what a node gives for a wall at a known distance, in which frames, and to whom."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import yaml
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depthnet_ros.bags.transforms import OPTICAL_IN_BODY
from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.ros.conversions import image_message, info_from_camera

from .collision_monitor import CollisionMonitor
from .graph import CAMERA, REPOSITORY, Graph, picture, wait_until

HEIGHT_M = 0.4
WALL = {  # of mode fixed: whatever the network says, depth is 1 / fixed_shift everywhere
    "scale.mode": "fixed",
    "scale.fixed_scale": 1e-9,
    "scale.fixed_shift": 0.5,
    "scale.ground_height_m": HEIGHT_M,
    "diagnostics_period_s": 0.1,
    "backend": "onnxruntime",  # none is to be chosen by its speed, and torch takes longest to start
    "precision": "float32",
}
KINDS = {"/scan": LaserScan, "/obstacle/nearest": Range, "/points": PointCloud2, "/points/clearing": PointCloud2}
FREE_M = 1000.0


class Wall:
    """A node before a wall that fills its picture."""

    def __init__(
        self,
        graph: Graph,
        weights: str,
        frame_id: str = "camera_optical",
        arguments: list[str] | None = None,
        **parameters: Any,
    ) -> None:
        self.graph, self._frame_id = graph, frame_id
        graph.listen_to_diagnostics()
        self.heard = {topic: graph.listen(topic, kind) for topic, kind in KINDS.items()}
        self.process = graph.start({"weights": weights, **WALL, **parameters}, arguments=arguments)
        self.process.wait_for_output("waiting for images", timeout_s=120.0)

    def _header(self) -> Header:
        header = self.graph.header()
        header.frame_id = self._frame_id
        return header

    def send(self) -> None:
        """One picture with its camera_info."""
        self.graph.send_image(header=self._header())

    def send_until(self, condition: Any, timeout_s: float = 45.0) -> None:
        def step() -> bool:
            if condition():
                return True
            self.send()
            time.sleep(0.05)
            return bool(condition())

        end = time.monotonic() + timeout_s
        while not step():
            assert time.monotonic() < end, self.process.output

    def at(self, distance_m: float, **parameters: Any) -> dict[str, Any]:
        """The newest message of each topic with the wall at this distance."""
        values = {"scale.fixed_shift": 1.0 / distance_m, **parameters}
        assert all(r.successful for r in self.graph.set_parameters("depthnet_node", values))
        self.send_until(lambda: all(self.heard.values()))
        since = stamp_ns(self._header().stamp)
        self.send_until(lambda: all(stamp_ns(m[-1].header.stamp) > since for m in self.heard.values()))
        return {topic: messages[-1] for topic, messages in self.heard.items()}

    @property
    def told(self) -> str:
        return self.graph.diagnostics().get("/depthnet_node: camera", {}).get("message", "")


def recipe() -> dict[str, Any]:
    """Settings of the shipped collision monitor."""
    text = (REPOSITORY / "config" / "nav" / "nav2_collision_monitor.yaml").read_text()
    return yaml.safe_load(text)["collision_monitor"]["ros__parameters"]


def sent_s(messages: dict[str, Any]) -> float:
    """Time of the newest."""
    return 1e-9 * max(stamp_ns(message.header.stamp) for message in messages.values())


def monitor(settings: dict[str, Any]) -> CollisionMonitor:
    """A level camera 0.2 m before the middle of the robot."""
    level = np.eye(4)
    level[:3, 3] = 0.2, 0.0, HEIGHT_M
    return CollisionMonitor(settings, {"camera": level, "camera_optical": level @ np.asarray(OPTICAL_IN_BODY)})


def test_nav2_s_collision_monitor_stops_for_what_is_near_and_drives_where_it_is_free(graph: Graph, tiny_weights):
    wall = Wall(graph, str(tiny_weights))
    robot = monitor(recipe())
    wanted = {FREE_M: "", 3.0: "", 0.8: "slow", 0.25: "stop", 0.15: "stop", 0.05: "stop"}
    messages = {distance: wall.at(distance) for distance in wanted}
    middle = {distance: m["/scan"].ranges[len(m["/scan"].ranges) // 2] for distance, m in messages.items()}
    rep_117 = {FREE_M: np.inf, 3.0: 3.0, 0.8: 0.8, 0.25: 0.25, 0.15: -np.inf, 0.05: -np.inf}
    assert middle == pytest.approx(rep_117, rel=1e-3)
    assert {d: m["/obstacle/nearest"].range for d, m in messages.items()} == pytest.approx(rep_117, rel=1e-3)
    assert {distance: robot.action(m, sent_s(m)) for distance, m in messages.items()} == wanted
    free = messages[FREE_M]
    assert robot.action(free, sent_s(free) + 10.0) == "invalid source"  # depth has ended

    # Why obstacle/nearest is not among the sources: its +Inf stops the robot before an empty way, its -Inf stops none.
    settings = recipe()
    settings["nearest"] = {"type": "range", "topic": "/obstacle/nearest", "obstacles_angle": 0.05}
    settings["observation_sources"] = ["nearest"]
    assert monitor(settings).action(free, sent_s(free)) == "invalid source"
    settings["nearest"]["source_timeout"] = 0.0
    assert [monitor(settings).action(messages[d], 0.0) for d in (FREE_M, 0.25, 0.05)] == ["", "stop", ""]


def test_the_cloud_marks_what_is_too_near_for_a_range(graph: Graph, tiny_weights):
    wall = Wall(graph, str(tiny_weights))
    for distance_m, stands_at_m in ((0.15, 0.15), (0.05, 0.1)):  # 0.1: scale.min_depth_m
        points = np.frombuffer(wall.at(distance_m)["/points"].data, "<f4").reshape(-1, 4)[:, :3]
        assert np.isfinite(points).all() and points[:, 2] == pytest.approx(stands_at_m, rel=1e-3)


def test_free_view_is_told_no_farther_than_depth_is(graph: Graph, tiny_weights):
    """A wall at 4 m, but depth is given to 3 m only: what is behind is not free, though planners would look to 5."""
    wall = Wall(graph, tiny_weights)
    volume = graph.listen("/points/clearing_3d", PointCloud2)
    for limit_m in (20.0, 3.0):
        messages = wall.at(4.0, **{"scale.max_depth_m": limit_m})
        wall.send_until(lambda: bool(volume) and volume[-1].header.stamp == wall.heard["/scan"][-1].header.stamp)
        scan = messages["/scan"]
        assert 2.9 < scan.range_max < 1.001 * limit_m
        middle = scan.ranges[len(scan.ranges) // 2]
        assert middle == (pytest.approx(4.0, rel=0.01) if limit_m > 4.0 else float("inf"))
        for cloud in (messages["/points/clearing"], volume[-1]):
            points = np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, 3)
            assert len(points) > 10
            one_sigma_before = 4.0 / 1.18  # by scale.network_sigma
            assert points[:, 2].max() == pytest.approx(min(limit_m, one_sigma_before), rel=0.01)


def test_clearing_points_need_no_scan_frame(graph: Graph, tiny_weights):
    """They are in the image's own frame, whose name says nothing of a body frame here."""
    wall = Wall(graph, str(tiny_weights), frame_id="eye")
    wall.send_until(lambda: len(wall.heard["/points/clearing"]) > 2 and "nav.scan_frame" in wall.told)
    assert wall.heard["/points/clearing"][-1].header.frame_id == "eye"
    assert not wall.heard["/scan"] and not wall.heard["/obstacle/nearest"]
    assert "points/clearing" not in wall.told


def test_a_tilted_camera_needs_a_level_scan_frame(graph: Graph, tiny_weights):
    """Else Nav2 takes level ranges for those of a pitched scanner, and drops returns below the ground."""
    wall = Wall(graph, str(tiny_weights), **{"scale.ground_pitch_rad": 0.1})
    wall.send_until(lambda: len(wall.heard["/points/clearing"]) > 2 and "nav.scan_frame" in wall.told)
    assert not wall.heard["/scan"] and not wall.heard["/obstacle/nearest"]
    assert wall.process.output.count("nav.scan_frame") == 1
    message = wall.at(2.0, **{"nav.scan_frame": "camera_level"})["/scan"]
    assert message.header.frame_id == "camera_level"
    wall.send_until(lambda: "nav.scan_frame" not in wall.told)


def test_the_shipped_robot_s_parameters_give_every_topic(graph: Graph, tiny_weights, tmp_path):
    """With the frame that the launch file gives to the driver."""
    shipped = yaml.safe_load((REPOSITORY / "config" / "nav" / "depthnet_robot.yaml").read_text())
    shipped["/**"]["ros__parameters"]["scale.mode"] = "fixed"  # no sonar here
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(shipped))
    arguments = ["--params-file", str(tmp_path / "robot.yaml")]
    wall = Wall(graph, str(tiny_weights), frame_id="camera_optical_frame", arguments=arguments)
    messages = wall.at(2.0)
    frames = {topic: message.header.frame_id for topic, message in messages.items()}
    assert frames["/scan"] == frames["/obstacle/nearest"] == "camera_level"
    assert frames["/points"] == frames["/points/clearing"] == "camera_optical_frame"
    assert messages["/obstacle/nearest"].range == pytest.approx(2.0, rel=0.1)  # its camera is tilted by 0.1 rad


def test_a_camera_level_within_a_degree_has_its_own_frame(graph: Graph, tiny_weights):
    wall = Wall(graph, str(tiny_weights), **{"scale.ground_pitch_rad": 0.015})
    assert wall.at(2.0)["/scan"].header.frame_id == "camera"


def test_several_cameras_have_a_scan_frame_each(graph: Graph, tiny_weights):
    """Under one frame the rear camera's obstacles would stand before the robot."""
    names = ("front", "rear")
    graph.listen_to_diagnostics()
    scans = {name: graph.listen(f"/{name}/scan", LaserScan) for name in names}
    clearing = {name: graph.listen(f"/{name}/points/clearing", PointCloud2) for name in names}
    settings = {"weights": str(tiny_weights), **WALL, "nav.scan_frame": "camera_level"}
    process = graph.start(settings, arguments=["-p", "cameras:=[front, rear]"])
    process.wait_for_output("waiting for images on /rear/image", timeout_s=120.0)

    def send_until(condition) -> None:
        def step() -> bool:
            for name in names:
                header = graph.header()
                header.frame_id = f"{name}_optical"
                graph.publisher(f"/{name}/image", Image).publish(image_message(picture(), "rgb8", header))
                graph.publisher(f"/{name}/camera_info", CameraInfo).publish(info_from_camera(CAMERA, header))
            time.sleep(0.05)
            return condition()

        wait_until(step, 45.0, lambda: process.output)

    def told(name: str) -> str:
        return graph.diagnostics().get(f"/depthnet_node: {name}", {}).get("message", "")

    send_until(lambda: all(clearing.values()) and all("frame of every camera" in told(name) for name in names))
    assert not any(scans.values())
    assert all(r.successful for r in graph.set_parameters("depthnet_node", {"nav.scan_frame": "{camera}_level"}))
    send_until(lambda: all(scans.values()))
    assert {name: messages[-1].header.frame_id for name, messages in scans.items()} == {
        "front": "front_level",
        "rear": "rear_level",
    }


def test_in_a_frame_that_is_not_optical_nothing_is_said_of_heights(graph: Graph, tiny_weights):
    """An image whose frame has x ahead and z up lets the ground lie behind the camera, and every ray was free."""
    depth = graph.listen("/depth/image_rect", Image)
    wall = Wall(graph, str(tiny_weights), **{"scale.ground_pitch_rad": -1.5, "nav.scan_frame": "camera_level"})
    wall.send_until(lambda: len(depth) > 3 and "is the frame_id of the image an optical frame" in wall.told)
    assert not any(wall.heard.values())


def test_where_the_ground_is_lost_the_floor_is_no_obstacle(graph: Graph, tiny_weights):
    """No transform leads to the ground's frame here; a cloud without heights would mark all of the floor."""
    depth = graph.listen("/depth/image_rect", Image)
    ground = {"scale.ground_height_m": 0.0, "scale.ground_frame": "base_footprint"}
    wall = Wall(graph, str(tiny_weights), **ground)
    wall.send_until(lambda: len(depth) > 3 and "is not known now" in wall.told)
    assert not any(wall.heard.values())


def test_a_camera_above_the_band_calls_nothing_free(graph: Graph, tiny_weights):
    """A wall two metres before a drone is above nav.max_height_m, which counts from the ground."""
    wall = Wall(graph, str(tiny_weights), **{"nav.scan_frame": "camera_level"})
    assert wall.at(2.0)["/points/clearing"].width > 0
    assert "set raytrace_min_range 1.0 where cells are cleared" in wall.process.output
    messages = wall.at(2.0, **{"scale.ground_height_m": 3.0})
    assert np.isnan(messages["/scan"].ranges).all() and np.isnan(messages["/obstacle/nearest"].range)
    assert messages["/points/clearing"].width == 0
    wall.send_until(lambda: "nothing is called free" in wall.told)
    messages = wall.at(2.0, **{"nav.max_height_m": 3.5, "nav.min_height_m": 2.5})
    assert messages["/obstacle/nearest"].range == pytest.approx(2.0, rel=1e-3)
