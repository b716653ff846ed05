"""Which frames the network sees next, when cameras deliver faster than it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Generic, TypeVar

FrameT = TypeVar("FrameT")


class LatestFrames(Generic[FrameT]):
    """One slot per camera, holding its newest frame; one worker takes them as a batch.

    Fairness: a batch holds the newest waiting frame of every camera, one each, so a fast camera cannot crowd out a
    slow one. A frame that is replaced before its turn is dropped: nothing ever queues.

    Args:
        cameras: names of the cameras, in the order of a batch.
        batch_wait_s: how long a batch waits for the other cameras once it has its first frame. Cameras that are
            triggered together then share one pass of the network, at the price of this much latency.

    Raises:
        ValueError: no camera, two of one name, or a negative wait.
    """

    def __init__(self, cameras: Iterable[str], batch_wait_s: float = 0.0) -> None:
        self._cameras = tuple(cameras)
        if not self._cameras or len(set(self._cameras)) != len(self._cameras):
            raise ValueError(f"cameras need names, each its own, got {list(self._cameras)}")
        if batch_wait_s < 0:
            raise ValueError(f"batch_wait_s must not be negative, got {batch_wait_s}")
        self._batch_wait_s = batch_wait_s
        self._slots: dict[str, FrameT] = {}
        self._changed = threading.Condition()  # reentrant
        self._closed = False

    def put(self, camera: str, frame: FrameT) -> bool:
        """Offer a frame; never waits for the worker. True if it pushed out one that was never taken (a drop).

        Raises:
            ValueError: no such camera.
        """
        with self._changed:
            if camera not in self._cameras:
                raise ValueError(f"no camera named {camera!r}; there are {', '.join(self._cameras)}")
            dropped = camera in self._slots
            if not self._closed:
                self._slots[camera] = frame
                self._changed.notify()
            return dropped

    def take(self, timeout_s: float | None = None) -> dict[str, FrameT]:
        """Wait for a frame and take the next batch, by camera. Empty after ``timeout_s``, or once closed."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._slots or self._closed, timeout_s):
                return {}
            if self._batch_wait_s:
                self._gather()
            return {camera: self._slots.pop(camera) for camera in self._cameras if camera in self._slots}

    def _gather(self) -> None:
        end_s = time.monotonic() + self._batch_wait_s
        while len(self._slots) < len(self._cameras) and not self._closed:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return

    def clear(self) -> list[str]:
        """Throw away what waits: time jumped. Returns the cameras whose frame it was."""
        with self._changed:
            dropped = list(self._slots)
            self._slots.clear()
            return dropped

    def close(self) -> list[str]:
        """Drop what waits and wake the worker; nothing is handed out any more. Returns as :meth:`clear` does."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self.clear()

    @property
    def waiting(self) -> bool:
        """A frame has not had its turn yet."""
        with self._changed:
            return bool(self._slots)

    @property
    def closed(self) -> bool:
        """:meth:`close` was called."""
        return self._closed
