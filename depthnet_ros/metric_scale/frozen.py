"""A camera that hangs: a picture that stays the same to the bit while the robot's sensors see the world change.

A driver that hangs sends its last picture with fresh stamps, and so does a video stream that has lost its source. The
network's depth of it is sharp, steady and long past. Pictures of a robot at rest repeat themselves only in a simulator
without noise, but there its sensors stay what they are, too.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.anchors import PointAnchors
from depthnet_ros.metric_scale.observe import sample
from depthnet_ros.metric_scale.robust import SIGMA_PER_MEDIAN, median

_KEPT = 3  # readings whose median stands for one moment
_LEAST_CHANGE = 0.05  # of log range: less is no news of the world
_SIGMAS = 4.0  # of a reading, that a change must be beyond, too
_SPREADS = 2.0  # of a moment's readings between each other, likewise: a sensor may be noisier than is declared
_LEAST_POINTS = 8
_MEDIAN_SIGMA = 1.25  # standard deviation of a median, over that of a mean
_LEAST_SCATTER = 0.03  # of log depth: a scatter below it is as good as none
_SCATTER_SIGMA = 1.2  # standard deviation of the log of a scatter, times the root of the number of points


@dataclass
class _Readings:
    """One number that a sensor gives while the picture has been the same."""

    first: list[float] = field(default_factory=list)
    last: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    stamp_s: float | None = None
    sigma: float = 0.0
    changed: bool = False

    def put(self, stamp_s: float, value: float, sigma: float) -> None:
        if stamp_s == self.stamp_s:
            return
        self.stamp_s, self.sigma = stamp_s, max(sigma, self.sigma)
        (self.first if len(self.first) < _KEPT else self.last).append(value)

    def change(self) -> float:
        """By how much the number has changed; zero if that may be noise, or is not known yet.

        What has once changed for certain counts as changed until it is as good as before: a robot that drives on makes
        readings differ between each other, too.
        """
        if len(self.last) < _KEPT:
            return 0.0
        change = float(np.median(self.last) - np.median(self.first))
        spread = max(float(np.ptp(self.first)), float(np.ptp(self.last)))
        certain = 0.0 if self.changed else max(_SIGMAS * self.sigma, _SPREADS * spread)
        self.changed = abs(change) > max(_LEAST_CHANGE, certain)
        return change if self.changed else 0.0


class FrozenPicture:
    """Watches one camera's pictures beside what its sensors say."""

    def __init__(self) -> None:
        self._grey: NDArray[np.uint8] | None = None
        self._since_s = 0.0
        self._same = False
        self._inverse_depth: NDArray[np.float32] | None = None
        """(h, w) 1/m as it was estimated when the picture came to stay."""
        self._nearness: dict[str, _Readings] = {}
        """Log inverse depth that each sensor measures; of points over that of the picture, their median."""
        self._scatter: dict[str, _Readings] = {}
        """Log of how points scatter about the picture: of a robot that turns, they come to fit it no more."""

    def look(
        self,
        grey: NDArray[np.uint8] | None,
        stamp_s: float,
        relative: NDArray[np.float32],
        estimate: tuple[float, float] | None,
    ) -> None:
        """The next picture.

        Args:
            grey: any size; None where there is none to compare.
            stamp_s: of it.
            relative: (h, w) relative inverse depth of it.
            estimate: scale and shift of that, None where it is not in use: points scatter about a first guess.
        """
        self._same = grey is not None and self._grey is not None and np.array_equal(grey, self._grey)
        if not self._same:
            self._grey, self._since_s, self._inverse_depth = grey, stamp_s, None
            self._nearness.clear()
            self._scatter.clear()
        elif self._inverse_depth is None and estimate is not None:
            self._inverse_depth = np.float32(estimate[0]) * relative + np.float32(estimate[1])

    def record_range(self, source: str, stamp_s: float, range_m: float, sigma_m: float) -> None:
        """A range finder's reading beside the present picture."""
        if self._same:
            self._nearness.setdefault(source, _Readings()).put(stamp_s, -math.log(range_m), sigma_m / range_m)

    def record_points(self, points: PointAnchors, size: tuple[int, int]) -> None:
        """Points beside the present picture, which is (height, width) pixels large.

        They may be others each time, so that they are compared with the picture's depth at their places.
        """
        if not self._same or self._inverse_depth is None:
            return
        expected, _ = sample(self._inverse_depth, points.u_px, points.v_px, size)
        told = expected > 0
        if (count := int(np.count_nonzero(told))) < _LEAST_POINTS:
            return
        off = np.log(points.inverse_depth[told] / expected[told])
        middle = median(off)
        scatter = SIGMA_PER_MEDIAN * median(np.abs(off - middle))
        noise = median(np.sqrt(points.variance) / points.inverse_depth)
        sigma = math.hypot(_MEDIAN_SIGMA * scatter, noise) / math.sqrt(count)
        self._nearness.setdefault(points.source, _Readings()).put(points.stamp_s, middle, sigma)
        log_scatter, sigma = math.log(scatter + _LEAST_SCATTER), _SCATTER_SIGMA / math.sqrt(count)
        self._scatter.setdefault(points.source, _Readings()).put(points.stamp_s, log_scatter, sigma)

    def why(self, stamp_s: float) -> str:
        """Why the present picture is not believed; empty if nothing speaks against it."""
        said = ""
        for source, readings in self._nearness.items():
            if (change := readings.change()) != 0.0:
                said = f"distances measured by {source} changed by a factor of {math.exp(-change):.3g}"
        if not said:
            said = next((f"{source} ceased to fit it" for source, r in self._scatter.items() if r.change() > 0.0), "")
        if not said:
            return ""
        return (
            f"the image has been bit-identical for {stamp_s - self._since_s:.1f} s while {said}: has the camera or its "
            "stream frozen?"
        )
