"""One camera through the node: what is let in, how it is prepared, what goes out, and what is said about it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.calibration import read_calibration
from depthnet_ros.geometry.lens import is_called_raw
from depthnet_ros.geometry.rectify import ImageViewer
from depthnet_ros.imaging import few_greys
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.parameters import CAMERA_IN_NAME
from depthnet_ros.ros import diagnostics
from depthnet_ros.ros.camera_info_report import CameraInfoReport
from depthnet_ros.ros.camera_input import CameraFrame, CameraInput
from depthnet_ros.ros.camera_outputs import RELATIVE_TOPICS, CameraOutputs
from depthnet_ros.ros.conversions import info_from_calibration, to_rgb
from depthnet_ros.ros.frame_report import FrameReport
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.ros.frame_statistics import FrameCount, FrameStatistics
from depthnet_ros.ros.metric_channel import MetricChannel
from depthnet_ros.ros.prepared_frame import PreparedFrame
from depthnet_ros.ros.transforms import TransformLookup

_TIME_JUMP_NS = 1_000_000_000  # stamps that run back farther are of a new run; drivers mix up neighbouring frames
_ONE_JUMP_S = 1.0  # in which the clock and the images of a recording that begins anew come, in any order
_ANSWER_HOLDS_S = 0.2  # that the last answer on who listens is used; who asks for one more topic waits no longer
_MAX_LATENCY_S = 600.0  # of a stamp by the node's clock; an older one is of another clock, a recording's say
_NO_LATENCY_S = 10.0  # of a stamp of zero: simulated time has just begun, or nobody set it
_LONGEST_NAME = 100  # characters of a frame's name that are told; a damaged one may be of any length
_AHEAD_S = 0.1  # a simulator's clock, which ticks, may lag by less


class CameraChannel:
    """State of one camera. Frames are admitted in the executor's thread and processed in the worker's."""

    def __init__(
        self, node: LifecycleNode, prefix: str, parameters: Mapping[str, Any], network_is_metric: bool
    ) -> None:
        """``parameters``: the node's, as they are at any time.

        Raises:
            CameraInfoError: ``camera_info_file`` cannot be used.
        """
        self._calibration = _calibration_of(prefix, parameters)  # first: what is made stays on the graph
        self.prefix = prefix
        self.statistics = FrameStatistics()
        self.outputs = CameraOutputs(node, prefix)
        self.metric = MetricChannel(node, prefix, parameters, network_is_metric)
        self.input: CameraInput | None = None
        self._node, self._parameters = node, parameters
        self._due_s = self._admitted_s = 0.0
        self._last_received_s: float | None = None
        self._last_stamp_ns = 0
        self._clock_jumped_s = -math.inf
        self._jump = ("", -math.inf)  # the last that was counted: what told of it, and when
        self._rectify = bool(parameters["rectify"])
        self._viewer = ImageViewer("", self._rectify)
        self._wanted: frozenset[str] = frozenset()
        self._asked_s = 0.0
        self._frame_report = FrameReport(self.statistics, node.get_clock(), node.get_logger())
        self._lens_note = ""
        self._frame_id: str | None = None
        self._frame_note = ""
        self._greys_note = ""
        self._info_report = CameraInfoReport(node.get_logger(), prefix, lambda: self._rectify or self.metric.possible)

    # -- letting frames in (executor's thread)

    def admit(self, frame: CameraFrame) -> bool:
        """Count a frame and decide whether it may take its turn; a time that jumped back starts everything anew."""
        self._last_received_s = frame.received_s
        self.statistics.count(FrameCount.RECEIVED)
        if 0 < frame.stamp_ns < self._last_stamp_ns:
            self.statistics.count(FrameCount.STAMP_BACKWARDS)
            if self._last_stamp_ns - frame.stamp_ns > _TIME_JUMP_NS:
                self._time_jumped("stamps", frame.received_s)
        self._last_stamp_ns = frame.stamp_ns
        if not self._is_due(frame.received_s, self._parameters["max_rate_hz"]):
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
        """The node's time jumped back: nothing learnt over time holds any more, and nothing waits for its pair."""
        if self.input is not None:
            self.input.reset()
        self._clock_jumped_s = time.monotonic()
        self._time_jumped("clock", self._clock_jumped_s)

    def _time_jumped(self, teller: str, now_s: float) -> None:
        """The clock and the stamps, where one tells soon after the other, tell of the same jump."""
        last_teller, last_s = self._jump
        if teller == last_teller or now_s - last_s > _ONE_JUMP_S:
            self.statistics.count(FrameCount.TIME_JUMPS)
            self._jump = teller, now_s
        self._last_stamp_ns = 0
        self.metric.reset()

    # -- processing (worker's thread)

    def wanted(self) -> frozenset[str]:
        """Names of the topics of this camera that somebody listens to and that can come; empty: nothing to do.

        The answer after the last frame if that is younger than 0.2 s and somebody listened, since asking the graph
        takes time; else asked anew.
        """
        recent = time.monotonic() - self._asked_s < _ANSWER_HOLDS_S
        return self._wanted if recent and self._wanted else self._ask()

    def _ask(self) -> frozenset[str]:
        wanted = self.outputs.publishers.wanted()
        return wanted | self.metric.wanted() if self.metric.possible else wanted & RELATIVE_TOPICS.keys()

    def too_old(self, frame: CameraFrame) -> bool:
        """The frame is older than parameter ``max_age_s``, by its stamp; a stamp of zero has no age."""
        max_age_s = self._parameters["max_age_s"]
        if max_age_s <= 0.0 or frame.stamp_ns == 0 or (age_s := self._age_s(frame.stamp_ns)) <= max_age_s:
            return False
        self.statistics.fault(FrameCount.DROPPED_AGE, f"{age_s:.2f} s old")
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
                if self._calibration is not None:
                    error = CameraInfoError(f"{error} (camera_info_file {self._parameters['camera_info_file']})")
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
                f"the {message.encoding} image has {greys}, of 65535 as full scale: if the sensor has fewer bits, "
                "let the driver shift them up, or send 8"
            )

    def _look_at_frame(self, frame_id: str) -> None:
        """REP 103 tells an optical frame by its name. One that is none turns clouds and scans on end, and where height
        and pitch are parameters nothing else would tell.
        """
        if frame_id == self._frame_id:
            return
        self._frame_id, self._frame_note = frame_id, ""
        if not self.metric.possible:
            return
        if not frame_id:
            self._frame_note = (
                "images have no frame_id, nor have the outputs: no planner can place them; set the driver's"
            )
        elif "optical" not in frame_id:
            self._frame_note = (
                f"images are in frame {frame_id[:_LONGEST_NAME]!r}, taken as optical (x right, y down, z ahead: "
                "REP 103), which its name does not say: if it is not, set the driver's frame to one that is"
            )
        if self._frame_note:
            self._node.get_logger().warning(f"{self.prefix or 'camera'}: {self._frame_note}")

    def _with_camera(self, prepared: PreparedFrame, info: CameraInfo) -> PreparedFrame:
        view = self._viewer.view(prepared.rgb, info)
        self._info_report.usable()
        if view.note and view.note != self._lens_note:
            self._node.get_logger().warning(f"{self.prefix or 'camera'}: the image is {view.note}")
        self._lens_note = view.note
        return replace(prepared, rgb=view.rgb, camera=view.camera, valid_mask=view.valid_mask)

    def publish(self, prepared: PreparedFrame, prediction: DepthPrediction) -> None:
        """Metres where they are known, then every output that is wanted, with the input's stamp and frame."""
        frame = prepared.frame
        if frame.received_s <= self._clock_jumped_s and self._age_s(frame.stamp_ns) < -_AHEAD_S:
            self.statistics.count(FrameCount.DROPPED_RESET)  # of before: the scale that begins anew is none of its
            return
        start = time.perf_counter()
        metric = self.metric.update(prepared, prediction)
        scaled = time.perf_counter()
        if prediction.misses_much:
            what = f"the network gave no positive depth for {prediction.unknown_share:.0%} of the image"
            self.statistics.fault(FrameCount.UNKNOWN_DEPTH, what)
        header: Header = frame.message.header
        result = FrameResult(header, prepared.rgb, prepared.camera, prediction, metric, prepared.valid_mask)
        went_out = self.outputs.publish(result, prepared.wanted, self._parameters)
        went_out |= self.metric.publish(result, prepared.wanted)
        stages = {
            **prepared.stage_s,
            **prediction.stage_s,
            "scale": scaled - start,
            "publish": time.perf_counter() - scaled,
        }
        latency_s = self._age_s(frame.stamp_ns)
        if frame.stamp_ns == 0 and latency_s > _NO_LATENCY_S:
            self.statistics.fault(FrameCount.STAMP_OF_OLD, "0")
        elif latency_s >= _MAX_LATENCY_S:
            self.statistics.fault(FrameCount.STAMP_OF_OLD, f"{latency_s:.0f} s before this node's clock")
        elif latency_s < -_AHEAD_S:
            if frame.received_s > self._clock_jumped_s + _ONE_JUMP_S:  # else it may be of before the jump
                self.statistics.fault(FrameCount.STAMP_AHEAD, f"{-latency_s:.2f} s")
        elif latency_s >= 0.0:
            stages["stamp_to_publish"] = latency_s
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
        said = frozenset({FrameCount.BAD_CAMERA_INFO} if self._info_report.problem else ())
        findings = self._frame_report.findings(self.input, said)
        values: dict[str, Any] = {}
        if self.input is not None:
            last = self._last_received_s
            age = None if last is None else time.monotonic() - last
            findings += diagnostics.input_findings(age, self.input.image_topic, self.input.publishers())
            values = {"image_topic": self.input.image_topic}
            file = self._parameters["camera_info_file"]
            values |= {"camera_info_file": file} if file else {"camera_info_topic": self.input.info_topic}
        if problem := self._info_report.problem:
            findings.append((diagnostics.WARN, f"no metric output: {problem}"))
        if self._lens_note:
            called_raw = self.input is not None and is_called_raw(self.input.image_topic)
            findings.append((diagnostics.WARN if called_raw else diagnostics.OK, self._lens_note))
        if self._greys_note:
            findings.append((diagnostics.WARN, self._greys_note))
        if self._frame_note:
            findings.append((diagnostics.OK if self._frame_id else diagnostics.WARN, self._frame_note))
        findings += self.metric.findings()
        level, message = diagnostics.worst(findings, "depth is published")
        values |= self.metric.values() | diagnostics.statistics_values(self.statistics)
        name = f"{self._node.get_fully_qualified_name()}: {self.prefix or 'camera'}"
        return diagnostics.status(name, level, message, values)

    def watch(self) -> None:
        """Twice a second: whether what was said of scale still holds, and if not, whether the camera is but at rest."""
        at_rest = self._frame_report.at_rest_because()
        self.metric.watch(at_rest_because=at_rest, unusable_because=self._info_report.problem)

    def destroy(self) -> None:
        """Take everything off the graph."""
        self.stop_input()
        self.outputs.publishers.destroy()
        self.metric.destroy()

    def on_parameters(self, changed: frozenset[str]) -> None:
        """Parameters have changed."""
        self.metric.on_parameters(changed)

    def start_input(self, on_frame: Callable[[CameraFrame], None], transforms: TransformLookup | None) -> str:
        """Receive, and hand each image to ``on_frame``; returns their topic. ``transforms``: TF, for all cameras."""
        on_lost = partial(self.statistics.count, FrameCount.LOST)
        self.input = CameraInput(self._node, self.prefix, self._parameters, on_frame, self._calibration, on_lost)
        self._viewer = ImageViewer(self.input.image_topic, self._rectify)
        self.metric.start(transforms, self._viewer.rectified_depth)
        return self.input.image_topic

    def stop_input(self) -> None:
        """Receive no more."""
        self.metric.stop()
        if self.input is not None:
            self.input.destroy()
            self.input = None

    def deactivated(self) -> None:
        """The last frame is done with."""
        self.metric.deactivated()


def _calibration_of(camera: str, parameters: Mapping[str, Any]) -> CameraInfo | None:
    """What ``camera_info_file`` says of one camera, None where it is not set."""
    path, name = parameters["camera_info_file"], camera.strip("/")
    if not path:
        return None
    if CAMERA_IN_NAME in path and not name:
        raise CameraInfoError(f"camera_info_file {path!r} wants a name that this camera has not: see parameter cameras")
    if CAMERA_IN_NAME not in path and len(parameters["cameras"]) > 1:
        raise CameraInfoError(
            f"camera_info_file {path!r} would be every camera's: put {CAMERA_IN_NAME} where its name belongs"
        )
    return info_from_calibration(read_calibration(path.replace(CAMERA_IN_NAME, name)), Header())
