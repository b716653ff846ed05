"""How likely what sensors and floor say is, by each hypothesis of a view's depth spread and level.

A hypothesis says what inverse depth the network's output stands for: ``level * (1 + g * x)`` at a normalised output x,
where g follows from the depth spread (:func:`depthnet_ros.metric_scale.spread.gain_over_level`). It is compared with
measurements in logarithms, in which a network errs alike near and far. All log likelihoods are up to a constant, and
(spreads, levels) unless they say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.evidence import Array, Cone, Floor, Points
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.floor import FLOOR_COUNT, FloorFit, fit_floor
from depthnet_ros.metric_scale.spread import gain_over_level

# Follows the default of ``scale.network_sigma``, the network's error on NYU's rooms.
_NOISE_IN = 0.042  # error of a network in its output, share of the image's spread ...
_NOISE_OUT = 0.07  # ... and relative in depth
_LEAST_LINEAR = 0.2  # inverse depth over the level: where an error in the output is linearised, at least

# The weighing of points and of the floor was chosen on the three recordings of benchmarks/metric_scale.py. Densities
# are per unit of the logarithm of inverse depth.
_SPREAD_NOISE = 0.08  # anchors that spread no wider than this in the network's output say nothing of its slope
_EDGE_PIXELS = 1.5  # as far as an edge in the network's output lies beside the true one
_POINT_OUTLIERS, _POINT_OUTLIER_DENSITY = 0.15, 0.3  # share of points that are wrong, and density of these
_FLOOR_PRIOR = 0.35  # share of the view below the horizon that is floor, before anything is looked at
_FLOOR_NOISE = 0.8  # error of a network on a floor, as a share of its usual one
_CLEAR_FLOOR = 0.5  # mean probability of being floor from which on a floor is measured by regression
_ABOVE_FLOOR = 75.0  # percentile: a quarter of what is seen lies above the floor, to begin with
_MOST_ABOVE = 4.0
"""Log of how much nearer than the floor something may stand: a wall before the camera, the horizon behind."""
_ABOVE_DENSITY = 0.5  # as if over a factor of e^2: with less, views without much floor are taken for floor
_OUTLIER_DENSITY = 0.01  # of what is neither floor nor above it
_HORIZON_LEVELS = np.linspace(-0.6, 0.6, 21)  # log levels that stand for all heights of a floor

# Range finders.
_CONE_NEAREST = 2  # of the samples of a cone the nearest surface is not the single nearest: that would be noise
_UNCLEAR = 0.5  # share of the nearest samples' range that counts as standard deviation
_CONE_OUTLIERS, _CONE_OUTLIER_DENSITY = 0.15, 0.3  # share of wrong readings among several sensors, and their density
_DEAF = 0.4  # share of a range finder's "nothing there" and "too near" that say nothing of the view
_LOGISTIC = 1.702  # a logistic function of this slope is the normal distribution's to 0.01 (Haley, 1952)

_STUDENT_PEAK = np.float32(0.36755)  # density of Student's t at zero, three degrees of freedom: 2 / (pi sqrt(3))

# Numerical guards.
_LEAST = 0.02  # inverse depth over the level: nothing is farther than fifty times the median, and no logarithm of zero
_MOST_EXPONENT = 50.0  # nothing overflows


class Curves:
    """What a view's output stands for by each of some depth spreads, but for the level.

    Attributes:
        view: normalisation of the prediction.
        gain: (spreads,) gain over level.
    """

    def __init__(self, view: ViewNormalisation, spreads: Array) -> None:
        self.view = view
        self.gain = gain_over_level(spreads, view.far)

    def log_value(self, relative: Array, spread: int) -> Array:
        """(N,) log of inverse depth over the level at (N,) relative inverse depth, by one of the spreads."""
        return np.asarray(np.log(np.maximum(1.0 + self.gain[spread] * self.view.normalised(relative), _LEAST)))

    def at(self, relative: Array, edge: Array | float = 0.0) -> tuple[Array, Array]:
        """(spreads, N) log of inverse depth over the level, and its standard deviation by the network's error.

        Args:
            relative: (N,) relative inverse depth.
            edge: (N,) further error of it, share of the image's spread.
        """
        value = np.maximum(1.0 + self.gain[:, None] * self.view.normalised(relative), _LEAST)
        noise = self.gain[:, None] * np.sqrt(_NOISE_IN**2 + np.square(edge)) / np.maximum(value, _LEAST_LINEAR)
        return np.log(value), np.sqrt(_NOISE_OUT**2 + noise * noise)


class Touch(NamedTuple):
    """Where the nearest surface in a range finder's cone touches the cap of its reading.

    Attributes:
        level: (spreads,) log level at which it does.
        sigma: (spreads,) standard deviation of that.
    """

    level: Array
    sigma: Array

    def sigmas_off(self, level: Array) -> Array:
        """How many standard deviations nearer than the reading that surface is by log levels (spreads, levels)."""
        return np.asarray((level - self.level[:, None]) / self.sigma[:, None])


def touch(curves: Curves, cone: Cone) -> Touch:
    """Where the nearest surface in the cone touches the cap: not its nearest sample, but the middle one of the few
    nearest.
    """
    curve, noise = curves.at(cone.relative)
    levels = np.log(cone.inverse_depth) - curve  # at which each sample touches the cap
    rows, last = np.arange(len(levels)), min(2 * _CONE_NEAREST, levels.shape[1] - 1)
    nearest = np.argpartition(levels, last, axis=1)[:, : last + 1]
    first = levels[rows[:, None], nearest]
    middle = nearest[rows, np.argsort(first, axis=1)[:, min(_CONE_NEAREST, last)]]
    # How much of a surface it takes to be heard is not known: along a floor that leaves at the cone's rim it tells.
    unclear = _UNCLEAR * np.ptp(first, axis=1)
    sigma = np.hypot(np.hypot(noise[rows, middle], _NOISE_OUT), np.hypot(cone.sigma, unclear))
    return Touch(levels[rows, middle], sigma)


def log_likelihood_of_cone(level: Array, reading: Reading, touched: Touch, alone: bool) -> Array:
    """One range finder's reading.

    Args:
        level: (spreads, levels) log levels.
        reading: a measurement, or a limit.
        touched: where the nearest surface touches the cap of that.
        alone: no other range finder measures.
    """
    off = touched.sigmas_off(level)
    if reading is not Reading.MEASURED:
        # A wall at a slant sends no echo back, and a sensor rings: such a reading is often wrong, and outweighed.
        broken = _LOGISTIC * (off if reading is Reading.FARTHER else -off)
        kept = 1.0 / (1.0 + np.exp(np.clip(broken, -_MOST_EXPONENT, _MOST_EXPONENT)))
        return np.asarray(np.log(_DEAF + (1.0 - _DEAF) * kept))
    if alone:
        return np.asarray(-0.5 * off**2 - np.log(touched.sigma)[:, None])
    # Of several one may lie (crosstalk, an echo by a detour): the others and the floor must be able to outvote it.
    own = np.exp(-0.5 * off**2) / (np.sqrt(2.0 * np.pi) * touched.sigma[:, None])
    return np.asarray(np.log((1.0 - _CONE_OUTLIERS) * own + _CONE_OUTLIERS * _CONE_OUTLIER_DENSITY))


def log_likelihood_of_points(curves: Curves, level: Array, points: Points) -> Array:
    """Points, each right with Student's t or an outlier. ``level``: (spreads, levels) log levels.

    Together they count as ``points.effective`` observations, but as one where they are of one depth: a network's noise
    is all that tells such points apart.
    """
    curve, noise = curves.at(points.relative, _EDGE_PIXELS * points.step / curves.view.spread)
    error = level[:, :, None] + (curve - np.log(points.inverse_depth))[:, None, :]
    density = (1.0 - _POINT_OUTLIERS) * _student(error, noise[:, None, :])
    density += _POINT_OUTLIERS * _POINT_OUTLIER_DENSITY
    x = curves.view.normalised(points.relative)
    spread = float(np.sqrt(points.share @ np.square(x - points.share @ x)))
    reliable = max(0.0, 1.0 - (_SPREAD_NOISE / max(spread, 1e-9)) ** 2)
    count = 1.0 + reliable * (points.effective - 1.0)
    return np.asarray(count * (np.log(density) @ points.share))


@dataclass(frozen=True)
class FloorPlaces:
    """Densities of what the network gives where the floor would be; (spreads, levels, N) each.

    Attributes:
        floor: that it is floor.
        total: that it is floor, something above it or an outlier.
    """

    floor: NDArray[np.floating]
    total: NDArray[np.floating]

    def likely(self, hypothesis: tuple[int, int]) -> NDArray[np.floating]:
        """(N,) probability that each place is floor, by one hypothesis."""
        return np.asarray(self.floor[hypothesis] / self.total[hypothesis])


@dataclass(frozen=True)
class FloorEvidence:
    """What a floor says.

    Attributes:
        log_likelihood: (spreads, levels).
        places: that it was made of; None where a fit of the floor was there already.
        fit: the floor as a measurement, where it is clear; else None.
    """

    log_likelihood: Array
    places: FloorPlaces | None
    fit: FloorFit | None


def above_floor(curves: Curves, floor: Floor) -> Array:
    """(spreads,) log level at which a quarter of what is seen lies above the floor."""
    return np.percentile(np.log(floor.inverse_depth) - curves.at(floor.relative)[0], _ABOVE_FLOOR, axis=1)


def log_likelihood_of_floor(
    curves: Curves, level: Array, floor: Floor, others: Array, fit: FloorFit | None
) -> FloorEvidence:
    """A floor and what may stand on it.

    A clear floor is measured once it is recognised: as a mixture with what may stand on it, it would be drawn upwards.

    Args:
        curves: of the grid.
        level: (spreads, levels) log levels.
        floor: where it would be.
        others: (spreads, levels) log likelihood of all else, to recognise it by.
        fit: the floor as a measurement, where it has been recognised already.
    """
    places = None
    if fit is None:
        places = _floor_places(curves, level, floor)
        log_likelihood = np.asarray(FLOOR_COUNT * np.log(places.total).mean(axis=-1), dtype=np.float64)
        fit = _recognised(curves, level, floor, places, best_of(others + log_likelihood))
        if fit is None:
            return FloorEvidence(log_likelihood, places, None)
    levels = np.exp(level)
    return FloorEvidence(fit.log_likelihood(curves.gain[:, None] * levels, levels), places, fit)


def log_likelihood_of_horizon(curves: Curves, floor: Floor, log_prior: Array, fit: FloorFit | None) -> FloorEvidence:
    """A floor of unknown height, (spreads, 1): the mean over all heights, as what counts is how its inverse depth falls
    to zero. ``log_prior``: (spreads,); else as of :func:`log_likelihood_of_floor`.
    """
    level = above_floor(curves, floor)[:, None] + _HORIZON_LEVELS
    found = log_likelihood_of_floor(curves, level, floor, log_prior[:, None], fit)
    most = found.log_likelihood.max(axis=1, keepdims=True)
    mean = np.exp(found.log_likelihood - most).mean(axis=1, keepdims=True)
    return replace(found, log_likelihood=np.asarray(most + np.log(mean)))


def _floor_places(curves: Curves, level: Array, floor: Floor) -> FloorPlaces:
    """A mixture at each place: the floor, what stands on it and is as near as it likes, outliers."""
    curve, noise = curves.at(floor.relative)
    sigma = np.hypot(noise, floor.sigma)[:, None, :].astype(np.float32)
    error = (level[:, :, None] + (curve - np.log(floor.inverse_depth))[:, None, :]).astype(np.float32)
    own = np.float32(_FLOOR_PRIOR) * _student(error, np.float32(_FLOOR_NOISE) * sigma)
    above = ((error > 0) & (error < _MOST_ABOVE)) * np.float32((1.0 - _FLOOR_PRIOR) * _ABOVE_DENSITY)
    return FloorPlaces(own, own + above + np.float32(_OUTLIER_DENSITY))


def _recognised(
    curves: Curves, level: Array, floor: Floor, places: FloorPlaces, best: tuple[int, int]
) -> FloorFit | None:
    """The floor as a measurement, if by the hypothesis ``best`` most of what is seen is floor; else None."""
    likely = np.asarray(places.likely(best), dtype=np.float64)
    if likely.mean() <= _CLEAR_FLOOR:
        return None
    gain = curves.gain[best[0]] * np.exp(level[best])
    noise = np.hypot(_NOISE_IN, _NOISE_OUT * floor.inverse_depth / gain)
    return fit_floor(floor, curves.view.normalised(floor.relative), noise, likely)


def best_of(weight: Array) -> tuple[int, int]:
    """Row and column of the hypothesis of the greatest weight."""
    row, column = np.unravel_index(int(weight.argmax()), weight.shape)
    return int(row), int(column)


def _student(error: NDArray[np.floating], sigma: NDArray[np.floating]) -> NDArray[np.floating]:
    """Density of Student's t with three degrees of freedom: a sharp peak for what fits, heavy tails, and no exp."""
    return _STUDENT_PEAK / (sigma * np.square(1.0 + np.square(error / sigma) * np.float32(1.0 / 3.0)))
