"""What a robot's engineer is told of mistakes in the set-up, and what counts as output."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image, PointCloud2, Range

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.messages.anchors import SensorNames
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler
from depthnet_ros.ros.conversions import image_message
from depthnet_ros.ros.scale_inputs import ScaleInputs

from .graph import CAMERA, Graph, picture, wait_until

FIXED = {"scale.mode": "fixed", "scale.fixed_scale": 0.05, "scale.fixed_shift": 0.3, "diagnostics_period_s": 0.1}


def _told(graph: Graph, name: str = "message") -> str:
    return graph.diagnostics().get("/depthnet_node: camera", {}).get(name, "")


@pytest.mark.parametrize("mode", ["none", "fixed"])
def test_that_there_will_be_no_metres_is_in_the_log(graph: Graph, tiny_weights, mode: str) -> None:
    """Who starts the node for the first time waits for depth/image_rect, and has not heard of /diagnostics."""
    process = graph.start({"weights": str(tiny_weights), "scale.mode": mode})
    process.wait_for_output("waiting for images")
    assert ("relative depth only, no depth/image_rect" in process.output) == (mode == "none")


def test_a_camera_info_that_nobody_publishes_is_told_by_its_topic(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    relative = graph.listen("/inverse_depth/image", Image)
    process = graph.start({"weights": str(tiny_weights), **FIXED})
    graph.send_until(lambda: bool(relative), camera=None)
    graph.send_until(lambda: "nobody publishes /camera_info" in _told(graph), camera=None)
    assert process.output.count("nobody publishes /camera_info: remap camera_info") == 1
    graph.send_until(lambda: "camera_info" not in _told(graph), camera=CAMERA)


def test_what_rectify_lacks_is_told_by_scale_state_too(graph: Graph, tiny_weights) -> None:
    state = graph.listen("/scale/state", DiagnosticStatus)
    graph.start({"weights": str(tiny_weights), "rectify": True, **FIXED})
    graph.listen("/depth/image_rect", Image)
    graph.send_until(lambda: bool(state) and "nobody publishes /camera_info" in state[-1].message, camera=None)
    assert state[-1].message.startswith("no image was used yet: ")


def test_what_nobody_was_given_is_no_output(graph: Graph, tiny_weights) -> None:
    """A cloud is asked for, but there is no scale yet: a watchdog on the age of output must see that."""
    graph.listen_to_diagnostics()
    points = graph.listen("/points", PointCloud2)
    anchors = {"scale.mode": "anchors", "scale.sources": "[range]", "scale.use_tf": False, "diagnostics_period_s": 0.1}
    graph.start({"weights": str(tiny_weights), **{k: v for k, v in anchors.items() if k != "scale.sources"}},
                arguments=["-p", "scale.sources:=[range]"])  # fmt: skip
    graph.send_until(lambda: int(_told(graph, "frames_processed") or 0) > 5)
    assert not points and int(_told(graph, "frames_published") or 0) == 0


def test_a_16_bit_picture_of_a_12_bit_sensor_is_told(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    relative = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), **FIXED})
    graph.send_until(lambda: bool(relative))
    grey = picture()[..., 0].astype(np.uint16)
    dark = image_message(grey * 16, "mono16", graph.header())
    graph.send_until(lambda: "greys of 256" in _told(graph), message=dark)
    assert "let the driver shift them up" in _told(graph)
    full = image_message(grey * 256, "mono16", graph.header())
    graph.send_until(lambda: "greys of 256" not in _told(graph), message=full)


def test_stamps_of_a_clock_that_is_ahead_are_told(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    relative = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), **FIXED})
    graph.send_until(lambda: bool(relative))
    graph.send_until(lambda: _told(graph, "decode_p50_ms") != "")
    assert min(float(_told(graph, f"{stage}_p50_ms")) for stage in ("wait", "decode")) >= 0
    assert "ahead" not in _told(graph)

    def is_told() -> bool:
        graph.send_image(header=graph.header(time.time_ns() + 100_000_000_000))
        return "ahead of this node's clock" in _told(graph)

    wait_until(is_told)


@pytest.mark.parametrize(("stamp_ns", "when"), [(0, "stamped 0"), (12_918 * 10**9, "s before this node's clock")])
def test_stamps_that_are_not_of_this_clock_are_told(graph: Graph, tiny_weights, stamp_ns: int, when: str) -> None:
    """Zero, or the time since boot: planners drop all that is made of them, and depth looked well."""
    graph.listen_to_diagnostics()
    graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), **FIXED})

    def is_told() -> bool:
        graph.send_image(header=graph.header(stamp_ns))
        return when in _told(graph) and "use_sim_time" in _told(graph)

    wait_until(is_told)
    assert _told(graph, "level") == "1"


@pytest.mark.parametrize(("key", "ours"), [
    ("depth_anything", False), ("/robot/rear", False), ("depthnet_node", False), ("/*", False), ("/robot/**", True),
    ("/**/depthnet_node", True), ("/*/depthnet_node", True), ("robot", True),
])  # fmt: skip
def test_a_parameter_file_for_another_node_is_told(graph: Graph, tiny_weights, tmp_path: Path, key: str, ours: bool):
    """rcl takes nothing from it, and the node runs on its defaults."""
    file = tmp_path / "robot.yaml"
    below = "  depthnet_node:\n  " if key == "robot" else ""  # a namespace of its own, in which the node stands
    other = "other:\n  ros__parameters:\n    since: 2024-02-30\n"  # no date to YAML, a text to rcl
    file.write_text(
        f"{key}:\n{below}  ros__parameters:\n  {'  ' if below else ''}  image_transport: compressed\n{other}"
    )
    arguments = ["--params-file", str(file), "-r", "__ns:=/robot"]
    process = graph.start({"weights": str(tiny_weights)}, arguments=arguments)
    process.wait_for_output("waiting for images on /robot/image" + "/compressed" * ours)
    nodes = ", ".join(sorted((f"/{key.lstrip('/')}", "/other")))
    told = f"nothing of {file} is used: it is for {nodes}, not for this node, /robot/depthnet_node"
    assert (told in process.output) is not ours


def test_images_without_a_frame_are_told(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), **FIXED})

    def is_told() -> bool:
        header = graph.header()
        header.frame_id = ""
        graph.send_image(header=header)
        return "have no frame_id" in _told(graph)

    wait_until(is_told)
    assert _told(graph, "level") == "1"
    graph.send_until(lambda: "frame_id" not in _told(graph))


def test_who_subscribes_between_slow_frames_gets_the_next_one(graph: Graph, tiny_weights) -> None:
    relative = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights)})
    graph.send_until(lambda: bool(relative))
    preview = graph.listen("/depth/preview", Image)
    publishers = graph.subscriptions["/depth/preview"]
    wait_until(lambda: graph.node.count_publishers("/depth/preview") > 0 and publishers is not None)
    time.sleep(1.0)  # until the two have found each other
    before = len(relative)
    graph.send_image()
    wait_until(lambda: len(relative) > before)
    wait_until(lambda: len(preview) == 1, 2.0)


class _Turning:
    """TF of a ring: the frame's name is its angle to the left in degrees."""

    turned_deg = 0.0

    def find(self, target: str, source: str, stamp: object, patience_s: float, wait_s: float = 0.0) -> np.ndarray:
        angle = np.radians(float(source) + self.turned_deg)
        pose = np.eye(4)
        ahead, left = np.array((0.0, 0.0, 1.0)), np.array((-1.0, 0.0, 0.0))  # of the optical frame
        pose[:3, 0] = np.cos(angle) * ahead + np.sin(angle) * left
        pose[:3, 1] = -np.sin(angle) * ahead + np.cos(angle) * left
        pose[:3, 2] = (0.0, -1.0, 0.0)
        return pose

    def forget(self) -> None:
        pass


