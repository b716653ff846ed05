"""Scale over time: a Kalman filter in information form with innovation gating and a rate limit.

The state is (scale, shift) of the network's (stabilized) output. Each frame the prediction step adds process noise, as
much as a network's own scale wanders; the update takes in what that frame's anchors determine, be it both numbers or
one direction of them. Estimates that a prior or a floor went into err alike from frame to frame, and are fused by
covariance intersection instead. A frame that contradicts the state is rejected and widens its covariance, so that a
lone outlier changes nothing and a true step of scale is taken over within a few frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.fit import ScaleFit, ViewNormalisation
from depthnet_ros.metric_scale.two_by_two import change_of_unit, determinant, inverse, pseudo_inverse

_FREEDOM = 2.0  # degrees of freedom: scale and shift

# Chosen on the recordings of benchmarks/metric_scale.py; none is sharp.

# Rejected frames.
_REJECTED_GROWTH = 1.5  # of the covariance, with each frame that is rejected
_REJECTED_SIGMA = 0.5  # of the state, relative to it, that each one in a row adds along scale and shift together

# Limits.
_MAX_SIGMA = 1.5  # of the state, relative to it: "anything"
_MIN_SHARE = 1e-3  # of that, on top of any sigma
_FAR_MARGIN = 0.05  # least inverse depth of the farthest 5 % of a view, relative to the median's
_LEAST_SCALE = 0.05  # share of the scale before, that an update which would turn it round leaves
_LEAST_LEVEL = 0.1  # of the gain: as a share of a level that is closer to zero nothing is measured

# Covariance intersection: the weight of the new estimate.
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)  # tried, for the one that makes the fused estimate surest
_EVEN_SHARE = 0.5  # between estimates that are equally sure ...
_SIMILAR = 10.0  # ... as whose determinants differ by less than this factor

# What innovations tell of the network.
_NIS_GAIN = 0.2  # per frame, of the running mean of the normalised innovation squared, per degree of freedom
_MAX_NIS = 20.0  # that counts of one frame: a lone outlier must not rule for long
_NOISE_DECAY = 0.85  # factor on the process noise with each frame whose innovation is smaller than expected
_LEAST_NOISE, _MOST_NOISE = 0.03, 30.0  # limits of that factor
_STEADY_S = 0.3  # frames closer than this follow one another

# Standard deviations.
_CUT_SIGMA = 0.3  # of gain and level, relative to them, that a cut of the scene adds
_METRIC_SIGMA = 0.3  # of the scale of a network's own metres, relative ...
_METRIC_SHIFT_SIGMA = 0.05  # ... and of their shift, 1/m
_WITHIN, _BEYOND, _AWAY = 0.05, 0.2, 25.0
"""Share of a difference that the smoothed state follows in a frame: within the estimate's sigma (chi square far below
one), beyond it, and the chi square at which all of it is followed at once."""


class ScaleFilter:
    """Estimate of scale and shift with covariance. Plain numbers: it knows neither time nor sensors.

    It is kept as (scale, shift), which hold from view to view, and updated as (gain, level) of a view, which are almost
    uncorrelated and both in 1/m.
    """

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self.state: NDArray[np.float64] | None = None
        """(scale, shift), or None before the first frame with anchors."""
        self.covariance: NDArray[np.float64] = np.eye(2)
        self.smoothed: NDArray[np.float64] | None = None
        """The state as it is given out: it follows slowly while it is within the estimate's own sigma."""
        self.rejected = 0
        """Frames rejected in a row."""
        self._nis = 1.0
        self._noise_factor = 1.0

    def begin(self, gain_level: NDArray[np.float64], covariance: NDArray[np.float64], view: ViewNormalisation) -> bool:
        """Start from a first guess in terms of the view; false, and nothing is done, if it is not finite."""
        if not _finite(gain_level, covariance):
            return False
        change = view.to_scale_shift()
        self.state = self.smoothed = change @ gain_level
        self.covariance = change @ covariance @ change.T
        self.rejected = 0
        self._nis = 1.0
        return True

    def begin_metric(self) -> None:
        """Start from a network's own claim of metres."""
        self.state = self.smoothed = np.array([1.0, 0.0])
        self.covariance = np.diag([_METRIC_SIGMA**2, _METRIC_SHIFT_SIGMA**2])

    def forget(self) -> None:
        """As before the first frame with anchors."""
        self.state = self.smoothed = None
        self.rejected = 0

    def change_unit(self, gain: float, offset: float) -> None:
        """The network's output is ``gain * old + offset`` from now on: the same estimate of it."""
        if self.state is None or self.smoothed is None:
            return
        change = change_of_unit(gain, offset)
        self.state, self.smoothed = change @ self.state, change @ self.smoothed
        self.covariance = change @ self.covariance @ change.T

    def predict(self, view: ViewNormalisation, elapsed_s: float, cut: bool = False) -> None:
        """Add the process noise of one frame and the drift of ``elapsed_s``; after a ``cut`` of the scene much more."""
        if self.state is None:
            return
        config = self._config
        drift = config.process_noise_per_second**2 * max(elapsed_s, 0.0)
        if elapsed_s < _STEADY_S:  # frames follow one another, and innovations tell how much scale really moves
            drift *= min(self._noise_factor, 1.0)
        share = config.process_noise_per_frame**2 * self._noise_factor + drift
        if cut:
            share += _CUT_SIGMA**2
        gain, level = view.from_scale_shift() @ self.state
        change = view.to_scale_shift()
        noise = np.diag([share * gain**2, share * max(level, _LEAST_LEVEL * gain) ** 2])
        self.covariance = self.covariance + change @ noise @ change.T
        self._cap(view)

    def fit_prior(self, view: ViewNormalisation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(2,) gain and level to begin a fit at, and (2, 2) their inverse covariance."""
        prior, covariance = self._in_view(view)
        return prior, inverse(covariance)

    def update(self, fit: ScaleFit, view: ViewNormalisation, limit_rate: bool) -> bool:
        """Take in one frame's fit (True), or reject it.

        Args:
            fit: of the frame's anchors, in terms of the view.
            view: of the frame's prediction.
            limit_rate: no more than ``max_change`` in this frame.
        """
        if not _finite(fit.vector, fit.information):  # NaN passes every gate below, and stays for good
            return self._reject(view)
        prior, covariance = self._in_view(view)
        posterior, posterior_covariance = _with_fit(prior, covariance, fit)
        # With an innovation v of covariance S the step is K v, and P- - P+ is K S K'. So the step's chi square by that
        # difference is v' S^-1 v, the innovation's own, however many directions the fit determines.
        moved = posterior - prior
        chi_square = float(moved @ pseudo_inverse(covariance - posterior_covariance) @ moved)
        if self._gated(chi_square):
            if not fit.corroborated:
                return self._reject(view)
            # Many anchors agree with the image, from near to far: it is the old estimate that is out of date.
            posterior, posterior_covariance = _with_fit(prior, covariance * (chi_square / _FREEDOM), fit)
            limit_rate = False
        posterior, posterior_covariance = _in_front(posterior, posterior_covariance, view)
        if posterior[0] <= 0:  # a scale must be positive: keep it small and let the level carry the frame
            posterior = np.array([_LEAST_SCALE * abs(prior[0]), posterior[1]])
        if limit_rate and self.rejected == 0:
            posterior, posterior_covariance = self._held_back(prior, posterior, posterior_covariance)
        self._learn_innovation(chi_square / _FREEDOM, fresh=True)
        return self._accept(posterior, posterior_covariance, view)

    def fuse(
        self, state: NDArray[np.float64], covariance: NDArray[np.float64], view: ViewNormalisation, limit_rate: bool
    ) -> bool:
        """Take in (True) or reject a frame's whole estimate, whose error may be that of the frames before: a prior or a
        floor errs alike each time. Covariance intersection (Julier and Uhlmann, 1997) takes no repetition for
        certainty: ``P^-1 = (1 - w) A^-1 + w B^-1``, w such that P is smallest.

        Args:
            state: (2,) gain and level in terms of the view.
            covariance: (2, 2) of them.
            view: of the frame's prediction.
            limit_rate: no more than ``max_change`` in this frame.
        """
        if not _finite(state, covariance):
            return self._reject(view)
        prior, prior_covariance = self._in_view(view)
        moved = state - prior
        chi_square = float(moved @ inverse(prior_covariance + covariance) @ moved)
        if self._gated(chi_square):
            return self._reject(view)
        known, new = inverse(prior_covariance), inverse(covariance)
        share = self._share_of_new(known, new)
        fused_covariance = inverse((1.0 - share) * known + share * new)
        fused = fused_covariance @ ((1.0 - share) * known @ prior + share * new @ state)
        fused, fused_covariance = _in_front(fused, fused_covariance, view)
        if fused[0] <= 0:  # a mean weighted by matrices may lie outside of both
            fused, fused_covariance = state, covariance
        if limit_rate and self.rejected == 0:
            fused, fused_covariance = self._held_back(prior, fused, fused_covariance)
        self._learn_innovation(chi_square / _FREEDOM, fresh=False)
        return self._accept(fused, fused_covariance, view)

    def _accept(self, state: NDArray[np.float64], spread: NDArray[np.float64], view: ViewNormalisation) -> bool:
        to = view.to_scale_shift()
        self.rejected = 0
        self.state, self.covariance = to @ state, to @ spread @ to.T
        self._cap(view)
        assert self.smoothed is not None
        if self.state[0] * self.smoothed[0] <= 0:  # near and far would change places until it has caught up
            self.smoothed = self.state
        behind = self.state - self.smoothed
        chi_square = float(behind @ inverse(self.covariance) @ behind)
        share = _WITHIN + (_BEYOND - _WITHIN) * min(chi_square, 1.0) + (chi_square / _AWAY) ** 2
        self.smoothed = self.smoothed + min(1.0, share) * behind
        return True

    def _reject(self, view: ViewNormalisation) -> bool:
        """What steps is the network's own unit, scale and shift together: along that line covariance grows."""
        assert self.state is not None
        self.rejected += 1
        along = _REJECTED_SIGMA * self.rejected * self.state
        self.covariance = _REJECTED_GROWTH * self.covariance + np.outer(along, along)
        self._cap(view)
        return False

    def relative_sigma(self, view: ViewNormalisation, farthest_m: float) -> float:
        """Standard deviation of inverse depth as a share of it, root mean square over the view's far end, median and
        near end; infinite where nothing is known. What is beyond ``farthest_m``, the farthest depth that is given out,
        counts as being there, sky say: a share of next to nothing says nothing.
        """
        if self.state is None:
            return float("inf")
        back = view.from_scale_shift()
        rows = np.array([[view.far, 1.0], [0.0, 1.0], [view.far + 1.0, 1.0]])  # of gain and level to inverse depth
        value = rows @ (back @ self.state)
        if value[1] <= 0:
            return float("inf")
        variance = np.einsum("ij,jk,ik->i", rows, back @ self.reported_covariance @ back.T, rows)
        least = max(_FAR_MARGIN * float(value[1]), 1.0 / farthest_m)
        share = variance / np.square(np.maximum(value, least))
        return float(np.sqrt(share.mean()))

    @property
    def reported_covariance(self) -> NDArray[np.float64]:
        """(2, 2) of scale and shift as they are given out: widened where innovations have been larger than expected,
        and by as much as :attr:`smoothed` is behind the state.
        """
        covariance = self.covariance * max(self._nis, 1.0)
        if self.state is not None and self.smoothed is not None:
            behind = self.state - self.smoothed
            covariance = covariance + np.outer(behind, behind)
        return np.asarray(covariance)

    def _in_view(self, view: ViewNormalisation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(2,) gain and level of a view by the estimate, and (2, 2) their covariance."""
        assert self.state is not None
        back = view.from_scale_shift()
        return back @ self.state, np.asarray(back @ self.covariance @ back.T)

    def _gated(self, chi_square: float) -> bool:
        """An innovation is too large to be believed."""
        return chi_square > self._config.gate_sigma**2

    def _share_of_new(self, known: NDArray[np.float64], new: NDArray[np.float64]) -> float:
        """Weight of the new information (2, 2) in a covariance intersection with what is known."""
        odds = determinant(new) / max(determinant(known), 1e-300)
        if self.rejected == 0 and 1.0 / _SIMILAR < odds < _SIMILAR:  # equally good, as in frames of one kind
            return _EVEN_SHARE
        return max(_SHARES, key=lambda share: determinant((1.0 - share) * known + share * new))

    def _learn_innovation(self, per_freedom: float, fresh: bool) -> None:
        """A network that wanders less than expected is averaged for longer, one that wanders more is followed.

        Args:
            per_freedom: chi square of an accepted innovation, per degree of freedom: one on average.
            fresh: its error is independent of the frames before, so that it also tells whether sigma is right.
        """
        self._nis += _NIS_GAIN * ((min(per_freedom, _MAX_NIS) if fresh else 1.0) - self._nis)
        self._noise_factor *= _NOISE_DECAY if per_freedom < 1.0 else min(per_freedom, _MAX_NIS) ** 0.5
        self._noise_factor = min(max(self._noise_factor, _LEAST_NOISE), _MOST_NOISE)

    def _held_back(
        self, prior: NDArray[np.float64], target: NDArray[np.float64], covariance: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As near to ``target`` as ``max_change`` lets it go in one frame, and as unsure as it is far from there."""
        state = prior + (target - prior) * self._allowed(prior, target - prior)
        left = target - state
        return state, covariance + np.outer(left, left)

    def _allowed(self, prior: NDArray[np.float64], moved: NDArray[np.float64]) -> float:
        """Share of a step (2,) from ``prior`` that ``max_change`` allows."""
        gain, level = np.abs(prior)
        of_gain = abs(moved[0]) / max(gain, 1e-9)
        of_level = abs(moved[1]) / max(level, _LEAST_LEVEL * gain, 1e-9)
        step = max(of_gain, of_level)
        return min(1.0, self._config.max_change / step) if step > 0 else 1.0

    def _cap(self, view: ViewNormalisation) -> None:
        """Sigma stays between next to nothing (no matrix may become singular) and "anything", some times the state."""
        assert self.state is not None
        to = view.to_scale_shift()
        (gain, level), covariance = self._in_view(view)
        limit = _MAX_SIGMA * max(abs(level), abs(gain))
        shrink = np.minimum(1.0, limit / np.sqrt(np.maximum(np.diag(covariance), 1e-18)))
        covariance = covariance * np.outer(shrink, shrink) + _MIN_SHARE**2 * limit**2 * np.eye(2)
        self.covariance = to @ covariance @ to.T


def _with_fit(
    prior: NDArray[np.float64], covariance: NDArray[np.float64], fit: ScaleFit
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Kalman's update in information form: (2,) gain and level, and (2, 2) their covariance."""
    information = inverse(covariance)
    posterior_covariance = inverse(information + fit.information)
    return posterior_covariance @ (information @ prior + fit.vector), posterior_covariance


def _in_front(
    state: NDArray[np.float64], covariance: NDArray[np.float64], view: ViewNormalisation
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse depth cannot be negative: where the estimate says so of the farthest 5 % of the view, it is led back by a
    measurement that this is at the margin, give or take the margin: as far as anchors leave that open. Where they are
    sure the network bends there, and what is far becomes +Inf.
    """
    row = np.array([view.far, 1.0])  # of gain and level to that inverse depth
    value, margin = float(row @ state), _FAR_MARGIN * abs(float(state[1]))
    if value >= margin:
        return state, covariance
    variance = float(row @ covariance @ row)
    kalman_gain = covariance @ row / (variance + margin**2)
    return state + kalman_gain * (margin - value), covariance - np.outer(kalman_gain, row @ covariance)


def _finite(*arrays: NDArray[np.float64]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)
