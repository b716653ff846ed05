"""Anchors on their way to the frame they belong to: paired by stamp, each used once."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from depthnet_ros.metric_scale.anchors import Anchors
from depthnet_ros.metric_scale.cone import ConeAnchor

Anchor = Anchors | ConeAnchor
_KEEP_PER_SOURCE = 64


class AnchorBuffer:
    """Sensors put in from any thread; the worker takes out what fits a frame's stamp."""

    def __init__(self, max_difference_s: float) -> None:
        self._max_difference_s = max_difference_s
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Anchor]] = {}
        self._heard: dict[str, float] = {}
        self.too_old = 0
        """Anchors dropped because no frame came near them in time."""

    def put(self, anchor: Anchor) -> None:
        """From any thread."""
        with self._lock:
            waiting = self._waiting.setdefault(anchor.source, [])
            waiting.append(anchor)
            del waiting[:-_KEEP_PER_SOURCE]

    def hear(self, source: str, stamp_s: float) -> None:
        """A sensor spoke, usable or not."""
        with self._lock:
            self._heard[source] = max(stamp_s, self._heard.get(source, stamp_s))

    def heard(self) -> Iterable[tuple[str, float]]:
        """Sources that spoke since the last call, with the stamp of their last word."""
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
                    self._waiting[source] = [a for a in waiting if a.stamp_s > max(best.stamp_s, stamp_s)]
                else:
                    self.too_old += sum(a.stamp_s < stamp_s for a in waiting)
                    self._waiting[source] = [a for a in waiting if a.stamp_s > stamp_s]
        return taken

    def clear(self) -> None:
        """Drop everything: another camera, or time ran back."""
        with self._lock:
            self._waiting.clear()
            self._heard.clear()
