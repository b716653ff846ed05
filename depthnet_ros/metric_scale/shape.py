"""Scale and shift where measurements alone do not determine both: one sonar, one line of a scan, a floor.

What a frame may be in metres is described by two numbers: the *range* of the view, log of the inverse depth of its
nearest 5 % over that of its farthest 5 %, and its level, log of the median's inverse depth. Unlike scale and shift both
are alike for all networks and cameras, so that a prior can be stated: views have a range of about 1.17 (a factor of
3.2), give or take 0.72; 0.97 in rooms, 2.1 on a street, 0.2 straight down (``benchmarks/view_range.py``). Every
hypothesis on a grid of the two is weighed by the prior and by what the sensors and the floor say (a grid filter; Thrun
et al., Probabilistic Robotics, 2005, ch. 4). The posterior's spread is the answer's uncertainty, and holds what a
least-squares fit cannot say: that two answers are possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from depthnet_ros.metric_scale.evidence import Array, Cone, Evidence, Floor, Points, RangePrior
from depthnet_ros.metric_scale.fit import Reference
from depthnet_ros.metric_scale.grid import Grid

__all__ = ["Cone", "Floor", "Points", "RangePrior", "ShapeEstimate", "estimate_shape", "view_range"]

_MUCH_TOO_LOW = 0.3
_AT_ODDS, _AGREE = 2.5, 1.2
_AT_ODDS_POINTS = 2.0  # in the median of them all: twice as far off as a network's usual error leaves them
_KNOWN_RANGE_SIGMA = 0.2


@dataclass(frozen=True)
class ShapeEstimate:
    """What one frame says.

    Attributes:
        state: (2,) gain and level in the reference's terms.
        covariance: (2, 2) of them.
        range_sigma: standard deviation of the view's range.
        floor_share: share of the view below the horizon that looks like the floor; None where no floor was asked for.
        well_posed: measurements, not the prior, determine the range.
        notes: what contradicts.
    """

    state: Array
    covariance: Array
    range_sigma: float
    floor_share: float | None = None
    well_posed: bool = False
    notes: tuple[str, ...] = field(default=())


def view_range(reference: Reference, zero: float) -> float | None:
    """Range of a view whose infinity lies at ``zero`` (relative inverse depth); None if part of the view is beyond."""
    far, zero = reference.far, (zero - reference.pivot) / reference.spread
    if zero >= far - 1e-3:
        return None
    return float(np.log((reference.far + 1.0 - zero) / (far - zero)))


def estimate_shape(
    reference: Reference, prior: RangePrior, points: list[Points], cones: list[Cone], floor: Floor | None
) -> ShapeEstimate:
    """Weigh all hypotheses for one frame.

    Args:
        reference: of the frame's prediction.
        prior: of the view's range.
        points: of all sensors that measure points.
        cones: readings of range finders; limits alone measure nothing.
        floor: or None.

    Raises:
        ValueError: nothing is given that measures.
    """
    grid = Grid(Evidence(reference, prior, points, cones, floor))
    weight, notes, use_floor = grid.weight(), [], True
    share = None
    if floor is not None and floor.height_known:
        share, below = grid.floor_share(floor, weight)
        if below > _MUCH_TOO_LOW and (points or any(cone.measured for cone in cones)):
            notes.append(
                f"ground: {below:.0%} of the view lies below the declared ground: check its height and pitch; "
                "it is not used"
            )
            use_floor = False
        elif (off := grid.misfit(weight)) > _AT_ODDS_POINTS and off > 1.5 * grid.misfit(grid.weight(False)):
            notes.append("ground: contradicts the points measured: check its height and pitch; it is not used")
            use_floor = False
        elif grid.odds(weight) > _AT_ODDS:
            notes.append("ground: contradicts the sensors")
        if not use_floor:
            weight, share = grid.weight(False), 0.0
    grid = grid.finer(weight, use_floor)
    weight = grid.weight(use_floor)
    state, covariance, sigma, mean = grid.moments(weight)
    if share and not notes and abs(mean - prior.mean) > _AT_ODDS * prior.sigma:
        notes.append("ground: makes the view's far end unlikely far from its near end: check its height and pitch")
    # A floor alone may be a table; and a sonar that hears nothing may be deaf.
    measured = bool(points) or any(cone.measured for cone in cones)
    known = sigma < _KNOWN_RANGE_SIGMA and max(grid.odds(weight), grid.misfit(weight)) < _AGREE
    return ShapeEstimate(state, covariance, sigma, share, measured and known and not notes, tuple(notes))