@pytest.mark.parametrize("angles", [(0, 90, 180, 270), (90, 180, 270, 0)])
def test_sonars_of_a_ring_that_look_elsewhere_are_no_trouble(graph: Graph, angles: tuple[int, ...]) -> None:
    config = MetricScaleConfig(mode="anchors", sources=["range"])
    inputs = ScaleInputs(graph.node, "", config, _Turning(), lambda depth: depth, SensorNames())  # type: ignore[arg-type]
    camera = PinholeCamera.from_fov(160, 120, 1.2)
    scaler = MetricScaler(config, camera)
    inputs.look_through(scaler, camera, "camera_optical", None)
    told: list[int] = []
    for angle in angles:
        message = Range(field_of_view=0.3, min_range=0.05, max_range=6.0, range=2.0, header=graph.header())
        message.header.frame_id = str(angle)
        inputs.receive("range", message)
        told.append(len(inputs.problems))
    assert told == ([0, 0, 0, 0] if angles[0] == 0 else [1, 2, 3, 0])
    inputs.destroy()


def test_a_lone_sonar_that_turns_away_is_told(graph: Graph) -> None:
    config = MetricScaleConfig(mode="anchors", sources=["range"])
    turning = _Turning()
    inputs = ScaleInputs(graph.node, "", config, turning, lambda depth: depth, SensorNames())  # type: ignore[arg-type]
    camera = PinholeCamera.from_fov(160, 120, 1.2)
    inputs.look_through(MetricScaler(config, camera), camera, "camera_optical", None)
    message = Range(field_of_view=0.3, min_range=0.05, max_range=6.0, range=2.0, header=graph.header())
    message.header.frame_id = "0"
    inputs.receive("range", message)
    assert not inputs.problems
    turning.turned_deg = 90.0
    inputs.receive("range", message)
    assert "the camera sees 0% of the cone" in inputs.problems["range"]
    inputs.destroy()
