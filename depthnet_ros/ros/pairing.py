"""Image and camera_info of one stamp brought together, whichever comes first. No calls of ROS in here."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

ImageT = TypeVar("ImageT")
InfoT = TypeVar("InfoT")

_MOST_INFOS = 32  # a second's at 30 Hz: images come later than their camera_info by less
_MOST_IMAGES = 8  # at 60 Hz as many as come while one waits for 0.1 s (camera_info_wait_s)
_MIXED_UP_NS = 1_000_000_000  # drivers mix up neighbouring images; stamps farther ahead are of before a jump back


@dataclass
class _Waiting(Generic[ImageT]):
    image: ImageT
    deadline_s: float


class StampPairer(Generic[ImageT, InfoT]):
    """Pairs by exact stamp, as camera drivers publish (REP 104). Not thread-safe: one executor thread calls it.

    An image whose info does not come within ``wait_s`` goes on without, so that relative depth never stops for want of
    a calibration. Memory is bounded: the oldest waiting image is given out when too many wait.
    """

    def __init__(self) -> None:
        self._infos: OrderedDict[int, InfoT] = OrderedDict()
        self._waiting: OrderedDict[int, _Waiting[ImageT]] = OrderedDict()

    @property
    def is_waiting(self) -> bool:
        """Some image waits for its info."""
        return bool(self._waiting)

    def has_info(self, stamp_ns: int) -> bool:
        """The camera_info of this stamp has come already."""
        return stamp_ns in self._infos

    def nearest(self, stamp_ns: int) -> int | None:
        """Of the infos that have come lately, the stamp nearest to this one."""
        return min(self._infos, key=lambda stamp: abs(stamp - stamp_ns), default=None)

    def add_image(self, stamp_ns: int, image: ImageT, now_s: float, wait_s: float) -> list[tuple[ImageT, InfoT | None]]:
        """Take an image in; returns what is ready now, oldest first."""
        if stamp_ns in self._infos:
            return [*self._overtaken(stamp_ns), (image, self._infos[stamp_ns])]
        if wait_s <= 0.0:
            return [*self._overtaken(stamp_ns), (image, None)]
        ready: list[tuple[ImageT, InfoT | None]] = []
        if stamp_ns in self._waiting:  # a driver that does not count its stamps up
            ready.append((self._waiting.pop(stamp_ns).image, None))
        self._waiting[stamp_ns] = _Waiting(image, now_s + wait_s)
        while len(self._waiting) > _MOST_IMAGES:
            ready.append((self._waiting.popitem(last=False)[1].image, None))
        return ready

    def add_info(self, stamp_ns: int, info: InfoT) -> list[tuple[ImageT, InfoT | None]]:
        """Take a camera_info in; returns the image that waited for it, if one did."""
        self._infos[stamp_ns] = info
        self._infos.move_to_end(stamp_ns)
        while len(self._infos) > _MOST_INFOS:
            self._infos.popitem(last=False)
        if stamp_ns not in self._waiting:
            return []
        older = self._overtaken(stamp_ns)
        return [*older, (self._waiting.pop(stamp_ns).image, info)]

    def _overtaken(self, stamp_ns: int) -> list[tuple[ImageT, InfoT | None]]:
        """Older images that still wait: they go out first, or they would come after a newer one. So do those of before
        a jump back in time, whose stamps are far ahead.
        """
        before_jump = [stamp for stamp in self._waiting if stamp - stamp_ns > _MIXED_UP_NS]
        older = sorted(stamp for stamp in self._waiting if stamp < stamp_ns)
        return [(self._waiting.pop(stamp).image, None) for stamp in (*before_jump, *older)]

    def expire(self, now_s: float) -> list[tuple[ImageT, InfoT | None]]:
        """The images that have waited long enough, oldest first."""
        late = [stamp for stamp, waiting in self._waiting.items() if waiting.deadline_s <= now_s]
        return [(self._waiting.pop(stamp).image, None) for stamp in late]

    def forget_after(self, now_ns: int) -> None:
        """Time jumped back to ``now_ns``: forget what is stamped later; the rest may be of the new run already."""
        for stamp in [stamp for stamp in (*self._infos, *self._waiting) if stamp - now_ns > _MIXED_UP_NS]:
            self._infos.pop(stamp, None)
            self._waiting.pop(stamp, None)
