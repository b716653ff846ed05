"""Robust scale and shift in inverse depth: ``1 / depth = scale * relative + shift``.

Inverse depth is the space in which a network's output is affine to the truth (Ranftl et al., MiDaS, 2020). Hypotheses
through pairs of anchors and the prior's own compete by a truncated cost (MSAC; Torr and Zisserman, 2000); iteratively
reweighted least squares with Tukey's biweight refines the best. The result is information (an inverse covariance), so
that a filter can add it to what it knows, however few directions the anchors determine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.robust import median, quantiles, tukey_weights
from depthnet_ros.metric_scale.two_by_two import change_of_unit, solve

_ITERATIONS = 4  # of reweighted least squares

# For the time it takes.
_PAIRS = 32  # of anchors that a hypothesis goes through
_SINGLES = 8  # hypotheses of the prior's gain through one anchor
_PERCENTILE_STRIDE = 8  # every so many pixels of rows and columns a view's normalisation is found on
_JUDGES = 125  # anchors that hypotheses are judged by: of many every so-many-th, less than twice this number

# Tuning.
_TRUNCATION = 2.5  # standard deviations from which on an anchor costs a hypothesis no more
_MIN_SPREAD = 0.15  # of two anchors that a hypothesis goes through, as a share of the image's own spread
_MIN_RELIABLE = 0.5  # reliability ratio, 0..1, above which anchors determine the gain
_LEAST_NOISE, _MOST_NOISE = 0.08, 0.2  # of a network, as a share of the image's spread
_INLIER = 0.5  # robust weight above which an anchor counts as one
_FEWEST = 3  # inliers that may determine scale and shift
_CROWD = 12  # anchors that agree, at least, before they may refute what is known ...
_CROWD_SHARE = 0.5  # ... and share of all
_FIRM_SIGMAS = 4.0  # standard deviations that their gain is from zero then, at least
_LEAST_FAR = -0.25  # normalised value of a view's far end, at most, where infinity is guessed from it
_PRIOR_SHARE = 0.01  # of the prior's information: it must not hold the data back
_DEPARTURE = 16.0
"""Chi square by which anchors must fit a line far from the prior better than the prior itself. Lines can be laid
through wrong anchors, too, and the best of many is often a little better than what is true."""


@dataclass(frozen=True)
class Observations:
    """What one frame's anchors say, on the network's output.

    Attributes:
        relative: (N,) relative inverse depth of the network at the anchors.
        inverse_depth: (N,) 1/m that the sensors say.
        sigma: (N,) standard deviation of their difference once scaled, in 1/m: sensor, network and edges.
        effective: (N,) how many independent observations each counts as: errors of a network go together over a
            surface.
    """

    relative: NDArray[np.float64]
    inverse_depth: NDArray[np.float64]
    sigma: NDArray[np.float64]
    effective: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.relative)


@dataclass(frozen=True)
class ViewNormalisation:
    """Where the image's own relative inverse depth lies; makes the fit independent of the network's unit.

    The state is ``(gain, level)`` with ``1 / depth = gain * (relative - pivot) / spread + level``: both in 1/m, and
    almost uncorrelated.

    Attributes:
        pivot: median of relative inverse depth.
        spread: from its 5th to its 95th percentile.
        far: normalised value of the farthest 5 % of the image.
        variance: of normalised values over the image.
    """

    pivot: float
    spread: float
    far: float = -0.5
    variance: float = 0.1

    @classmethod
    def of(cls, relative: NDArray[np.floating]) -> ViewNormalisation:
        """From (a sample of) an image's relative inverse depth."""
        low, middle, high = quantiles(relative, (0.05, 0.5, 0.95))
        spread = max(high - low, 1e-6 * max(abs(middle), 1.0))  # of a picture of one depth: nothing divides by zero
        variance = float(np.var(relative, dtype=np.float64)) / spread**2
        return cls(middle, spread, (low - middle) / spread, variance)

    @classmethod
    def sampled(cls, relative: NDArray[np.floating], learnt_from: NDArray[np.bool_] | None) -> ViewNormalisation:
        """Of an (h, w) image, where something is learnt from it; if that is nowhere, of all of it."""
        some = np.s_[::_PERCENTILE_STRIDE, ::_PERCENTILE_STRIDE]
        if learnt_from is None or not learnt_from[some].any():
            return cls.of(relative[some])
        return cls.of(relative[some][learnt_from[some]])

    @property
    def zero(self) -> float:
        """A guess of the relative inverse depth of infinity: assumes that the farthest 5 % of the view have half the
        inverse depth of its median.
        """
        return self.pivot + 2.0 * min(self.far, _LEAST_FAR) * self.spread

    def normalised(self, relative: NDArray[np.floating]) -> NDArray[np.float64]:
        """``(relative - pivot) / spread``, of the shape of ``relative``."""
        return np.asarray((np.asarray(relative, dtype=np.float64) - self.pivot) / self.spread)

    def to_scale_shift(self) -> NDArray[np.float64]:
        """(2, 2) matrix from (gain, level) to (scale, shift)."""
        return change_of_unit(self.spread, self.pivot)

    def from_scale_shift(self) -> NDArray[np.float64]:
        """(2, 2) matrix from (scale, shift) to (gain, level)."""
        return np.array([[self.spread, 0.0], [self.pivot, 1.0]])


