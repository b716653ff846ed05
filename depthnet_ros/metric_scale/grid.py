"""Hypotheses of a view's depth spread and level, each weighed by all that a frame has to say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.evidence import Array, Cone, Evidence, Floor, Points
from depthnet_ros.metric_scale.floor import FLOOR_COUNT, FloorFit, fit_floor

# The grid.
_SPREADS: Array = np.concatenate((np.linspace(0.05, 2.45, 21), np.linspace(2.7, 4.2, 7)))
"""Few views reach beyond a factor of 11, but a camera at 0.1 m above the floor sees one of 40."""
WIDEST = 4.1
"""Depth spread of a view, at most."""
_LEVELS = 11  # of each depth spread, over 0.9 in logarithms; over more there are more
_FINE = 11  # spreads and levels of a grid that is laid over what a wide one has found ...
_FINE_SIGMAS = 3.0  # ... to this many standard deviations on either side

# Follows the default of ``scale.network_sigma``, the network's error on NYU's rooms.
_NOISE_IN, _NOISE_OUT = 0.042, 0.07
"""Error of a network, in its output (share of the image's spread) and relative in depth."""

# The weighing of points and of the floor was chosen on the three recordings of benchmarks/metric_scale.py. Densities
# are per unit of the logarithm of inverse depth.
_SPREAD_NOISE = 0.08  # anchors that spread no wider than this in the network's output say nothing of its slope
_EDGE_PIXELS = 1.5  # as far as an edge in the network's output lies beside the true one
_POINT_OUTLIERS, _POINT_OUTLIER_DENSITY = 0.15, 0.3  # share of points that are wrong, and density of these
_FLOOR_PRIOR = 0.35  # share of the view below the horizon that is floor, before anything is looked at
_FLOOR_NOISE = 0.8  # error of a network on a floor, as a share of its usual one
_CLEAR_FLOOR = 0.5  # mean probability of being floor from which on a floor is measured by regression
_MOST_ABOVE = 4.0
"""Log of how much nearer than the floor something may stand: a wall before the camera, the horizon behind."""
_ABOVE_DENSITY = 0.5  # as if over a factor of e^2: with less, views without much floor are taken for floor
_OUTLIER_DENSITY = 0.01  # of what is neither floor nor above it
_TOO_LOW = -0.35  # log of inverse depth over the floor's, of what lies surely below it

# Range finders.
_CONE_NEAREST = 2  # of the samples of a cone the nearest surface is not the single nearest: that would be noise
_CONE_OUTLIERS, _CONE_OUTLIER_DENSITY = 0.15, 0.3  # share of wrong readings among several sensors, and their density
_DEAF = 0.4  # share of a range finder's "nothing there" and "too near" that say nothing of the view
_LOGISTIC = 1.702  # a logistic function of this slope is the normal distribution's to 0.01 (Haley, 1952)

_STUDENT_PEAK = np.float32(0.36755)  # density of Student's t at zero, three degrees of freedom: 2 / (pi sqrt(3))

# Numerical guards.
_LEAST = 0.02  # inverse depth over the level: nothing is farther than fifty times the median, and no logarithm of zero
_LEAST_SHARE = 1e-9  # of the grid, that a depth spread stands for: its logarithm is taken


@dataclass(frozen=True)
class FloorLikelihood:
    """Densities of what the network gives where the floor would be; (spreads, levels, N) each.

    Attributes:
        floor: that it is floor.
        total: that it is floor, something above it or an outlier.
    """

    floor: NDArray[np.floating]
    total: NDArray[np.floating]


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
        """
        self._all, self._view, self._spreads = evidence, evidence.view, spreads
        self.fit = fit
        ratio, far = np.exp(spreads), self._view.far
        self._gain = (ratio - 1.0) / (far + 1.0 - ratio * far)
        """(spreads,) gain over level."""
        touching = [self._touching(cone) for cone in evidence.cones]
        self.level = self._about_measurements(touching) if level is None else level
        self._share = np.maximum(np.gradient(spreads), _LEAST_SHARE)
        """(spreads,) how much of the depth spread each stands for."""
        self._log_prior = -0.5 * np.square((spreads - evidence.prior.mean) / evidence.prior.sigma) + np.log(self._share)
        self._evidence = self._log_prior[:, None] + np.zeros_like(self.level)
        self._cone_odds = np.zeros_like(self.level)
        self._floor_evidence: Array | None = None
        self._likelihood: FloorLikelihood | None = None
        for point in evidence.points:
            self._evidence += self._of_points(point)
        for cone, touch in zip(evidence.cones, touching, strict=True):
            self._evidence += self._of_cone(cone, *touch)
        if evidence.floor is not None and evidence.floor.height_known:
            self._floor_evidence, self._likelihood = self._of_floor(evidence.floor, self.level, self._evidence)
        elif evidence.floor is not None:
            self._evidence += self._of_horizon(evidence.floor)

    def finer(self, weight: Array, use_floor: bool) -> Grid:
        """Laid over the posterior ``weight``; this one, where that is so wide that nothing would be gained."""
        by_spread = weight.sum(axis=1)
        middle, mean = float(by_spread @ self._spreads), float((weight * self.level).sum())
        off = self._spreads - middle
        variance, step = float(by_spread @ np.square(off)), float(np.interp(middle, self._spreads, self._share))
        slope = float((weight * self.level).sum(axis=1) @ off) / (variance + 0.01 * step**2)
        about = float(np.sqrt((weight * np.square(self.level - mean - slope * off[:, None])).sum()))
        width, gap = max(np.sqrt(variance), 0.5 * step), float(self.level[0, 1] - self.level[0, 0])
        reach = _FINE_SIGMAS * np.linspace(-1.0, 1.0, _FINE)
        if width * (reach[1] - reach[0]) > step:
            return self
        spreads = np.maximum(middle + width * reach, 0.2 * _SPREADS[0])
        centre = mean + slope * (spreads - middle)
        evidence = self._all
        if not use_floor:
            evidence = Evidence(evidence.view, evidence.prior, evidence.points, evidence.cones, None)
        return Grid(evidence, spreads, centre[:, None] + max(about, 0.5 * gap) * reach, self.fit)

    def _curve(self, relative: Array, edge: Array | float = 0.0) -> tuple[Array, Array]:
        """(spreads, N) log of inverse depth over the level, and its standard deviation by the network's error.

        ``edge``: (N,) further error of the network's output, share of the image's spread.
        """
        x = self._view.normalised(relative)
        value = np.maximum(1.0 + self._gain[:, None] * x, _LEAST)
        inner = self._gain[:, None] * np.sqrt(_NOISE_IN**2 + np.square(edge)) / np.maximum(value, 0.2)
        return np.log(value), np.sqrt(_NOISE_OUT**2 + inner * inner)

    def _about_measurements(self, touching: list[tuple[Array, Array]]) -> Array:
        """(spreads, levels) log levels about those that the measurements suggest."""
        points, cones, floor = self._all.points, self._all.cones, self._all.floor
        if points:
            most = max(points, key=lambda p: p.effective)
            centre, half = np.median(np.log(most.inverse_depth) - self._curve(most.relative)[0], axis=1), 0.45
        elif measured := [touch[0] for cone, touch in zip(cones, touching, strict=True) if cone.measured]:
            return _spanning(np.stack(measured), 0.5)
        elif floor is not None and floor.height_known:
            centre, half = self._above_floor(floor), 1.0
        else:
            raise ValueError("nothing measures: no points, no echo, no floor")
        return centre[:, None] + np.linspace(-half, half, _LEVELS if half < 0.9 else 2 * _LEVELS - 1)

    def _above_floor(self, floor: Floor) -> Array:
        """(spreads,) log level at which a quarter of what is seen lies above the floor."""
        return np.percentile(np.log(floor.inverse_depth) - self._curve(floor.relative)[0], 75.0, axis=1)

    def _touching(self, cone: Cone) -> tuple[Array, Array]:
        """(spreads,) log level at which the nearest surface in the cone touches the cap, and its standard deviation."""
        curve, noise = self._curve(cone.relative)
        level = np.log(cone.inverse_depth) - curve
        last, row = min(2 * _CONE_NEAREST, level.shape[1] - 1), np.arange(len(level))
        near = np.argpartition(level, last, axis=1)[:, : last + 1]
        nearest = level[row[:, None], near]
        index = near[row, np.argsort(nearest, axis=1)[:, min(_CONE_NEAREST, last)]]
        # How much of a surface it takes to be heard is not known: along a floor that leaves at the cone's rim it tells.
        unclear = 0.5 * np.ptp(nearest, axis=1)
        sigma = np.hypot(np.hypot(noise[row, index], _NOISE_OUT), np.hypot(cone.sigma, unclear))
        return level[row, index], sigma

    def _of_cone(self, cone: Cone, touching: Array, sigma: Array) -> Array:
        odds = (self.level - touching[:, None]) / sigma[:, None]
        if not cone.measured:
            # A wall at a slant sends no echo back, and a sensor rings: such a reading is often wrong, and outweighed.
            broken = odds if cone.reading is Reading.FARTHER else -odds
            kept = 1.0 / (1.0 + np.exp(np.clip(_LOGISTIC * broken, -50.0, 50.0)))
            return np.asarray(np.log(_DEAF + (1.0 - _DEAF) * kept))
        self._cone_odds = np.maximum(self._cone_odds, np.abs(odds))
        if sum(other.measured for other in self._all.cones) == 1:
            return np.asarray(-0.5 * odds**2 - np.log(sigma)[:, None])
        # Of several one may lie (crosstalk, an echo by a detour): the others and the floor must be able to outvote it.
        own = np.exp(-0.5 * odds**2) / (np.sqrt(2.0 * np.pi) * sigma[:, None])
        return np.asarray(np.log((1.0 - _CONE_OUTLIERS) * own + _CONE_OUTLIERS * _CONE_OUTLIER_DENSITY))

    def _of_points(self, points: Points) -> Array:
        curve, noise = self._curve(points.relative, _EDGE_PIXELS * points.step / self._view.spread)
        error = self.level[:, :, None] + (curve - np.log(points.inverse_depth))[:, None, :]
        density = (1.0 - _POINT_OUTLIERS) * _student(error, noise[:, None, :])
        density += _POINT_OUTLIERS * _POINT_OUTLIER_DENSITY
        x = self._view.normalised(points.relative)
        spread = float(np.sqrt(points.share @ np.square(x - points.share @ x)))
        reliable = max(0.0, 1.0 - (_SPREAD_NOISE / max(spread, 1e-9)) ** 2)
        return np.asarray((1.0 + reliable * (points.effective - 1.0)) * (np.log(density) @ points.share))

    def _floor_likelihood(self, floor: Floor, levels: Array) -> FloorLikelihood:
        """For each hypothesis and place, how likely what the network gives is."""
        curve, noise = self._curve(floor.relative)
        noise = np.hypot(noise, floor.sigma)[:, None, :].astype(np.float32)
        error = (levels[:, :, None] + (curve - np.log(floor.inverse_depth))[:, None, :]).astype(np.float32)
        own = np.float32(_FLOOR_PRIOR) * _student(error, np.float32(_FLOOR_NOISE) * noise)
        above = ((error > 0) & (error < _MOST_ABOVE)) * np.float32((1.0 - _FLOOR_PRIOR) * _ABOVE_DENSITY)
        return FloorLikelihood(own, own + above + np.float32(_OUTLIER_DENSITY))

    def _of_floor(self, floor: Floor, levels: Array, before: Array) -> tuple[Array, FloorLikelihood | None]:
        """(spreads, levels) log likelihood of a floor for log levels, and that of its places; None where a fit of the
        floor was there already. ``before``: log likelihood of all else.

        A clear floor is measured once it is recognised: as a mixture with what may stand on it, it would be drawn
        upwards.
        """
        places = None
        if self.fit is None:
            places = self._floor_likelihood(floor, levels)
            evidence = np.asarray(FLOOR_COUNT * np.log(places.total).mean(axis=-1), dtype=np.float64)
            best = np.unravel_index(int((before + evidence).argmax()), evidence.shape)
            likely = np.asarray(places.floor[best] / places.total[best], dtype=np.float64)
            if likely.mean() <= _CLEAR_FLOOR:
                return evidence, places
            x, gain = self._view.normalised(floor.relative), self._gain[best[0]] * np.exp(levels[best])
            self.fit = fit_floor(floor, x, np.hypot(_NOISE_IN, _NOISE_OUT * floor.inverse_depth / gain), likely)
            if self.fit is None:
                return evidence, places
        level = np.exp(levels)
        return self.fit.log_likelihood(self._gain[:, None] * level, level), places

    def _of_horizon(self, floor: Floor) -> Array:
        """(spreads, 1) log likelihood of a floor of unknown height: all heights alike, what counts is how its inverse
        depth falls to zero.
        """
        levels = self._above_floor(floor)[:, None] + np.linspace(-0.6, 0.6, 2 * _LEVELS - 1)
        evidence, _ = self._of_floor(floor, levels, self._log_prior[:, None])
        most = evidence.max(axis=1, keepdims=True)
        return np.asarray(most + np.log(np.exp(evidence - most).mean(axis=1, keepdims=True)))

    def weight(self, use_floor: bool = True) -> Array:
        """(spreads, levels) posterior, of sum 1."""
        total = self._evidence
        if use_floor and self._floor_evidence is not None:
            total = total + self._floor_evidence
        weight = np.exp(total - total.max())
        return np.asarray(weight / weight.sum())

    def floor_share(self, floor: Floor, weight: Array) -> tuple[float, float]:
        """Share of the view below the horizon that is floor, and that lies below it, which cannot be; of a grid that
        was made with a floor of known height and without a fit.
        """
        assert self._likelihood is not None
        row, column = np.unravel_index(int(weight.argmax()), weight.shape)
        value = np.maximum(1.0 + self._gain[row] * self._view.normalised(floor.relative), _LEAST)
        error = self.level[row, column] + np.log(value / floor.inverse_depth)
        likely = self._likelihood.floor[row, column] / self._likelihood.total[row, column]
        return float(likely.mean()), float((error < _TOO_LOW).mean())

    def odds(self, weight: Array) -> float:
        """How many sigmas the best answer is away from a cone's reading."""
        return float(self._cone_odds.ravel()[int(weight.argmax())])

    def misfit(self, weight: Array) -> float:
        """How many sigmas the best answer is away from the points, in the median; of the sensor that fits worst."""
        row, column = np.unravel_index(int(weight.argmax()), weight.shape)
        worst = 0.0
        for point in self._all.points:
            curve, noise = self._curve(point.relative)
            error = np.abs(self.level[row, column] + curve[row] - np.log(point.inverse_depth))
            worst = max(worst, float(np.median(error / noise[row])))
        return worst

    def moments(self, weight: Array) -> tuple[Array, Array, float, float]:
        """Gain and level at the mean of depth spread and log level, and their covariance; standard deviation and mean
        of the depth spread.
        """
        by_spread = weight.sum(axis=1)
        mean = float(by_spread @ self._spreads)
        sigma = float(np.sqrt(by_spread @ (self._spreads - mean) ** 2))
        level = float(np.exp((weight * self.level).sum()))
        far = self._view.far
        gain = level * (np.exp(mean) - 1.0) / (far + 1.0 - np.exp(mean) * far)
        levels = np.exp(self.level)
        off = np.stack((levels * self._gain[:, None] - gain, levels - level)).reshape(2, -1)
        covariance = (off * weight.ravel()) @ off.T
        return np.array([gain, level]), covariance + np.diag([1e-6 * gain**2, 1e-6 * level**2]), sigma, mean


def _spanning(centres: Array, half: float) -> Array:
    """(spreads, levels) of usual density from ``half`` below the lowest of (N, spreads) levels to above the highest."""
    low, high = centres.min(axis=0), centres.max(axis=0)
    count = int(np.ceil(_LEVELS * (1.0 + 0.5 * float(np.median(high - low)) / half)))
    return np.asarray(low[:, None] - half + np.linspace(0.0, 1.0, count) * (high - low + 2.0 * half)[:, None])


def _student(error: NDArray[np.floating], sigma: NDArray[np.floating]) -> NDArray[np.floating]:
    """Density of Student's t with three degrees of freedom: a sharp peak for what fits, heavy tails, and no exp."""
    return _STUDENT_PEAK / (sigma * np.square(1.0 + np.square(error / sigma) * np.float32(1.0 / 3.0)))
