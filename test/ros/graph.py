"""A real ROS graph for tests: nodes in processes of their own, and a node of the test's to talk to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.conversions import image_message, info_from_camera

REPOSITORY = Path(__file__).resolve().parents[2]
CAMERA = PinholeCamera.from_fov(160, 120, 1.2)
_DISCOVERY_S = 0.2
"""For the service to hear of its client: an answer to one that it does not know is lost after a tenth of a second."""


class NodeProcess:
    """An executable of this package in a process of its own; its output is kept."""

    def __init__(self, executable: str, parameters: Mapping[str, Any], arguments: list[str] | None = None) -> None:
        command = [sys.executable, "-m", "depthnet_ros.ros.run", executable, "--ros-args"]
        for name, value in parameters.items():
            text = (
                f'"{value}"'
                if isinstance(value, str)
                else str(value).lower()
                if isinstance(value, bool)
                else str(value)
            )
            command += ["-p", f"{name}:={text}"]
        self.process = subprocess.Popen(
            command + (arguments or []),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for_output(self, text: str, timeout_s: float = 30.0) -> None:
        wait_until(lambda: text in self.output or not self.alive, timeout_s, lambda: f"no {text!r} in:\n{self.output}")
        assert text in self.output, self.output

    def wait_for_end(self, timeout_s: float = 60.0) -> int:
        """Exit status; all of the output has been read then."""
        status = self.process.wait(timeout_s)
        self._reader.join(5.0)
        return status

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 10.0) -> tuple[int, float]:
        """Send a signal; returns exit status and the seconds it took."""
        start = time.monotonic()
        if self.alive:
            self.process.send_signal(number)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not end within {timeout_s} s of signal {number}:\n{self.output}") from None
        self._reader.join(2.0)
        return status, time.monotonic() - start


def wait_until(
    condition: Callable[[], bool], timeout_s: float = 15.0, complaint: Callable[[], str] = lambda: ""
) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s. {complaint()}"
        time.sleep(0.01)


class Graph:
    """The test's own node: publishers, recorded subscriptions, parameters and services of others."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("test_node", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._thread = threading.Thread(target=self.executor.spin, daemon=True)
        self._thread.start()
        self.messages: dict[str, list[Any]] = defaultdict(list)
        self.subscriptions: dict[str, Any] = {}
        self.publishers: dict[str, Any] = {}
        self.processes: list[NodeProcess] = []
        self._stamp = 1_000

    def start(
        self, parameters: Mapping[str, Any], executable: str = "depthnet_node", arguments: list[str] | None = None
    ) -> NodeProcess:
        process = NodeProcess(executable, parameters, arguments)
        self.processes.append(process)
        return process

    def listen(self, topic: str, kind: type, reliable: bool = True, depth: int = 50) -> list[Any]:
        qos = QoSProfile(
            depth=depth, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        )
        messages = self.messages[topic]
        self.subscriptions[topic] = self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def unlisten(self, topic: str) -> None:
        self.node.destroy_subscription(self.subscriptions.pop(topic))

    def publisher(self, topic: str, kind: type) -> Any:
        if topic not in self.publishers:
            self.publishers[topic] = self.node.create_publisher(kind, topic, 5)
            wait_until(lambda: self.publishers[topic].get_subscription_count() > 0, 20.0, lambda: self._outputs())
        return self.publishers[topic]

    def _outputs(self) -> str:
        return "\n".join(process.output for process in self.processes)

    def header(self, stamp_ns: int | None = None) -> Header:
        """Stamp: now by default, always growing."""
        if stamp_ns is None:
            stamp_ns = self._stamp = max(self._stamp + 1, time.time_ns())
        header = Header(frame_id="camera_optical")
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        return header

    def send_image(
        self,
        message: Image | CompressedImage | None = None,
        topic: str = "/image",
        camera: PinholeCamera | None = CAMERA,
        header: Header | None = None,
    ) -> Header:
        """Publish an image (a textured one by default) and the camera_info of its stamp."""
        header = header or self.header()
        message = message or image_message(picture(), "rgb8", header)
        message.header = header
        self.publisher(topic, type(message)).publish(message)
        if camera is not None:
            self.publisher("/camera_info", CameraInfo).publish(info_from_camera(camera, header))
        return header

    def send_until(
        self, condition: Callable[[], bool], timeout_s: float = 20.0, period_s: float = 0.05, **image: Any
    ) -> None:
        """Send images until something holds."""

        def step() -> bool:
            if condition():
                return True
            self.send_image(**image)
            time.sleep(period_s)
            return condition()

        wait_until(step, timeout_s, self._outputs)

    def set_parameters(self, node: str, values: Mapping[str, Any]) -> list[Any]:
        """Asked again where no answer comes: the middleware drops that to a client it has just begun to know."""
        client = self.node.create_client(SetParameters, f"/{node}/set_parameters")
        assert client.wait_for_service(10.0)
        time.sleep(_DISCOVERY_S)
        parameters: list[ParameterMsg] = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        request, asked = SetParameters.Request(parameters=parameters), []

        def answered() -> bool:
            if time.monotonic() > 15.0 * len(asked) + started:
                asked.append(client.call_async(request))
            return any(future.done() for future in asked)

        started = time.monotonic()
        wait_until(answered, 60.0, self._outputs)
        self.node.destroy_client(client)
        return list(next(future.result() for future in asked if future.done()).results)

    def call(self, client: Any, request: Any) -> Any:
        assert client.wait_for_service(10.0)
        time.sleep(_DISCOVERY_S)
        future = client.call_async(request)
        wait_until(future.done, 60.0, self._outputs)
        self.node.destroy_client(client)
        return future.result()

    def diagnostics(self) -> dict[str, dict[str, str]]:
        """The newest values of each status, its message under ``message`` and its level under ``level``."""
        statuses: dict[str, dict[str, str]] = {}
        for message in self.messages["/diagnostics"]:
            for status in message.status:
                values = {pair.key: pair.value for pair in status.values}
                level = str(int.from_bytes(status.level, "little"))
                statuses[status.name] = {**values, "message": status.message, "level": level}
        return statuses

    def listen_to_diagnostics(self) -> None:
        self.listen("/diagnostics", DiagnosticArray)

    def close(self) -> None:
        # Killed outright, a process leaves its shared memory behind, 35 MB each: together they fill it.
        for process in self.processes:
            if process.alive:
                process.process.send_signal(signal.SIGINT)
        for process in self.processes:
            if process.alive:
                process.stop()
        self.executor.shutdown(timeout_sec=1.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def picture(width: int = 160, height: int = 120, seed: int = 3) -> np.ndarray:
    """A smooth coloured picture, (H, W, 3) uint8."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
