"""The estimate and what it learns from each frame's anchors: scale and shift, the network's error, its curve.

Points all over the image determine scale and shift: a robust fit, which the filter takes in as a measurement. Anything
less is weighed together with the floor and a prior. Those err alike in every frame, so that the filter fuses the result
without taking repetition for certainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.alike import all_alike, lie_on
from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.correction import MonotoneCorrection
from depthnet_ros.metric_scale.evidence import Evidence, Floor
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import Observations, ScaleFit, ViewNormalisation, robust_fit
from depthnet_ros.metric_scale.frame import Frame
from depthnet_ros.metric_scale.observe import Observer
from depthnet_ros.metric_scale.spread import SpreadMemory
from depthnet_ros.metric_scale.uncertainty import ResidualLevel
from depthnet_ros.metric_scale.view_depth import ViewDepth, estimate_view_depth
from depthnet_ros.metric_scale.witnesses import MOST_CAUTION, Witnesses

_FIRST_SIGMAS = 2.0  # as which one of a first guess counts: it is made of the points that are fitted from there
_FITS = 0.25  # difference of log inverse depth at which an observation's weight is one half
_INLIER = 0.5  # weight from which on an observation counts as one
_LEAST_INVERSE = 1e-9  # 1/m, a numerical guard: no logarithm of zero

# Shares of the view below the horizon that look like floor.
_LEAST_FLOOR = 0.08  # less is told as a trouble
_FLOOR_ALONE = 0.42  # from here on a floor counts without any sensor; a bare wall has .40, by the prior alone

# A declared ground below which the view lies.
_BELOW_GROUND = 1.3  # times as far as the ground lets things be they are below it ...
_BELOW_SIGMAS = 2.0  # ... if that is so many of the ground's standard deviations, too
_BELOW_SHARE = 0.3  # of the ground's part of the view, from which on that is told ...
_BELOW_NO_MORE = 0.2  # ... and below which no more
_LEAST_SHARE = 1e-3  # of the ground's inverse depth: nothing is farther than a thousand times the ground


@dataclass(frozen=True)
class Intake:
    """What became of one frame's anchors; by default nothing was taken in.

    Attributes:
        count: anchors that were offered.
        inliers: of them, those that the fit agrees with.
        weights: (N,) 0..1 of each row of the frame's observations.
        accepted: the filter took the frame in.
        well_posed: measurements determine scale *and* shift.
        notes: what contradicts, or was looked for in vain.
    """

    count: int = 0
    inliers: int = 0
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    accepted: bool = False
    well_posed: bool = False
    notes: tuple[str, ...] = ()


class ScaleTracker:
    """The estimate of one network on one camera, and what it learns from anchors.

    Attributes:
        filter: scale and shift over time.
        residuals: the network's relative error.
        correction: of the network's curve.
        spread: what is known of the depth spread of views.
        rng: that the robust fit draws its pairs with.
        all_alike_note: what to say of points that lie all over the image at one distance; empty if the last did not.
    """

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self.filter = ScaleFilter(config)
        self.residuals = ResidualLevel(config.network_sigma)
        self.correction = MonotoneCorrection()
        self.spread = SpreadMemory(config)
        self.rng = np.random.default_rng(0)
        self._witnesses = Witnesses()
        self._is_below_ground = False
        self.all_alike_note = ""

    @property
    def estimate(self) -> tuple[float, float] | None:
        """Scale and shift of the steadied prediction, or None before the first anchors."""
        state = self.filter.state
        return None if state is None else (float(state[0]), float(state[1]))

    def forget(self) -> None:
        """Begin anew with the next anchors."""
        self.filter.forget()
        self.residuals.forget_recent()
        self.spread.forget()
        self._witnesses.forget()
        self.all_alike_note = ""

    def change_unit(self, gain: float, offset: float) -> None:
        """The steadied prediction is ``gain * old + offset`` from now on."""
        self.filter.change_unit(gain, offset)
        self.spread.change_unit(gain, offset)

    def predict(self, view: ViewNormalisation, elapsed_s: float, cut: bool) -> None:
        """Pass from the last frame to this one; ``cut``: it shows another scene."""
        self.filter.predict(view, elapsed_s, cut)
        self.residuals.pass_time(elapsed_s, self._config.source_timeout_s)
        self.spread.pass_time(elapsed_s)
        if cut:
            self.spread.forget()

    def update(self, frame: Frame, observer: Observer, floor: Floor | None, running: bool) -> Intake | None:
        """One frame's anchors. None if there are none.

        Args:
            frame: with the prediction.
            observer: has looked at all anchors of the frame.
            floor: where the ground would be in the image.
            running: metres are being published, so that changes are limited in rate.
        """
        view, metric = frame.view, frame.prediction.metric
        prior = self.spread.prior(view, metric, frame.own_zero)
        evidence = Evidence(view, prior, observer.points, observer.cones, floor)
        observations = observer.observations()
        if self.filter.state is None and metric and observations is not None:
            self.filter.begin_metric()
        if evidence.points:
            self.all_alike_note = "" if lie_on(floor, evidence.points) else all_alike(evidence.points, view, prior)
        elif observations is not None:  # range finders alone: no points are left to be contradicted
            self._witnesses.acquit()
        intake = None
        if observations is not None and observer.spread_out:
            intake = self._fitted(evidence, observations, running)
        if intake is None:
            intake = self._weighed(evidence, observations, running)
        self._watch_error(evidence)
        return intake

    def caution(self, floor: Floor | None) -> float:
        """Factor >= 1 (at most 10) by which things may be nearer than the estimate says, because something contradicts
        it: points that put everything farther than range finders do, or a view that lies below its declared ground.
        """
        too_far_by = self._witnesses.too_far_by
        if self.filter.state is None or floor is None or not floor.height_known:
            return too_far_by
        estimate = np.maximum(self._corrected(floor.relative), _LEAST_SHARE * floor.inverse_depth)
        farther = floor.inverse_depth / estimate  # times as far as the ground
        below = np.log(farther) > np.maximum(math.log(_BELOW_GROUND), _BELOW_SIGMAS * floor.sigma)
        self._is_below_ground = float(below.mean()) > (_BELOW_NO_MORE if self._is_below_ground else _BELOW_SHARE)
        if not self._is_below_ground:
            return too_far_by
        return min(max(too_far_by, float(np.median(farther[below]))), MOST_CAUTION)

    def _fitted(self, evidence: Evidence, observations: Observations, running: bool) -> Intake | None:
        """Points all over the image: a fit of gain and level. None where they do not determine both."""
        view = evidence.view
        if self.filter.state is None:
            first = estimate_view_depth(Evidence(view, evidence.prior, evidence.points, []))
            if not self.filter.begin(first.state, _FIRST_SIGMAS**2 * first.covariance, view):
                return None
        fit = robust_fit(observations, view, *self.filter.fit_prior(view), self.rng)
        if not fit.well_posed:
            return None
        accepted = self.filter.update(fit, view, running)
        if accepted:
            self._learn(observations, fit, view)
        level = float((view.from_scale_shift() @ self._state)[1])
        self._witnesses.look(evidence, level)
        return Intake(len(observations), fit.inliers, fit.weights, accepted, True, self._witnesses.notes)

    def _weighed(self, evidence: Evidence, observations: Observations | None, running: bool) -> Intake | None:
        """Anything less: all hypotheses weighed by sensors, floor and prior. None where nothing is to be weighed."""
        if observations is None and evidence.floor is None:
            return None
        weighed = estimate_view_depth(evidence)
        if observations is None:
            if (weighed.floor_share or 0.0) < _FLOOR_ALONE:  # then nothing at all was seen
                return Intake(notes=_notes(weighed, _FLOOR_ALONE))
            if any(cone.reading is Reading.NEARER for cone in evidence.cones):
                # What stands before sensor and lens may fill the view, and then what looks like a floor is none.
                return Intake(notes=_notes(weighed))
        if self.filter.state is None:
            accepted = self.filter.begin(weighed.state, weighed.covariance, evidence.view)
        else:
            accepted = self.filter.fuse(weighed.state, weighed.covariance, evidence.view, running)
        if not accepted and self.filter.rejected > 1:
            self.spread.forget()
        weights = self._weights(observations)
        if accepted and observations is not None and evidence.points:
            self._learn_error(observations, weights)
        floor_places = 0 if evidence.floor is None else len(evidence.floor.relative)
        on_floor = round((weighed.floor_share or 0.0) * floor_places)
        inliers = int((weights > _INLIER).sum()) + on_floor
        return Intake(len(weights) + floor_places, inliers, weights, accepted, weighed.well_posed, _notes(weighed))

    def _learn(self, observations: Observations, fit: ScaleFit, view: ViewNormalisation) -> None:
        """From points that determine scale and shift: where infinity is, the network's curve and its error."""
        scale, shift = self._state
        self.spread.learn(view, -float(shift / scale))
        if self._config.monotone:
            effective = float(observations.effective.sum())
            linear = self._linear(observations.relative)
            self.correction.update(linear, observations.inverse_depth, fit.weights, effective)
        self._learn_error(observations, fit.weights)

    def _learn_error(self, observations: Observations, weights: NDArray[np.float64]) -> None:
        estimate, effective = self._corrected(observations.relative), float(observations.effective.sum())
        self.residuals.update(estimate, observations.inverse_depth, weights, effective)

    def _watch_error(self, evidence: Evidence) -> None:
        """Compares all points with what is published, be they taken in or not: a sudden change shows at once."""
        if evidence.points and self.filter.state is not None:
            relative = np.concatenate([points.relative for points in evidence.points])
            inverse_depth = np.concatenate([points.inverse_depth for points in evidence.points])
            self.residuals.look(self._corrected(relative), inverse_depth)

    def _weights(self, observations: Observations | None) -> NDArray[np.float64]:
        """(N,) 0..1, how far each observation agrees with the estimate (Cauchy's weight of the log difference)."""
        if observations is None or self.filter.state is None:
            return np.zeros(0)
        estimate = np.maximum(self._linear(observations.relative), _LEAST_INVERSE)
        return np.asarray(1.0 / (1.0 + np.square(np.log(estimate / observations.inverse_depth) / _FITS)))

    @property
    def _state(self) -> NDArray[np.float64]:
        """(2,) scale and shift, once there is an estimate."""
        assert self.filter.state is not None
        return self.filter.state

    def _linear(self, relative: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) estimated inverse depth, 1/m, of relative inverse depth (N,), before the correction."""
        return np.asarray(self._state[0] * relative + self._state[1])

    def _corrected(self, relative: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) estimated inverse depth, 1/m, of relative inverse depth (N,), as it is published."""
        return self.correction.apply(self._linear(relative).astype(np.float32)).astype(np.float64)


def _notes(weighed: ViewDepth, least_floor: float = _LEAST_FLOOR) -> tuple[str, ...]:
    """What contradicts; if nothing does, that the floor was looked for in vain."""
    if weighed.floor_share is None or weighed.notes or weighed.floor_share >= least_floor:
        return weighed.notes
    return (f"ground: only {weighed.floor_share:.0%} of the view below the horizon looks like the floor",)
