"""Is each sensor alive, and does it tell the truth? Silence, a constant reading under a changing picture,
contradiction.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig

_MIN_READINGS = 8
_REPEATS_KEPT = 5
_REPEATS_CHANGE = 0.05
"""Change of the picture under readings of many points that repeat themselves to the last digit, which noise never does:
they need but this much to be a lie, while a robot that stands in a simulator without noise is no liar."""
_SAME_SIGMAS = 3.0
"""Readings of a range finder that differ by no more are the same."""
_AGREEMENT_MEMORY = 0.85
_DISAGREES = 0.15
_BROKEN = 0.5
_BROKEN_LIMITS = {
    Reading.FARTHER: "hears no echo of what the view has within its reach: surfaces that send none, or it is deaf",
    Reading.NEARER: "hears something too near that the view has not: ringing, crosstalk, or it is covered",
}


@dataclass
class _Held:
    """A reading that has stayed the same since, and relative inverse depth of the picture when it first came."""

    reading_m: float
    since_s: float
    relative: list[float] = field(default_factory=list)


@dataclass
class _Source:
    last_s: float
    spoke: bool = True
    readings: deque[tuple[float, float, float, float]] = field(default_factory=deque)
    """(stamp, reading in metres, its standard deviation, relative inverse depth of the picture there)."""
    repeats: list[float] = field(default_factory=list)
    """Relative inverse depth of the picture when a reading of many points first came, and came again."""
    held: _Held | None = None
    agreement: float = 1.0
    stuck: bool = False
    broken: float = 0.0
    limit: Reading | None = None


class SourceMonitor:
    """Watches the sensors by the stamps of their readings, on the frames' clock."""

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self._sources: dict[str, _Source] = {}

    def expect(self, sources: Iterable[str], now_s: float) -> None:
        """These should speak: who never does is missed from now on as one who falls silent."""
        for source in sources:
            if source not in self._sources:
                self._sources[source] = _Source(now_s, spoke=False)

    def heard(self, source: str, stamp_s: float) -> None:
        """A reading came; whether it is usable does not matter here."""
        known = self._sources.setdefault(source, _Source(stamp_s))
        known.last_s = max(known.last_s, stamp_s) if known.spoke else stamp_s
        known.spoke = True

    def forget_times(self) -> None:
        """Time jumped back: all that was heard so far is of another run."""
        self._sources.clear()

    def record(self, source: str, stamp_s: float, reading_m: float, sigma_m: float, relative: float) -> None:
        """One reading beside the picture's relative inverse depth at the same place. A sensor of many points gives
        their :attr:`Anchors.fingerprint` for a reading, and no standard deviation: noise never repeats itself.

        ``relative`` counts from where the view itself has infinity, not through the estimate of scale: that one has
        followed the reading, and a lie has made it blind to the picture.
        """
        if not math.isfinite(relative):  # the picture shows nothing there
            return
        known = self._sources.setdefault(source, _Source(stamp_s))
        readings = known.readings
        if sigma_m == 0.0:
            if readings and readings[-1][1] != reading_m:
                known.repeats.clear()
                readings.clear()
            if len(known.repeats) < _REPEATS_KEPT:
                known.repeats.append(relative)
        else:
            if known.held is None or abs(reading_m - known.held.reading_m) > _SAME_SIGMAS * sigma_m:
                known.held = _Held(reading_m, stamp_s)
            if len(known.held.relative) < _REPEATS_KEPT:
                known.held.relative.append(relative)
        readings.append((stamp_s, reading_m, sigma_m, relative))
        kept = 1.5 * self._config.stuck_after_s
        while len(readings) > _MIN_READINGS and stamp_s - readings[0][0] > kept:  # a slow camera's are few
            readings.popleft()

    def change_unit(self, gain: float) -> None:
        """Relative inverse depth is ``gain`` times as large a number from now on."""
        for known in self._sources.values():
            known.repeats = [gain * relative for relative in known.repeats]
            known.readings = deque((*reading[:3], gain * reading[3]) for reading in known.readings)
            if known.held is not None:
                known.held.relative = [gain * relative for relative in known.held.relative]

    def agrees(self, source: str, mean_weight: float) -> None:
        """Robust weight that the source's anchors had in a frame; 1 where no other source had a say."""
        known = self._sources.setdefault(source, _Source(float("inf")))  # the ground is never silent
        known.agreement = _AGREEMENT_MEMORY * known.agreement + (1.0 - _AGREEMENT_MEMORY) * mean_weight

    def breaks(self, source: str, limit: Reading | None) -> None:
        """Whether the estimate clearly breaks the limit that a range finder's reading is; None: it does not."""
        known = self._sources.setdefault(source, _Source(float("inf")))
        known.broken = _AGREEMENT_MEMORY * known.broken + (1.0 - _AGREEMENT_MEMORY) * (limit is not None)
        known.limit = limit or known.limit

    def check_stuck(self, source: str) -> bool:
        """A reading that stays the same while the picture at its place changes."""
        known = self._sources.get(source)
        if known is None or not known.readings:
            return False
        if known.readings[-1][2] == 0.0:
            return self._check_repeats(known)
        if len(known.readings) < _MIN_READINGS:
            return False
        stamps, values, sigmas, relative = np.array(known.readings).T
        spread, sigma = float(np.ptp(values)), float(np.median(sigmas))
        if known.stuck:
            recent = values[-max(3, int((stamps > stamps[-1] - 0.5 * self._config.stuck_after_s).sum())) :]
            known.stuck = not float(np.ptp(recent)) > 4.0 * sigma
            return known.stuck
        if stamps[-1] - stamps[0] < self._config.stuck_after_s or spread > _SAME_SIGMAS * sigma:
            return False
        if self._has_changed(known, stamps[-1], relative):
            known.stuck = True
            return True
        thirds = [float(np.median(part)) for part in np.array_split(relative, 3)]
        level = max(abs(float(np.mean(thirds))), 1e-6)
        known.stuck = (max(thirds) - min(thirds)) / level > self._config.stuck_change
        return known.stuck

    def _has_changed(self, known: _Source, now_s: float, relative: NDArray[np.float64]) -> bool:
        """The picture since the reading came to stay, however long ago: a slow robot changes it little by little."""
        if known.held is None or now_s - known.held.since_s < self._config.stuck_after_s:
            return False
        first, now = float(np.median(known.held.relative)), float(np.median(relative[-_REPEATS_KEPT:]))
        return abs(now - first) > self._config.stuck_change * max(abs(first), 1e-6)

    def _check_repeats(self, known: _Source) -> bool:
        """As :meth:`check_stuck`, of a sensor of many points: its readings are those since the last that differed."""
        known.stuck = False
        if (
            len(known.readings) >= _MIN_READINGS
            and known.readings[-1][0] - known.readings[0][0] >= self._config.stuck_after_s
        ):
            first = float(np.median(known.repeats))
            now = float(np.median([reading[3] for reading in list(known.readings)[-_REPEATS_KEPT:]]))
            known.stuck = abs(now - first) > _REPEATS_CHANGE * max(abs(first), 1e-6)
        return known.stuck

    def is_stuck(self, source: str) -> bool:
        """The source was found lying and has not recovered."""
        return source in self._sources and self._sources[source].stuck

    def troubles(self, now_s: float) -> list[str]:
        """One line per sensor that is silent, stuck or at odds with the others."""
        lines = []
        for name, known in self._sources.items():
            silent = now_s - known.last_s
            if silent > self._config.source_timeout_s:
                silence = f"silent for {silent:.2f} s" if known.spoke else "has not spoken yet: is its topic published?"
                lines.append(f"{name}: {silence}")
            elif known.stuck:
                _, value, sigma, _ = known.readings[-1] if known.readings else (0.0, 0.0, 0.0, 0.0)
                what = f"{value:.2f} m" if sigma > 0 else "the same"
                lines.append(f"{name}: reads {what} all the time while the picture changes; it is not used")
            elif known.broken > _BROKEN and known.limit is not None:
                lines.append(f"{name}: {_BROKEN_LIMITS[known.limit]}")
            elif known.agreement < _DISAGREES:
                lines.append(f"{name}: contradicts the other sensors")
        return lines
