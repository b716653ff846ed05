"""The estimate and what it learns from each frame's anchors: scale and shift, the network's error, its curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.correction import MonotoneCorrection
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import Observations, Reference, ScaleFit, robust_fit
from depthnet_ros.metric_scale.uncertainty import ResidualLevel


@dataclass(frozen=True)
class Intake:
    """What became of one group of anchors."""

    count: int
    fit: ScaleFit
    accepted: bool


class ScaleTracker:
    """Filter, residual level and monotone correction of one network on one camera."""

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self.filter = ScaleFilter(config)
        self.residuals = ResidualLevel(config.network_sigma)
        self.correction = MonotoneCorrection()
        self.rng = np.random.default_rng(0)

    @property
    def estimate(self) -> tuple[float, float] | None:
        """Scale and shift of the steadied prediction, or None before the first anchors."""
        state = self.filter.state
        return None if state is None else (float(state[0]), float(state[1]))

    def loosen(self, reference: Reference, elapsed_s: float, cut: bool) -> None:
        """Pass from the last frame to this one."""
        self.filter.loosen(reference, elapsed_s, cut)

    def take(
        self, observations: Observations, reference: Reference, metric: bool, running: bool, advisory: bool = False
    ) -> Intake:
        """Fit one group of anchors and offer the fit to the filter.

        Args:
            observations: of the group.
            reference: of this frame's prediction.
            metric: the network itself claims metres.
            running: metres are being published, so that changes are limited in rate.
            advisory: the group is the ground, beside sensors that measure: contradicting them, it goes unheard.
        """
        self._prepare(self.filter, observations, reference, metric)
        prior, information = self.filter.weak_prior(reference)
        fit = robust_fit(observations, reference, prior, information, self.rng)
        accepted = self.filter.take(fit, reference, running, advisory).accepted
        if accepted:
            self._learn(observations, fit)
        return Intake(len(observations), fit, accepted)

    def _prepare(self, target: ScaleFilter, observations: Observations, reference: Reference, metric: bool) -> None:
        config = self._config
        if target.state is None:
            if metric:
                target.begin_metric()
            else:
                target.begin_at(observations, reference, config.far_ratio)
        if not metric:
            target.expect_far(reference, config.far_ratio, config.far_ratio_sigma)

    def _learn(self, observations: Observations, fit: ScaleFit) -> None:
        assert self.filter.state is not None
        estimate = self.filter.state[0] * observations.relative + self.filter.state[1]
        effective = float(observations.effective.sum())
        if fit.well_posed and self._config.monotone:
            self.correction.update(estimate, observations.inverse_depth, fit.weights, effective)
            estimate = self.correction.apply(estimate)
        self.residuals.update(estimate, observations.inverse_depth, fit.weights, effective)
