"""Why one camera's images have no usable camera_info: for diagnostics, and for the log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from depthnet_ros.ros.camera_input import CameraFrame, CameraInput

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

_IN_A_ROW = 5
"""Images without camera_info before that is logged: a message or two may be lost on the way."""
_SENT_ONCE_S = 2.0
_REPEAT_S = 60.0
_LEAST_PERIOD_S = 1.0


class CameraInfoReport:
    """One sentence on what is wrong, in ``problem``; empty while camera_info can be used. The worker's thread calls it.

    Each sentence is logged when it is new, and again after a minute; never more than one a second. ``matters`` says
    whether anything is lost without camera_info: if not, nothing is logged.
    """

    def __init__(self, logger: RcutilsLogger, camera: str, matters: Callable[[], bool]) -> None:
        self.problem = ""
        self._logger, self._camera, self._matters = logger, camera or "camera", matters
        self._missing, self._since_s = 0, 0.0
        self._logged: dict[str, float] = {}

    def usable(self) -> None:
        """An image came with one that fits."""
        self.problem, self._missing = "", 0

    def unusable(self, error: Exception) -> None:
        """An image came with one that does not."""
        self.problem, self._missing = str(error), 0
        self._log(f"camera_info cannot be used: {error}", error)

    def missing(self, source: CameraInput | None, frame: CameraFrame) -> None:
        """An image came without."""
        if not self._missing:
            self._since_s = time.monotonic()
        self._missing += 1
        what = "missing"
        self.problem = "no camera_info has the image's stamp"
        if source is None:
            return
        topic = source.info_topic
        publishers, heard_s = source.info_publishers, source.info_received_s
        if not publishers:
            self.problem = f"nobody publishes {topic}: remap camera_info to your driver's"
            self._log(f"no metric output: {self.problem}", self.problem)
            return
        if heard_s is None:
            self.problem += f": nothing received on {topic}, which has {publishers} publisher(s): is it "
            self.problem += "sensor_msgs/CameraInfo, or QoS overridden?"
        elif (silent_s := time.monotonic() - heard_s) > _SENT_ONCE_S:
            what = "silent"
            self.problem += f": {topic} was last heard {silent_s:.0f} s ago; it must come with every image"
        elif frame.nearest_info_ns is not None and heard_s > self._since_s:  # they do come
            what, apart_ns = "stamps", frame.nearest_info_ns - frame.stamp_ns
            side = "later" if apart_ns > 0 else "earlier"
            self.problem += f": the nearest on {topic} is {1e-9 * abs(apart_ns):.3g} s {side}; the driver must stamp "
            self.problem += "both alike"
        if self._missing >= _IN_A_ROW:
            self._log(f"no metric output: {self.problem}", what)

    def _log(self, message: str, what: object) -> None:
        """``what``: by which it is told from others, where its text has numbers that change."""
        now, key = time.monotonic(), str(what)
        if now - max(self._logged.values(), default=-math.inf) < _LEAST_PERIOD_S or not self._matters():
            return
        if now - self._logged.get(key, -math.inf) < _REPEAT_S:
            return
        self._logged = {text: when for text, when in self._logged.items() if now - when < _REPEAT_S} | {key: now}
        self._logger.warning(f"{self._camera}: {message}")
