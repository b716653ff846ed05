"""Frames in, figures out: everything that one evaluation adds up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.album import Album
from depthnet_ros.evaluation.bands import BandTally, band_of
from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.flicker import Flicker
from depthnet_ros.evaluation.frame import MEASURES, Frame, Judged, judge, to_depth
from depthnet_ros.evaluation.objects import ObjectTally
from depthnet_ros.evaluation.obstacle_view import ObstacleView
from depthnet_ros.evaluation.sigma import SigmaTally
from depthnet_ros.metric_scale import ScaleState
from depthnet_ros.navigation.config import NavigationConfig

STATES = tuple(state.value for state in ScaleState)
_BINS_PER_UNIT = 40
_HALF_SPAN = 1.0 + 0.5 / _BINS_PER_UNIT  # bins are centred on 0, 1/40, ...
_STEP = 3  # every third pixel of each row and column says enough about sigma and histograms


@dataclass(frozen=True)
class SessionOptions:
    """Between which depths the reference counts, and what planners would be given."""

    min_depth_m: float = 0.1
    max_depth_m: float = 80.0
    navigation: NavigationConfig = field(default_factory=NavigationConfig)
    points_stride: int = 2


class EvaluationSession:
    """Add frames in order; ask for the figures at any time."""

    def __init__(self, options: SessionOptions = SessionOptions(), pictures: int = 6) -> None:
        self.frames = Columns()
        self.album = Album(pictures)
        self._options = options
        self._bands = {"aligned": BandTally(), "metric": BandTally()}
        self._flicker = {"aligned": Flicker(), "metric": Flicker()}
        self._sigma = {"aligned": SigmaTally(), "metric": SigmaTally()}
        self._obstacles = ObstacleView(options.navigation, options.points_stride)
        self.objects = ObjectTally()
        self._last_alignment: tuple[float, float] | None = None
        self._signed_error = np.zeros(2 * _BINS_PER_UNIT + 1, dtype=np.int64)

    def add(self, frame: Frame) -> bool:
        """Take in one frame; False if it could not be compared: no reference, or too little of it within the depths."""
        judged = judge(frame, self._options.min_depth_m, self._options.max_depth_m)
        if judged is None or frame.reference_m is None:
            return False
        row: dict[str, float | None] = {
            "stamp_s": 1e-9 * frame.stamp_ns,
            "reference_gap_s": frame.reference_gap_s,
            "reference_pixels": float(np.count_nonzero(judged.valid)),
            "aligned.scale": judged.scale,
            "aligned.shift": judged.shift,
            "aligned.coverage": judged.coverage,
        }
        row |= {f"aligned.{name}": judged.aligned[name] for name in MEASURES}
        row |= self._metric_row(frame, judged)
        row |= self._flicker_row(frame, judged)
        row |= self._obstacles.rates(frame)
        row |= {f"latency.{stage}": seconds for stage, seconds in frame.stage_s.items()}
        row["latency.total"] = sum(frame.stage_s.values())
        self._tally(frame, judged)
        self.frames.append(row)
        self.album.offer(len(self.frames) - 1, frame, judged)
        return True

    def figures(self, used_share: float = 1.0) -> dict[str, Any]:
        """Means over frames, sums over pixels by distance, calibration of sigma, latency.

        ``used_share``: of the images, those that could be used; the others have no metres.
        """
        published = _mean_of(self.frames["metric.published"])
        return {
            "aligned": self._side("aligned"),
            "metric": self._side("metric"),
            "published_share": None if published is None else published * used_share,
            "obstacles": self._obstacles.summary(self.frames),
            "latency_s": self._latency(),
            "signed_error_histogram": {"from": -_HALF_SPAN, "to": _HALF_SPAN, "counts": self._signed_error.tolist()},
        }

    def _metric_row(self, frame: Frame, judged: Judged) -> dict[str, float | None]:
        metric = frame.metric
        if metric is None:
            return {"metric.published": 0.0}
        row: dict[str, float | None] = {
            "metric.published": float(metric.published),
            "metric.state": float(STATES.index(metric.state.value)),
            "metric.anchors": float(metric.anchor_count),
        }
        if metric.estimate is not None:
            row |= {"metric.scale": metric.estimate.scale, "metric.shift": metric.estimate.shift}
            row["metric.relative_sigma"] = metric.estimate.relative_sigma
        row["metric.coverage"] = judged.metric_coverage
        if judged.metric is not None:
            row |= {f"metric.{name}": judged.metric[name] for name in MEASURES}
        return row

    def _flicker_row(self, frame: Frame, judged: Judged) -> dict[str, float | None]:
        assert frame.reference_m is not None
        reference = np.where(judged.valid, frame.reference_m, np.float32(np.nan))
        row: dict[str, float | None] = {}
        # Aligning each frame by itself would hide the wander of scale: this frame is shown by the last one's alignment.
        steady = self._flicker["aligned"]
        if self._last_alignment is not None:
            relative = frame.prediction.at(*reference.shape)
            moved = to_depth(relative, *self._last_alignment, self._options.max_depth_m)
            row["aligned.flicker"] = steady.compare(frame.stamp_ns, moved, reference)
        steady.remember(frame.stamp_ns, judged.aligned_m, reference)
        self._last_alignment = (judged.scale, judged.shift)
        if judged.metric_m is not None:
            row["metric.flicker"] = self._flicker["metric"].update(frame.stamp_ns, judged.metric_m, reference)
        else:
            self._flicker["metric"].reset()
        return row

    def _tally(self, frame: Frame, judged: Judged) -> None:
        assert frame.reference_m is not None
        valid = judged.valid
        truth = frame.reference_m[valid]
        band = band_of(truth)
        self._bands["aligned"].add(judged.aligned_m[valid], truth, band)
        if judged.metric_m is not None:
            asked = judged.metric_valid[valid]
            self._bands["metric"].add(judged.metric_m[valid][asked], truth[asked], band[asked])
        self._tally_sigma(frame, judged)
        if judged.metric_m is not None:
            self._tally_shown(frame, judged.metric_m, judged.metric_valid)
        elif not frame.metres_asked:
            self._tally_shown(frame, judged.aligned_m, valid)

    def _tally_shown(self, frame: Frame, depth_m: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        assert frame.reference_m is not None
        reference = np.where(valid, frame.reference_m, np.float32(np.nan))
        relative = (depth_m[::_STEP, ::_STEP] / reference[::_STEP, ::_STEP]).ravel()
        last = len(self._signed_error) - 1
        bins = np.clip(relative[np.isfinite(relative)] * _BINS_PER_UNIT + 0.5, 0, last).astype(np.intp)
        self._signed_error += np.bincount(bins, minlength=last + 1)
        if frame.boxes:
            self.objects.add(frame.stamp_ns, frame.boxes, depth_m, reference, frame.prediction.source_size)

    def _tally_sigma(self, frame: Frame, judged: Judged) -> None:
        assert frame.reference_m is not None
        step = (slice(None, None, _STEP),) * 2
        valid, reference = judged.valid[step], frame.reference_m[step]
        shape = judged.valid.shape
        log_sigma = frame.prediction.log_sigma
        if log_sigma is not None and judged.scale > 0:
            full = cv2.resize(log_sigma, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
            sigma = np.exp(full[step][valid]) * judged.scale
            relative = frame.prediction.at(*shape)[step][valid]
            self._sigma["aligned"].add(relative * judged.scale + judged.shift - 1.0 / reference[valid], sigma)
        if judged.metric_m is not None and frame.metric is not None:
            asked = judged.metric_valid[step]
            error = judged.metric_m[step][asked] - reference[asked]
            self._sigma["metric"].add(error, frame.metric.sigma_m(*shape)[step][asked])

    def _side(self, side: str) -> dict[str, Any] | None:
        if not np.isfinite(self.frames[f"{side}.abs_rel"]).any():
            return None
        names = (*MEASURES, "flicker", "coverage")
        figures: dict[str, Any] = {name: self.frames.mean(f"{side}.{name}") for name in names}
        return {**figures, "bands": self._bands[side].to_list(), "sigma": self._sigma[side].to_dict()}

    def _latency(self) -> dict[str, dict[str, float]]:
        table = {}
        for name in self.frames.names:
            if name.startswith("latency."):
                values = self.frames[name]
                values = values[np.isfinite(values)]
                median, high = np.percentile(values, (50, 95))
                table[name.removeprefix("latency.")] = {"median": float(median), "p95": float(high)}
        return table


def _mean_of(values: Any) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None
