"""Points all over the image that are at one distance, where the view is most likely not."""

from __future__ import annotations

import math

import numpy as np

from depthnet_ros.metric_scale.evidence import Floor, Points, SpreadPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.robust import quantiles
from depthnet_ros.metric_scale.spread import gain_over_level

_EIGHT_OF_TEN = (0.1, 0.9)  # quantiles that they lie between
_ALIKE = 0.2  # log of the farthest over the nearest of eight of ten points, up to which they are at one distance
_EQUAL = 0.005  # the same where nothing tells the depth spread: a wall is as likely there as a faulty sensor
_INFORMED = 0.6  # standard deviation of the depth spread, below which the network's own zero or memory tells of it
_ALIKE_SHARE = 0.45  # of what eight of ten points would spread over in a view of the least likely depth spread
_LEAST_LIKELY_SIGMAS = 1.15  # standard deviations by which that is less than expected
_SPREAD_OUT = 0.5  # standard deviation of the network's output at points all over an image, over the image's own
_LEAST = 1e-3  # inverse depth over the level: a numerical guard, no logarithm of zero
_ON_FLOOR = 0.15  # of log distance: a floor straight below is as far as they are


def lie_on(floor: Floor | None, points: list[Points]) -> bool:
    """Whether a known ground is, all over the image, at the one distance that the points, at least one, have."""
    if floor is None or not floor.height_known:
        return False
    low, high = quantiles(np.log(floor.inverse_depth), _EIGHT_OF_TEN)
    measured = float(np.median(np.log(np.concatenate([point.inverse_depth for point in points]))))
    return high - low < 2.0 * _ALIKE and abs(0.5 * (low + high) - measured) < _ON_FLOOR


def all_alike(points: list[Points], view: ViewNormalisation, prior: SpreadPrior) -> str:
    """What to say of points all over the image that are at one distance, where by all that is known of its depth spread
    the view is not; empty if they are not.

    It is a floor straight below, a wall, or a sensor that says the same whatever is there. No image tells which: of a
    bare surface networks make up depth.
    """
    least_spread = prior.mean - _LEAST_LIKELY_SIGMAS * prior.sigma
    if not points or least_spread <= 0.0:
        return ""
    x = view.normalised(np.concatenate([point.relative for point in points]))
    low, high = quantiles(np.log(np.concatenate([point.inverse_depth for point in points])), _EIGHT_OF_TEN)
    measured = high - low
    if measured > (_ALIKE if prior.sigma < _INFORMED else _EQUAL):
        return ""
    if float(np.var(x)) < _SPREAD_OUT**2 * view.variance:  # all on what the network, too, has at one distance
        return ""
    gain = float(gain_over_level(least_spread, view.far))
    below, above = quantiles(np.log(np.maximum(1.0 + gain * x, _LEAST)), _EIGHT_OF_TEN)
    if measured > _ALIKE_SHARE * (above - below):
        return ""
    middle_m = math.exp(-0.5 * (low + high))
    return (
        f"points: all are at about {middle_m:.2f} m: a flat surface, though the network has it deep, or a faulty sensor"
    )
