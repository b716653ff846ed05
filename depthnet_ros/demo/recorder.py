"""The demo's ear: subscribes to camera, depth and diagnostics from outside and keeps what the report needs."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depthnet_ros.demo.record import Moment, Record, compare
from depthnet_ros.errors import CameraInfoError, ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import camera_from_info
from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.ros.conversions import to_rgb
from depthnet_ros.ros.run import with_remedy
from depthnet_ros.signals import held_back

_KEPT = 24  # stamps whose parts are still being waited for
_SETTLE = 3  # a stamp is complete when this many later depths have come
_PROGRESS_S = 2.0
_PATIENCE_S = 10.0  # beyond the time asked for, while no picture has come
_DIAGNOSED_WITHIN_S = 3.0
_METRIC_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_PARTS = {"image": Image, "camera_info": CameraInfo, "inverse_depth/image": Image, "depth/image_rect": Image,
          "ground_truth/depth": Image}  # fmt: skip


class DemoRecorder:
    """A node in this process, with a context of its own. Call :meth:`run`, then :meth:`close`.

    Raises:
        ConfigError: ROS cannot start here.
    """

    def __init__(self, moments: int, seconds: float) -> None:
        self.record = Record()
        self._moments, self._seconds = moments, seconds
        self._context = rclpy.Context()
        try:
            rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:  # rcl's
            raise ConfigError(f"ROS cannot start: {with_remedy(str(error))}") from error
        self._node = rclpy.create_node("depthnet_demo", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._parts: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._waiting: list[int] = []
        self._scale = (np.nan, np.nan)
        self._first_s: float | None = None
        self._last_cloud: PointCloud2 | None = None
        self._diagnosed = 0
        for topic, kind in _PARTS.items():
            self._node.create_subscription(kind, topic, self._keeper(topic), _METRIC_QOS)
        self._node.create_subscription(PointCloud2, "points", self._on_cloud, 1)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._node.create_subscription(DiagnosticStatus, "scale/state", self._on_scale, _LATCHED)

    def run(self, first_within_s: float, problem: Callable[[], str], progress: Callable[[Record], None]) -> str:
        """Record for the time asked for, counted from the first depth, or until there is a picture to it; returns why
        that ended early, or nothing.

        ``problem`` is asked all the time and ends the run by saying something; ``progress`` is called now and then.
        """
        start = told = time.monotonic()
        while True:
            self._spin_once()
            now = time.monotonic()
            if reason := problem():
                return reason
            if self._first_s is None and now - start > first_within_s:
                return f"no depth arrived within {first_within_s:.0f} s"
            if self._first_s is not None and now - told > _PROGRESS_S:
                told = now
                progress(self.record)
            # Depth may be discovered seconds before the camera is.
            allowed_s = self._seconds if self.record.moments else self._seconds + _PATIENCE_S
            if self._first_s is not None and now - self._first_s > allowed_s:
                self._until_diagnosed(problem)
                return self._finish()

    def _until_diagnosed(self, problem: Callable[[], str]) -> None:
        """The node counts what it published every now and then only: go on until it has, lest the counts differ."""
        before, end = self._diagnosed, time.monotonic() + _DIAGNOSED_WITHIN_S
        while self._diagnosed == before and time.monotonic() < end and not problem():
            self._spin_once()

    def _spin_once(self) -> None:
        with held_back():
            self._executor.spin_once(timeout_sec=0.1)

    def _finish(self) -> str:
        while self._waiting:
            self._complete(self._waiting.pop(0))
        if self._last_cloud is not None:
            self.record.cloud = _cloud(self._last_cloud)
        return "" if self.record.moments else "depth arrived, but no camera picture of the same stamp"

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    # -- callbacks

    def _keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            stamp = stamp_ns(message.header.stamp)
            self._parts.setdefault(stamp, {"received_s": time.monotonic()})[topic] = message
            while len(self._parts) > _KEPT:
                self._parts.popitem(last=False)
            if topic == "inverse_depth/image":
                self._on_depth(stamp)
            elif topic == "depth/image_rect":
                self.record.metric_count += 1
                self._parts[stamp]["scale"] = self._scale

        return keep

    def _on_depth(self, stamp: int) -> None:
        now = time.monotonic()
        self._first_s = now if self._first_s is None else self._first_s
        self.record.depth_count += 1
        self.record.duration_s = now - self._first_s
        self._waiting.append(stamp)
        if len(self._waiting) > _SETTLE:
            self._complete(self._waiting.pop(0))

    def _on_cloud(self, message: PointCloud2) -> None:
        self._last_cloud = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values} | {"message": status.message}
            if status.name.endswith(": network"):
                self.record.network = values
            elif status.name.endswith(": camera"):
                self.record.camera = values
                self._diagnosed += 1

    def _on_scale(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        self._scale = (_number(values.get("scale")), _number(values.get("shift")))

    # -- putting together

    def _complete(self, stamp: int) -> None:
        parts = self._parts.get(stamp)
        if parts is None or self._first_s is None:
            return
        time_s = max(parts["received_s"] - self._first_s, 0.0)
        inverse_depth = _floats(parts["inverse_depth/image"])
        depth = _floats(parts["depth/image_rect"]) if "depth/image_rect" in parts else None
        truth = _floats(parts["ground_truth/depth"]) if "ground_truth/depth" in parts else None
        if truth is not None:
            scale, shift = parts.get("scale", (np.nan, np.nan)) if depth is not None else (np.nan, np.nan)
            self.record.errors.append(compare(time_s, inverse_depth, truth, depth, scale, shift))
        taken = len(self.record.moments)
        due = time_s >= (taken + 0.5) * self._seconds / self._moments
        first = taken == 0 and (depth is not None or truth is None)  # best one that shows metres where they will come
        if "image" in parts and (due or first) and taken < self._moments:
            rgb = to_rgb(parts["image"])
            self.record.moments.append(Moment(time_s, rgb, inverse_depth, _camera(parts, rgb), depth, truth))


def _camera(parts: dict[str, Any], rgb: NDArray[np.uint8]) -> PinholeCamera | None:
    if "camera_info" not in parts:
        return None
    try:
        return camera_from_info(parts["camera_info"], rgb.shape[1], rgb.shape[0])
    except CameraInfoError:
        return None


def _floats(message: Image) -> NDArray[np.float32]:
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


def _cloud(message: PointCloud2) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """(N, 3) points and colours by the fields' offsets, as any reader of clouds must."""
    offsets = {field.name: field.offset for field in message.fields}
    names = ["x", "y", "z", "rgb"]
    layout = np.dtype({
        "names": names,
        "formats": ["<f4", "<f4", "<f4", "<u4"],
        "offsets": [offsets[name] for name in names],
        "itemsize": message.point_step,
    })  # fmt: skip
    points = np.frombuffer(message.data, layout)
    packed = points["rgb"]
    colors = np.stack([(packed >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=1)
    return np.stack([points[name] for name in "xyz"], axis=1), colors


def _number(text: str | None) -> float:
    try:
        return float(text) if text else np.nan
    except ValueError:
        return np.nan
