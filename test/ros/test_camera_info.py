"""Images and their camera_info: brought together under load, and what is said where they do not come together."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import rclpy
import yaml
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image, LaserScan

from depthnet_ros.ros.camera_info_report import CameraInfoReport
from depthnet_ros.ros.camera_input import CameraFrame, CameraInput
from depthnet_ros.ros.conversions import image_message, info_from_camera

from .graph import CAMERA, Graph, picture, wait_until

FIXED = {"scale.mode": "fixed", "scale.fixed_scale": 0.05, "scale.fixed_shift": 0.3, "diagnostics_period_s": 0.1}


def _told(graph: Graph) -> dict[str, str]:
    return graph.diagnostics().get("/depthnet_node: camera", {"message": "", "level": ""})


def test_an_executor_that_is_slow_parts_no_image_from_its_camera_info(ros_domain: int) -> None:
    """Large clouds do that: its rounds then take longer than the camera's period, and give one message of a topic."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node, sender = (rclpy.create_node(name, context=context) for name in ("camera_test", "camera_driver"))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    frames: list[CameraFrame] = []
    source = CameraInput(node, "", {"image_transport": "raw", "camera_info_wait_s": 0.1}, frames.append)
    images, infos = sender.create_publisher(Image, "image", 5), sender.create_publisher(CameraInfo, "camera_info", 5)
    wait_until(lambda: images.get_subscription_count() == infos.get_subscription_count() == 1)
    for number in range(60):
        message = image_message(picture(32, 24), "rgb8", CameraInfo().header)
        message.header.stamp.nanosec = number + 1
        images.publish(message)
        infos.publish(info_from_camera(CAMERA, message.header))
        if number % 6 == 5:  # five images of six are lost to the queue of one; six camera_info come in that time
            time.sleep(0.05)
            executor.spin_once(timeout_sec=0.0)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)
    source.destroy()
    executor.shutdown()
    for created in (node, sender):
        created.destroy_node()
    rclpy.shutdown(context=context)
    assert len(frames) >= 3
    assert [frame.info is not None and frame.info.header == frame.message.header for frame in frames] == [True] * len(
        frames
    )


def test_a_driver_that_has_just_begun_is_not_said_to_be_missing(graph: Graph, node: LifecycleNode) -> None:
    """An image that came before its first camera_info, one with, and then one without, all within a second."""
    frames: list[CameraFrame] = []
    source = CameraInput(node, "", {"image_transport": "raw", "camera_info_wait_s": 0.1}, frames.append)
    report = CameraInfoReport(node.get_logger(), "", lambda: True)
    executor = SingleThreadedExecutor(context=graph.context)
    executor.add_node(node)

    def received() -> CameraFrame:
        count = len(frames)
        wait_until(lambda: executor.spin_once(timeout_sec=0.05) or len(frames) > count)
        return frames[-1]

    graph.send_image(camera=None)
    report.missing(source, received())
    assert report.problem.startswith("nobody publishes /camera_info")
    graph.publisher("/camera_info", CameraInfo)
    graph.send_image()
    assert received().info is not None
    report.usable()
    graph.send_image(camera=None)
    report.missing(source, received())
    assert report.problem.startswith("no camera_info has the image's stamp")
    source.destroy()
    executor.shutdown()


@pytest.mark.parametrize(("apart_ms", "told"), [(3, "is 0.003 s later"), (-3, "is 0.003 s earlier")])
def test_stamps_that_do_not_agree_are_told_with_how_far_apart_they_are(
    graph: Graph, tiny_weights, apart_ms: int, told: str
) -> None:
    """Of the nearest camera_info: when an image has waited for its own, those of the next images have come."""
    graph.listen_to_diagnostics()
    relative = graph.listen("/inverse_depth/image", Image)
    process = graph.start({"weights": str(tiny_weights), **FIXED})
    infos = graph.publisher("/camera_info", CameraInfo)

    def is_told() -> bool:
        stamp_ns = time.time_ns()
        graph.send_image(header=graph.header(stamp_ns), camera=None)
        infos.publish(info_from_camera(CAMERA, graph.header(stamp_ns + 1_000_000 * apart_ms)))
        time.sleep(0.03)
        return told in _told(graph)["message"] and told in process.output

    wait_until(is_told, 30.0, lambda: str(_told(graph)) + process.output)
    assert relative  # relative depth goes on
    assert process.output.count("the driver must stamp both alike") == 1


