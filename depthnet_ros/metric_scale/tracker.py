"""The estimate and what it learns from each frame's anchors: scale and shift, the network's error, its curve."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.correction import MonotoneCorrection
from depthnet_ros.metric_scale.evidence import Floor, Points, SpreadPrior, ZeroPrior
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import Observations, ViewNormalisation, quantiles, robust_fit
from depthnet_ros.metric_scale.grid import WIDEST
from depthnet_ros.metric_scale.observe import Observer
from depthnet_ros.metric_scale.uncertainty import ResidualLevel
from depthnet_ros.metric_scale.view_depth import ViewDepth, depth_spread, estimate_view_depth

# Standard deviations of the depth spread:
_MEMORY_SIGMA = 0.1  # by where infinity lay when points last determined it
_METRIC_SIGMA = 0.15  # of a network that claims metres
_OWN_ZERO_SIGMA = 0.25  # by a network's own zero, at least: its word alone must not make scale `calibrated`
BEYOND = 2.4
"""Depth spread that a network's own zero can claim for views in general: that of a view whose far end lies beyond
infinity."""
_FITS = 0.25  # difference of log inverse depth at which an observation's weight is one half
_LEAST_FLOOR, _FLOOR_ALONE, _CLEARLY_FLOOR = 0.08, 0.42, 0.5
"""Shares of the view below the horizon that look like floor. A bare wall has .40, by the prior alone."""
_ASKED_EVERY = 10  # frames: it takes as long as a fit
_LEAST_OFF = 0.4  # log of how many times nearer or farther points must be to contradict range finders or the floor
_BELOW_GROUND, _BELOW_SIGMAS = 1.3, 2.0
"""So many times as far as a declared ground lets things be, and so many of its own standard deviations beyond it, they
lie below it."""
_BELOW_SHARE, _BELOW_NO_MORE = 0.3, 0.2  # of its part of the view, from which on that is told, and until which
_MOST_CAUTION = 10.0  # times nearer: by then next to nothing is free, and a far end beyond infinity has any number
_TELLING = 0.3  # depth spread of a view that tells where infinity is; in a flat one it is guessed
_SPREAD_OUT = 0.5  # standard deviation of the network's output at points all over a picture, over the picture's own
_ALIKE, _ALIKE_SHARE, _ALIKE_SIGMAS = 0.2, 0.45, 1.15
"""Anchors are all alike if eight of ten lie within this log of each other, and within this share of what a view has
whose depth spread is so many standard deviations less than expected."""
_INFORMED, _EQUAL = 0.6, 0.005
"""Standard deviation of a depth spread of which the network's own zero or memory tells; where nothing does a wall is as
likely as a faulty sensor, and only what is equal to half a per cent is taken for that."""
_USUAL_FAR, _SPREAD_PER_FAR = -0.3, 0.8
"""Views whose median lies near their far end, a floor before a wall, say, reach farther: a regression of the view's
depth spread on ``ViewNormalisation.far`` (``benchmarks/view_range.py``)."""


@dataclass(frozen=True)
class UpdateResult:
    """What became of one frame's anchors.

    Attributes:
        count: anchors that were offered.
        inliers: of them, those that the fit agrees with.
        weights: (N,) 0..1 of each row of the frame's observations.
        accepted: the filter took the frame in.
        well_posed: measurements determine scale *and* shift.
        notes: what contradicts, or was looked for in vain.
    """

    count: int
    inliers: int
    weights: NDArray[np.float64]
    accepted: bool
    well_posed: bool
    notes: tuple[str, ...] = ()


class ScaleTracker:
    """The estimate of one network on one camera, and what it learns from anchors.

    Attributes:
        filter: scale and shift over time.
        residuals: the network's relative error.
        correction: of the network's curve.
        rng: that the robust fit draws its pairs with.
        alike: what to say of points that lie all over the picture at one distance; empty if the last did not.
    """

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self.filter = ScaleFilter(config)
        self.residuals = ResidualLevel(config.network_sigma)
        self.correction = MonotoneCorrection()
        self.rng = np.random.default_rng(0)
        self._zero: float | None = None
        """Relative inverse depth of infinity when points last determined it."""
        self._zero_variance = 0.0
        self._unasked = _ASKED_EVERY
        self._contradiction: tuple[str, ...] = ()
        self._unwitnessed = 0
        self._below = False
        self._too_far = 1.0
        """How many times as far as range finders or floor the points have everything; 1: they agree, or it is less."""
        self.alike = ""

    @property
    def estimate(self) -> tuple[float, float] | None:
        """Scale and shift of the steadied prediction, or None before the first anchors."""
        state = self.filter.state
        return None if state is None else (float(state[0]), float(state[1]))

    def forget(self) -> None:
        """Begin anew with the next anchors."""
        self.filter.forget()
        self.residuals.forget_recent()
        self._zero = None
        self._unasked, self._contradiction, self._too_far, self.alike = _ASKED_EVERY, (), 1.0, ""

    def change_unit(self, gain: float, offset: float) -> None:
        """The steadied prediction is ``gain * old + offset`` from now on."""
        self.filter.change_unit(gain, offset)
        if self._zero is not None:
            self._zero = gain * self._zero + offset

    def predict(self, view: ViewNormalisation, elapsed_s: float, cut: bool) -> None:
        """Pass from the last frame to this one."""
        self.filter.predict(view, elapsed_s, cut)
        config = self._config
        self.residuals.pass_time(elapsed_s, config.source_timeout_s)
        self._zero_variance += config.process_noise_per_frame**2 + config.process_noise_per_second**2 * max(
            elapsed_s, 0.0
        )
        if cut:
            self._zero = None

    def update(
        self,
        observer: Observer,
        floor: Floor | None,
        view: ViewNormalisation,
        metric: bool,
        running: bool,
        own_zero: ZeroPrior | None = None,
    ) -> UpdateResult | None:
        """One frame's anchors. None if there are none.

        Points all over the image determine scale and shift by themselves; anything less is weighed together with the
        floor and the prior.

        Args:
            observer: has looked at all anchors of the frame.
            floor: where the ground would be in the picture.
            view: of this frame's prediction.
            metric: the network itself claims metres.
            running: metres are being published, so that changes are limited in rate.
            own_zero: where infinity is by the network itself; None where it does not know.
        """
        intake = self._take_in(observer, floor, view, metric, running, own_zero)
        if observer.points and self.filter.state is not None:
            relative = np.concatenate([points.relative for points in observer.points])
            anchors = np.concatenate([points.inverse_depth for points in observer.points])
            self.residuals.look(self._corrected(relative), anchors)
        return intake

    def caution(self, floor: Floor | None) -> float:
        """How many times nearer than estimated things may be by what contradicts the estimate, at least 1: points that
        have all farther than range finders do, and a view that lies below its declared ground. No more than 10.
        """
        if self.filter.state is None or floor is None or not floor.height_known:
            return self._too_far
        farther = floor.inverse_depth / np.maximum(self._corrected(floor.relative), 1e-3 * floor.inverse_depth)
        below = np.log(farther) > np.maximum(math.log(_BELOW_GROUND), _BELOW_SIGMAS * floor.sigma)
        self._below = float(below.mean()) > (_BELOW_NO_MORE if self._below else _BELOW_SHARE)
        if not self._below:
            return self._too_far
        return min(max(self._too_far, float(np.median(farther[below]))), _MOST_CAUTION)

    def _take_in(
        self,
        observer: Observer,
        floor: Floor | None,
        view: ViewNormalisation,
        metric: bool,
        running: bool,
        own_zero: ZeroPrior | None,
    ) -> UpdateResult | None:
        prior = self._prior(view, metric, own_zero)
        observations = observer.observations()
        if self.filter.state is None and metric and observations is not None:
            self.filter.begin_metric()
        if observer.points:
            self.alike = _all_alike(observer.points, view, prior)
        if observations is not None and observer.spread_out:
            intake = self._fit(observations, observer, view, prior, running)
            if intake is not None:
                return replace(intake, notes=self._witnesses(observer, floor, view, prior))
        if observations is not None and not observer.points:  # who had all too far has no say any more
            self._contradiction, self._too_far = (), 1.0
        if observations is None and floor is None:
            return None
        weighed = estimate_view_depth(view, prior, observer.points, observer.cones, floor)
        if observations is None and (weighed.floor_share or 0.0) < _FLOOR_ALONE:  # then nothing at all was seen
            return UpdateResult(0, 0, np.zeros(0), False, False, self._notes(weighed, _FLOOR_ALONE))
        if observations is None and any(cone.reading is Reading.NEARER for cone in observer.cones):
            # What stands before sensor and lens may fill the view, and then what looks like a floor is none.
            return UpdateResult(0, 0, np.zeros(0), False, False, self._notes(weighed))
        if self.filter.state is None:
            accepted = self.filter.begin(weighed.state, weighed.covariance, view)
        else:
            accepted = self.filter.fuse(weighed.state, weighed.covariance, view, running)
        if not accepted and self.filter.rejected > 1:
            self._zero = None
        weights = self._weights(observations)
        if accepted and observations is not None and observer.points:
            self._learn_error(observations, weights, float(observations.effective.sum()))
        floor_pixels = 0 if floor is None else len(floor.relative)
        on_floor = round((weighed.floor_share or 0.0) * floor_pixels)
        inliers = int((weights > 0.5).sum()) + on_floor
        return UpdateResult(
            len(weights) + floor_pixels, inliers, weights, accepted, weighed.well_posed, self._notes(weighed)
        )

    def _fit(
        self, observations: Observations, observer: Observer, view: ViewNormalisation, usual: SpreadPrior, running: bool
    ) -> UpdateResult | None:
        """Points that determine scale and shift, or None where they do not."""
        if self.filter.state is None:
            weighed = estimate_view_depth(view, usual, observer.points, [], None)
            if not self.filter.begin(weighed.state, 4.0 * weighed.covariance, view):
                return None
        prior, information = self.filter.fit_prior(view)
        fit = robust_fit(observations, view, prior, information, self.rng)
        if not fit.well_posed:
            return None
        accepted = self.filter.update(fit, view, running)
        if accepted:
            assert self.filter.state is not None
            zero = -float(self.filter.state[1] / self.filter.state[0])
            if (depth_spread(view, zero) or 0.0) > _TELLING:
                self._zero, self._zero_variance = zero, 0.0
            effective = float(observations.effective.sum())
            if self._config.monotone:
                self.correction.update(self._at(observations), observations.inverse_depth, fit.weights, effective)
            self._learn_error(observations, fit.weights, effective)
        return UpdateResult(len(observations), fit.inliers, fit.weights, accepted, True)

    def _witnesses(
        self, observer: Observer, floor: Floor | None, view: ViewNormalisation, usual: SpreadPrior
    ) -> tuple[str, ...]:
        """What range finders and the floor say to points that determine scale by themselves; asked now and then.

        Their last word holds while a range finder that is slower than the camera is awaited.
        """
        heard = any(cone.measured for cone in observer.cones)
        witnessed = heard or (floor is not None and floor.height_known)
        self._unwitnessed = 0 if witnessed else self._unwitnessed + 1
        if self.filter.state is None or self._unwitnessed > 3 * _ASKED_EVERY:
            self._contradiction, self._too_far = (), 1.0
            return ()
        self._unasked += 1
        if not witnessed:
            return self._contradiction
        if self._unasked >= _ASKED_EVERY:
            self._unasked = 0
            weighed = estimate_view_depth(view, usual, [], observer.cones, floor)
            level, theirs = float((view.from_scale_shift() @ self.filter.state)[1]), float(weighed.state[1])
            off = math.log(max(level, 1e-9) / theirs)
            sure = heard or (weighed.floor_share or 0.0) > _CLEARLY_FLOOR
            differ = sure and abs(off) > max(_LEAST_OFF, 3.0 * math.sqrt(weighed.covariance[1, 1]) / theirs)
            which = "nearer" if off > 0 else "farther"
            told = f"points: have all {math.exp(abs(off)):.1f} times {which} than range finders or floor: one is wrong"
            self._contradiction = (told,) if differ else ()
            self._too_far = min(math.exp(-off), _MOST_CAUTION) if differ and off < 0.0 else 1.0
        return self._contradiction

    def _prior(self, view: ViewNormalisation, metric: bool, own_zero: ZeroPrior | None) -> SpreadPrior:
        """Of the depth spread: views in general, the network itself, and where infinity lay when points last told."""
        usual = self._config.view_range + _SPREAD_PER_FAR * (view.far - _USUAL_FAR)
        prior = SpreadPrior(usual, self._config.view_range_sigma)
        if metric:
            if (own := depth_spread(view, 0.0)) is not None:
                prior = prior.narrowed(own, _METRIC_SIGMA)
        elif own_zero is not None:
            own = depth_spread(view, own_zero.value)
            most = min(max(BEYOND, usual), WIDEST)
            prior = prior.narrowed(most if own is None else min(own, most), max(own_zero.sigma, _OWN_ZERO_SIGMA))
        if self._zero is not None and (known := depth_spread(view, self._zero)) is not None:
            prior = prior.narrowed(known, math.sqrt(_MEMORY_SIGMA**2 + self._zero_variance))
        return prior

    def _weights(self, observations: Observations | None) -> NDArray[np.float64]:
        if observations is None or self.filter.state is None:
            return np.zeros(0)
        estimate = np.maximum(self._at(observations), 1e-9)
        return np.asarray(1.0 / (1.0 + np.square(np.log(estimate / observations.inverse_depth) / _FITS)))

    def _at(self, observations: Observations) -> NDArray[np.float64]:
        """(N,) estimated inverse depth at the observations, before the correction."""
        assert self.filter.state is not None
        return np.asarray(self.filter.state[0] * observations.relative + self.filter.state[1])

    def _learn_error(self, observations: Observations, weights: NDArray[np.float64], effective: float) -> None:
        estimate = self._corrected(observations.relative)
        self.residuals.update(estimate, observations.inverse_depth, weights, effective)

    def _corrected(self, relative: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) estimated inverse depth, 1/m, of relative inverse depth (N,), as it is published."""
        assert self.filter.state is not None
        linear = self.filter.state[0] * relative + self.filter.state[1]
        return self.correction.apply(linear.astype(np.float32)).astype(np.float64)

    @staticmethod
    def _notes(weighed: ViewDepth, least: float = _LEAST_FLOOR) -> tuple[str, ...]:
        if weighed.floor_share is None or weighed.notes or weighed.floor_share >= least:
            return weighed.notes
        return (f"ground: only {weighed.floor_share:.0%} of the view below the horizon looks like the floor",)


