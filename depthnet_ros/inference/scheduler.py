"""The newest frame of each camera, and nothing older: what stands between callbacks and the worker."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

FrameT = TypeVar("FrameT")


class LatestFrames(Generic[FrameT]):
    """One slot per camera. A new frame takes the place of one that nobody took; it never queues behind it.

    Fairness: :meth:`take` hands out every camera's waiting frame at once, to go through the network as one batch. So no
    camera can starve another, however fast it is: each gets at most one place in each batch. Thread-safe.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        self._slots: dict[str, FrameT | None] = dict.fromkeys(cameras)
        self._changed = threading.Condition()
        self._closed = False

    def put(self, camera: str, frame: FrameT) -> bool:
        """Offer a frame; returns whether it pushed out one that was never taken (a drop)."""
        with self._changed:
            dropped = self._slots[camera] is not None
            self._slots[camera] = frame
            self._changed.notify()
        return dropped

    def take(self, timeout_s: float | None = None) -> dict[str, FrameT]:
        """The waiting frame of each camera that has one; waits for the first. Empty after ``timeout_s`` or :meth:`close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(f is not None for f in self._slots.values()), timeout_s)
            if self._closed:
                return {}
            taken = {camera: frame for camera, frame in self._slots.items() if frame is not None}
            self._slots = dict.fromkeys(self._slots)
        return taken

    def clear(self) -> None:
        """Throw away what waits: time jumped."""
        with self._changed:
            self._slots = dict.fromkeys(self._slots)

    def close(self) -> None:
        """Wake every taker; nothing is handed out any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """:meth:`close` was called."""
        return self._closed