def test_a_camera_info_that_came_but_once_is_told(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    metric = graph.listen("/depth/image_rect", Image)
    process = graph.start({"weights": str(tiny_weights), **FIXED})
    graph.send_until(lambda: bool(metric))
    told = "/camera_info was last heard"
    graph.send_until(lambda: told in _told(graph)["message"] and told in process.output, camera=None)
    assert "it must come with every image" in _told(graph)["message"]
    graph.send_until(lambda: told not in _told(graph)["message"])


def test_each_fault_of_camera_info_is_logged_once(graph: Graph, tiny_weights) -> None:
    graph.listen("/inverse_depth/image", Image)
    process = graph.start({"weights": str(tiny_weights), **FIXED})
    infos = graph.publisher("/camera_info", CameraInfo)

    def send(**changes: object) -> None:
        header = graph.send_image(camera=None)
        info = info_from_camera(CAMERA, header)
        for name, value in changes.items():
            setattr(info, name, value)
        infos.publish(info)
        time.sleep(0.05)

    for changes, words in (({"width": 7}, "describes 7x"), ({"k": [0.0] * 9, "p": [0.0] * 12}, "is all zero")):
        wait_until(lambda words=words, changes=changes: send(**changes) or words in process.output, 20.0)
        for _ in range(10):
            send(**changes)
        assert process.output.count(words) == 1


def test_metres_that_are_known_and_kept_back_are_told(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    scan = graph.listen("/scan", LaserScan)
    depth = graph.listen("/depth/image_rect", Image)
    graph.start({"weights": str(tiny_weights), **FIXED})
    graph.send_until(lambda: bool(depth))
    graph.set_parameters("depthnet_node", {"scale.publish_states": ["degraded"]})
    told = "metric topics are silent: calibrated is not among scale.publish_states"
    graph.send_until(lambda: told in _told(graph)["message"])
    assert _told(graph)["level"] == "1" and not scan
    graph.send_until(lambda: "all subscribed topics need metric scale" in _told(graph)["message"])


def test_simulated_time_that_nobody_sends_is_told(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "use_sim_time": True, **FIXED})
    graph.send_until(lambda: "/clock has not been heard" in _told(graph)["message"], 30.0)


def calibration_file(path: Path, width: int = CAMERA.width_px) -> Path:
    """As camera_calibration writes it."""
    k = [CAMERA.fx_px, 0.0, CAMERA.cx_px, 0.0, CAMERA.fy_px, CAMERA.cy_px, 0.0, 0.0, 1.0]
    matrix = {"rows": 3, "cols": 3, "data": k}
    path.write_text(yaml.safe_dump({"image_width": width, "image_height": CAMERA.height_px, "camera_matrix": matrix}))
    return path


def test_a_calibration_file_stands_in_for_camera_info(graph: Graph, tiny_weights, tmp_path: Path) -> None:
    """Of a driver that publishes none, or stamps it otherwise: what is on the graph is not even listened to."""
    graph.listen_to_diagnostics()
    depth, info = graph.listen("/depth/image_rect", Image), graph.listen("/depth/camera_info", CameraInfo)
    file = calibration_file(tmp_path / "front.yaml")
    graph.start({"weights": str(tiny_weights), **FIXED, "camera_info_file": str(file)})
    graph.send_until(lambda: bool(depth and info and _told(graph)["level"] == "0"), camera=None)
    assert graph.node.count_subscribers("/camera_info") == 0
    assert info[-1].k[0] == CAMERA.fx_px and info[-1].header == depth[-1].header


def test_a_calibration_file_of_another_size_gives_no_metres(graph: Graph, tiny_weights, tmp_path: Path) -> None:
    graph.listen_to_diagnostics()
    relative, depth = graph.listen("/inverse_depth/image", Image), graph.listen("/depth/image_rect", Image)
    file = calibration_file(tmp_path / "front.yaml", width=2 * CAMERA.width_px)
    graph.start({"weights": str(tiny_weights), **FIXED, "camera_info_file": str(file)})
    wide = f"{2 * CAMERA.width_px}x{CAMERA.height_px}"
    graph.send_until(lambda: bool(relative) and wide in _told(graph)["message"], camera=None)
    assert not depth


@pytest.mark.parametrize(
    ("cameras", "file", "complaint"),
    [
        ("['']", "/nowhere.yaml", "no calibration file at /nowhere.yaml"),
        ("[front, rear]", "/all.yaml", "would be every camera's: put {camera} where its name belongs"),
        ("[front]", "/of_{camera}.yaml", "no calibration file at /of_front.yaml"),
    ],
)
def test_a_calibration_file_that_cannot_be_used_is_said_at_once(
    graph: Graph, tiny_weights, cameras: str, file: str, complaint: str
) -> None:
    arguments = ["-p", f"cameras:={cameras}"]
    process = graph.start({"weights": str(tiny_weights), "camera_info_file": file}, arguments=arguments)
    assert process.wait_for_end() == 1 and complaint in process.output


def test_a_manager_that_tries_again_leaves_no_publishers_behind(graph: Graph, tiny_weights, tmp_path: Path) -> None:
    file = tmp_path / "front.yaml"
    process = graph.start({"weights": str(tiny_weights), "camera_info_file": str(file), "autostart": False})

    def configured() -> bool:
        client = graph.node.create_client(ChangeState, "/depthnet_node/change_state")
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        return bool(graph.call(client, request).success)

    assert not configured() and not configured()
    assert graph.node.count_publishers("/depth/image_rect") == 0, process.output
    calibration_file(file)
    assert configured()
    wait_until(lambda: graph.node.count_publishers("/depth/image_rect") == 1)