@dataclass(frozen=True)
class ScaleFit:
    """Gain and level that fit one frame's anchors, as information.

    Attributes:
        state: (2,) gain and level of this frame with a weak prior.
        information: (2, 2) of the anchors alone, inverse covariance; singular where they determine one direction only.
        vector: (2,) information times the anchors' own solution.
        weights: (N,) 0..1, robust weight of each anchor.
        inliers: number of anchors with weight above one half.
        well_posed: scale *and* shift are determined by the anchors.
        corroborated: well posed, the prior refuted, and so many anchors agree with the picture that no sensor's fault
            can explain it.
    """

    state: NDArray[np.float64]
    information: NDArray[np.float64]
    vector: NDArray[np.float64]
    weights: NDArray[np.float64]
    inliers: int
    well_posed: bool
    corroborated: bool


def robust_fit(
    observations: Observations,
    view: ViewNormalisation,
    prior_state: NDArray[np.float64],
    prior_information: NDArray[np.float64],
    rng: np.random.Generator,
) -> ScaleFit:
    """Fit gain and level to one frame's anchors.

    Args:
        observations: at least one.
        view: of this frame's prediction.
        prior_state: (2,) gain and level to begin at: what is kept unless the anchors clearly refute it, and what fills
            undetermined directions.
        prior_information: (2, 2) its inverse covariance.
        rng: for the pairs; give a seeded one for repeatable results.
    """
    x = view.normalised(observations.relative)
    y, sigma = observations.inverse_depth, observations.sigma
    effective, base = observations.effective, observations.effective / sigma**2
    state = _best_hypothesis(x, y, sigma, effective, prior_state, prior_information, rng)
    weak = _PRIOR_SHARE * prior_information  # fills directions that the anchors leave open
    target = weak @ prior_state
    for _ in range(_ITERATIONS):
        weights = tukey_weights((y - state[0] * x - state[1]) / sigma)
        information, vector = _normal_equations(x, y, base * weights)
        state = solve(information + weak, vector + target)
    weights = tukey_weights((y - state[0] * x - state[1]) / sigma)
    information, vector = _normal_equations(x, y, base * weights)
    count = int((weights > _INLIER).sum())
    share = _reliable_share(x, base * weights, state, sigma, view)
    well_posed = count >= _FEWEST and share > _MIN_RELIABLE and float(state[0]) > 0
    information, vector = _trust_gain(information, vector, share if well_posed else 0.0, float(prior_state[0]))
    firm = state[0] * np.sqrt(max(information[0, 0], 0.0)) > _FIRM_SIGMAS
    corroborated = well_posed and bool(firm) and count >= max(_CROWD, _CROWD_SHARE * len(x))
    if corroborated:
        of_prior, of_fit = _costs(np.stack((prior_state, state)), x, y, sigma, effective)
        corroborated = bool(of_prior - of_fit > _DEPARTURE)
    return ScaleFit(state, information, vector, weights, count, well_posed, corroborated)


