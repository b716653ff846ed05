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

from dataclasses import dataclass

from depthnet_ros.metric_scale.evidence import Array, Evidence
from depthnet_ros.metric_scale.grid import Grid

_MUCH_TOO_LOW = 0.3  # share of the view below a declared ground, above which that is not used
_AT_ODDS = 2.5  # standard deviations: sources that are farther apart contradict each other ...
_AGREE = 1.2  # ... and nearer ones agree
_AT_ODDS_POINTS = 2.0  # in the median of all points: twice as far off as a network's usual error leaves them
_BY_THE_GROUND = 1.5  # times as far off as without a ground: above it, it is the ground that contradicts
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
    notes: tuple[str, ...] = ()


def estimate_view_depth(evidence: Evidence) -> ViewDepth:
    """Weigh all hypotheses for one frame: on a wide grid, and then on a finer one laid over what that has found.

    Raises:
        ValueError: nothing is given that measures.
    """
    wide = Grid(evidence)
    weight = wide.weight()
    ground = _check_ground(evidence, wide, weight)
    grid = wide.finer(weight if ground.used else wide.weight(use_floor=False), ground.used)
    weight = grid.weight(ground.used)
    found = grid.moments(weight)
    notes = tuple(filter(None, [ground.note]))
    unlikely = abs(found.spread_mean - evidence.prior.mean) > _AT_ODDS * evidence.prior.sigma
    if ground.share and not notes and unlikely:
        notes = ("ground: implies an implausible ratio of far to near depth: check its height and pitch",)
    determined = found.spread_sigma < _KNOWN_SPREAD_SIGMA
    agreed = max(grid.sigmas_off_cones(weight), grid.sigmas_off_points(weight)) < _AGREE
    well_posed = evidence.measured and determined and agreed and not notes
    return ViewDepth(found.state, found.covariance, found.spread_sigma, ground.share, well_posed, notes)


@dataclass(frozen=True)
class _Ground:
    """Whether a declared ground fits the frame.

    Attributes:
        share: of the view below the horizon that looks like it, 0 where it is not used; None where none is declared.
        note: what contradicts it; empty: nothing does.
        used: it is weighed together with all else.
    """

    share: float | None = None
    note: str = ""
    used: bool = True


def _check_ground(evidence: Evidence, grid: Grid, weight: Array) -> _Ground:
    """Drops the ground where too much of the view lies below it, or points fit clearly worse with it than without.
    Where nothing measures it stands.
    """
    if evidence.floor is None or not evidence.floor.height_known:
        return _Ground()
    share, below = grid.floor_share(evidence.floor, weight)
    if below > _MUCH_TOO_LOW and evidence.measured:
        note = f"ground: {below:.0%} of the view lies below the declared ground"
        return _Ground(0.0, f"{note}: check its height and pitch; it is not used", used=False)
    off = grid.sigmas_off_points(weight)
    if off > _AT_ODDS_POINTS and off > _BY_THE_GROUND * grid.sigmas_off_points(grid.weight(use_floor=False)):
        note = "ground: contradicts the points measured: check its height and pitch; it is not used"
        return _Ground(0.0, note, used=False)
    return _Ground(share, "ground: contradicts the sensors" if grid.sigmas_off_cones(weight) > _AT_ODDS else "")
