"""What happened to the frames and how long it took: counts, percentiles, the age of the last output; and when to do
with a smaller input to keep the latency contract. Bounded memory."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.spec import InputSpec

PERCENTILES = (50, 90, 99)
AREAS = (1.0, 0.7, 0.5, 0.35)
"""Shares of a network's full input area that it may be given."""
_WINDOW = 512


class RollingPercentiles:
    """Percentiles over the last ``window`` values."""

    def __init__(self, window: int = _WINDOW) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def add(self, value: float) -> None:
        """Take one value in."""
        self._values.append(value)

    def __len__(self) -> int:
        return len(self._values)

    def percentiles(self) -> dict[int, float]:
        """50th, 90th and 99th percentile; empty without values."""
        if not self._values:
            return {}
        values = np.percentile(np.fromiter(self._values, dtype=np.float64), PERCENTILES)
        return {p: float(value) for p, value in zip(PERCENTILES, values, strict=True)}


class FrameStatistics:
    """Counters and timings of one camera. Thread-safe: callbacks, worker and diagnostics use it at once.

    Counters in use: ``received``, ``processed``, ``published``, ``dropped_overload``, ``dropped_rate``,
    ``dropped_age``, ``dropped_disabled``, ``idle`` (nobody listened), ``bad_image``, ``bad_camera_info``,
    ``no_camera_info``, ``backend_error``, ``internal_error``, ``unknown_depth`` (more than 1 % of a picture),
    ``stamp_backwards``, ``time_jumps``.
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


class DegradePolicy:
    """Decides when a smaller network input is needed to keep the contract, and when the full one can come back.

    The input's area goes down one step when the 90th percentile of the last ``patience`` latencies exceeds
    ``limit_s``, and up one step when it would stay below ``limit_s`` even if latency grew with the area. After each
    step the count starts anew, so the size cannot swing from frame to frame.

    Attributes:
        area: fraction of the full input area in use now, one of ``areas``.
        reason: what happened last, for people; empty as long as nothing did.
    """

    def __init__(self, limit_s: float, areas: tuple[float, ...] = AREAS, patience: int = 30) -> None:
        if limit_s <= 0:
            raise ConfigError(f"the latency limit must be positive seconds, got {limit_s}")
        if not areas or areas[0] != 1.0 or list(areas) != sorted(set(areas), reverse=True) or areas[-1] <= 0:
            raise ConfigError(f"areas must fall from 1.0 and stay positive, got {areas}")
        self.limit_s = limit_s
        self.areas = areas
        self.reason = ""
        self._level = 0
        self._recent = RollingPercentiles(patience)
        self._patience = patience

    @property
    def area(self) -> float:
        """Fraction of the full input area in use."""
        return self.areas[self._level]

    @property
    def degraded(self) -> bool:
        """Whether the input is smaller than the network's own."""
        return self._level > 0

    def update(self, latency_s: float) -> bool:
        """Take in one latency. True if :attr:`area` changed: the caller then sets the input anew and says why."""
        self._recent.add(latency_s)
        if len(self._recent) < self._patience:
            return False
        p90_s = self._recent.percentiles()[90]
        if p90_s > self.limit_s and self._level + 1 < len(self.areas):
            return self._step(+1, f"p90 latency {p90_s * 1e3:.0f} ms is over the limit of {self.limit_s * 1e3:.0f} ms")
        if self._level and p90_s * self.areas[self._level - 1] / self.area < 0.9 * self.limit_s:
            return self._step(-1, f"p90 latency {p90_s * 1e3:.0f} ms leaves room below {self.limit_s * 1e3:.0f} ms")
        return False

    def _step(self, by: int, why: str) -> bool:
        self._level += by
        self._recent = RollingPercentiles(self._patience)
        self.reason = f"{why}: network input now about {self.area:.0%} of its full area"
        return True


def scaled_input(spec: InputSpec, area: float) -> InputSpec:
    """``spec`` with ``area`` times as many pixels, sides rounded to its multiple.

    A network of one fixed size (``keep_aspect`` false) has no smaller input: its specification comes back unchanged.
    """
    if not spec.keep_aspect or area == 1.0:
        return spec
    side = area**0.5
    return replace(spec, height_px=max(1, round(spec.height_px * side)), width_px=max(1, round(spec.width_px * side)))
