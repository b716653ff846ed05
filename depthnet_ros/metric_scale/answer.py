"""What a frame is answered with: metres, or why there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale.config import MetricScaleConfig, ScaleMode, ScaleState
from depthnet_ros.metric_scale.result import MetricDepth, ScaleEstimate
from depthnet_ros.metric_scale.tracker import Intake


def without_metres(
    config: MetricScaleConfig,
    state: ScaleState,
    message: str,
    age_s: float = float("inf"),
    troubles: tuple[str, ...] = (),
    intake: Intake | None = None,
) -> MetricDepth:
    """An answer without metres; ``intake``: what became of the frame's anchors."""
    return MetricDepth(
        state=state,
        published=False,
        message=message,
        min_depth_m=config.min_depth_m,
        max_depth_m=config.max_depth_m,
        anchor_count=0 if intake is None else intake.count,
        inlier_count=intake.inliers if intake is not None and intake.accepted else 0,
        age_s=age_s,
        troubles=troubles,
        edge_share=config.edge_sigma,
        tolerance=config.confidence_tolerance,
    )


def without_anchors(config: MetricScaleConfig, prediction: DepthPrediction, blank: str) -> MetricDepth:
    """Modes none and fixed: nothing is learnt, each frame stands alone; ``blank``: why the picture shows nothing."""
    if blank:
        return without_metres(config, ScaleState.DEGRADED, blank)
    if config.scale_mode is ScaleMode.FIXED:
        scale, shift = config.fixed_scale, config.fixed_shift
        answer = without_metres(config, ScaleState.CALIBRATED, "")
    elif prediction.metric:
        scale, shift = 1.0, 0.0
        why = "metres as the network claims them; no sensor confirms it"
        answer = without_metres(config, ScaleState.DEGRADED, why)
    else:
        hint = "scale.mode is none: set it to fixed or anchors to get metres"
        return without_metres(config, ScaleState.UNCALIBRATED, hint)
    raw, covariance = prediction.inverse_depth, np.zeros((2, 2))
    estimate = ScaleEstimate(scale, shift, covariance, 0.0, config.network_sigma)
    inverse_depth = np.float32(scale) * raw + np.float32(shift)
    return replace(
        answer,
        published=config.publishes(answer.state),
        estimate=estimate,
        inverse_depth=inverse_depth,
        relative=raw,
        steady_covariance=covariance,
        log_sigma=prediction.log_sigma,
    )