def _reliable_share(
    x: NDArray[np.float64],
    weights: NDArray[np.float64],
    state: NDArray[np.float64],
    sigma: NDArray[np.float64],
    view: ViewNormalisation,
) -> float:
    """Reliability ratio of the anchors' spread, relative to the image's: how far their slope speaks for the image.

    The network's noise is in x, the regressor. Anchors of almost one depth (a scan along a wall) spread in x by noise
    alone, and a least-squares slope through them tends to zero with great certainty (attenuation; Fuller, Measurement
    Error Models, 1987). One for anchors spread like the image itself, zero where noise explains their spread.
    """
    total = weights.sum()
    if total <= 0:
        return 0.0
    mean = weights @ x / total
    variance = float(weights @ np.square(x - mean) / total)
    noise = max(_LEAST_NOISE, min(median(sigma) / max(abs(float(state[0])), 1e-9), _MOST_NOISE)) ** 2
    own, image = 1.0 - noise / max(variance, 1e-12), 1.0 - noise / max(view.variance, 2.0 * noise)
    return min(max(own / image, 0.0), 1.0)


def _trust_gain(
    information: NDArray[np.float64], vector: NDArray[np.float64], share: float, prior_gain: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The information (2, 2) and its vector (2,), where a slope is reliable to ``share`` only.

    About the anchors' mean x, gain and level are independent. What is known of the gain there is cut down by the square
    of the share; of the level, what anchors side by side have in common stays unknown.
    """
    of_level = information[1, 1]
    if share >= 1.0 or of_level <= 0:
        return information, vector
    mean = information[0, 1] / of_level
    of_gain = max(information[0, 0] - information[0, 1] ** 2 / of_level, 0.0)
    level = vector[1] / of_level  # at the mean
    gain = (vector[0] - mean * vector[1]) / of_gain if of_gain > 0 and share > 0 else prior_gain
    of_gain *= share**2
    # Noise in x is shared by anchors side by side, and is not averaged out by their number.
    of_level = 1.0 / (1.0 / of_level + (1.0 - share) * (_LEAST_NOISE * prior_gain) ** 2)
    cut = np.array([[of_gain + of_level * mean**2, of_level * mean], [of_level * mean, of_level]])
    return cut, np.array([of_gain * gain + of_level * mean * level, of_level * level])


def _best_hypothesis(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    effective: NDArray[np.float64],
    prior_state: NDArray[np.float64],
    prior_information: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The prior, or a line with positive gain through two anchors: whichever has the lowest truncated cost, that of its
    distance from the prior among it.
    """
    states = [prior_state[None, :]]
    if len(x) >= 3:
        i, j = rng.integers(0, len(x), (2, _PAIRS))
        run = x[j] - x[i]
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (y[j] - y[i]) / run
        good = (np.abs(run) > _MIN_SPREAD) & (gain > 0)
        states.append(np.stack((gain[good], y[i][good] - gain[good] * x[i][good]), axis=1))
        # The prior's gain at the level of one anchor: what is right where depth varies too little for a pair.
        one = i[:_SINGLES]
        states.append(np.stack((np.full(len(one), prior_state[0]), y[one] - prior_state[0] * x[one]), axis=1))
    candidates = np.concatenate(states)
    moved = candidates - prior_state
    away = np.minimum(((moved @ prior_information) * moved).sum(axis=1), _DEPARTURE)
    return np.asarray(candidates[int((_costs(candidates, x, y, sigma, effective) + away).argmin())])


def _costs(
    states: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    effective: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(M,) chi square of each of (M, 2) gains and levels, truncated for each anchor."""
    some = slice(None, None, max(1, len(x) // _JUDGES))  # enough to choose by; the refinement takes all
    residual = (states[:, :1] * x[some] + states[:, 1:] - y[some]) / sigma[some]
    share = float(effective.sum() / max(effective[some].sum(), 1e-12))
    return np.asarray(share * (np.minimum(residual**2, _TRUNCATION**2) @ effective[some]))


def _normal_equations(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Information and its vector of a line; by dot products, as a matrix product of 500 x 2 wakes all threads."""
    weighted = weights * x
    across = float(weighted.sum())
    information = np.array([[float(weighted @ x), across], [across, float(weights.sum())]])
    return information, np.array([float(weighted @ y), float(weights @ y)])
