"""Scale and shift where measurements alone do not determine both: one sonar, one line of a scan, a floor.

What a frame may be in metres is described by two numbers: the *depth spread* of the view, log of the inverse depth of
its nearest 5 % over that of its farthest 5 %, and its level, log of the median's inverse depth. Unlike scale and shift
both are alike for all networks and cameras, so that a prior can be stated (parameters ``scale.view_range`` and
``scale.view_range_sigma``): views have a depth spread of about 1.17 (a factor of 3.2), give or take 0.72; 0.97 in
rooms, 2.1 on a street, 0.2 straight down (``benchmarks/view_range.py``). Every hypothesis on a grid of the two is
weighed by the prior and by what the sensors and the floor say (a grid filter; Thrun et al., Probabilistic Robotics,
2005, ch. 4). The posterior's width is the answer's uncertainty, and holds what a least-squares fit cannot say: that two
answers are possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from depthnet_ros.metric_scale.evidence import Array, Cone, Evidence, Floor, Points, SpreadPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.grid import Grid

__all__ = ["Cone", "Floor", "Points", "SpreadPrior", "ViewDepth", "depth_spread", "estimate_view_depth"]

_MUCH_TOO_LOW = 0.3  # share of the view below a declared ground, above which that is not used
_AT_ODDS, _AGREE = 2.5, 1.2  # standard deviations: sources that are farther apart contradict, nearer ones agree
_AT_ODDS_POINTS = 2.0  # in the median of them all: twice as far off as a network's usual error leaves them
_KNOWN_SPREAD_SIGMA = 0.2  # standard deviation below which the depth spread counts as determined


@dataclass(frozen=True)
class ViewDepth:
    """Gain and level of one frame, as all that it has to say weighs them together.

    Attributes:
        state: (2,) gain and level in terms of the view.
        covariance: (2, 2) of them.
        spread_sigma: standard deviation of the view's depth spread.
        floor_share: share of the view below the horizon that looks like the floor; None where no floor was asked for.
        well_posed: measurements, not the prior, determine the depth spread.
        notes: what contradicts.
    """

    state: Array
    covariance: Array
    spread_sigma: float
    floor_share: float | None = None
    well_posed: bool = False
    notes: tuple[str, ...] = field(default=())


def depth_spread(view: ViewNormalisation, zero: float) -> float | None:
    """Depth spread of a view whose infinity lies at ``zero`` (relative inverse depth); None if part of the view is
    beyond.
    """
    far, zero = view.far, (zero - view.pivot) / view.spread
    if zero >= far - 1e-3:
        return None
    return float(np.log((view.far + 1.0 - zero) / (far - zero)))


def estimate_view_depth(
    view: ViewNormalisation, prior: SpreadPrior, points: list[Points], cones: list[Cone], floor: Floor | None
) -> ViewDepth:
    """Weigh all hypotheses for one frame.

    Args:
        view: of the frame's prediction.
        prior: of the view's depth spread.
        points: of all sensors that measure points.
        cones: readings of range finders; limits alone measure nothing.
        floor: or None.

    Raises:
        ValueError: nothing is given that measures.
    """
    grid = Grid(Evidence(view, prior, points, cones, floor))
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
    known = sigma < _KNOWN_SPREAD_SIGMA and max(grid.odds(weight), grid.misfit(weight)) < _AGREE
    return ViewDepth(state, covariance, sigma, share, measured and known and not notes, tuple(notes))
