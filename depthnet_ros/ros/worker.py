"""The thread that runs the network: newest frames in, outputs published, never ended by a frame."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from depthnet_ros.errors import BackendError, DepthNetError
from depthnet_ros.inference.latency import DegradePolicy
from depthnet_ros.inference.scheduler import LatestFrames
from depthnet_ros.ros.camera_channel import CameraChannel
from depthnet_ros.ros.camera_input import CameraFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.impl.rcutils_logger import RcutilsLogger

    from depthnet_ros.inference.estimator import DepthEstimator

_LOG_PERIOD_S = 5.0


class DepthWorker:
    """Takes the newest frame of each camera and puts them through the network as one batch."""

    def __init__(
        self,
        estimator: DepthEstimator,
        channels: Mapping[str, CameraChannel],
        parameters: Callable[[], Mapping[str, Any]],
        logger: RcutilsLogger,
    ) -> None:
        self.frames: LatestFrames[CameraFrame] = LatestFrames(channels)
        self._estimator, self._channels = estimator, channels
        self._parameters, self._logger = parameters, logger
        self._contract: DegradePolicy | None = None
        self._thread = threading.Thread(target=self._run, name="depth", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Finish the frame in work and end; returns whether that happened in time."""
        self.frames.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self.frames.closed:
            batch = self.frames.take()
            try:
                self._process(batch)
            except BackendError as error:
                self._fault(batch, "backend_error", str(error))
            except Exception as error:  # the last line of defence: a fault in one frame must not silence the robot
                self._fault(batch, "internal_error", f"{type(error).__name__}: {error}")
                self._logger.error(traceback.format_exc(), throttle_duration_sec=_LOG_PERIOD_S)

    def _process(self, batch: Mapping[str, CameraFrame]) -> None:
        parameters = self._parameters()
        prepared = []
        for name, frame in batch.items():
            channel = self._channels[name]
            if channel.too_old(frame, parameters["max_age_s"]):
                continue
            if not channel.wants_anything():
                channel.statistics.count("idle")
                continue
            try:
                prepared.append((channel, frame, *channel.prepare(frame, parameters)))
            except DepthNetError as error:
                self._fault({name: frame}, "bad_image", str(error))
        if not prepared:
            return
        predictions = self._estimator.infer_batch([rgb for _, _, rgb, _ in prepared])
        for (channel, frame, rgb, camera), prediction in zip(prepared, predictions, strict=True):
            channel.statistics.count("processed")
            channel.publish(frame, rgb, camera, prediction, parameters)
        self._keep_contract(parameters["latency_limit_s"], min(frame.received_s for _, frame, _, _ in prepared))

    def _keep_contract(self, limit_s: float, received_s: float) -> None:
        """Give the network less to do while outputs come later than the contract says."""
        if limit_s != (self._contract.limit_s if self._contract else 0.0):
            self._contract = DegradePolicy(limit_s) if limit_s else None
            self._estimator.set_input_area(1.0)
        if self._contract is not None and self._contract.update(time.monotonic() - received_s):
            self._estimator.set_input_area(self._contract.area)
            self._logger.warning(self._contract.reason)

    @property
    def contract_report(self) -> str:
        """What the latency contract has made the node do; empty if nothing."""
        return self._contract.reason if self._contract is not None and self._contract.degraded else ""

    def _fault(self, names: Mapping[str, CameraFrame], kind: str, message: str) -> None:
        for name in names:
            self._channels[name].statistics.fault(kind, message)
        where = ", ".join(name for name in names if name)
        self._logger.error(f"{where}{': ' if where else ''}{message}", throttle_duration_sec=_LOG_PERIOD_S)
