"""One frame's depth against its reference: aligned, and as published in metres."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.alignment import MIN_PIXELS, align_scale_shift
from depthnet_ros.evaluation.metrics import depth_metrics
from depthnet_ros.evaluation.objects import Box
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.masks import resized_mask
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricDepth

MEASURES = ("abs_rel", "rmse", "delta1", "bias", "silog")
"""Of each frame, of those that :func:`~depthnet_ros.evaluation.metrics.depth_metrics` has."""


@dataclass(frozen=True)
class Frame:
    """One frame as the pipeline leaves it.

    Attributes:
        stamp_ns: of the image.
        rgb: (H, W, 3) uint8.
        prediction: of the network.
        metric: from the metric scaler, or None where it was not asked.
        camera: of the image, or None without camera_info.
        reference_m: (h, w) metres, NaN unknown, +Inf nothing there; any size; None if none met the image in time.
        reference_gap_s: stamp of the reference minus stamp of the image.
        stage_s: seconds by stage.
        level_from_optical: (4, 4) into a frame with x ahead, z up and zero height on the ground; None if unknown.
        boxes: objects in the image.
        valid_mask: (H, W), False where the rectified image has no pixel; None: it has all.
        metres_asked: metres were to come: where none did, depth that was brought to the reference's scale does not
            stand in for them.
    """

    stamp_ns: int
    rgb: NDArray[np.uint8]
    prediction: DepthPrediction
    metric: MetricDepth | None
    camera: PinholeCamera | None
    reference_m: NDArray[np.float32] | None
    reference_gap_s: float = 0.0
    stage_s: dict[str, float] = field(default_factory=dict)
    level_from_optical: NDArray[np.float64] | None = None
    boxes: tuple[Box, ...] = ()
    valid_mask: NDArray[np.bool_] | None = None
    metres_asked: bool = False

    @property
    def published_m(self) -> NDArray[np.float32] | None:
        """(h, w) metres as the node publishes them, on the reference's grid (else the image's); None: no metres."""
        if self.metric is None or not self.metric.published:
            return None
        shape = self.rgb.shape[:2] if self.reference_m is None else self.reference_m.shape
        return self.masked(self.metric.depth_m(shape[0], shape[1]))

    def masked(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) depth on any grid of the image, NaN where the image has no pixel."""
        seen = self.seen_at(*depth_m.shape)
        return depth_m if seen is None else np.where(seen, depth_m, np.float32(np.nan))

    def seen_at(self, height_px: int, width_px: int) -> NDArray[np.bool_] | None:
        """:attr:`valid_mask` on another grid, (height_px, width_px); None if there is none."""
        if self.valid_mask is None or self.valid_mask.shape == (height_px, width_px):
            return self.valid_mask
        return resized_mask(self.valid_mask, height_px, width_px)


@dataclass(frozen=True)
class Judged:
    """What the comparison of one frame gave.

    Attributes:
        aligned_m: (h, w) metres, the prediction brought to the reference's scale and shift.
        metric_m: (h, w) metres as published, NaN where nothing finite was; None where no metres went out.
        valid: (h, w) reference pixels that count.
        metric_valid: (h, w) those of them between the depths that are published: beyond, +Inf is the right answer, and
            says nothing of coverage or error.
        scale, shift: of the alignment: ``1 / depth = scale * relative + shift``.
        aligned, metric: measures by name; ``metric`` is None where no metres went out.
        coverage: share of ``valid`` for which the network gave depth.
        metric_coverage: share of ``metric_valid`` that got metres; None where too few pixels were to get any.
    """

    aligned_m: NDArray[np.float32]
    metric_m: NDArray[np.float32] | None
    valid: NDArray[np.bool_]
    metric_valid: NDArray[np.bool_]
    scale: float
    shift: float
    aligned: dict[str, float]
    metric: dict[str, float] | None
    coverage: float
    metric_coverage: float | None


def judge(frame: Frame, min_depth_m: float, max_depth_m: float) -> Judged | None:
    """Compare a frame with its reference between two depths; None if too few of the reference's pixels lie there, or
    the network gave depth for too few of them."""
    reference = frame.reference_m
    if reference is None:
        return None
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(reference) & (reference >= min_depth_m) & (reference <= max_depth_m)
    seen = frame.seen_at(*reference.shape)
    if seen is not None:
        valid &= seen
    relative = frame.prediction.at(*reference.shape)
    known = valid & np.isfinite(relative)  # a network of depth may leave pixels unknown
    if np.count_nonzero(known) < MIN_PIXELS:
        return None
    inverse = np.divide(1.0, reference, out=np.zeros_like(reference), where=valid)
    scale, shift = align_scale_shift(relative, inverse, known)
    aligned = to_depth(relative, scale, shift, max_depth_m)
    metric_m, metric, metric_valid = _judge_metric(frame, reference, valid)
    return Judged(
        *(aligned, metric_m, valid, metric_valid, scale, shift, _measures(aligned, reference, known), metric),
        coverage=np.count_nonzero(known) / np.count_nonzero(valid),
        metric_coverage=_coverage(metric_m, metric_valid),
    )


def to_depth(relative: NDArray[np.float32], scale: float, shift: float, max_depth_m: float) -> NDArray[np.float32]:
    """(H, W) relative inverse depth to (H, W) metres; what is beyond ``max_depth_m``, or behind the camera, is set to
    it (MiDaS). ``scale`` and ``shift`` give the inverse depth in 1/m.
    """
    inverse = relative * np.float32(scale) + np.float32(shift)
    return np.float32(1.0) / np.maximum(inverse, np.float32(1.0 / max_depth_m))


def _judge_metric(
    frame: Frame, reference: NDArray[np.float32], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32] | None, dict[str, float] | None, NDArray[np.bool_]]:
    published = frame.published_m
    if published is None or frame.metric is None:
        return None, None, np.zeros_like(valid)
    depth = np.where(np.isfinite(published), published, np.float32(np.nan))
    asked = valid & (reference >= frame.metric.min_depth_m) & (reference <= frame.metric.max_depth_m)
    known = asked & np.isfinite(depth)
    measures = _measures(depth, reference, known) if np.count_nonzero(known) >= MIN_PIXELS else None
    return depth, measures, asked


def _coverage(metric_m: NDArray[np.float32] | None, asked: NDArray[np.bool_]) -> float | None:
    if metric_m is None or (of := np.count_nonzero(asked)) < MIN_PIXELS:
        return None
    return float(np.count_nonzero(asked & np.isfinite(metric_m)) / of)


def _measures(
    depth_m: NDArray[np.float32], reference_m: NDArray[np.float32], valid: NDArray[np.bool_]
) -> dict[str, float]:
    found = depth_metrics(depth_m, reference_m, valid)
    return {name: found[name] for name in MEASURES}
