"""What happened to one camera's frames and how long it took: counts, faults, percentiles. Bounded memory."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from enum import Enum

from depthnet_ros.errors import BackendError, CameraInfoError, DepthNetError, ImageError
from depthnet_ros.inference.latency import RollingPercentiles


class FrameCount(str, Enum):
    """The counters; diagnostics show each as ``frames_<value>``."""

    RECEIVED = "received"
    LOST = "lost"
    """On the way here: the middleware, not this node, had no room for them. It does not notice all."""
    PROCESSED = "processed"
    PUBLISHED = "published"
    DROPPED_OVERLOAD = "dropped_overload"
    """A newer frame came before the network was free."""
    DROPPED_RATE = "dropped_rate"
    DROPPED_AGE = "dropped_age"
    DROPPED_DISABLED = "dropped_disabled"
    DROPPED_RESET = "dropped_reset"
    """It waited when time jumped back, or when the node was deactivated."""
    IDLE = "idle"
    """Nobody listened."""
    BAD_IMAGE = "bad_image"
    BAD_CAMERA_INFO = "bad_camera_info"
    BAD_INPUT = "bad_input"
    """Any other input that cannot be used."""
    NO_CAMERA_INFO = "no_camera_info"
    BACKEND_ERROR = "backend_error"
    INTERNAL_ERROR = "internal_error"
    UNKNOWN_DEPTH = "unknown_depth"
    """The network gave no depth for more than 1 % of the picture."""
    STAMP_BACKWARDS = "stamp_backwards"
    STAMP_AHEAD = "stamp_ahead"
    """Of the node's clock."""
    STAMP_OF_OLD = "stamp_of_old"
    """Before the node's clock by more than any latency: not set, or of another clock."""
    TIME_JUMPS = "time_jumps"


_OF_ERROR = (
    (BackendError, FrameCount.BACKEND_ERROR),
    (ImageError, FrameCount.BAD_IMAGE),
    (CameraInfoError, FrameCount.BAD_CAMERA_INFO),
    (DepthNetError, FrameCount.BAD_INPUT),
)


def count_of(error: Exception) -> FrameCount:
    """The counter for a frame that was lost to ``error``; what is no error of ours is a bug."""
    return next((count for kind, count in _OF_ERROR if isinstance(error, kind)), FrameCount.INTERNAL_ERROR)


class FrameStatistics:
    """Counters and timings of one camera. Thread-safe: callbacks, worker and diagnostics use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[FrameCount] = Counter()
        self._stage_s: dict[str, RollingPercentiles] = {}
        self._last_output_s: float | None = None
        self._errors: dict[FrameCount, str] = {}

    def count(self, what: FrameCount, times: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[what] += times

    def fault(self, what: FrameCount, message: str) -> None:
        """Count a fault and remember its last message for diagnostics."""
        with self._lock:
            self._counts[what] += 1
            self._errors[what] = message

    def time(self, stage_s: Mapping[str, float]) -> None:
        """Take in the seconds of each stage of one frame; ``stamp_to_publish`` is one of them where it is known."""
        with self._lock:
            for stage, seconds in stage_s.items():
                self._stage_s.setdefault(stage, RollingPercentiles()).add(seconds)

    def output(self) -> None:
        """A frame's outputs were handed to the middleware just now."""
        with self._lock:
            self._counts[FrameCount.PUBLISHED] += 1
            self._last_output_s = time.monotonic()

    def counts(self) -> dict[FrameCount, int]:
        """A copy of the counters."""
        with self._lock:
            return dict(self._counts)

    def errors(self) -> dict[FrameCount, str]:
        """The last message of each kind of fault."""
        with self._lock:
            return dict(self._errors)

    def stages(self) -> dict[str, dict[int, float]]:
        """Percentiles in seconds by stage."""
        with self._lock:
            return {stage: window.percentiles() for stage, window in self._stage_s.items()}

    def output_age_s(self) -> float | None:
        """Seconds since the last output; None before the first."""
        with self._lock:
            return None if self._last_output_s is None else time.monotonic() - self._last_output_s
