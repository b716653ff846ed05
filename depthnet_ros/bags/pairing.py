"""Messages of several topics brought together by their stamps while a recording streams past: bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

PATIENCE_NS = 2_000_000_000
"""An image waits this long, in time of recording, for messages that are recorded after it."""
MOST_WAITING_BYTES = 256 << 20
DISORDER_NS = 200_000_000
"""Messages of one topic come in the order of their stamps, but for this much."""
JUMP_NS = 1_000_000_000
"""What is recorded later and stamped earlier by more than this is no message out of order: a stamp is wrong."""


@dataclass
class Stamped:
    """A message with the stamp of its header, its time of recording, and which of its topic it is where that counts."""

    stamp_ns: int
    time_ns: int
    message: Any
    index: int = 0


class NearestInTime:
    """The messages of one topic around now, asked for by stamp."""

    def __init__(self, keep_ns: int = 2 * PATIENCE_NS, most: int = 4096) -> None:
        self._items: deque[Stamped] = deque()
        self._keep_ns, self._most = keep_ns, most
        self._doubted: Stamped | None = None
        self.first_ns: int | None = None
        self.last_ns: int | None = None

    def add(self, item: Stamped) -> bool:
        """Take in a message; stamps may be a little out of order.

        Of two messages whose stamps are far apart, against the order of recording, one is wrong: which one, the next
        message tells.

        Returns:
            False where a message is left out for its stamp, this one or others.
        """
        doubted, self._doubted = self._doubted, None
        if self.last_ns is None or item.stamp_ns >= self.last_ns - JUMP_NS:
            self._insert(item)
            return True
        if doubted is None or abs(item.stamp_ns - doubted.stamp_ns) > JUMP_NS:
            self._doubted = item
            return False
        while self._items and self._items[-1].stamp_ns > item.stamp_ns + JUMP_NS:  # two agree: these were stamped ahead
            self._items.pop()
        self.last_ns = max((other.stamp_ns for other in self._items), default=doubted.stamp_ns)
        self._insert(doubted)
        self._insert(item)
        return True

    def _insert(self, item: Stamped) -> None:
        self.first_ns = item.stamp_ns if self.first_ns is None else min(self.first_ns, item.stamp_ns)
        self.last_ns = item.stamp_ns if self.last_ns is None else max(self.last_ns, item.stamp_ns)
        if self._items and item.stamp_ns < self._items[-1].stamp_ns:
            self._items.insert(bisect_left(self._items, item.stamp_ns, key=lambda other: other.stamp_ns), item)
        else:
            self._items.append(item)
        while len(self._items) > self._most:
            self._items.popleft()
        while self._items and self._items[0].time_ns < item.time_ns - self._keep_ns:
            self._items.popleft()

    @property
    def span_text(self) -> str:
        """From when to when there were messages, by their stamps."""
        if self.first_ns is None or self.last_ns is None:
            return "none"
        return f"{self.first_ns * 1e-9:.3f} to {self.last_ns * 1e-9:.3f} s"

    def clear(self, stamp_ns: int) -> None:
        """Forget all: time ran back to ``stamp_ns``. Only what was doubted for being of that time already is kept."""
        doubted = self._doubted
        self._items.clear()
        self.first_ns = self.last_ns = self._doubted = None
        if doubted is not None and abs(doubted.stamp_ns - stamp_ns) <= JUMP_NS:
            self._insert(doubted)

    def forget_before(self, stamp_ns: int) -> None:
        """Drop what is older: no image to come can want it."""
        while self._items and self._items[0].stamp_ns < stamp_ns:
            self._items.popleft()

    def has_passed(self, stamp_ns: int) -> bool:
        """Whether the message of that stamp is there, or will come no more since later ones are."""
        if self.last_ns is None or self.last_ns < stamp_ns:
            return False
        return self.last_ns >= stamp_ns + DISORDER_NS or self.nearest(stamp_ns, 0) is not None

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> Stamped | None:
        """The message nearest in time, the earlier of two equally near, or None within ``tolerance_ns``."""
        index = bisect_left(self._items, stamp_ns, key=lambda item: item.stamp_ns)
        near = [self._items[i] for i in (index - 1, index) if 0 <= i < len(self._items)]
        near += [self._doubted] if self._doubted is not None else []
        best = min(near, key=lambda item: abs(item.stamp_ns - stamp_ns), default=None)
        return best if best is not None and abs(best.stamp_ns - stamp_ns) <= tolerance_ns else None


class WaitingImages:
    """Images, still as messages, that wait until everything that may belong to them has streamed past."""

    def __init__(self, others: list[NearestInTime], complete: Callable[[Stamped], bool] = lambda image: True) -> None:
        """``others``: topics that may belong to an image; ``complete``: whether all else that it needs has come."""
        self._others, self._complete = others, complete
        self._images: deque[Stamped] = deque()
        self._bytes = 0
        self.hurried = 0
        """Images that did not wait as long as they should have, for want of memory."""

    def add(self, image: Stamped) -> None:
        """Take in the next image."""
        self._images.append(image)
        self._bytes += len(image.message.data)

    def ready(self, now_ns: int, finished: bool = False) -> Iterator[Stamped]:
        """Images whose partners have come or will come no more, oldest first. ``now_ns``: time of recording."""
        while self._images:
            oldest, full = self._images[0], self._bytes > MOST_WAITING_BYTES
            waited = now_ns - oldest.time_ns > PATIENCE_NS
            met = all(other.has_passed(oldest.stamp_ns) for other in self._others) and self._complete(oldest)
            if not (finished or waited or met or full):
                return
            self.hurried += full and not (finished or waited or met)
            self._bytes -= len(oldest.message.data)
            yield self._images.popleft()
