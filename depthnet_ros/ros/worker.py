"""The thread that runs the network: newest frames in, outputs published, never ended by a frame."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.input_area import AREAS, DegradePolicy
from depthnet_ros.ros.camera_channel import CameraChannel
from depthnet_ros.ros.camera_input import CameraFrame
from depthnet_ros.ros.frame_statistics import FrameCount, count_of
from depthnet_ros.ros.latest_frames import LatestFrames
from depthnet_ros.ros.prepared_frame import PreparedFrame

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from depthnet_ros.inference.estimator import DepthEstimator

_LOG_PERIOD_S = 5.0
_STOP_S = 5.0
"""For a frame in work to be done; a network that takes longer hangs."""
_YIELD_S = 0.002
"""After it has handed over a frame the executor's thread sleeps for this long, so that the worker gets the GIL and
starts the network; what rclpy does between two callbacks would hold it up by as much."""
_MOST_YIELD_S = 0.015
_YIELD_SHARE = 0.25
"""With one camera it sleeps until the frame is done, since rclpy would take a core from the network: but for this share
of the time between two frames at most, so that none is missed, and no longer than sensors and services can wait."""


class DepthWorker:
    """Takes the newest frame of each camera and puts them through the network as one batch."""

    def __init__(
        self,
        estimator: DepthEstimator,
        channels: Mapping[str, CameraChannel],
        parameters: Mapping[str, Any],
        logger: RcutilsLogger,
    ) -> None:
        """``parameters``: the node's, as they are at any time."""
        self._frames: LatestFrames[CameraFrame] = LatestFrames(channels, batch_wait_s=parameters["batch_wait_s"])
        self._estimator, self._channels = estimator, channels
        self._parameters, self._logger = parameters, logger
        self._latency_policy: DegradePolicy | None = None
        self._put_s = time.monotonic()
        self._logged_s: dict[tuple[str, ...], float] = {}
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="depth", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._estimator.set_input_area(1.0)
        self._thread.start()

    def stop(self) -> bool:
        """Finish the frame in work and end; returns whether that happened in time."""
        self._count_dropped(self._frames.close())
        self._thread.join(_STOP_S)
        return not self._thread.is_alive()

    def clear(self) -> None:
        """Throw away what waits: time jumped."""
        self._count_dropped(self._frames.clear())

    def _count_dropped(self, cameras: list[str]) -> None:
        for camera in cameras:
            self._channels[camera].statistics.count(FrameCount.DROPPED_RESET)

    def put(self, camera: str, frame: CameraFrame) -> bool:
        """Offer a frame and yield to the worker (executor's thread). True if it pushed out one that was never taken."""
        now_s = time.monotonic()
        period_s, self._put_s = now_s - self._put_s, now_s
        self._idle.clear()
        dropped = self._frames.put(camera, frame)
        if len(self._channels) == 1:
            self._idle.wait(min(max(_YIELD_SHARE * period_s, _YIELD_S), _MOST_YIELD_S))
        else:  # the next camera's frame must get in, perhaps as one of a batch
            time.sleep(_YIELD_S)
        return dropped

    def _run(self) -> None:
        while not self._frames.closed:
            if not self._frames.waiting:
                self._idle.set()
            batch = self._frames.take()
            try:
                self.process(batch)
            except Exception as error:  # the last line of defence: the thread must live on
                self._fault(batch, error)

    def process(self, batch: Mapping[str, CameraFrame]) -> None:
        """Put one frame of each of some cameras through the network, and publish; a fault costs its own frame only."""
        prepared: dict[str, PreparedFrame] = {}
        for name, frame in batch.items():
            try:
                channel = self._channels[name]
                if wanted := self._wanted(channel, frame):
                    prepared[name] = channel.prepare(frame, wanted)
            except Exception as error:  # one camera's fault is not another's
                self._fault([name], error)
        if not prepared:
            return
        outcomes = self._estimator.infer_each([ready.rgb for ready in prepared.values()])
        failed: dict[BackendError, list[str]] = {}
        for (name, ready), prediction in zip(prepared.items(), outcomes, strict=True):
            if isinstance(prediction, BackendError):
                failed.setdefault(prediction, []).append(name)
                continue
            self._channels[name].statistics.count(FrameCount.PROCESSED)
            try:
                self._channels[name].publish(ready, prediction)
            except Exception as error:
                self._fault([name], error)
        for fault, names in failed.items():
            self._fault(names, fault)
        lost = {name for names in failed.values() for name in names}
        done = [name for name in prepared if name not in lost]
        # A frame that waited for TF counts as if it had come later: the network is not what was slow.
        if done_s := [prepared[name].frame.received_s + self._channels[name].metric.waited_s for name in done]:
            sizes = [(ready.rgb.shape[0], ready.rgb.shape[1]) for ready in prepared.values()]
            self._apply_latency_limit(self._parameters["latency_limit_s"], min(done_s), sizes)

    def _wanted(self, channel: CameraChannel, frame: CameraFrame) -> frozenset[str]:
        if channel.too_old(frame):
            return frozenset()
        wanted = channel.wanted()
        if not wanted:
            channel.statistics.count(FrameCount.IDLE)
        return wanted

    def _apply_latency_limit(self, limit_s: float, received_s: float, sizes: Sequence[tuple[int, int]]) -> None:
        """Give the network less to do while outputs come later than ``latency_limit_s``."""
        if not self._estimator.can_shrink:
            return
        if limit_s != (self._latency_policy.limit_s if self._latency_policy else 0.0):
            self._latency_policy = DegradePolicy(limit_s, self._areas_that_run(sizes)) if limit_s else None
            self._estimator.set_input_area(1.0)
        elif self._latency_policy is not None and self._latency_policy.update(time.monotonic() - received_s):
            self._estimator.set_input_area(self._latency_policy.area)
            self._logger.warning(self._latency_policy.reason)

    def _areas_that_run(self, sizes: Sequence[tuple[int, int]]) -> tuple[float, ...]:
        """Shares of the input's area that the network takes, compiled, for which there is no time when they are needed.
        Cameras yet to speak may be like the first.
        """
        sizes = [*sizes, *[sizes[0]] * (len(self._channels) - len(sizes))]
        areas: list[float] = []
        try:
            for area in AREAS:
                self._estimator.warm_up(area, sizes)
                areas.append(area)
        except BackendError as error:
            self._logger.warning(f"a smaller input for latency_limit_s does not run, and is not used: {error}")
        return tuple(areas) or AREAS[:1]

    @property
    def latency_report(self) -> str:
        """What the latency limit has made the node do; empty if nothing."""
        return self._latency_policy.reason if self._latency_policy is not None and self._latency_policy.degraded else ""

    def _fault(self, names: Iterable[str], error: Exception) -> None:
        """Count and log an error; what is no error of ours is a bug, and shown whole."""
        what, message = count_of(error), str(error)
        named, now = list(names), time.monotonic()
        for name in named:
            self._channels[name].statistics.fault(what, str(error))
        key = (*named, what)  # each camera has a throttle of its own: one would silence the other
        if now - self._logged_s.get(key, -math.inf) < _LOG_PERIOD_S:
            return
        self._logged_s[key] = now
        if what is FrameCount.INTERNAL_ERROR:
            message = f"{type(error).__name__}: {error}"
            self._logger.error("".join(traceback.format_exception(error)))
        where = ", ".join(name for name in named if name)
        self._logger.error(f"{where}{': ' if where else ''}{message}")
