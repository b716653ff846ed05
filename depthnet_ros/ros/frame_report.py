"""What became of one camera's frames since the last time: for diagnostics, and whether the camera is at rest."""

from __future__ import annotations

import time
from collections import Counter

from rclpy.clock import ROSClock
from rclpy.impl.rcutils_logger import RcutilsLogger

from depthnet_ros.ros.camera_input import CameraInput
from depthnet_ros.ros.diagnostics import ERROR, OK, WARN, Finding
from depthnet_ros.ros.frame_statistics import FrameCount, FrameStatistics

_FAULTS = (
    FrameCount.BAD_IMAGE,
    FrameCount.BAD_CAMERA_INFO,
    FrameCount.BAD_INPUT,
    FrameCount.BACKEND_ERROR,
    FrameCount.INTERNAL_ERROR,
    FrameCount.UNKNOWN_DEPTH,
)
_AT_REST = {FrameCount.IDLE: "nobody listens", FrameCount.DROPPED_DISABLED: "disabled by service"}
"""Counters of frames that were left alone on purpose, and why."""
_FEW_LOST, _SHARE_LOST = 3, 0.1
"""Images lost in a period that are not worth a word: some are while the nodes find each other."""
_LOG_PERIOD_S = 60.0
_REST_S = 2.5
"""A camera is at rest for as long after the last such frame: slow ones have few."""


class FrameReport:
    """Looks at the counters of one camera. Called by the executor's thread."""

    def __init__(self, statistics: FrameStatistics, clock: ROSClock, logger: RcutilsLogger) -> None:
        """``clock``, ``logger``: the node's."""
        self._statistics, self._clock, self._logger = statistics, clock, logger
        self._reported: dict[FrameCount, int] = {}
        self._watched: dict[FrameCount, int] = {}
        self._rest, self._rest_s = "", 0.0
        self._clock_ns = -1

    def at_rest_because(self) -> str:
        """Why frames have been left alone of late, on purpose; empty: they have not. To be asked often."""
        counts = self._statistics.counts()
        new, self._watched = _since(self._watched, counts), counts
        why = "" if new[FrameCount.PUBLISHED] else _left_alone(new)
        if why:
            self._rest, self._rest_s = why, time.monotonic()
        elif new[FrameCount.PROCESSED] or time.monotonic() - self._rest_s > _REST_S:
            self._rest = ""
        return self._rest

    def findings(self, source: CameraInput | None, said: frozenset[FrameCount]) -> list[Finding]:
        """What to say of the frames since the last call. ``said``: faults that are told elsewhere."""
        counts = self._statistics.counts()
        new, self._reported = _since(self._reported, counts), counts
        found = [
            *self._faults(new, said),
            *self._losses(new),
            *_time_jumps(new, source),
            *self._too_old_images(new),
            *self._clock_faults(new),
        ]
        if not found and not new[FrameCount.PUBLISHED]:
            found = [(OK, f"no depth in this period: {_why_no_depth(new)}")]
        return found

    def _faults(self, new: Counter[FrameCount], said: frozenset[FrameCount]) -> list[Finding]:
        """Errors where nothing went out beside them."""
        level, errors = WARN if new[FrameCount.PUBLISHED] else ERROR, self._statistics.errors()
        return [(level, f"{new[what]} x {errors[what]}") for what in _FAULTS if new[what] and what not in said]

    def _losses(self, new: Counter[FrameCount]) -> list[Finding]:
        lost, sent = new[FrameCount.LOST], new[FrameCount.LOST] + new[FrameCount.RECEIVED]
        if lost < _FEW_LOST or lost < _SHARE_LOST * sent:
            return []
        told = (
            f"{lost} of {sent} images were lost on the way here, as the middleware has no room for them: give the "
            "camera driver, or ros2 bag play, config/fastdds.xml (README); over a network send compressed images"
        )
        self._logger.warning(told, throttle_duration_sec=_LOG_PERIOD_S)
        return [(WARN, told)]

    def _too_old_images(self, new: Counter[FrameCount]) -> list[Finding]:
        if new[FrameCount.PUBLISHED] or not new[FrameCount.DROPPED_AGE]:
            return []
        age = f"the last was {self._statistics.errors()[FrameCount.DROPPED_AGE]}"
        return [(WARN, f"all images are older than max_age_s by their stamps, {age}: check the clocks")]

    def _clock_faults(self, new: Counter[FrameCount]) -> list[Finding]:
        if standing := self._clock_stands():
            return [(WARN, standing)]
        errors = self._statistics.errors()
        if new[FrameCount.STAMP_AHEAD]:
            ahead = f"images are stamped {errors[FrameCount.STAMP_AHEAD]} ahead of this node's clock"
            return [(WARN, f"{ahead}: neither max_age_s nor stamp_to_publish works; check the clocks")]
        if new[FrameCount.STAMP_OF_OLD]:
            lost = "planners drop what is made of them: check the driver's clock (of a recording: set use_sim_time)"
            return [(WARN, f"images are stamped {errors[FrameCount.STAMP_OF_OLD]}, and outputs with them; {lost}")]
        return []

    def _clock_stands(self) -> str:
        """With simulated time: whether it has stood still since the last report."""
        before, self._clock_ns = self._clock_ns, int(self._clock.now().nanoseconds)
        if not self._clock.ros_time_is_active or self._clock_ns != before:
            return ""
        what = "stands still" if self._clock_ns else "has not been heard"
        return f"use_sim_time is set, and /clock {what}: neither max_age_s nor stamp_to_publish works"


def _since(before: dict[FrameCount, int], counts: dict[FrameCount, int]) -> Counter[FrameCount]:
    return Counter({what: count - before.get(what, 0) for what, count in counts.items()})


def _time_jumps(new: Counter[FrameCount], source: CameraInput | None) -> list[Finding]:
    if new[FrameCount.TIME_JUMPS] < 2 or source is None:
        return []
    publishers, topic = source.publishers(), source.image_topic
    why = f"{topic} has {publishers} publishers, stop all but one" if publishers > 1 else "check the driver's clock"
    return [(WARN, f"stamps jump back and forth; scale begins anew each time: {why}")]


def _left_alone(new: Counter[FrameCount]) -> str:
    return next((why for what, why in _AT_REST.items() if new[what]), "")


def _why_no_depth(new: Counter[FrameCount]) -> str:
    """Why nothing went out, where nothing was wrong."""
    if why := _left_alone(new):
        return why
    if new[FrameCount.PROCESSED]:
        return "all subscribed topics need metric scale, which is not known"
    return "images came, but none is through the network yet" if new[FrameCount.RECEIVED] else "nothing came"
