"""A clear floor as one measurement of gain and level, with what is uncertain of it in common.

Where the floor is recognised, its inverse depth is affine in what the network gives: a regression tells gain and level.
Its errors are of two kinds. The network's differ from place to place and average out. Those of the mounting do not: a
height wrong by a share makes gain and level wrong by that share, and a tilt of t adds ``t / height`` to the inverse
depth of all of it, hence to the level. Both widen the covariance of the regression in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.evidence import Floor
from depthnet_ros.metric_scale.robust import SIGMA_PER_MEDIAN, median, tukey_weights
from depthnet_ros.metric_scale.two_by_two import determinant, inverse

Array = NDArray[np.float64]

_ITERATIONS = 3  # of reweighted least squares
_ONE_DEPTH = 1e-12  # a numerical guard: of a floor whose depth varies no more the slope would be divided by zero

# The weighing of the floor was chosen on the three recordings of benchmarks/metric_scale.py.
FLOOR_COUNT = 8.0
"""Independent observations that a floor all over the view is worth: a network errs by surfaces, not by pixels."""
_LEAST_NOISY = 0.3  # of the network's usual error: a floor that fits even better makes nothing surer
_LEAST_SLOPE = 3.0  # standard deviations from zero; nearer, its inverse has no bounds (Fieller, 1954)
_FREEDOM = 8.0  # of Student's t: what looks like the floor may be a table, and then every sensor must outweigh it


@dataclass(frozen=True)
class FloorFit:
    """Gain and level that a floor says.

    Attributes:
        state: (2,) gain and level.
        information: (2, 2) inverse covariance; for a floor of unknown height that of one height, whatever it is.
        height_known: if not, only the ratio of gain to level is said.
    """

    state: Array
    information: Array
    height_known: bool

    def log_likelihood(self, gain: Array, level: Array) -> Array:
        """Of gains and levels, any shape, up to a constant."""
        (p, q), (_, r) = self.information.tolist()
        u, v = self.information @ self.state
        square, across = p * gain * gain + 2.0 * q * gain * level + r * level * level, u * gain + v * level
        share: Array | float = 1.0
        if not self.height_known:  # compared at the height that fits best
            share = np.maximum(across, 0.0) / np.maximum(square, 1e-12)  # heights are positive
        distance = np.maximum(float(self.state @ (u, v)) - 2.0 * share * across + share * share * square, 0.0)
        return np.asarray(-0.5 * (_FREEDOM + 2.0) * np.log1p(distance / _FREEDOM))


def fit_floor(floor: Floor, x: Array, noise: Array, likely: Array) -> FloorFit | None:
    """Regress what the network gives on the floor's inverse depth; None if it does not clearly rise towards the viewer.

    The network's error is in ``x``, so that is what is regressed (calibration, not the attenuated inverse; Fuller,
    Measurement Error Models, 1987), robustly, by iteratively reweighted least squares with Tukey's biweight.

    Args:
        floor: where it would be.
        x: (N,) normalised relative inverse depth there.
        noise: (N,) usual standard deviation of the network in ``x``.
        likely: (N,) 0..1, how likely each place is floor.
    """
    w, base = floor.inverse_depth, 1.0 / np.square(noise)
    weights, noisy, surely = base * likely, 1.0, likely >= likely.max() / 2.0
    slope = offset = 0.0
    for _ in range(_ITERATIONS):
        mass = float(weights.sum())
        centre, mean = float(weights @ w) / mass, float(weights @ x) / mass
        off = w - centre
        spread = float(weights @ np.square(off))
        if spread <= _ONE_DEPTH * mass:
            return None
        slope = float(weights @ (off * (x - mean))) / spread
        offset = mean - slope * centre
        error = np.abs(x - slope * w - offset) / noise
        noisy = max(SIGMA_PER_MEDIAN * median(error[surely]), _LEAST_NOISY)
        weights = base * tukey_weights(error, noisy) * likely
    line = _line_covariance(w, weights, noisy)
    # A line through a few surfaces may fit by chance: to judge the slope the network's usual error counts.
    if line is None or slope <= _LEAST_SLOPE * np.sqrt(line[0, 0]) / min(noisy, 1.0):
        return None
    state = np.array([1.0 / slope, -offset / slope])
    return FloorFit(state, _information(floor, state, line), floor.height_known)


def _line_covariance(w: Array, weights: Array, noisy: float) -> Array | None:
    """(2, 2) of slope and offset of ``x = slope * w + offset``; None where all of the floor is at one depth."""
    square, across, mass = float(weights @ (w * w)), float(weights @ w), float(weights.sum())
    information = np.array([[square, across], [across, mass]])  # of slope and offset, were all places independent
    if determinant(information) <= _ONE_DEPTH * square * mass:
        return None
    return np.asarray(inverse(information) * noisy**2 * max(len(w) / FLOOR_COUNT, 1.0))


def _information(floor: Floor, state: Array, line: Array) -> Array:
    """(2, 2) of gain and level, from the covariance of slope and offset."""
    gain, level = state
    turn = np.array([[-(gain**2), 0.0], [-level * gain, -gain]])  # of 1 / slope and -offset / slope
    covariance = turn @ line @ turn.T
    if floor.height_known:
        covariance += floor.height_sigma**2 * np.outer(state, state)
    covariance[1, 1] += floor.tilt_sigma**2
    return inverse(covariance)
