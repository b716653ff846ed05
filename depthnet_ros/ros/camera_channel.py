"""One camera through the node: what is let in, how it is prepared, what goes out, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.rectify import Rectifier, largest_shift_px
from depthnet_ros.inference.latency import FrameStatistics
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.ros import diagnostics
from depthnet_ros.ros.camera_input import CameraFrame, CameraInput
from depthnet_ros.ros.camera_outputs import CameraOutputs
from depthnet_ros.ros.conversions import camera_from_info, to_rgb
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.ros.metric_channel import MetricChannel

_TIME_JUMP_NS = 1_000_000_000
_MAX_LATENCY_S = 600.0
_DISTORTION_WORTH_SAYING_PX = 2.0


class CameraChannel:
    """State of one camera. Frames are admitted in the executor's thread and processed in the worker's."""

    def __init__(self, node: LifecycleNode, prefix: str, parameters: Mapping[str, Any]) -> None:
        self.prefix = prefix
        self.statistics = FrameStatistics()
        self.outputs = CameraOutputs(node, prefix)
        self.metric = MetricChannel(node, prefix, parameters)
        self.input: CameraInput | None = None
        self._node = node
        self._next_due_s = 0.0
        self._last_received_s: float | None = None
        self._last_stamp_ns = 0
        self._rectifier: tuple[bytes, Rectifier] | None = None
        self._lens_note = ""
        self._info_problem = ""

    # -- letting frames in (executor's thread)

    def admit(self, frame: CameraFrame, parameters: Mapping[str, Any]) -> bool:
        """Count a frame and decide whether it may take its turn; a time that jumped back starts everything anew."""
        self._last_received_s = frame.received_s
        self.statistics.count("received")
        if 0 < frame.stamp_ns < self._last_stamp_ns:
            self.statistics.count("stamp_backwards")
            if self._last_stamp_ns - frame.stamp_ns > _TIME_JUMP_NS:
                self.reset()
        self._last_stamp_ns = frame.stamp_ns
        rate = parameters["max_rate_hz"]
        if rate > 0.0:
            period = 1.0 / rate
            if frame.received_s < self._next_due_s - 0.1 * period:
                self.statistics.count("dropped_rate")
                return False
            self._next_due_s = max(self._next_due_s + period, frame.received_s)
        return True

    def reset(self) -> None:
        """Time jumped: nothing learnt over time holds any more."""
        self.statistics.count("time_jumps")
        self._last_stamp_ns = 0
        self.metric.reset()

    # -- processing (worker's thread)

    def wants_anything(self) -> bool:
        """Somebody listens to some output of this camera."""
        return bool(self.outputs.wanted()) or self.metric.wants_anything()

    def too_old(self, frame: CameraFrame, max_age_s: float) -> bool:
        """The frame is older than the contract allows, by its stamp; a stamp of zero has no age."""
        age = self._age_s(frame.stamp_ns)
        if max_age_s <= 0.0 or age is None or age <= max_age_s:
            return False
        self.statistics.count("dropped_age")
        return True

    def prepare(
        self, frame: CameraFrame, parameters: Mapping[str, Any]
    ) -> tuple[NDArray[np.uint8], PinholeCamera | None]:
        """Decode, find the intrinsics, rectify if asked to. A bad camera_info costs the metric outputs, not the frame.

        Raises:
            ImageError: the image cannot be used.
        """
        rgb = to_rgb(frame.message)
        if frame.info is None:
            self.statistics.count("no_camera_info")
            if parameters["rectify"]:
                raise ImageError("rectify is set but the image came without camera_info of its stamp")
            return rgb, None
        try:
            rgb, camera = self._with_camera(rgb, frame.info, parameters["rectify"])
            self._info_problem = ""
            return rgb, camera
        except CameraInfoError as error:
            self._info_problem = str(error)
            if self.statistics.fault("bad_camera_info", str(error)) == 1:
                self._node.get_logger().warning(f"{self.input and self.input.info_topic}: {error}")
            if parameters["rectify"]:
                raise ImageError(f"rectify is set but camera_info cannot be used: {error}") from error
            return rgb, None

    def _with_camera(
        self, rgb: NDArray[np.uint8], info: CameraInfo, rectify: bool
    ) -> tuple[NDArray[np.uint8], PinholeCamera]:
        height, width = rgb.shape[:2]
        rectified = camera_from_info(info, width, height)
        if not rectify:
            self._note_lens(info, width, height)
            return rgb, rectified
        key = np.concatenate((info.k, info.d, info.r, info.p, (width, height))).tobytes()
        if self._rectifier is None or self._rectifier[0] != key:
            raw = camera_from_info(info, width, height, rectified=False)
            rotation = np.array(info.r, dtype=np.float64).reshape(3, 3)
            self._rectifier = key, Rectifier(raw, info.d, info.distortion_model, rectified, rotation)
        return self._rectifier[1](rgb), rectified

    def _note_lens(self, info: CameraInfo, width: int, height: int) -> None:
        if self._lens_note or not any(info.d):
            return
        shift = largest_shift_px(camera_from_info(info, width, height, rectified=False), info.d, info.distortion_model)
        if shift > _DISTORTION_WORTH_SAYING_PX:
            self._lens_note = (
                f"the image is taken as rectified; if it is raw, set rectify: this lens moves pixels by {shift:.0f} px"
            )

    def publish(
        self,
        frame: CameraFrame,
        rgb: NDArray[np.uint8],
        camera: PinholeCamera | None,
        prediction: DepthPrediction,
        parameters: Mapping[str, Any],
    ) -> None:
        """Metres where they are known, then every output that is wanted, with the input's stamp and frame."""
        start = time.perf_counter()
        wanted = self.outputs.wanted() | self.metric.outputs.wanted()
        header: Header = frame.message.header
        metric = self.metric.update(prediction, camera, rgb, frame.stamp_ns, header.frame_id)
        scaled = time.perf_counter()
        result = FrameResult(header, rgb, camera, prediction, metric)
        self.outputs.publish(result, wanted, parameters)
        self.metric.publish(result, wanted, parameters["points.stride"])
        stages = {**prediction.stage_s, "scale": scaled - start, "publish": time.perf_counter() - scaled}
        latency = self._age_s(frame.stamp_ns)
        if latency is not None:
            stages["stamp_to_publish"] = latency
        stages["receive_to_publish"] = time.monotonic() - frame.received_s
        self.statistics.time(stages)
        self.statistics.output()

    def _age_s(self, stamp: int) -> float | None:
        """Seconds since a stamp by the node's clock; None where the stamp says nothing (zero, another clock)."""
        if stamp == 0:
            return None
        age = 1e-9 * (self._node.get_clock().now().nanoseconds - stamp)
        return age if 0.0 <= age < _MAX_LATENCY_S else None

    # -- telling

    def status(self, extra: list[tuple[bytes, str]]) -> DiagnosticStatus:
        """This camera's line in /diagnostics; ``extra`` are findings of the node that concern it too."""
        findings = list(extra)
        values: dict[str, Any] = {}
        if self.input is not None:
            last = self._last_received_s
            age = None if last is None else time.monotonic() - last
            findings += diagnostics.input_findings(age, self.input.image_topic, self.input.publishers())
            values = {"image_topic": self.input.image_topic, "camera_info_topic": self.input.info_topic}
        counts = self.statistics.counts()
        if self._info_problem:
            findings.append((diagnostics.WARN, f"camera_info unusable: {self._info_problem}"))
        elif counts.get("no_camera_info", 0) and counts["no_camera_info"] == counts.get("processed", 0):
            findings.append((diagnostics.WARN, "images come without camera_info of the same stamp: no metric output"))
        if self._lens_note:
            findings.append((diagnostics.WARN, self._lens_note))
        findings += self.metric.findings()
        level, message = diagnostics.worst(findings, "depth is published")
        values |= self.metric.values() | diagnostics.statistics_values(self.statistics)
        name = f"{self._node.get_fully_qualified_name()}: {self.prefix or 'camera'}"
        return diagnostics.status(name, level, message, values)

    def destroy(self) -> None:
        """Take everything off the graph."""
        self.stop_input()
        self.outputs.destroy()
        self.metric.destroy()

    def start_input(self, source: CameraInput) -> None:
        """Begin to receive."""
        self.input = source
        self.metric.start()

    def stop_input(self) -> None:
        """Receive no more."""
        self.metric.stop()
        if self.input is not None:
            self.input.destroy()
            self.input = None
