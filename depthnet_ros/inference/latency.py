"""What happened to the frames and how long it took: counts, percentiles, the age of the last output. Bounded memory."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

PERCENTILES = (50, 90, 99)
_WINDOW = 512


class RollingPercentiles:
    """Percentiles over the last ``window`` values."""

    def __init__(self, window: int = _WINDOW) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def add(self, value: float) -> None:
        """Take one value in."""
        self._values.append(value)

    def percentiles(self) -> dict[int, float]:
        """50th, 90th and 99th percentile; empty without values."""
        if not self._values:
            return {}
        values = np.percentile(np.fromiter(self._values, dtype=np.float64), PERCENTILES)
        return {p: float(value) for p, value in zip(PERCENTILES, values, strict=True)}


class FrameStatistics:
    """Counters and timings of one camera. Thread-safe: callbacks, worker and diagnostics use it at once.

    Counters in use: ``received``, ``processed``, ``published``, ``dropped_overload``, ``dropped_rate``, ``dropped_age``,
    ``dropped_disabled``, ``idle`` (nobody listened), ``bad_image``, ``bad_camera_info``, ``no_camera_info``,
    ``backend_error``, ``time_jumps``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._stage_s: dict[str, RollingPercentiles] = {}
        self._last_output_s: float | None = None
        self._errors: dict[str, str] = {}

    def count(self, what: str, amount: int = 1) -> int:
        """Add to a counter; returns its new value."""
        with self._lock:
            self._counts[what] += amount
            return self._counts[what]

    def fault(self, what: str, message: str) -> int:
        """Count a fault and remember its last message for diagnostics; returns how often it has happened."""
        with self._lock:
            self._counts[what] += 1
            self._errors[what] = message
            return self._counts[what]

    def time(self, stage_s: Mapping[str, float]) -> None:
        """Take in the seconds of each stage of one frame; ``stamp_to_publish`` is one of them where it is known."""
        with self._lock:
            for stage, seconds in stage_s.items():
                self._stage_s.setdefault(stage, RollingPercentiles()).add(seconds)

    def output(self) -> None:
        """A frame's outputs were handed to the middleware just now."""
        with self._lock:
            self._counts["published"] += 1
            self._last_output_s = time.monotonic()

    def counts(self) -> dict[str, int]:
        """A copy of the counters."""
        with self._lock:
            return dict(self._counts)

    def errors(self) -> dict[str, str]:
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
