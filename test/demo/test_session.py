"""The demo's own graph and its ear on it: domains are taken one apiece, and counts are of one moment."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image, PointCloud2

from depthnet_ros.demo.recorder import DemoRecorder
from depthnet_ros.demo.session import GraphDomain
from depthnet_ros.errors import ConfigError
from depthnet_ros.middleware import PROFILE_VARIABLES
from depthnet_ros.ros.conversions import image_message
from depthnet_ros.signals import ended_in_order

from ..ros.graph import Graph


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For the locks; the environment is as before after the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", *PROFILE_VARIABLES):
        monkeypatch.setenv(name, "")
    return tmp_path


def test_a_lock_that_is_another_user_s_leaves_the_next_domain(empty_folder: Path) -> None:
    """A folder in its place: a file's mode would not keep root out."""
    with GraphDomain() as first:
        (lock,) = empty_folder.iterdir()
    lock.unlink()
    lock.mkdir()
    with GraphDomain() as second:
        assert second.id != first.id


def test_where_no_lock_can_be_made_that_is_said(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(empty_folder / "gone"))
    with pytest.raises(ConfigError, match=r"remove .*gone/depthnet_ros_domain_"), GraphDomain():
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_is_under_way_at_once(number: signal.Signals) -> None:
    handler = signal.signal(number, signal.SIG_DFL)  # where these tests run under nohup
    try:
        with pytest.raises(KeyboardInterrupt), ended_in_order():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, handler)


def test_a_signal_in_the_midst_of_rclpy_s_work_ends_the_recording_after_it(graph: Graph) -> None:
    """Raised within, it is a RuntimeError of pybind11's wherever it meets the conversion of a message."""
    clouds, came = graph.node.create_publisher(PointCloud2, "points", 5), []
    recorder = DemoRecorder(1, 60.0)

    def interrupt(message: PointCloud2) -> None:
        signal.raise_signal(signal.SIGTERM)
        came.append(message)

    def problem() -> str:
        clouds.publish(PointCloud2())
        return ""

    recorder._node.create_subscription(PointCloud2, "points", interrupt, 1)
    try:
        with pytest.raises(KeyboardInterrupt), ended_in_order():
            recorder.run(20.0, problem, lambda record: None)
        assert len(came) == 1
    finally:
        recorder.close()


def test_counts_of_the_node_and_of_the_demo_end_at_one_moment(graph: Graph) -> None:
    """Depth thirty times a second, counted by its sender every other second: as the time ends forty are missing; a few
    may be lost before all have found each other.
    """
    depth, picture = (
        graph.node.create_publisher(Image, "inverse_depth/image", 5),
        graph.node.create_publisher(Image, "image", 5),
    )
    diagnostics = graph.node.create_publisher(DiagnosticArray, "/diagnostics", 5)
    recorder, stop, sent = DemoRecorder(1, 3.5), threading.Event(), 0

    def send() -> None:
        nonlocal sent
        while not stop.wait(1.0 / 30.0):
            if depth.get_subscription_count() and picture.get_subscription_count():
                header = graph.header()
                picture.publish(image_message(np.zeros((12, 16, 3), np.uint8), "rgb8", header))
                depth.publish(image_message(np.ones((12, 16), np.float32), "32FC1", header))
                sent += 1
                if sent % 60 == 0:
                    values = [KeyValue(key="frames_published", value=str(sent))]
                    diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name="x: camera", values=values)]))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        start = time.monotonic()
        assert recorder.run(20.0, lambda: "", lambda record: None) == "", time.monotonic() - start
        assert abs(int(recorder.record.camera["frames_published"]) - recorder.record.depth_count) <= 10
    finally:
        stop.set()
        thread.join()
        recorder.close()