def _all_alike(points: list[Points], view: ViewNormalisation, prior: SpreadPrior) -> str:
    """What to say of points all over the picture that are at one distance, where by all that is known of its depth
    spread the view is not; empty if they are not.

    It is a floor straight below, a wall, or a sensor that says the same whatever is there. No picture tells which: of a
    bare surface networks make up depth.
    """
    least = prior.mean - _ALIKE_SIGMAS * prior.sigma
    if not points or least <= 0.0:
        return ""
    x = view.normalised(np.concatenate([point.relative for point in points]))
    depth = np.log(np.concatenate([point.inverse_depth for point in points]))
    low, high = quantiles(depth, (0.1, 0.9))
    most = _ALIKE if prior.sigma < _INFORMED else _EQUAL
    if high - low > most or float(np.var(x)) < _SPREAD_OUT**2 * view.variance:
        return ""
    gain = math.expm1(least) / (view.far + 1.0 - math.exp(least) * view.far)
    below, above = quantiles(np.log(np.maximum(1.0 + gain * x, 1e-3)), (0.1, 0.9))
    if high - low > _ALIKE_SHARE * (above - below):
        return ""
    middle_m = math.exp(-0.5 * (low + high))
    return (
        f"points: all are at about {middle_m:.2f} m: a flat surface, though the network has it deep, or a faulty sensor"
    )
