"""The latency contract: how old outputs are when they leave, what is dropped, and when to do with a smaller input.

No ROS and no clock of its own: callers pass times in seconds. Ages (stamp to publish) are differences on the node's
clock, durations of stages come from a monotonic one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.spec import InputSpec

WINDOW = 256
"""Samples that a rolling figure looks back on."""


class RollingQuantiles:
    """Quantiles of the last ``window`` values, in bounded memory."""

    def __init__(self, window: int = WINDOW) -> None:
        self._values: NDArray[np.float64] = np.empty(window, dtype=np.float64)
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, len(self._values))

    def add(self, value: float) -> None:
        """Take in one value; the oldest gives way when the window is full."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def at(self, *quantiles: float) -> tuple[float, ...]:
        """Values at ``quantiles`` (0 to 1), interpolated; NaN while there is none."""
        if not self._count:
            return (float("nan"),) * len(quantiles)
        return tuple(float(value) for value in np.quantile(self._values[: len(self)], quantiles))


@dataclass(frozen=True)
class LatencyReport:
    """Figures at one moment, for diagnostics. NaN where nothing was measured yet."""

    p50_s: float
    p90_s: float
    p99_s: float
    last_output_age_s: float
    """Age of the newest output *now*: time since its image was taken. Grows when outputs stop."""
    outputs: int
    drops: Mapping[str, int]
    """Frames not used, by reason: ``replaced`` (a newer one came first), ``too_old``, and what callers add."""
    stages_p50_s: Mapping[str, float]


class LatencyMonitor:
    """Counts and times what leaves the node. Safe to call from several threads.

    Args:
        max_age_s: frames older than this are not worth the network's time (:meth:`too_old`); 0 sets no limit.
        window: samples that quantiles look back on.
    """

    def __init__(self, max_age_s: float = 0.0, window: int = WINDOW) -> None:
        if max_age_s < 0:
            raise ConfigError(f"max_age must be 0 (no limit) or positive seconds, got {max_age_s}")
        self.max_age_s = max_age_s
        self._window = window
        self._lock = threading.Lock()
        self._latency = RollingQuantiles(window)
        self._stages: dict[str, RollingQuantiles] = {}
        self._drops: Counter[str] = Counter()
        self._outputs = 0
        self._newest_stamp_s = float("nan")

    def too_old(self, stamp_s: float, now_s: float) -> bool:
        """Whether a frame taken at ``stamp_s`` is past ``max_age_s``; if so it is counted as dropped."""
        old = self.max_age_s > 0 and now_s - stamp_s > self.max_age_s
        if old:
            self.dropped("too_old")
        return old

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count frames that were not used."""
        if count:
            with self._lock:
                self._drops[reason] += count

    def published(self, stamp_s: float, now_s: float, stages_s: Mapping[str, float]) -> float:
        """An output for the image of ``stamp_s`` was handed over at ``now_s``. Returns its latency in seconds."""
        latency_s = now_s - stamp_s
        with self._lock:
            self._outputs += 1
            self._newest_stamp_s = stamp_s
            self._latency.add(latency_s)
            for stage, seconds in stages_s.items():
                self._stages.setdefault(stage, RollingQuantiles(self._window)).add(seconds)
        return latency_s

    def report(self, now_s: float) -> LatencyReport:
        """The figures as of ``now_s``."""
        with self._lock:
            p50, p90, p99 = self._latency.at(0.5, 0.9, 0.99)
            stages = {stage: values.at(0.5)[0] for stage, values in self._stages.items()}
            return LatencyReport(p50, p90, p99, now_s - self._newest_stamp_s, self._outputs, dict(self._drops), stages)


class DegradePolicy:
    """Decides when a smaller network input is needed to keep the contract, and when the full one can come back.

    The input's area goes down one step when the 90th percentile of the last ``patience`` latencies exceeds
    ``limit_s``, and up one step when it would stay below ``limit_s`` even if latency grew with the area. After each
    step the count starts anew, so the size cannot swing from frame to frame.

    Attributes:
        area: fraction of the full input area in use now, one of ``areas``.
        reason: what happened last, for people; empty as long as nothing did.
    """

    def __init__(self, limit_s: float, areas: tuple[float, ...] = (1.0, 0.7, 0.5, 0.35), patience: int = 30) -> None:
        if limit_s <= 0:
            raise ConfigError(f"the latency limit must be positive seconds, got {limit_s}")
        if not areas or areas[0] != 1.0 or list(areas) != sorted(set(areas), reverse=True) or areas[-1] <= 0:
            raise ConfigError(f"areas must fall from 1.0 and stay positive, got {areas}")
        self.limit_s = limit_s
        self.areas = areas
        self.reason = ""
        self._level = 0
        self._recent = RollingQuantiles(patience)
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
        (p90_s,) = self._recent.at(0.9)
        if p90_s > self.limit_s and self._level + 1 < len(self.areas):
            return self._step(+1, f"p90 latency {p90_s * 1e3:.0f} ms is over the limit of {self.limit_s * 1e3:.0f} ms")
        if self._level and p90_s * self.areas[self._level - 1] / self.area < 0.9 * self.limit_s:
            return self._step(-1, f"p90 latency {p90_s * 1e3:.0f} ms leaves room below {self.limit_s * 1e3:.0f} ms")
        return False

    def _step(self, by: int, why: str) -> bool:
        self._level += by
        self._recent = RollingQuantiles(self._patience)
        self.reason = f"{why}: network input now {self.area:.0%} of its full area"
        return True


def scaled_input(spec: InputSpec, area: float) -> InputSpec:
    """``spec`` with ``area`` times as many pixels, sides rounded to its multiple.

    A network of one fixed size (``keep_aspect`` false) has no smaller input: its specification comes back unchanged.
    """
    if not spec.keep_aspect or area == 1.0:
        return spec
    side = area**0.5
    return replace(spec, height_px=max(1, round(spec.height_px * side)), width_px=max(1, round(spec.width_px * side)))
