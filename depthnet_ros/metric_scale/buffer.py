"""Anchors on their way to the frame they belong to: paired by stamp, each used once."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from depthnet_ros.metric_scale.cone import Anchor, ConeAnchor

_KEEP_CONES, _KEEP_POINTS = 1024, 64
"""Readings kept of a source: range finders are fast, clouds are large, and a frame's turn may come a second late."""
_MISSES = 30  # frames in a row whose nearest reading was too far in time, before that is told: some images come late


class AnchorBuffer:
    """Sensors put in from any thread; the worker takes out what fits a frame's stamp."""

    def __init__(self, max_difference_s: float) -> None:
        self._max_difference_s = max_difference_s
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Anchor]] = {}
        self._heard: dict[tuple[str, bool], float] = {}
        self._missed: dict[str, tuple[int, float]] = {}
        self._beyond: dict[str, int] = {}

    def put(self, anchor: Anchor) -> None:
        """A sensor's reading. From any thread."""
        with self._lock:
            self._hear(anchor.source, anchor.stamp_s)  # in one with the rest: what is taken has been heard
            self._beyond.pop(anchor.source, None)
            waiting = self._waiting.setdefault(anchor.source, [])
            waiting.append(anchor)
            del waiting[: -(_KEEP_CONES if isinstance(anchor, ConeAnchor) else _KEEP_POINTS)]

    def miss(self, source: str, stamp_s: float) -> None:
        """A cloud came, and all of it lies farther than depth is given out. From any thread."""
        with self._lock:
            self._hear(source, stamp_s)
            self._beyond[source] = self._beyond.get(source, 0) + 1

    def beyond(self, max_depth_m: float) -> tuple[str, ...]:
        """One line for each source that has long had nothing nearer than this."""
        with self._lock:
            return tuple(
                f"{source}: all of its points lie beyond scale.max_depth_m ({max_depth_m:g} m)"
                for source, count in self._beyond.items()
                if count >= _MISSES
            )

    def hear(self, source: str, stamp_s: float, known: bool = True) -> None:
        """A sensor spoke, but nothing usable: it is alive. From any thread. ``known``: see ``MetricScaler.hear``."""
        with self._lock:
            self._hear(source, stamp_s, known)

    def _hear(self, source: str, stamp_s: float, known: bool = True) -> None:
        key = source, known
        self._heard[key] = max(stamp_s, self._heard.get(key, stamp_s))

    def heard(self) -> Iterable[tuple[tuple[str, bool], float]]:
        """Sources that spoke since the last call and whether they are known, with the stamp of their last word."""
        with self._lock:
            heard, self._heard = self._heard, {}
        return heard.items()

    def take(self, stamp_s: float) -> list[Anchor]:
        """For each source the reading nearest to the frame, if near enough; what is older goes, what is newer waits."""
        taken = []
        with self._lock:
            for source, waiting in self._waiting.items():
                near = [a for a in waiting if abs(a.stamp_s - stamp_s) <= self._max_difference_s]
                if near:
                    best = min(near, key=lambda a: abs(a.stamp_s - stamp_s))
                    taken.append(best)
                    self._missed.pop(source, None)
                    self._waiting[source] = [a for a in waiting if a.stamp_s > max(best.stamp_s, stamp_s)]
                elif waiting:
                    gap_s = min((a.stamp_s - stamp_s for a in waiting), key=abs)
                    self._missed[source] = self._missed.get(source, (0, 0.0))[0] + 1, gap_s
                    self._waiting[source] = [a for a in waiting if a.stamp_s > stamp_s]
        return taken

    def unmatched_sources(self) -> list[str]:
        """One line for each source whose readings have met no frame in time for long, and by how much they missed."""
        with self._lock:
            return [
                f"{source}: the nearest reading is {abs(gap_s):.3g} s {'after' if gap_s > 0 else 'before'} the image, "
                f"allowed is {self._max_difference_s:g} (scale.max_stamp_difference_s): are both of one clock?"
                for source, (count, gap_s) in self._missed.items()
                if count >= _MISSES
            ]

    def drop(self) -> None:
        """Drop the readings: they are tied to another camera's pixels. Who spoke is remembered."""
        with self._lock:
            self._waiting.clear()

    def clear(self) -> None:
        """Drop everything: time ran back."""
        with self._lock:
            self._waiting.clear()
            self._heard.clear()
            self._missed.clear()
            self._beyond.clear()
