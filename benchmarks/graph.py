"""Camera, node and listener, each a process of its own, on a real graph."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy

from benchmarks.measure import ROOT, run_worker
from depthnet_ros.demo.session import GraphDomain
from depthnet_ros.inference.weights import default_weights
from depthnet_ros.messages.stamps import stamp_ns

_END_S = 10.0


class NodeUnderTest:
    """Brings up depthnet_node and cameras, listens to ``topics`` (name to message type) and to diagnostics.

    Attributes:
        started_s: monotonic time when the node's process was started.
        first_s: monotonic arrival of the first message of each topic.
        ages_s: age by stamp, on arrival here, of every message of each topic.
    """

    def __init__(self, parameters: Mapping[str, Any], topics: Mapping[str, type]) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(GraphDomain())  # another benchmark's cameras, or a test's, are not heard
        self.ages_s: dict[str, list[float]] = {name: [] for name in topics}
        self.first_s: dict[str, float] = {}
        self._values: dict[str, dict[str, str]] = {}
        self._cameras: list[subprocess.Popen[bytes]] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("benchmark", context=self._context)
        for name, kind in topics.items():
            self._listen(name, kind, partial(self._arrived, name))
        self._listen("/diagnostics", DiagnosticArray, self._diagnosed)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._spinner = threading.Thread(target=self._executor.spin, daemon=True)
        self._spinner.start()
        self.started_s = time.monotonic()
        self._process = self._start_node(parameters)

    def _listen(self, topic: str, kind: type, callback: Callable[[Any], None]) -> None:
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self._node.create_subscription(kind, topic, callback, qos)

    def _start_node(self, parameters: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "depthnet_ros.ros.run", "depthnet_node", "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={json.dumps(value)}"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def camera(self, rate_hz: float, size: tuple[int, int], prefix: str = "", scene: str = "") -> None:
        """Start a camera of ``size`` (height, width); in a rendered ``scene`` beside a sonar."""
        arguments = [prefix, str(rate_hz), str(size[1]), str(size[0]), *filter(None, [scene])]
        self._cameras.append(subprocess.Popen([sys.executable, "-m", "benchmarks.camera", *arguments], cwd=ROOT))

    def stop_cameras(self) -> None:
        """End them."""
        for camera in self._cameras:
            camera.kill()
            camera.wait()
        self._cameras.clear()

    def _arrived(self, name: str, message: Any) -> None:
        self.first_s.setdefault(name, time.monotonic())
        self.ages_s[name].append(time.time() - 1e-9 * stamp_ns(message.header.stamp))

    def _diagnosed(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._values[status.name.rpartition(": ")[2]] = {pair.key: pair.value for pair in status.values}

    def figure(self, key: str, camera: str = "camera") -> float:
        """A number from the node's diagnostics; NaN before it is there."""
        return float(self._values.get(camera, {}).get(key, "nan"))

    def text(self, key: str, part: str = "network") -> str:
        """A text from the diagnostics of the network or a camera."""
        return self._values.get(part, {}).get(key, "")

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Raises RuntimeError if it does not come true in time, or the node ends."""
        end = time.monotonic() + timeout_s
        while not condition():
            if self._process.poll() is not None:
                raise RuntimeError(f"depthnet_node ended with status {self._process.returncode}")
            if time.monotonic() > end:
                raise RuntimeError(f"not within {timeout_s} s; diagnostics: {self._values}")
            time.sleep(0.02)

    def wait_for_output(self, names: Iterable[str] | None = None, timeout_s: float = 60.0) -> None:
        """Until every topic, or those named, has arrived once."""
        wanted = set(names or self.ages_s)
        self.wait(lambda: wanted <= self.first_s.keys(), timeout_s)

    def ages_of_next(self, name: str, count: int, timeout_s: float = 120.0) -> list[float]:
        """Ages in seconds of the next ``count`` messages of a topic."""
        have = len(self.ages_s[name])
        self.wait(lambda: len(self.ages_s[name]) >= have + count, timeout_s)
        return self.ages_s[name][have : have + count]

    def usage(self) -> tuple[float, float]:
        """(CPU seconds so far, resident megabytes) of the node's process."""
        process = psutil.Process(self._process.pid)
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss / 1e6

    def __enter__(self) -> NodeUnderTest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_cameras()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._executor.shutdown(timeout_sec=_END_S)
        self._spinner.join(_END_S)  # destroyed under it, what it waits for would end the process
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)
        self._stack.close()


def metres(size: tuple[int, int]) -> dict[str, Any]:
    """Parameters that give metres without other sensors, for the picture of cameras of ``size`` (height, width)."""
    job = {"job": "fixed_scale", "weights": str(default_weights()), "size": size}
    scale, shift = run_worker(job)["scale"]
    return {"scale.mode": "fixed", "scale.fixed_scale": scale, "scale.fixed_shift": shift}


def median_ms(seconds: Iterable[float]) -> float:
    """Median in milliseconds."""
    return float(np.median(list(seconds)) * 1e3)
