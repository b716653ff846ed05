"""Depth and its reference as a planner would get them, and how the two differ."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.frame import Frame
from depthnet_ros.evaluation.obstacles import grid_rates, scan_rates
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import MetricDepth
from depthnet_ros.metric_scale.pose import transform
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.ray_groups import ViewError
from depthnet_ros.navigation.reach import height_band, trusted, within_depth
from depthnet_ros.navigation.scan import PlanarScan, ScanProjector

_DENSE_SHARE = 0.2
PLACES = ("scan", "grid")
MIN_OBSTACLES = 100
"""Beams or cells with an obstacle, in a whole recording, that a rate needs."""


class ObstacleView:
    """Makes the scan of :mod:`depthnet_ros.navigation.scan` from depth as published and from the reference alike."""

    def __init__(self, navigation: NavigationConfig, stride: int = 1) -> None:
        """``stride``: every so many pixels of each row and column, as the node's clouds and scans."""
        self._navigation, self._stride = navigation, stride
        self._band = height_band(navigation)
        self._projector: tuple[PinholeCamera, bytes, NDArray[np.bool_] | None, ScanProjector] | None = None

    def rates(self, frame: Frame) -> dict[str, float | None]:
        """Rates of one frame by name (``scan.false_free``, ...); empty without metres, or how the camera is mounted."""
        if frame.camera is None or frame.level_from_optical is None or frame.reference_m is None:
            return {}
        depth_m = frame.published_m
        if depth_m is None or frame.metric is None:
            return {}
        height, width = frame.reference_m.shape
        camera = frame.camera.resized(width, height)
        try:
            projector = self._projector_for(camera.strided(self._stride), frame, frame.level_from_optical)
        except ViewError:  # as the node, which gives no scan then
            return {}
        navigation, nowhere = within_depth(self._navigation, frame.metric.max_depth_m, projector)
        if nowhere:
            return {}
        estimate = self._estimate(projector, frame.metric, depth_m, navigation)
        known = ~np.isnan(frame.reference_m)
        if known.mean() >= _DENSE_SHARE:
            near = np.ascontiguousarray(frame.reference_m[:: self._stride, :: self._stride])
            reference = projector.scan(projector.classify(near, ~np.isnan(near), self._band)).ranges_m
        else:
            points = camera.unproject(frame.reference_m)[np.isfinite(frame.reference_m)]
            reference = _sparse_scan(projector, transform(frame.level_from_optical, points), self._band)
        ranges, reference = (self._at_least_range(values) for values in (estimate.ranges_m, reference))
        limit = navigation.max_range_m  # range_max of the scan: beyond nothing is claimed
        by_place = {
            "scan": scan_rates(ranges, reference, limit),
            "grid": grid_rates(ranges, reference, estimate.angles_rad, limit),
        }
        return {f"{place}.{name}": value for place, rates in by_place.items() for name, value in asdict(rates).items()}

    def _at_least_range(self, ranges_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(rays,) What is too near (-Inf) as an obstacle at the least range, so that it can be compared and drawn."""
        return np.where(np.isneginf(ranges_m), np.float32(self._band.min_range_m), ranges_m)

    def summary(self, frames: Columns) -> dict[str, dict[str, float | None]] | None:
        """Rates over all frames, by place; None if no frame had any.

        What is missed or unseen is a share of all obstacles of the recording, None where they are fewer than
        :data:`MIN_OBSTACLES`; what is invented is the mean over frames.
        """
        if not any(np.isfinite(frames[f"{place}.obstacles"]).any() for place in PLACES):
            return None
        return {
            place: {
                "false_free": _pooled(frames, place, "false_free"),
                "false_obstacle": frames.mean(f"{place}.false_obstacle"),
                "unseen": _pooled(frames, place, "unseen"),
                "obstacles": float(np.nansum(frames[f"{place}.obstacles"])),
            }
            for place in PLACES
        }

    def _projector_for(self, camera: PinholeCamera, frame: Frame, level: NDArray[np.float64]) -> ScanProjector:
        key, kept = level.tobytes(), self._projector
        if kept is None or kept[:2] != (camera, key) or kept[2] is not frame.valid_mask:
            seen = None if frame.reference_m is None else frame.seen_at(*frame.reference_m.shape)
            seen = None if seen is None else seen[:: self._stride, :: self._stride]
            kept = camera, key, frame.valid_mask, ScanProjector(camera, level, self._navigation.scan_rays, seen)
            self._projector = kept
        return kept[3]

    def _estimate(
        self, projector: ScanProjector, metric: MetricDepth, depth_m: NDArray[np.float32], navigation: NavigationConfig
    ) -> PlanarScan:
        """The node's scan; ``navigation`` is cut to where depth is told, as there."""
        shape = (projector.camera.height_px, projector.camera.width_px)
        near = np.ascontiguousarray(depth_m[:: self._stride, :: self._stride])
        known = trusted(metric, near, navigation)
        return projector.scan(
            projector.classify(near, known, height_band(navigation), metric.sigma_m(*shape), metric.caution)
        )


def _sparse_scan(projector: ScanProjector, points_m: NDArray[np.float64], band: HeightBand) -> NDArray[np.float32]:
    """(rays,) ranges from (N, 3) levelled points: +Inf where a ray has points but no obstacle, NaN without any.

    -Inf where the nearest obstacle is too near.
    """
    span = np.hypot(points_m[:, 0], points_m[:, 1])
    obstacle = (points_m[:, 2] >= band.min_height_m) & (points_m[:, 2] <= band.max_height_m)
    obstacle &= span <= band.max_range_m
    angle = np.arctan2(points_m[:, 1], points_m[:, 0])
    ray = np.floor((angle - projector.angle_min_rad) / projector.angle_increment_rad + 0.5).astype(np.intp)
    inside = (ray >= 0) & (ray < projector.rays)
    ranges = np.full(projector.rays, np.nan, dtype=np.float32)
    ranges[ray[inside]] = np.inf
    hit = inside & obstacle
    np.minimum.at(ranges, ray[hit], span[hit].astype(np.float32))
    return np.where(ranges < band.min_range_m, np.float32(-np.inf), ranges)


def _pooled(frames: Columns, place: str, name: str) -> float | None:
    rates, weights = frames[f"{place}.{name}"], frames[f"{place}.obstacles"]
    known = np.isfinite(rates) & (weights > 0)
    total = float(weights[known].sum())
    return float((rates * weights)[known].sum() / total) if total >= MIN_OBSTACLES else None
