"""A node among others: managers, overrides for one topic, several drivers, clocks, subscribers that leave."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from depthnet_ros.middleware import PROFILE_VARIABLES, PROFILES, room_for_images
from depthnet_ros.ros.conversions import image_message

from .graph import Graph, picture, wait_until
from .test_lifecycle import abandoned
from .test_metric_scale import Robot

CONFIGURE, ACTIVATE, DEACTIVATE = (
    Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
    Transition.TRANSITION_DEACTIVATE,
)


def change(graph: Graph, transition: int) -> bool:
    client = graph.node.create_client(ChangeState, "/depthnet_node/change_state")
    return bool(graph.call(client, ChangeState.Request(transition=Transition(id=transition))).success)


def enable(graph: Graph, on: bool) -> None:
    assert graph.call(graph.node.create_client(SetBool, "/depthnet_node/enable"), SetBool.Request(data=on)).success


def camera_status(graph: Graph) -> dict:
    return graph.diagnostics().get("/depthnet_node: camera", {})


def calibrated(graph: Graph, weights: object, **parameters: object) -> Robot:
    robot = Robot(graph, str(weights), **parameters)
    robot.frames_until(lambda: robot.told("scale_state") == "calibrated" and bool(robot.depth))
    return robot


def test_an_override_for_one_topic_is_that_topic_s_alone(graph: Graph, tiny_weights) -> None:
    """The first that is made, of outputs and of inputs: rclpy writes into the profile that it is given."""
    best_effort = "best_effort"
    overrides = {
        "qos_overrides./inverse_depth/image.publisher.reliability": best_effort,
        "qos_overrides./points.publisher.reliability": best_effort,
        "qos_overrides./image.subscription.reliability": "reliable",
    }
    arguments = ["-p", "cameras:=['','rear']"]
    process = graph.start({"weights": str(tiny_weights), **overrides}, arguments=arguments)
    process.wait_for_output("waiting for images on /rear")

    def reliability(topic: str, publishers: bool) -> list[ReliabilityPolicy]:
        infos = graph.node.get_publishers_info_by_topic if publishers else graph.node.get_subscriptions_info_by_topic
        wait_until(lambda: len(infos(topic)) == 1)
        return [info.qos_profile.reliability for info in infos(topic)]

    for topic in ("/inverse_depth/image", "/points"):
        assert reliability(topic, True) == [ReliabilityPolicy.BEST_EFFORT]
    for topic in ("/depth/image_rect", "/scan", "/rear/inverse_depth/image", "/rear/points", "/scale/state"):
        assert reliability(topic, True) == [ReliabilityPolicy.RELIABLE], topic
    assert reliability("/image", False) == [ReliabilityPolicy.RELIABLE]
    assert reliability("/rear/image", False) == [ReliabilityPolicy.BEST_EFFORT]


def test_a_transition_that_does_not_fit_is_answered(graph: Graph, tiny_weights) -> None:
    """A manager that takes over a node which brought itself up would else wait for ever."""
    process = graph.start({"weights": str(tiny_weights)})
    process.wait_for_output("waiting for images")
    assert not change(graph, CONFIGURE)
    process.wait_for_output("does not fit the state 'active'")
    process.wait_for_output("autostart:=false")
    assert "Traceback" not in process.output
    assert change(graph, DEACTIVATE) and change(graph, ACTIVATE)


@pytest.mark.parametrize(
    "transitions",
    [
        [Transition.TRANSITION_UNCONFIGURED_SHUTDOWN],
        [CONFIGURE, ACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN],
    ],
)
def test_a_node_that_a_manager_has_shut_down_ends_cleanly(graph: Graph, tiny_weights, transitions) -> None:
    before = abandoned()
    process = graph.start({"weights": str(tiny_weights), "autostart": False})
    for transition in transitions:
        assert change(graph, transition)
    status, seconds = process.stop(signal.SIGINT)
    assert status == 0 and "Traceback" not in process.output, process.output
    assert seconds < 2.0 and not abandoned() - before


@pytest.mark.parametrize("delay_s", [0.05, 0.3])
def test_a_signal_while_a_manager_configures_ends_it_cleanly(graph: Graph, delay_s) -> None:
    process = graph.start({"backend": "onnxruntime", "autostart": False})
    client = graph.node.create_client(ChangeState, "/depthnet_node/change_state")
    assert client.wait_for_service(30.0)
    client.call_async(ChangeState.Request(transition=Transition(id=CONFIGURE)))
    time.sleep(delay_s)
    status, seconds = process.stop(signal.SIGINT)
    assert status == 0 and "Traceback" not in process.output, process.output
    assert seconds < 3.0


def test_rest_is_no_fault(graph: Graph, tiny_weights) -> None:
    """Disabled, images and anchors go on: scale is stale, and says so, but nothing is wrong."""
    robot = calibrated(graph, tiny_weights)
    enable(graph, False)
    robot.frames_until(lambda: robot.told("scale_state") == "stale")
    assert "disabled by service" in robot.state[-1].message
    robot.frames_until(lambda: camera_status(graph).get("level") == "0")
    enable(graph, True)
    robot.frames_until(lambda: robot.told("scale_state") == "calibrated")


def test_nobody_who_listens_is_no_fault(graph: Graph, tiny_weights) -> None:
    robot = calibrated(graph, tiny_weights)
    for topic in ("/inverse_depth/image", "/depth/image_rect"):
        graph.unlisten(topic)
    for subscription in list(graph.node.subscriptions):
        if subscription.topic_name == "/scale/state":
            graph.node.destroy_subscription(subscription)
    robot.frames_until(lambda: "nobody listens" in camera_status(graph).get("message", ""))
    end = time.monotonic() + 3.0  # longer than scale may be silent
    while time.monotonic() < end:
        robot.frame()
        assert camera_status(graph)["level"] == "0", camera_status(graph)


def test_a_node_that_is_active_again_does_not_say_that_it_is_not(graph: Graph, tiny_weights) -> None:
    robot = calibrated(graph, tiny_weights)
    assert change(graph, DEACTIVATE)
    wait_until(lambda: "not active" in robot.state[-1].message)
    assert change(graph, ACTIVATE)
    wait_until(lambda: "no image was used yet" in robot.state[-1].message, 5.0)


def test_scale_ends_in_time_however_slow_diagnostics_are(graph: Graph, tiny_weights) -> None:
    robot = calibrated(graph, tiny_weights, diagnostics_period_s=30.0)
    wait_until(lambda: robot.told("scale_state") == "stale", 5.0)


def test_images_that_are_all_too_old_are_told(graph: Graph, tiny_weights) -> None:
    graph.listen_to_diagnostics()
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "max_age_s": 0.5, "diagnostics_period_s": 0.2})

    def late() -> bool:
        graph.send_image(camera=None, header=graph.header(time.time_ns() - 2_000_000_000))
        time.sleep(0.05)
        return "older than max_age_s" in camera_status(graph).get("message", "")

    wait_until(late, 30.0)
    assert "check the clocks" in camera_status(graph)["message"] and not depth


def test_two_drivers_on_one_topic_are_told(graph: Graph, tiny_weights) -> None:
    """A recording that is played over a running camera."""
    graph.listen_to_diagnostics()
    graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "diagnostics_period_s": 0.5})
    other = graph.node.create_publisher(Image, "/image", 5)

    def both() -> bool:
        graph.send_image(camera=None)
        time.sleep(0.03)
        message = graph.messages["/inverse_depth/image"][-1] if graph.messages["/inverse_depth/image"] else None
        if message is not None:
            other.publish(image_message(picture(), "rgb8", graph.header(time.time_ns() - 10**12)))
        time.sleep(0.03)
        return "/image has 2 publishers, stop all but one" in camera_status(graph).get("message", "")

    wait_until(both, 40.0)


def test_a_list_cannot_be_deleted(graph: Graph, tiny_weights) -> None:
    graph.start({"weights": str(tiny_weights)})
    (result,) = graph.set_parameters("depthnet_node", {"scale.publish_states": Parameter("x").value})
    assert not result.successful and "scale.publish_states cannot be deleted" in result.reason


@pytest.mark.parametrize("executable", ["depthnet_node", "camera_replay"])
def test_who_sends_images_has_room_for_them_in_shared_memory(
    graph: Graph, executable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it would be 512 KB, less than one image, and most would be lost."""
    for name in PROFILE_VARIABLES:  # by which the tests' domain has it for all
        monkeypatch.delenv(name, raising=False)
    if not room_for_images()[0]:
        pytest.skip("the middleware is set by the environment, or /dev/shm is full")
    before = segments()
    process = graph.start({}, executable=executable)
    process.wait_for_output("waiting for images" if executable == "depthnet_node" else "replaying")
    mapped = Path(f"/proc/{process.process.pid}/maps").read_text()  # also those of others it has heard of
    assert [name for name in segments() - before if name in mapped]


def test_images_that_a_driver_without_room_has_lost_are_told(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent otherwise: some do arrive."""
    if "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "fastrtps"):
        pytest.skip("another middleware need not notice")
    graph.listen_to_diagnostics()
    node = graph.start({"backend": "onnxruntime", "diagnostics_period_s": 0.5})
    node.wait_for_output("waiting for images")
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(
        "FASTDDS_BUILTIN_TRANSPORTS", "DEFAULT"
    )  # decided, so that camera_replay takes no room by itself
    graph.start({"input": "scene:room", "rate_hz": 20.0}, executable="camera_replay")

    def told() -> str:
        return graph.diagnostics().get("/depthnet_node: camera", {}).get("message", "")

    wait_until(lambda: "images were lost on the way here" in told(), 30.0, told)
    assert int(graph.diagnostics()["/depthnet_node: camera"]["frames_lost"]) >= 3
    node.wait_for_output("config/fastdds.xml")


def segments() -> set[str]:
    """Fast DDS's pieces of shared memory that hold an image."""
    found = set()
    for path in Path("/dev/shm").glob("fast*_*"):
        with suppress(FileNotFoundError):  # gone since
            if path.stat().st_size >= min(PROFILES.values()):
                found.add(path.name)
    return found
