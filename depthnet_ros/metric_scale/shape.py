"""Scale and shift where measurements alone do not determine both: one sonar, one line of a scan, a floor.

What a frame may be in metres is described by two numbers: the *range* of the view, log of the inverse depth of its
nearest 5 % over that of its farthest 5 %, and its level, log of the median's inverse depth. Unlike scale and shift both
are alike for all networks and cameras, so that a prior can be stated: indoor views have a range of about 0.97 (a factor
of 2.6), give or take 0.4 (``benchmarks/view_range.py``). Every hypothesis on a grid of the two is weighed by the prior
and by what the sensors and the floor say (a grid filter; Thrun et al., Probabilistic Robotics, 2005, ch. 4). The
posterior's spread is the answer's uncertainty, and holds what a least-squares fit cannot say: that two answers are
possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.fit import Reference

Array = NDArray[np.float64]

_RANGES = np.linspace(0.05, 2.45, 21)
_LEVELS = 11
_LEAST = 0.02  # of the level: nothing is farther than fifty times the median
_NOISE_IN, _NOISE_OUT = 0.042, 0.07
"""Error of a network, in its output (share of the image's spread) and relative in depth."""
_SPREAD_NOISE = 0.08  # anchors that spread no wider than this in the network's output say nothing of its slope
_PER_SURFACE, _ONE_SURFACE, _LEAST_SURFACE = 3.0, 0.15, 0.05
_EDGE_PIXELS = 1.5  # as far as an edge in the network's output lies beside the true one
_CONE_NEAREST = 4  # of the samples of a cone the nearest surface is not the single nearest: that would be noise
_FLOOR_PRIOR = 0.35
_FLOOR_COUNT = 8.0
_FLOOR_NOISE = 0.8
_CLEAR_FLOOR, _LEAST_NOISY = 0.5, 0.3
_ABOVE_DENSITY = 0.5  # obstacles stand anywhere over up to a factor of e^2
_OUTLIER_DENSITY = 0.01
_POINT_OUTLIERS, _POINT_OUTLIER_DENSITY = 0.15, 0.3
_TOO_LOW, _MUCH_TOO_LOW = -0.35, 0.3
_AT_ODDS, _AGREE = 2.5, 1.2
_AT_ODDS_POINTS = 2.0  # in the median of them all: twice as far off as a network's usual error leaves them
_KNOWN_RANGE_SIGMA = 0.2


@dataclass(frozen=True)
class Cone:
    """A cone's samples: (N,) relative inverse depth, (N,) 1/m of its cap, relative sigma of the reading."""

    relative: Array
    inverse_depth: Array
    sigma: float


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
    """Where the floor would be: (N,) relative inverse depth there, (N,) 1/m of the floor, (N,) relative sigma of
    that.
    """

    relative: Array
    inverse_depth: Array
    sigma: Array
    height_known: bool = True
    """If not, ``inverse_depth`` is that of any height: where the floor meets infinity is known, its distance is not."""


@dataclass(frozen=True)
class RangePrior:
    """Of the view's range before the frame is looked at: mean and standard deviation."""

    mean: float
    sigma: float

    def narrowed(self, mean: float, sigma: float) -> RangePrior:
        """Together with another opinion, which is independent of it."""
        own, other = 1.0 / self.sigma**2, 1.0 / sigma**2
        return RangePrior((self.mean * own + mean * other) / (own + other), float((own + other) ** -0.5))


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
        cones: readings of range finders.
        floor: or None.

    Raises:
        ValueError: nothing is given.
    """
    horizon = None
    if floor is not None and not floor.height_known:
        horizon, floor = floor, None
    grid = _Grid(reference, prior, points, cones, floor)
    if horizon is not None:
        grid.add_horizon(horizon)
    weight, notes = grid.weight(floor), []
    share = None
    if floor is not None:
        share, below = grid.floor_share(floor, weight)
        if below > _MUCH_TOO_LOW and (points or cones):
            notes.append(
                f"ground: {below:.0%} of the view lies below the declared ground: check its height and pitch; "
                "it is not used"
            )
            weight, share = grid.weight(None), 0.0
        elif (off := grid.misfit(weight, points)) > _AT_ODDS_POINTS and (
            off > 1.5 * grid.misfit(grid.weight(None), points)
        ):
            notes.append("ground: contradicts the points measured: check its height and pitch; it is not used")
            weight, share = grid.weight(None), 0.0
        elif grid.odds(weight) > _AT_ODDS:
            notes.append("ground: contradicts the sensors")
    state, covariance, sigma, mean = grid.moments(weight)
    if share and not notes and abs(mean - prior.mean) > _AT_ODDS * prior.sigma:
        notes.append("ground: makes the view's far end unlikely far from its near end: check its height and pitch")
    measured = bool(points or cones)  # a floor alone may be a table
    known = sigma < _KNOWN_RANGE_SIGMA and max(grid.odds(weight), grid.misfit(weight, points)) < _AGREE
    return ShapeEstimate(state, covariance, sigma, share, measured and known and not notes, tuple(notes))


class _Grid:
    """Hypotheses (ranges x levels) of one frame. Levels lie about where the measurements put them for each range."""

    def __init__(
        self, reference: Reference, prior: RangePrior, points: list[Points], cones: list[Cone], floor: Floor | None
    ) -> None:
        self._reference = reference
        ratio = np.exp(_RANGES)
        self._gain = (ratio - 1.0) / (reference.far + 1.0 - ratio * reference.far)
        """(ranges,) gain over level."""
        centre, half = self._centre(points, cones, floor)
        self._offset = np.linspace(-half, half, _LEVELS if half < 0.9 else 2 * _LEVELS - 1)
        self.level = centre[:, None] + self._offset
        self._log_prior = np.broadcast_to(-0.5 * ((_RANGES - prior.mean) / prior.sigma) ** 2, (len(_RANGES),))
        self._evidence = self._log_prior[:, None] + np.zeros_like(self.level)
        self._cone_odds = np.zeros_like(self.level)
        for point in points:
            self._evidence += self._of_points(point)
        for cone in cones:
            self._evidence += self._of_cone(cone)

    def _curve(self, relative: Array, edge: Array | float = 0.0) -> tuple[Array, Array]:
        """(ranges, N) log of inverse depth over the level, and its standard deviation by the network's error; ``edge``:
        (N,) further error of the network's output, share of the image's spread.
        """
        x = self._reference.normalised(relative)
        value = np.maximum(1.0 + self._gain[:, None] * x, _LEAST)
        noise = np.hypot(_NOISE_OUT, np.hypot(_NOISE_IN, edge) * self._gain[:, None] / np.maximum(value, 0.2))
        return np.log(value), noise

    def _centre(self, points: list[Points], cones: list[Cone], floor: Floor | None) -> tuple[Array, float]:
        """(ranges,) log level that the measurements suggest, and how far about it to look."""
        if points:
            most = max(points, key=lambda p: p.effective)
            return np.median(np.log(most.inverse_depth) - self._curve(most.relative)[0], axis=1), 0.45
        if cones:
            return self._touching(cones[0])[0], 0.5
        if floor is None:
            raise ValueError("nothing measures: no points, no cone, no floor")
        return np.percentile(np.log(floor.inverse_depth) - self._curve(floor.relative)[0], 75.0, axis=1), 1.0

    def _touching(self, cone: Cone) -> tuple[Array, Array]:
        """(ranges,) log level at which the nearest surface in the cone touches the cap, and its standard deviation."""
        curve, noise = self._curve(cone.relative)
        level = np.log(cone.inverse_depth) - curve
        place = min(_CONE_NEAREST, level.shape[1] - 1)
        index = np.argpartition(level, place, axis=1)[:, place]
        row = np.arange(len(level))
        return level[row, index], np.hypot(np.hypot(noise[row, index], _NOISE_OUT), cone.sigma)

    def _of_cone(self, cone: Cone) -> Array:
        touching, sigma = self._touching(cone)
        odds = (self.level - touching[:, None]) / sigma[:, None]
        self._cone_odds = np.maximum(self._cone_odds, np.abs(odds))
        return np.asarray(-0.5 * odds**2 - np.log(sigma)[:, None])

    def _of_points(self, points: Points) -> Array:
        curve, noise = self._curve(points.relative, _EDGE_PIXELS * points.step / self._reference.spread)
        error = self.level[:, :, None] + (curve - np.log(points.inverse_depth))[:, None, :]
        density = (1.0 - _POINT_OUTLIERS) * _student(error, noise[:, None, :])
        density += _POINT_OUTLIERS * _POINT_OUTLIER_DENSITY
        x = self._reference.normalised(points.relative)
        spread = float(np.sqrt(points.share @ np.square(x - points.share @ x)))
        reliable = max(0.0, 1.0 - (_SPREAD_NOISE / max(spread, 1e-9)) ** 2)
        return np.asarray((1.0 + reliable * (points.effective - 1.0)) * (np.log(density) @ points.share))

    def _of_floor(
        self, floor: Floor, levels: Array, noisy: float = 1.0
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """(ranges, levels, N) density of being floor, and of being whatever is seen."""
        curve, noise = self._curve(floor.relative)
        noise = np.hypot(noisy * noise, floor.sigma)[:, None, :].astype(np.float32)
        error = (levels[:, :, None] + (curve - np.log(floor.inverse_depth))[:, None, :]).astype(np.float32)
        own = np.float32(_FLOOR_PRIOR) * _student(error, np.float32(_FLOOR_NOISE) * noise)
        above = ((error > 0) & (error < 2.0)) * np.float32((1.0 - _FLOOR_PRIOR) * _ABOVE_DENSITY)
        return own, own + above + np.float32(_OUTLIER_DENSITY)

    def add_horizon(self, floor: Floor) -> None:
        """A floor of unknown height: all heights alike, what counts is how its inverse depth falls to zero."""
        curve, _ = self._curve(floor.relative)
        suggested = np.percentile(np.log(floor.inverse_depth) - curve, 75.0, axis=1)
        levels = suggested[:, None] + np.linspace(-0.6, 0.6, 2 * _LEVELS - 1)
        evidence = self._floor_evidence(floor, levels, self._log_prior[:, None])
        most = evidence.max(axis=1)
        self._evidence += (most + np.log(np.exp(evidence - most[:, None]).mean(axis=1)))[:, None]

    def weight(self, floor: Floor | None) -> Array:
        """(ranges, levels) posterior, of sum 1."""
        if floor is None:
            return _normalised(self._evidence)
        return _normalised(self._evidence + self._floor_evidence(floor, self.level, self._evidence))

    def _floor_evidence(self, floor: Floor, levels: Array, before: Array) -> Array:
        """(ranges, levels) log likelihood of a floor for log levels; ``before``: of all else. A clear floor shows how
        much the network errs on it, and is looked at again with that error.
        """
        own, total = self._of_floor(floor, levels)
        evidence = _FLOOR_COUNT * np.log(total).mean(axis=-1)
        best = np.unravel_index(int((before + evidence).argmax()), evidence.shape)
        part = own[best] / total[best]
        if part.mean() > _CLEAR_FLOOR and (part > 0.5).any():
            curve, noise = self._curve(floor.relative)
            error = np.abs(levels[best] + curve[best[0]] - np.log(floor.inverse_depth)) / noise[best[0]]
            noisy = max(1.5 * float(np.median(error[part > 0.5])), _LEAST_NOISY)
            if noisy < 0.7:
                evidence = _FLOOR_COUNT * np.log(self._of_floor(floor, levels, noisy)[1]).mean(axis=-1)
        return np.asarray(evidence, dtype=np.float64)

    def floor_share(self, floor: Floor, weight: Array) -> tuple[float, float]:
        """Share of the view below the horizon that is floor, and that lies below it, which cannot be."""
        own, total = self._of_floor(floor, self.level)
        curve, _ = self._curve(floor.relative)
        best = np.unravel_index(int(weight.argmax()), weight.shape)
        error = self.level[best] + curve[best[0]] - np.log(floor.inverse_depth)
        return float((own[best] / total[best]).mean()), float((error < _TOO_LOW).mean())

    def odds(self, weight: Array) -> float:
        """How many sigmas the best answer is away from a cone's reading."""
        return float(self._cone_odds.ravel()[int(weight.argmax())])

    def misfit(self, weight: Array, points: list[Points]) -> float:
        """How many sigmas the best answer is away from the points, in the median; of the sensor that fits worst."""
        row, column = np.unravel_index(int(weight.argmax()), weight.shape)
        worst = 0.0
        for point in points:
            curve, noise = self._curve(point.relative)
            error = np.abs(self.level[row, column] + curve[row] - np.log(point.inverse_depth))
            worst = max(worst, float(np.median(error / noise[row])))
        return worst

    def moments(self, weight: Array) -> tuple[Array, Array, float, float]:
        """Gain and level at the mean of range and log level, their covariance; the range's standard deviation and
        mean.
        """
        by_range = weight.sum(axis=1)
        mean = float(by_range @ _RANGES)
        sigma = float(np.sqrt(by_range @ (_RANGES - mean) ** 2))
        level = float(np.exp((weight * self.level).sum()))
        far = self._reference.far
        gain = level * (np.exp(mean) - 1.0) / (far + 1.0 - np.exp(mean) * far)
        levels = np.exp(self.level)
        off = np.stack((levels * self._gain[:, None] - gain, levels - level)).reshape(2, -1)
        covariance = (off * weight.ravel()) @ off.T
        return np.array([gain, level]), covariance + np.diag([1e-6 * gain**2, 1e-6 * level**2]), sigma, mean


def _normalised(evidence: Array) -> Array:
    weight = np.exp(evidence - evidence.max())
    return np.asarray(weight / weight.sum())


def _student(error: NDArray[np.floating], sigma: NDArray[np.floating]) -> NDArray[np.floating]:
    """Density of Student's t with three degrees of freedom: a sharp peak for what fits, heavy tails, and no exp."""
    return np.float32(0.36755) / (sigma * np.square(1.0 + np.square(error / sigma) * np.float32(1.0 / 3.0)))
