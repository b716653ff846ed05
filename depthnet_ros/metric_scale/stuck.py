"""Readings that stay the same while the picture at their place changes: of a range finder, and of many points."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.config import MetricScaleConfig

_MIN_READINGS = 8  # fewer accuse nobody
_REPEATS_KEPT = 5  # values of the picture whose median stands for one moment
_REPEATS_CHANGE = 0.05
"""Relative change of the picture under readings of many points that repeat themselves to the last digit, which noise
never does: they need but this much to be a lie, while a robot that stands in a simulator without noise is no liar."""
_SAME_SIGMAS = 3.0
"""Readings of a range finder that differ by no more standard deviations are the same."""
_OTHER_SIGMAS = 4.0
"""Readings of a stuck range finder that differ by more standard deviations show that it is not stuck any more."""
_KEPT_SHARE = 1.5  # of ``stuck_after_s``: how long readings are kept
_LEAST_RELATIVE = 1e-6  # relative inverse depth that changes are a share of, at least: nothing divides by zero


@dataclass
class _Held:
    """A range that has stayed the same since, and relative inverse depth of the picture when it first came."""

    range_m: float
    since_s: float
    relative: list[float] = field(default_factory=list)


class RangeWatch:
    """One range finder: its readings have noise, and are the same within it.

    Attributes:
        stuck: the last :meth:`check` found the reading stuck.
    """

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self._readings: deque[tuple[float, float, float, float]] = deque()
        """(stamp, range in metres, its standard deviation, relative inverse depth of the picture there)."""
        self._held: _Held | None = None
        self.stuck = False

    def record(self, stamp_s: float, range_m: float, sigma_m: float, relative: float) -> None:
        """One reading beside the picture's relative inverse depth at the same place."""
        if self._held is None or abs(range_m - self._held.range_m) > _SAME_SIGMAS * sigma_m:
            self._held = _Held(range_m, stamp_s)
        if len(self._held.relative) < _REPEATS_KEPT:
            self._held.relative.append(relative)
        self._readings.append((stamp_s, range_m, sigma_m, relative))
        kept_s = _KEPT_SHARE * self._config.stuck_after_s
        # Of a slow camera's readings, which are few, enough are kept however old they are.
        while len(self._readings) > _MIN_READINGS and stamp_s - self._readings[0][0] > kept_s:
            self._readings.popleft()

    def change_unit(self, gain: float) -> None:
        """Relative inverse depth is ``gain`` times as large a number from now on."""
        self._readings = deque((*reading[:3], gain * reading[3]) for reading in self._readings)
        if self._held is not None:
            self._held.relative = [gain * relative for relative in self._held.relative]

    def check(self) -> None:
        """Find out whether the range stays the same while the picture at its place changes."""
        if len(self._readings) < _MIN_READINGS:
            return
        stamps, ranges, sigmas, relative = np.array(self._readings).T
        spread, sigma = float(np.ptp(ranges)), float(np.median(sigmas))
        if self.stuck:
            recent = ranges[-max(3, int((stamps > stamps[-1] - 0.5 * self._config.stuck_after_s).sum())) :]
            self.stuck = not float(np.ptp(recent)) > _OTHER_SIGMAS * sigma
        elif stamps[-1] - stamps[0] >= self._config.stuck_after_s and spread <= _SAME_SIGMAS * sigma:
            self.stuck = self._has_changed(stamps[-1], relative) or self._changes_now(relative)

    def _changes_now(self, relative: NDArray[np.float64]) -> bool:
        """The picture within the readings that are kept."""
        thirds = [float(np.median(part)) for part in np.array_split(relative, 3)]
        level = max(abs(float(np.mean(thirds))), _LEAST_RELATIVE)
        return (max(thirds) - min(thirds)) / level > self._config.stuck_change

    def _has_changed(self, now_s: float, relative: NDArray[np.float64]) -> bool:
        """The picture since the range came to stay, however long ago: a slow robot changes it little by little."""
        if self._held is None or now_s - self._held.since_s < self._config.stuck_after_s:
            return False
        first, now = float(np.median(self._held.relative)), float(np.median(relative[-_REPEATS_KEPT:]))
        return abs(now - first) > self._config.stuck_change * max(abs(first), _LEAST_RELATIVE)

    def __str__(self) -> str:
        return f"{self._readings[-1][1]:.2f} m" if self._readings else "nothing"


class PointsWatch:
    """One sensor of many points: noise never repeats all of them, so that readings are the same or another.

    Attributes:
        stuck: the last :meth:`check` found the points stuck.
    """

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self._fingerprint: float | None = None
        self._repeats: deque[tuple[float, float]] = deque()
        """(stamp, relative inverse depth of the picture there) of readings since the last that differed."""
        self._first: list[float] = []
        """Relative inverse depth of the picture when the present points first came, and came again."""
        self.stuck = False

    def record(self, stamp_s: float, fingerprint: float, relative: float) -> None:
        """One reading's ``fingerprint`` beside the picture's relative inverse depth at the same place."""
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._first.clear()
            self._repeats.clear()
        if len(self._first) < _REPEATS_KEPT:
            self._first.append(relative)
        self._repeats.append((stamp_s, relative))
        kept_s = _KEPT_SHARE * self._config.stuck_after_s
        while len(self._repeats) > _MIN_READINGS and stamp_s - self._repeats[0][0] > kept_s:
            self._repeats.popleft()

    def change_unit(self, gain: float) -> None:
        """Relative inverse depth is ``gain`` times as large a number from now on.

        The gain is a regression's and errs by as much as the change of the picture that is looked for: the comparison
        begins anew. Points that were found stuck stay so until the picture, or they themselves, speak for them.
        """
        if self.stuck:
            self._first = [gain * relative for relative in self._first]
            self._repeats = deque((stamp_s, gain * relative) for stamp_s, relative in self._repeats)
        else:
            self._first.clear()
            self._repeats.clear()

    def check(self) -> None:
        """Find out whether the points repeat themselves while the picture at their place changes."""
        self.stuck = False
        repeats = self._repeats
        if len(repeats) >= _MIN_READINGS and repeats[-1][0] - repeats[0][0] >= self._config.stuck_after_s:
            first = float(np.median(self._first))
            now = float(np.median([relative for _, relative in list(repeats)[-_REPEATS_KEPT:]]))
            self.stuck = abs(now - first) > _REPEATS_CHANGE * max(abs(first), _LEAST_RELATIVE)

    def __str__(self) -> str:
        return "identical points"
