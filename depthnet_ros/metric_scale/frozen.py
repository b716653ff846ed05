"""A camera that hangs: a picture that stays the same to the bit while the robot's sensors see the world change.

A driver that hangs sends its last picture with fresh stamps, and so does a video stream that has lost its source. The
network's depth of it is sharp, steady and long past. Pictures of a robot at rest repeat themselves only in a simulator
without noise, but there its sensors stay what they are, too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.anchors import Anchors

_CELLS = (6, 8)  # rows and columns of the image, in each of which points are compared with those of before
_KEPT = 3  # readings whose median stands for one moment
_LEAST_CHANGE = 0.05  # of range, relative: less is no news of the world
_SIGMAS = 4.0  # of a reading, that a change must be beyond, too
_CHANGED_SHARE = 0.5  # of the cells: a robot that moves changes most of them


@dataclass
class _Readings:
    """One sensor's while the picture has been the same; log inverse depth, (1,) of a range finder, (C,) of cells."""

    first: list[NDArray[np.float64]] = field(default_factory=list)
    last: deque[NDArray[np.float64]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    stamp_s: float | None = None
    least: float = _LEAST_CHANGE

    def put(self, stamp_s: float, values: NDArray[np.float64], relative_sigma: float) -> None:
        if stamp_s == self.stamp_s:
            return
        self.stamp_s, self.least = stamp_s, max(_LEAST_CHANGE, _SIGMAS * relative_sigma)
        (self.first if len(self.first) < _KEPT else self.last).append(values)

    def changed(self) -> float:
        """Median factor by which what was compared came nearer (or went away, below one); 1: it did not change."""
        if len(self.last) < _KEPT:
            return 1.0
        then, now = np.median(self.first, axis=0), np.median(self.last, axis=0)
        change = (now - then)[np.isfinite(now - then)]  # cells that are empty at times say nothing
        if not change.size or np.mean(np.abs(change) > self.least) <= _CHANGED_SHARE:
            return 1.0
        return float(np.exp(np.median(change)))


class FrozenPicture:
    """Watches one camera's pictures beside what its sensors say."""

    def __init__(self) -> None:
        self._grey: NDArray[np.uint8] | None = None
        self._since_s = 0.0
        self._same = False  # the present picture is the one before: nothing is looked at before that
        self._readings: dict[str, _Readings] = {}

    def look(self, grey: NDArray[np.uint8] | None, stamp_s: float) -> None:
        """The next picture, any size, or None where there is none to compare."""
        self._same = grey is not None and self._grey is not None and np.array_equal(grey, self._grey)
        if not self._same:
            self._grey, self._since_s = grey, stamp_s
            self._readings.clear()

    def record_range(self, source: str, stamp_s: float, range_m: float, sigma_m: float) -> None:
        """A range finder's reading beside the present picture."""
        if self._same:
            log_inverse = np.array([-np.log(range_m)])
            self._readings.setdefault(source, _Readings()).put(stamp_s, log_inverse, sigma_m / range_m)

    def record_points(self, points: Anchors, size: tuple[int, int]) -> None:
        """Points beside the present picture, which is (height, width) pixels large."""
        if not self._same or len(points) == 0:
            return
        rows, columns = _CELLS
        row = (points.v_px * (rows / size[0])).astype(np.intp).clip(0, rows - 1)
        column = (points.u_px * (columns / size[1])).astype(np.intp).clip(0, columns - 1)
        cell = row * columns + column
        total = np.bincount(cell, np.log(points.inverse_depth), rows * columns)
        with np.errstate(invalid="ignore"):  # empty cells: NaN
            mean = total / np.bincount(cell, minlength=rows * columns)
        relative_sigma = float(np.median(np.sqrt(points.variance) / points.inverse_depth))
        self._readings.setdefault(points.source, _Readings()).put(points.stamp_s, mean, relative_sigma)

    def why(self, stamp_s: float) -> str:
        """Why the present picture is not believed; empty if nothing speaks against it."""
        for source, readings in self._readings.items():
            if (factor := readings.changed()) != 1.0:
                change = f"{factor:.3g} times as near" if factor > 1.0 else f"{1.0 / factor:.3g} times as far"
                return (
                    f"the picture has been the same to the bit for {stamp_s - self._since_s:.1f} s while {source} came "
                    f"to see things {change}: does the camera, or its stream, hang?"
                )
        return ""
