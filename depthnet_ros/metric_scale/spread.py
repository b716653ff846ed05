"""The depth spread of a view: log of the inverse depth of its nearest 5 % over that of its farthest 5 %.

Inverse depth at a normalised value x of the network's output (:class:`depthnet_ros.metric_scale.fit.ViewNormalisation`)
is ``level * (1 + g * x)``, g being gain over level. The 5th and the 95th percentile lie at ``x = far`` and at
``x = far + 1``, so that the depth spread s obeys ``exp(s) = (1 + g * (far + 1)) / (1 + g * far)``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.evidence import SpreadPrior, ZeroPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation

WIDEST = 4.1
"""Depth spread of a view, at most: a camera at 0.1 m above the floor sees one of a factor of 40, exp(3.7)."""
BEYOND = 2.4
"""Depth spread that a network's own zero can claim for views in general: that of a view whose far end lies beyond
infinity."""
_USUAL_FAR, _SPREAD_PER_FAR = -0.3, 0.8
"""Views whose median lies near their far end, a floor before a wall, say, reach farther: a regression of the view's
depth spread on ``ViewNormalisation.far`` (``benchmarks/view_range.py``)."""

# Standard deviations of the depth spread ...
_METRIC_SIGMA = 0.15  # ... by a network that claims metres
_OWN_ZERO_SIGMA = 0.25  # ... by a network's own zero, at least: its word alone must not make scale `calibrated`
_MEMORY_SIGMA = 0.1  # ... by where points last put infinity, at that time
_TELLING = 0.3  # depth spread from which on a view shows where infinity is; in a flatter one it is guessed
_LEAST_AWAY = 1e-3  # of infinity from the far end, share of the view's own spread: nearer counts as beyond


def depth_spread(view: ViewNormalisation, zero: float) -> float | None:
    """Depth spread of a view whose infinity lies at ``zero`` (relative inverse depth); None if part of the view is
    beyond. Inverse depth is proportional to the distance from ``zero``.
    """
    normalised_zero = (zero - view.pivot) / view.spread
    if normalised_zero >= view.far - _LEAST_AWAY:
        return None
    return math.log((view.far + 1.0 - normalised_zero) / (view.far - normalised_zero))


def gain_over_level(spread: NDArray[np.float64] | float, far: float) -> NDArray[np.float64]:
    """Gain over level of views of these depth spreads, any shape, whose farthest 5 % have the normalised value ``far``:
    ``exp(s) = (1 + g * (far + 1)) / (1 + g * far)``, solved for g.
    """
    ratio = np.exp(spread)
    return np.asarray((ratio - 1.0) / (far + 1.0 - ratio * far))


class SpreadMemory:
    """What is known of a view's depth spread before its anchors are looked at, and where points last put infinity."""

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self._zero: float | None = None
        """Relative inverse depth of infinity when points last determined it."""
        self._zero_variance = 0.0
        """Of the depth spread by it, beyond that of the time when it was determined."""

    def forget(self) -> None:
        """Where points put infinity does not hold any more."""
        self._zero = None

    def learn(self, view: ViewNormalisation, zero: float) -> None:
        """Points have put infinity at ``zero``; in a flat view that says nothing."""
        if (depth_spread(view, zero) or 0.0) > _TELLING:
            self._zero, self._zero_variance = zero, 0.0

    def change_unit(self, gain: float, offset: float) -> None:
        """Relative inverse depth is ``gain * old + offset`` from now on."""
        if self._zero is not None:
            self._zero = gain * self._zero + offset

    def pass_time(self, elapsed_s: float) -> None:
        """One frame, and the time since the one before: the network wanders, and what is remembered grows old."""
        config = self._config
        wander, drift = config.process_noise_per_frame**2, config.process_noise_per_second**2
        self._zero_variance += wander + drift * max(elapsed_s, 0.0)

    def prior(self, view: ViewNormalisation, metric: bool, own_zero: ZeroPrior | None) -> SpreadPrior:
        """Views in general, the network itself, and where points last put infinity, taken together.

        Args:
            view: of the frame's prediction.
            metric: the network itself claims metres: its zero is infinity.
            own_zero: where infinity is by a network that does not; None where it does not know.
        """
        usual = self._config.view_range + _SPREAD_PER_FAR * (view.far - _USUAL_FAR)
        prior = SpreadPrior(usual, self._config.view_range_sigma)
        if metric:
            if (claimed := depth_spread(view, 0.0)) is not None:
                prior = prior.narrowed(claimed, _METRIC_SIGMA)
        elif own_zero is not None:
            most = min(max(BEYOND, usual), WIDEST)
            claimed = depth_spread(view, own_zero.value)
            claimed = most if claimed is None else min(claimed, most)
            prior = prior.narrowed(claimed, max(own_zero.sigma, _OWN_ZERO_SIGMA))
        if self._zero is not None and (remembered := depth_spread(view, self._zero)) is not None:
            prior = prior.narrowed(remembered, math.sqrt(_MEMORY_SIGMA**2 + self._zero_variance))
        return prior
