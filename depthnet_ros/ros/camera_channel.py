"""One camera through the node: what is let in, how it is prepared, what goes out, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.lens import is_called_raw
from depthnet_ros.geometry.rectify import ImageViewer
from depthnet_ros.imaging import few_greys
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.ros import diagnostics
from depthnet_ros.ros.camera_info_report import CameraInfoReport
from depthnet_ros.ros.camera_input import CameraFrame, CameraInput
from depthnet_ros.ros.camera_outputs import RELATIVE_TOPICS, CameraOutputs
from depthnet_ros.ros.conversions import to_rgb
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.ros.frame_statistics import FrameCount, FrameStatistics
from depthnet_ros.ros.metric_channel import MetricChannel
from depthnet_ros.ros.transforms import TransformLookup

FAULTS = (
    FrameCount.BAD_IMAGE,
    FrameCount.BAD_CAMERA_INFO,
    FrameCount.BAD_INPUT,
    FrameCount.BACKEND_ERROR,
    FrameCount.INTERNAL_ERROR,
    FrameCount.UNKNOWN_DEPTH,
)
_AT_REST = {FrameCount.IDLE: "nobody listens", FrameCount.DROPPED_DISABLED: "disabled by service"}
"""Counters of frames that were left alone on purpose, and why."""
_REST_S = 2.5
"""A camera is at rest for as long after the last such frame: slow ones have few."""
_UNKNOWN_WORTH_SAYING = 0.01
_TIME_JUMP_NS = 1_000_000_000
_ANSWER_HOLDS_S = 0.2
_MAX_LATENCY_S = 600.0
_LONGEST_NAME = 100
_AHEAD_S = 0.1  # a simulator's clock, which ticks, may lag by less


@dataclass(frozen=True)
class PreparedFrame:
    """A frame ready for the network.

    ``wanted``: the topics that somebody listened to when its turn came; asking takes long enough to do it once a frame.
    ``rgb``: (H, W, 3) uint8, rectified where that was asked for; then ``valid_mask`` is (H, W), False where there is no
    picture. ``camera``: its intrinsics, None without usable camera_info. ``stage_s``: seconds that it waited for its
    turn, and that decoding and rectifying took.
    """

    frame: CameraFrame
    wanted: frozenset[str]
    rgb: NDArray[np.uint8]
    camera: PinholeCamera | None = None
    valid_mask: NDArray[np.bool_] | None = None
    stage_s: Mapping[str, float] = field(default_factory=dict)


class CameraChannel:
    """State of one camera. Frames are admitted in the executor's thread and processed in the worker's."""

    def __init__(
        self, node: LifecycleNode, prefix: str, parameters: Mapping[str, Any], network_is_metric: bool
    ) -> None:
        self.prefix = prefix
        self.statistics = FrameStatistics()
        self.outputs = CameraOutputs(node, prefix)
        self.metric = MetricChannel(node, prefix, parameters, network_is_metric)
        self.input: CameraInput | None = None
        self._node = node
        self._due_s = self._admitted_s = 0.0
        self._last_received_s: float | None = None
        self._last_stamp_ns = 0
        self._rectify = bool(parameters["rectify"])
        self._viewer = ImageViewer("", self._rectify)
        self._wanted: frozenset[str] = frozenset()
        self._asked_s = 0.0
        self._reported: dict[FrameCount, int] = {}
        self._watched: dict[FrameCount, int] = {}
        self._rest, self._rest_s = "", 0.0
        self._dropped_age_s = 0.0
        self._clock_ns = -1
        self._lens_note = ""
        self._frame_id: str | None = None
        self._frame_note = ""
        self._greys_note = ""
        self._info_report = CameraInfoReport(node.get_logger(), prefix, lambda: self._rectify or self.metric.possible)

    # -- letting frames in (executor's thread)

    def admit(self, frame: CameraFrame, parameters: Mapping[str, Any]) -> bool:
        """Count a frame and decide whether it may take its turn; a time that jumped back starts everything anew."""
        self._last_received_s = frame.received_s
        self.statistics.count(FrameCount.RECEIVED)
        if 0 < frame.stamp_ns < self._last_stamp_ns:
            self.statistics.count(FrameCount.STAMP_BACKWARDS)
            if self._last_stamp_ns - frame.stamp_ns > _TIME_JUMP_NS:
                self.reset()
        self._last_stamp_ns = frame.stamp_ns
        if not self._is_due(frame.received_s, parameters["max_rate_hz"]):
            self.statistics.count(FrameCount.DROPPED_RATE)
            return False
        return True

    def _is_due(self, now_s: float, max_rate_hz: float) -> bool:
        """Keep to the rate on average: a frame a little early does not lose its turn, a gap gives no credit."""
        if max_rate_hz <= 0.0:
            return True
        period_s = 1.0 / max_rate_hz
        due_s = min(self._due_s, self._admitted_s + period_s)  # the rate may have been raised since
        if now_s < due_s - 0.1 * period_s:
            return False
        self._due_s = max(due_s, now_s - 0.5 * period_s) + period_s
        self._admitted_s = now_s
        return True

    def reset(self) -> None:
        """Time jumped: nothing learnt over time holds any more."""
        self.statistics.count(FrameCount.TIME_JUMPS)
        self._last_stamp_ns = 0
        self.metric.reset()

    # -- processing (worker's thread)

    def wanted(self) -> frozenset[str]:
        """Names of the topics of this camera that somebody listens to and that can come; empty: nothing to do.

        As it was after the last frame, when nobody waited for the answer; asked anew where nobody listened then, or
        that is a while ago.
        """
        recent = time.monotonic() - self._asked_s < _ANSWER_HOLDS_S
        return self._wanted if recent and self._wanted else self._ask()

    def _ask(self) -> frozenset[str]:
        wanted = self.outputs.publishers.wanted()
        return wanted | self.metric.wanted() if self.metric.possible else wanted & RELATIVE_TOPICS.keys()

    def too_old(self, frame: CameraFrame, max_age_s: float) -> bool:
        """The frame is older than ``max_age_s``, by its stamp; a stamp of zero has no age."""
        if max_age_s <= 0.0 or frame.stamp_ns == 0 or (age_s := self._age_s(frame.stamp_ns)) <= max_age_s:
            return False
        self._dropped_age_s = age_s
        self.statistics.count(FrameCount.DROPPED_AGE)
        return True

    def prepare(self, frame: CameraFrame, wanted: frozenset[str]) -> PreparedFrame:
        """Decode, find the intrinsics, rectify if asked to. A bad camera_info costs the metric outputs, not the frame.

        Raises:
            ImageError: the image cannot be used.
        """
        start_s = time.monotonic()
        prepared = self._decoded(frame, wanted)
        stage_s = {"wait": start_s - frame.received_s, "decode": time.monotonic() - start_s}
        return replace(prepared, stage_s=stage_s)

    def _decoded(self, frame: CameraFrame, wanted: frozenset[str]) -> PreparedFrame:
        rgb = to_rgb(frame.message)
        self._look_at_frame(frame.message.header.frame_id)
        self._look_at_greys(rgb, frame.message)
        if frame.info is None:
            self.statistics.count(FrameCount.NO_CAMERA_INFO)
            self._info_report.missing(self.input, frame)
        else:
            try:
                return self._with_camera(PreparedFrame(frame, wanted, rgb), frame.info)
            except CameraInfoError as error:
                self._lens_note = ""
                self.statistics.fault(FrameCount.BAD_CAMERA_INFO, str(error))
                self._info_report.unusable(error)
        if self._rectify:
            raise ImageError(f"rectify is set but {self._info_report.problem}")
        return PreparedFrame(frame, wanted, rgb)

    def _look_at_greys(self, rgb: NDArray[np.uint8], message: Any) -> None:
        self._greys_note = ""
        if "16" in getattr(message, "encoding", "") and (greys := few_greys(rgb)):
            self._greys_note = (
                f"the {message.encoding} picture has {greys}, of 65535 as full scale: if the sensor has fewer bits, "
                "let the driver shift them up, or send 8"
            )

    def _look_at_frame(self, frame_id: str) -> None:
        """REP 103 tells an optical frame by its name. One that is none turns clouds and scans on end, and where height
        and pitch are parameters nothing else would tell.
        """
        if frame_id == self._frame_id:
            return
        self._frame_id, self._frame_note = frame_id, ""
        if "optical" not in frame_id and self.metric.possible:
            self._frame_note = (
                f"images are in frame {frame_id[:_LONGEST_NAME]!r}, taken as optical (x right, y down, z ahead: "
                "REP 103), which its name does not say: if it is not, set the driver's frame to one that is"
            )
            self._node.get_logger().warning(f"{self.prefix or 'camera'}: {self._frame_note}")

    def _with_camera(self, prepared: PreparedFrame, info: CameraInfo) -> PreparedFrame:
        view = self._viewer.view(prepared.rgb, info)
        self._info_report.usable()
        if view.note and view.note != self._lens_note:
            self._node.get_logger().warning(f"{self.prefix or 'camera'}: the image is {view.note}")
        self._lens_note = view.note
        return replace(prepared, rgb=view.rgb, camera=view.camera, valid_mask=view.valid_mask)

    def publish(self, prepared: PreparedFrame, prediction: DepthPrediction, parameters: Mapping[str, Any]) -> None:
        """Metres where they are known, then every output that is wanted, with the input's stamp and frame."""
        frame = prepared.frame
        start = time.perf_counter()
        header: Header = frame.message.header
        seen = prepared.valid_mask
        metric = self.metric.update(prediction, prepared.camera, prepared.rgb, header, frame.stamp_ns, seen)
        scaled = time.perf_counter()
        if prediction.unknown_share > _UNKNOWN_WORTH_SAYING:
            what = f"the network gave no positive depth for {prediction.unknown_share:.0%} of the picture"
            self.statistics.fault(FrameCount.UNKNOWN_DEPTH, what)
        result = FrameResult(header, prepared.rgb, prepared.camera, prediction, metric, prepared.valid_mask)
        went_out = self.outputs.publish(result, prepared.wanted, parameters)
        went_out |= self.metric.publish(result, prepared.wanted, parameters["points.stride"])
        stages = {
            **prepared.stage_s,
            **prediction.stage_s,
            "scale": scaled - start,
            "publish": time.perf_counter() - scaled,
        }
        latency_s = self._age_s(frame.stamp_ns)
        if 0.0 <= latency_s < _MAX_LATENCY_S:  # else the stamp is of another clock
            stages["stamp_to_publish"] = latency_s
        elif latency_s < -_AHEAD_S:
            self.statistics.fault(FrameCount.STAMP_AHEAD, f"{-latency_s:.2f} s")
        stages["receive_to_publish"] = time.monotonic() - frame.received_s
        self.statistics.time(stages)
        if went_out:
            self.statistics.output()
        self._wanted, self._asked_s = self._ask(), time.monotonic()

    def _age_s(self, stamp: int) -> float:
        """Seconds since a stamp by the node's clock."""
        return 1e-9 * (int(self._node.get_clock().now().nanoseconds) - stamp)

    # -- telling

    def status(self) -> DiagnosticStatus:
        """This camera's line in /diagnostics."""
        findings = self._frame_findings()
        values: dict[str, Any] = {}
        if self.input is not None:
            last = self._last_received_s
            age = None if last is None else time.monotonic() - last
            findings += diagnostics.input_findings(age, self.input.image_topic, self.input.publishers())
            values = {"image_topic": self.input.image_topic, "camera_info_topic": self.input.info_topic}
        if problem := self._info_report.problem:
            findings.append((diagnostics.WARN, f"no metric output: {problem}"))
        if self._lens_note:
            called_raw = self.input is not None and is_called_raw(self.input.image_topic)
            findings.append((diagnostics.WARN if called_raw else diagnostics.OK, self._lens_note))
        if self._greys_note:
            findings.append((diagnostics.WARN, self._greys_note))
        if self._frame_note:
            findings.append((diagnostics.OK, self._frame_note))
        findings += self.metric.findings()
        level, message = diagnostics.worst(findings, "depth is published")
        values |= self.metric.values() | diagnostics.statistics_values(self.statistics)
        name = f"{self._node.get_fully_qualified_name()}: {self.prefix or 'camera'}"
        return diagnostics.status(name, level, message, values)

    def watch(self) -> None:
        """Twice a second: whether what was said of scale still holds, and if not, whether the camera is but at rest."""
        counts = self.statistics.counts()
        watched = (FrameCount.PUBLISHED, FrameCount.PROCESSED, *_AT_REST)
        new = {what: counts.get(what, 0) - self._watched.get(what, 0) for what in watched}
        self._watched = counts
        if why := "" if new[FrameCount.PUBLISHED] else next((why for what, why in _AT_REST.items() if new[what]), ""):
            self._rest, self._rest_s = why, time.monotonic()
        elif new[FrameCount.PROCESSED] or time.monotonic() - self._rest_s > _REST_S:
            self._rest = ""
        self.metric.watch(rest=self._rest, why=self._info_report.problem)

    def _frame_findings(self) -> list[tuple[bytes, str]]:
        """What became of the frames since the last report: faults are errors where nothing went out beside them."""
        counts = self.statistics.counts()
        new = {what: count - self._reported.get(what, 0) for what, count in counts.items()}
        self._reported = counts
        published = new.get(FrameCount.PUBLISHED, 0)
        errors = self.statistics.errors()
        said = {FrameCount.BAD_CAMERA_INFO} if self._info_report.problem else set()  # by status
        findings = [
            (diagnostics.WARN if published else diagnostics.ERROR, f"{new[what]} x {errors[what]}")
            for what in FAULTS
            if new.get(what) and what not in said
        ]
        if new.get(FrameCount.TIME_JUMPS, 0) > 1 and self.input is not None:
            several = (count := self.input.publishers()) > 1
            why = f"{count} publish {self.input.image_topic}, stop all but one" if several else "its driver's clock?"
            findings.append((diagnostics.WARN, f"stamps jump back and forth; scale begins anew each time: {why}"))
        if not published and new.get(FrameCount.DROPPED_AGE):
            age = f"the last was {self._dropped_age_s:.2f} s old"
            findings.append((diagnostics.WARN, f"all images are older than max_age_s by their stamps, {age}: clocks?"))
        clock = self._clock_stands()
        if clock:
            findings.append((diagnostics.WARN, clock))
        elif new.get(FrameCount.STAMP_AHEAD):
            ahead = f"images are stamped {errors[FrameCount.STAMP_AHEAD]} ahead of this node's clock"
            findings.append((diagnostics.WARN, f"{ahead}: neither max_age_s nor stamp_to_publish works; clocks?"))
        if not findings and not published:
            why = "images came, the network is not done with one" if new.get(FrameCount.RECEIVED) else "nothing came"
            if new.get(FrameCount.PROCESSED):
                why = "the network ran, but what is listened to needs metres, which are not known"
            why = next((why for what, why in _AT_REST.items() if new.get(what)), why)
            findings.append((diagnostics.OK, f"no depth in this period: {why}"))
        return findings

    def _clock_stands(self) -> str:
        """With simulated time: whether it has stood still since the last report."""
        clock = self._node.get_clock()
        before, self._clock_ns = self._clock_ns, int(clock.now().nanoseconds)
        if not clock.ros_time_is_active or self._clock_ns != before:
            return ""
        what = "stands still" if self._clock_ns else "has not been heard"
        return f"use_sim_time is set, and /clock {what}: neither max_age_s nor stamp_to_publish works"

    def destroy(self) -> None:
        """Take everything off the graph."""
        self.stop_input()
        self.outputs.publishers.destroy()
        self.metric.destroy()

    def start_input(self, source: CameraInput, transforms: TransformLookup | None) -> None:
        """Begin to receive; ``transforms`` is TF, for all cameras."""
        self.input, self._viewer = source, ImageViewer(source.image_topic, self._rectify)
        self.metric.start(transforms, self._viewer.rectified_depth)

    def stop_input(self) -> None:
        """Receive no more."""
        self.metric.stop()
        if self.input is not None:
            self.input.destroy()
            self.input = None
