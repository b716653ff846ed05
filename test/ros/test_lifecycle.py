"""Bringing up and taking down: lifecycle, services, signals, faults at start."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import time
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from depthnet_ros.ros.depth_node import DepthNode

from .graph import Graph, wait_until


def _state(graph: Graph) -> int:
    client = graph.node.create_client(GetState, "/depthnet_node/get_state")
    return graph.call(client, GetState.Request()).current_state.id


def _change(graph: Graph, transition: int) -> bool:
    client = graph.node.create_client(ChangeState, "/depthnet_node/change_state")
    return graph.call(client, ChangeState.Request(transition=Transition(id=transition))).success


def test_a_manager_drives_the_transitions_and_back_again(graph: Graph, tiny_weights):
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "autostart": False})
    assert _state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):
        assert _change(graph, Transition.TRANSITION_CONFIGURE)
        assert _state(graph) == State.PRIMARY_STATE_INACTIVE
        assert graph.node.count_subscribers("/image") == 0
        assert _change(graph, Transition.TRANSITION_ACTIVATE)
        assert _state(graph) == State.PRIMARY_STATE_ACTIVE
        depth.clear()
        graph.send_until(lambda: bool(depth), camera=None)
        assert _change(graph, Transition.TRANSITION_DEACTIVATE)
        assert _change(graph, Transition.TRANSITION_CLEANUP)
        assert _state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    wait_until(lambda: graph.node.count_publishers("/inverse_depth/image") == 0)


def test_configure_that_fails_leaves_the_node_unconfigured_and_says_why(graph: Graph):
    graph.listen_to_diagnostics()
    graph.start({"weights": "/nonexistent.safetensors", "autostart": False, "diagnostics_period_s": 0.1})
    assert not _change(graph, Transition.TRANSITION_CONFIGURE)
    assert _state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    wait_until(lambda: any("/nonexistent.safetensors" in s["message"] for s in graph.diagnostics().values()))


def test_a_network_that_hangs_is_given_up_and_loaded_anew(graph: Graph, tiny_weights, monkeypatch):
    """Its thread is in the estimator still: that must neither be closed nor get a second worker."""
    arguments = ["--ros-args", "-p", f"weights:={tiny_weights}"]
    rclpy.init(args=arguments, domain_id=graph.context.get_domain_id())
    node = DepthNode()
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        estimator, worker = node._estimator, node._worker
        closed: list[bool] = []
        monkeypatch.setattr(estimator, "close", lambda: closed.append(True))
        stop = worker.stop
        monkeypatch.setattr(worker, "stop", lambda: False)
        assert node.trigger_deactivate() == TransitionCallbackReturn.ERROR
        assert not closed and node._estimator is None
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS  # it is unconfigured again
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert node._estimator is not estimator and node._worker is not worker
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert stop()
    finally:
        node.destroy_node()
        rclpy.shutdown()


def test_an_activation_that_failed_once_is_not_told_for_ever(graph: Graph, tiny_weights, monkeypatch):
    rclpy.init(args=["--ros-args", "-p", f"weights:={tiny_weights}"], domain_id=graph.context.get_domain_id())
    node = DepthNode()
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        with monkeypatch.context() as broken:
            broken.setattr("depthnet_ros.ros.camera_channel.CameraInput", None)
            assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        assert any(level == DiagnosticStatus.ERROR and "NoneType" in told for level, told in node._findings())
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert not any(level == DiagnosticStatus.ERROR for level, _ in node._findings())
        node.trigger_deactivate()
    finally:
        node.destroy_node()
        rclpy.shutdown()


def test_enable_service_stops_and_resumes(graph: Graph, tiny_weights):
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights)})
    graph.send_until(lambda: bool(depth), camera=None)

    def enable(on: bool) -> None:
        client = graph.node.create_client(SetBool, "/depthnet_node/enable")
        assert graph.call(client, SetBool.Request(data=on)).success

    enable(False)
    time.sleep(0.3)
    depth.clear()
    for _ in range(5):
        graph.send_image(camera=None)
        time.sleep(0.05)
    time.sleep(0.3)
    assert not depth
    enable(True)
    graph.send_until(lambda: bool(depth), camera=None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [0.0, 0.5, 1.5, None])
def test_signals_end_it_cleanly_at_any_moment(graph: Graph, tiny_weights, number, delay_s):
    before = abandoned()
    process = graph.start({"weights": str(tiny_weights)})
    wait_until(lambda: _catches(process.process.pid))  # the interpreter's own start cannot be caught
    if delay_s is None:
        depth = graph.listen("/inverse_depth/image", Image)
        graph.send_until(lambda: bool(depth), camera=None)
    else:
        time.sleep(delay_s)
    status, seconds = process.stop(number)
    assert "Traceback" not in process.output
    assert status == 0, process.output
    assert seconds < 2.0
    assert not abandoned() - before  # of shared memory


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_it_cleanly_unless_it_is_to_survive_that(graph: Graph, tiny_weights, ignored: bool):
    """SIGHUP, which ``nohup`` has ignored: who starts a process hands that on."""
    before = abandoned()
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        process = graph.start({"weights": str(tiny_weights)})
    finally:
        signal.signal(signal.SIGHUP, handler)
    process.wait_for_output("waiting for images")
    if ignored:
        process.process.send_signal(signal.SIGHUP)
        time.sleep(1.0)
        assert process.alive
    status, _ = process.stop(signal.SIGINT if ignored else signal.SIGHUP)
    assert status == 0 and "Traceback" not in process.output
    assert not abandoned() - before


def test_a_node_that_a_manager_has_taken_down_ends_by_a_signal(graph: Graph):
    """Its network was freed in another thread than it was loaded in."""
    pytest.importorskip("openvino")
    process = graph.start({"backend": "openvino"})
    process.wait_for_output("waiting for images")
    assert _change(graph, Transition.TRANSITION_DEACTIVATE) and _change(graph, Transition.TRANSITION_CLEANUP)
    status, _ = process.stop(signal.SIGINT)
    assert status == 0, process.output


def abandoned() -> set[str]:
    """Shared memory of Fast DDS that no living process holds the lock of."""
    names = set()
    for lock in Path("/dev/shm").glob("fastrtps_*_el"):
        with lock.open() as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names.add(lock.name)
    return names


def _catches(pid: int) -> bool:
    """Whether the process has its handlers. Python catches SIGINT itself from the start, SIGTERM only by ours."""
    text = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in text.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return all(caught >> (n - 1) & 1 for n in (signal.SIGINT, signal.SIGTERM))


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"weights": "/nonexistent.safetensors"}, "no weights file at /nonexistent.safetensors"),
        ({"device": "cuda:7"}, "cuda"),
        ({"points.stride": 0}, "points.stride"),
        ({"scale.min_depth_m": 30.0}, "must be below"),
        ({"image_transport": "theora"}, "raw, compressed"),
        ({"max_rate_hz": "fast"}, "max_rate_hz"),
    ],
)
def test_faults_at_start_end_with_one_clear_line(graph: Graph, tiny_weights, parameters, complaint):
    pytest.importorskip("torch")
    before = abandoned()
    process = graph.start({"weights": str(tiny_weights), "backend": "torch", **parameters})
    assert process.wait_for_end() == 1
    assert complaint in process.output
    assert "Traceback" not in process.output
    assert not abandoned() - before


def test_two_nodes_of_one_name_are_noticed(graph: Graph, tiny_weights):
    graph.listen_to_diagnostics()
    for _ in range(2):
        graph.start({"weights": str(tiny_weights), "diagnostics_period_s": 0.2})
    wait_until(lambda: any("several nodes" in s["message"] for s in graph.diagnostics().values()), 30.0)


def test_misspelt_parameter_is_named(graph: Graph, tiny_weights):
    process = graph.start({"weights": str(tiny_weights), "point.stride": 4})
    process.wait_for_output("did you mean 'points.stride'?")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--params-file", "/nonexistent.yaml"], "/nonexistent.yaml"),
        (["-p", "cameras:=[front-left]"], "'front-left' cannot begin a topic's name"),
    ],
)
def test_unusable_arguments_end_with_one_clear_line(graph: Graph, arguments, complaint):
    process = graph.start({}, arguments=arguments)
    assert process.wait_for_end() == 1
    assert complaint in process.output
    assert "Traceback" not in process.output


def test_a_fault_that_is_not_ours_is_told_too(graph: Graph, tiny_weights):
    policy = {"qos_overrides./image.subscription.reliability": "sometimes"}
    process = graph.start({"weights": str(tiny_weights), **policy})
    assert process.wait_for_end() == 1
    assert "Unexpected QoS override for policy `reliability`" in process.output
