"""A grid of hypotheses of a view's depth spread and level, and the posterior over them.

Log likelihoods of prior, points, range finders and floor (:mod:`depthnet_ros.metric_scale.likelihood`) add up. That of
a floor of known height stays apart, so that it can be left out where it contradicts all else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from depthnet_ros.metric_scale.evidence import Array, Evidence, Floor
from depthnet_ros.metric_scale.floor import FloorFit
from depthnet_ros.metric_scale.likelihood import (
    Curves,
    FloorEvidence,
    Touch,
    above_floor,
    best_of,
    log_likelihood_of_cone,
    log_likelihood_of_floor,
    log_likelihood_of_horizon,
    log_likelihood_of_points,
    touch,
)
from depthnet_ros.metric_scale.spread import gain_over_level

# The wide grid.
_SPREADS: Array = np.concatenate((np.linspace(0.05, 2.45, 21), np.linspace(2.7, 4.2, 7)))
"""Depth spreads. Few views reach beyond a factor of 11, but a camera at 0.1 m above the floor sees one of 40."""
_LEVELS = 11  # of each depth spread, over about 0.9 in logarithms
_ABOUT_POINTS = np.linspace(-0.45, 0.45, _LEVELS)  # log levels over that which points suggest
_BESIDE_CONES = 0.5  # log level below the lowest and above the highest that range finders suggest
_ABOUT_FLOOR = np.linspace(-1.0, 1.0, 2 * _LEVELS - 1)  # log levels over that which a floor suggests

# The fine grid, laid over what the wide one has found.
_FINE = 3.0 * np.linspace(-1.0, 1.0, 11)  # standard deviations from the mean
_LEAST_SIGMA = 0.5  # steps of the wide grid: it shows no peak that is narrower
_STEADY = 0.01  # squared steps, as if the depth spread varied by more: one row of hypotheses has no slope
_LEAST_SPREAD = 0.01  # depth spread of a view: at zero its gain would be zero

_TOO_LOW = -0.35  # log of inverse depth over the floor's, of what lies surely below it

# Numerical guards.
_LEAST_STEP = 1e-9  # of the depth spread, that a hypothesis stands for: its logarithm is taken
_LEAST_VARIANCE = 1e-6  # of gain and level, relative: no covariance is singular


class Moments(NamedTuple):
    """A posterior in numbers.

    Attributes:
        state: (2,) gain and level at the mean of depth spread and log level.
        covariance: (2, 2) about that.
        spread_sigma: standard deviation of the depth spread.
        spread_mean: mean of the depth spread.
    """

    state: Array
    covariance: Array
    spread_sigma: float
    spread_mean: float


class Grid:
    """Hypotheses (spreads x levels) of one frame; the wide one, where levels lie about where the measurements put them
    for each depth spread, or a finer one laid over what that has found.

    Attributes:
        level: (spreads, levels) log levels.
        fit: of the floor, if it is clear; else None.
    """

    def __init__(
        self, evidence: Evidence, spreads: Array = _SPREADS, level: Array | None = None, fit: FloorFit | None = None
    ) -> None:
        """``level``: (spreads, levels) log levels; None: about where the measurements put them. ``fit``: of the floor,
        where it is known to be clear.

        Raises:
            ValueError: no ``level``, and nothing that measures.
        """
        self._evidence, self._spreads, self._curves = evidence, spreads, Curves(evidence.view, spreads)
        touches = [touch(self._curves, cone) for cone in evidence.cones]
        self.level = _about_measurements(evidence, self._curves, touches) if level is None else level
        self._step = np.maximum(np.gradient(spreads), _LEAST_STEP)
        """(spreads,) how much of the depth spread each stands for."""
        off = (spreads - evidence.prior.mean) / evidence.prior.sigma
        log_prior = -0.5 * np.square(off) + np.log(self._step)
        self._log_likelihood = log_prior[:, None] + np.zeros_like(self.level)
        """(spreads, levels) of all but a floor of known height; that is :attr:`_floor`."""
        for points in evidence.points:
            self._log_likelihood += log_likelihood_of_points(self._curves, self.level, points)
        alone = sum(cone.measured for cone in evidence.cones) == 1
        for cone, touched in zip(evidence.cones, touches, strict=True):
            self._log_likelihood += log_likelihood_of_cone(self.level, cone.reading, touched, alone)
        self._measured_touches = [
            touched for cone, touched in zip(evidence.cones, touches, strict=True) if cone.measured
        ]
        self._floor: FloorEvidence | None = None
        self.fit, floor = fit, evidence.floor
        if floor is not None and floor.height_known:
            self._floor = log_likelihood_of_floor(self._curves, self.level, floor, self._log_likelihood, fit)
            self.fit = self._floor.fit
        elif floor is not None:
            horizon = log_likelihood_of_horizon(self._curves, floor, log_prior, fit)
            self._log_likelihood += horizon.log_likelihood
            self.fit = horizon.fit

    def weight(self, use_floor: bool = True) -> Array:
        """(spreads, levels) posterior, of sum 1."""
        total = self._log_likelihood
        if use_floor and self._floor is not None:
            total = total + self._floor.log_likelihood
        weight = np.exp(total - total.max())
        return np.asarray(weight / weight.sum())

    def finer(self, weight: Array, use_floor: bool) -> Grid:
        """Laid over the posterior ``weight``; this one, where it is as fine already.

        The posterior lies along a slanted ridge: the deeper the view, the lower its log level. A line is fitted to it,
        and the new hypotheses lie along and across that, to three standard deviations on either side.
        """
        by_spread = weight.sum(axis=1)
        mean_spread, mean_level = float(by_spread @ self._spreads), float((weight * self.level).sum())
        spread_step = float(np.interp(mean_spread, self._spreads, self._step))
        level_step = float(self.level[0, 1] - self.level[0, 0])

        off = self._spreads - mean_spread
        variance = float(by_spread @ np.square(off))
        slope = float((weight * self.level).sum(axis=1) @ off) / (variance + _STEADY * spread_step**2)
        across = self.level - mean_level - slope * off[:, None]
        spread_sigma = max(np.sqrt(variance), _LEAST_SIGMA * spread_step)
        level_sigma = max(float(np.sqrt((weight * np.square(across)).sum())), _LEAST_SIGMA * level_step)
        if spread_sigma * (_FINE[1] - _FINE[0]) > spread_step:
            return self

        spreads = np.maximum(mean_spread + spread_sigma * _FINE, _LEAST_SPREAD)
        ridge = mean_level + slope * (spreads - mean_spread)
        evidence = self._evidence if use_floor else replace(self._evidence, floor=None)
        return Grid(evidence, spreads, ridge[:, None] + level_sigma * _FINE, self.fit)

    def moments(self, weight: Array) -> Moments:
        """The posterior ``weight`` in numbers."""
        by_spread = weight.sum(axis=1)
        spread_mean = float(by_spread @ self._spreads)
        spread_sigma = float(np.sqrt(by_spread @ (self._spreads - spread_mean) ** 2))
        level = float(np.exp((weight * self.level).sum()))
        state = np.array([level * float(gain_over_level(spread_mean, self._evidence.view.far)), level])
        levels = np.exp(self.level)
        off = np.stack((levels * self._curves.gain[:, None], levels)).reshape(2, -1) - state[:, None]
        covariance = (off * weight.ravel()) @ off.T + np.diag(_LEAST_VARIANCE * np.square(state))
        return Moments(state, covariance, spread_sigma, spread_mean)

    def floor_share(self, floor: Floor, weight: Array) -> tuple[float, float]:
        """By the best hypothesis, share of the view below the horizon that is floor, and that lies below it, which
        cannot be; of a grid that was made with a floor of known height and without a fit.
        """
        assert self._floor is not None and self._floor.places is not None
        best = best_of(weight)
        error = self.level[best] + self._curves.log_value(floor.relative, best[0]) - np.log(floor.inverse_depth)
        return float(self._floor.places.likely(best).mean()), float((error < _TOO_LOW).mean())

    def sigmas_off_cones(self, weight: Array) -> float:
        """How many standard deviations the best hypothesis is away from the range finder that it fits worst."""
        best = best_of(weight)
        return max(
            (abs(float(touched.sigmas_off(self.level)[best])) for touched in self._measured_touches), default=0.0
        )

    def sigmas_off_points(self, weight: Array) -> float:
        """How many it is away from points: in their median, of the sensor that it fits worst."""
        best, worst = best_of(weight), 0.0
        for points in self._evidence.points:
            curve, noise = self._curves.at(points.relative)
            error = np.abs(self.level[best] + curve[best[0]] - np.log(points.inverse_depth))
            worst = max(worst, float(np.median(error / noise[best[0]])))
        return worst


def _about_measurements(evidence: Evidence, curves: Curves, touches: list[Touch]) -> Array:
    """(spreads, levels) log levels about those that the measurements suggest: the points of the sensor that is worth
    most, or range finders, or the floor. ``touches``: of the cones.
    """
    if evidence.points:
        most = max(evidence.points, key=lambda points: points.effective)
        centre = np.median(np.log(most.inverse_depth) - curves.at(most.relative)[0], axis=1)
        return np.asarray(centre[:, None] + _ABOUT_POINTS)
    if measured := [touched.level for cone, touched in zip(evidence.cones, touches, strict=True) if cone.measured]:
        return _spanning(np.stack(measured))
    if evidence.floor is not None and evidence.floor.height_known:
        return np.asarray(above_floor(curves, evidence.floor)[:, None] + _ABOUT_FLOOR)
    raise ValueError("nothing measures: no points, no echo, no floor")


def _spanning(centres: Array) -> Array:
    """(spreads, levels) of usual density from below the lowest of (N, spreads) levels to above the highest."""
    low, high = centres.min(axis=0), centres.max(axis=0)
    count = int(np.ceil(_LEVELS * (1.0 + 0.5 * float(np.median(high - low)) / _BESIDE_CONES)))
    span = high - low + 2.0 * _BESIDE_CONES
    return np.asarray(low[:, None] - _BESIDE_CONES + np.linspace(0.0, 1.0, count) * span[:, None])
