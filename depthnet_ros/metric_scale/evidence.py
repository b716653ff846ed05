"""What a frame's sensors, floor and prior offer to whoever weighs hypotheses of scale and shift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.fit import ViewNormalisation

Array = NDArray[np.float64]

# What a surface is worth was chosen on the three recordings of benchmarks/metric_scale.py.
_PER_SURFACE = 1.2  # independent observations
_ONE_SURFACE = 0.15  # difference of log inverse depth up to which two points are of one surface
_LEAST_SURFACE = 0.05  # share of the points: fewer are no whole surface


@dataclass(frozen=True)
class Cone:
    """A range finder's cone.

    Attributes:
        relative: (N,) relative inverse depth of the network at the samples of its cap.
        inverse_depth: (N,) 1/m of the cap there.
        sigma: relative standard deviation of the reading.
        reading: a measurement, or a limit that the nearest surface is said to lie beyond or before.
    """

    relative: Array
    inverse_depth: Array
    sigma: float
    reading: Reading = Reading.MEASURED

    @property
    def measured(self) -> bool:
        """It is no inequality."""
        return self.reading is Reading.MEASURED


@dataclass(frozen=True)
class Points:
    """Points of known depth.

    Attributes:
        relative: (N,) relative inverse depth of the network there.
        inverse_depth: (N,) 1/m.
        step: (N,) how much ``relative`` changes from one pixel of the network to the next: large where it smears an
            edge.
        most: independent observations that they can be worth at most.
    """

    relative: Array
    inverse_depth: Array
    step: Array
    most: float

    @cached_property
    def share(self) -> Array:
        """(N,) weights of sum 1. A network errs by surfaces, not by pixels: a post before a wall is a second surface,
        however few beams fall on it, so points of one depth share what a surface is worth.
        """
        return self._of_surfaces / self._of_surfaces.sum()

    @property
    def effective(self) -> float:
        """Independent observations that they are worth."""
        return float(min(self.most, _PER_SURFACE * self._of_surfaces.sum()))

    @cached_property
    def _of_surfaces(self) -> Array:
        """(N,) share of each point in a surface of its depth; a few stray points are no whole surface."""
        depth = np.log(self.inverse_depth)
        alike = (np.abs(depth[:, None] - depth) < _ONE_SURFACE).sum(axis=1)
        return np.asarray(1.0 / np.maximum(alike, max(_LEAST_SURFACE * len(depth), 1.0)), dtype=np.float64)


@dataclass(frozen=True)
class Floor:
    """Where the floor would be.

    Attributes:
        relative: (N,) relative inverse depth of the network there.
        inverse_depth: (N,) 1/m of the floor.
        sigma: (N,) relative standard deviation of that.
        height_known: if not, ``inverse_depth`` is that of any height: where the floor meets infinity is known, its
            distance is not.
        height_sigma: standard deviation of the height, as a share of it: part of ``sigma``, alike in all places.
        tilt_sigma: standard deviation, in 1/m, that the tilt adds to ``inverse_depth``, alike in all places.
    """

    relative: Array
    inverse_depth: Array
    sigma: Array
    height_known: bool = True
    height_sigma: float = MetricScaleConfig.ground_height_sigma
    tilt_sigma: float = 0.0


@dataclass(frozen=True)
class SpreadPrior:
    """Of the view's depth spread before the frame is looked at: mean and standard deviation."""

    mean: float
    sigma: float

    def narrowed(self, mean: float, sigma: float) -> SpreadPrior:
        """Together with another opinion, which is independent of it."""
        own, other = 1.0 / self.sigma**2, 1.0 / sigma**2
        return SpreadPrior((self.mean * own + mean * other) / (own + other), float((own + other) ** -0.5))


@dataclass(frozen=True)
class ZeroPrior:
    """Where infinity is by the network itself.

    Attributes:
        value: relative inverse depth of infinity.
        sigma: standard deviation of the depth spread that follows from it.
    """

    value: float
    sigma: float


@dataclass(frozen=True)
class Evidence:
    """All that a frame has to say.

    Attributes:
        view: normalisation of the prediction.
        prior: of the view's depth spread.
        points: one for each sensor that measures points.
        cones: one for each range finder; those that are limits measure nothing.
        floor: None where none is in view, or nothing is known of it.
    """

    view: ViewNormalisation
    prior: SpreadPrior
    points: list[Points]
    cones: list[Cone]
    floor: Floor | None = None

    @property
    def measured(self) -> bool:
        """A sensor measured: limits of a range finder are inequalities, and a floor may be a table."""
        return bool(self.points) or any(cone.measured for cone in self.cones)
