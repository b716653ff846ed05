"""Is each sensor alive, and does it tell the truth? Silence, a constant reading under a changing picture,
contradiction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.stuck import PointsWatch, RangeWatch

_AGREEMENT_MEMORY = 0.85  # of a running mean over frames: what a frame leaves of it
_DISAGREES = 0.15  # running mean of robust weights (0..1) below which a sensor contradicts the others
_BROKEN = 0.5  # share of frames of late, above which a range finder's limit is said to be broken
_BROKEN_LIMITS = {
    Reading.FARTHER: (
        "no echo, though the image shows something within its range: surfaces that reflect none, or a faulty sensor"
    ),
    Reading.NEARER: "reports something too near that the image does not show: ringing, crosstalk, or a covered sensor",
}


@dataclass
class _Source:
    last_s: float
    spoke: bool = True
    watch: RangeWatch | PointsWatch | None = None
    """None before a reading came that the picture shows something of."""
    agreement: float = 1.0
    broken: float = 0.0
    limit: Reading | None = None

    @property
    def stuck(self) -> bool:
        return self.watch is not None and self.watch.stuck


class SourceMonitor:
    """Watches the sensors by the stamps of their readings, on the frames' clock."""

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self._sources: dict[str, _Source] = {}

    def expect(self, kinds: Iterable[str], now_s: float) -> None:
        """A sensor of each kind should speak, under its kind's name or another that begins with it: where none ever
        does, it is missed from now on as one that falls silent.
        """
        for kind in kinds:
            spoke = any(name.split(" ")[0] == kind and known.spoke for name, known in self._sources.items())
            if not spoke:
                self._sources.setdefault(kind, _Source(now_s, spoke=False))
            elif kind in self._sources and not self._sources[kind].spoke:
                del self._sources[kind]  # another of its kind speaks in its place

    def heard(self, source: str, stamp_s: float, is_known: bool = True) -> None:
        """A reading came; whether it is usable does not matter here. One of a kind of which no sensor ``is_known`` puts
        off that the kind is missed, and makes no sensor: it may be a stray message.
        """
        if not is_known:
            if (expected := self._sources.get(source)) is not None and not expected.spoke:
                expected.last_s = max(expected.last_s, stamp_s)
            return
        known = self._sources.setdefault(source, _Source(stamp_s))
        known.last_s = max(known.last_s, stamp_s) if known.spoke else stamp_s
        known.spoke = True

    def forget(self) -> None:
        """All that was heard so far is of another run: time jumped back, or the node was activated anew."""
        self._sources.clear()

    def record_range(self, source: str, stamp_s: float, range_m: float, sigma_m: float, relative: float) -> None:
        """One range and its standard deviation beside the picture's relative inverse depth at the same place.

        ``relative`` counts from where the view itself has infinity, not through the estimate of scale: that one has
        followed the reading, and a lie has made it blind to the picture. It is not finite where the picture shows
        nothing.
        """
        if math.isfinite(relative):
            known = self._sources.setdefault(source, _Source(stamp_s))
            if not isinstance(known.watch, RangeWatch):
                known.watch = RangeWatch(self._config)
            known.watch.record(stamp_s, range_m, sigma_m, relative)

    def record_points(self, source: str, stamp_s: float, fingerprint: float, relative: float) -> None:
        """As :meth:`record_range`, of a sensor of many points: their ``fingerprint``, and ``relative`` in
        their mean.
        """
        if math.isfinite(relative):
            known = self._sources.setdefault(source, _Source(stamp_s))
            if not isinstance(known.watch, PointsWatch):
                known.watch = PointsWatch(self._config)
            known.watch.record(stamp_s, fingerprint, relative)

    def change_unit(self, gain: float) -> None:
        """Relative inverse depth is ``gain`` times as large a number from now on."""
        for known in self._sources.values():
            if known.watch is not None:
                known.watch.change_unit(gain)

    def agrees(self, source: str, mean_weight: float) -> None:
        """Robust weight that a heard source's anchors had in a frame; 1 where no other source had a say."""
        known = self._sources[source]
        known.agreement = _AGREEMENT_MEMORY * known.agreement + (1.0 - _AGREEMENT_MEMORY) * mean_weight

    def breaks(self, source: str, limit: Reading | None) -> None:
        """Whether the estimate clearly breaks the limit that a heard range finder's reading is; None: it does not."""
        known = self._sources[source]
        known.broken = _AGREEMENT_MEMORY * known.broken + (1.0 - _AGREEMENT_MEMORY) * (limit is not None)
        known.limit = limit or known.limit

    def check_stuck(self, source: str) -> None:
        """Whether its reading stays the same while the picture at its place changes: see :meth:`is_stuck`."""
        known = self._sources.get(source)
        if known is not None and known.watch is not None:
            known.watch.check()

    def is_stuck(self, source: str) -> bool:
        """The source's reading was found to stay the same at the last check."""
        return source in self._sources and self._sources[source].stuck

    def troubles(self, now_s: float) -> list[str]:
        """One line per sensor that is silent, stuck or at odds with the others."""
        lines = []
        for name, known in self._sources.items():
            silent = now_s - known.last_s
            if silent > self._config.source_timeout_s:
                silence = f"silent for {silent:.2f} s" if known.spoke else "no message yet: is its topic published?"
                lines.append(f"{name}: {silence}")
            elif known.stuck:
                lines.append(f"{name}: stuck at {known.watch} while the image changes: not used")
            elif known.broken > _BROKEN and known.limit is not None:
                lines.append(f"{name}: {_BROKEN_LIMITS[known.limit]}")
            elif known.agreement < _DISAGREES:
                lines.append(f"{name}: contradicts the other sensors")
        return lines
