"""Depth and its reference as a planner would get them, and how the two differ."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.frame import Frame
from depthnet_ros.evaluation.obstacles import ObstacleRates, grid_rates, scan_rates
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.scan import HeightBand, PlanarScan, ScanProjector
from depthnet_ros.metric_scale import MetricDepth, NavigationConfig
from depthnet_ros.metric_scale.pose import transform

_DENSE_SHARE = 0.2
_PLACES = ("scan", "grid")


class ObstacleView:
    """Makes the scan of :mod:`depthnet_ros.geometry.scan` from depth as published and from the reference alike."""

    def __init__(self, navigation: NavigationConfig) -> None:
        self._navigation = navigation
        self._band = HeightBand(
            navigation.min_height_m, navigation.max_height_m, navigation.min_range_m, navigation.max_range_m
        )
        self._projector: tuple[PinholeCamera, bytes, ScanProjector] | None = None

    def rates(self, frame: Frame) -> dict[str, float | None]:
        """Rates of one frame by name (``scan.false_free``, ...); empty without metres, or how the camera is mounted."""
        if frame.camera is None or frame.level_from_optical is None or frame.reference_m is None:
            return {}
        depth_m = frame.published_m
        if depth_m is None or frame.metric is None:
            return {}
        height, width = frame.reference_m.shape
        projector = self._projector_for(frame.camera.resized(width, height), frame.level_from_optical)
        estimate = self._estimate(projector, frame.metric, depth_m)
        reference = self._reference(projector, frame.reference_m, frame.level_from_optical)
        limit = self._navigation.max_range_m
        by_place = {
            "scan": scan_rates(estimate.ranges_m, reference, limit),
            "grid": grid_rates(estimate.ranges_m, reference, estimate.angles_rad, limit),
        }
        return {f"{place}.{name}": value for place, rates in by_place.items() for name, value in asdict(rates).items()}

    def summary(self, frames: Columns) -> dict[str, dict[str, float | None]] | None:
        """Means over frames, by place; None if no frame had any."""
        names = tuple(ObstacleRates.__dataclass_fields__)
        table = {place: {name: frames.mean(f"{place}.{name}") for name in names} for place in _PLACES}
        return table if any(value is not None for rates in table.values() for value in rates.values()) else None

    def _projector_for(self, camera: PinholeCamera, level_from_optical: NDArray[np.float64]) -> ScanProjector:
        key = level_from_optical.tobytes()
        if self._projector is None or self._projector[:2] != (camera, key):
            projector = ScanProjector(camera, level_from_optical, self._navigation.scan_rays)
            self._projector = (camera, key, projector)
        return self._projector[2]

    def _estimate(self, projector: ScanProjector, metric: MetricDepth, depth_m: NDArray[np.float32]) -> PlanarScan:
        shape = depth_m.shape
        known = metric.confidence(*shape) >= self._navigation.min_confidence
        known |= np.isposinf(depth_m)
        sigma_m = metric.sigma_m(*shape)
        return projector.scan(depth_m, projector.obstacles(depth_m, self._band, sigma_m), known)

    def _reference(
        self, projector: ScanProjector, reference_m: NDArray[np.float32], level_from_optical: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        known = ~np.isnan(reference_m)
        if known.mean() >= _DENSE_SHARE:
            obstacles = projector.obstacles(reference_m, self._band)
            return projector.scan(reference_m, obstacles, known).ranges_m
        return _sparse_scan(projector, reference_m, self._band, level_from_optical)


def _sparse_scan(
    projector: ScanProjector,
    reference_m: NDArray[np.float32],
    band: HeightBand,
    level_from_optical: NDArray[np.float64],
) -> NDArray[np.float32]:
    """(rays,) ranges from single points: +Inf where a ray has points but no obstacle among them, NaN without any."""
    rows, columns = np.nonzero(np.isfinite(reference_m))
    obstacle = projector.obstacles(reference_m, band)[rows, columns]
    points = transform(level_from_optical, projector.camera.unproject(reference_m)[rows, columns])
    angle = np.arctan2(points[:, 1], points[:, 0])
    ray = np.floor((angle - projector.angle_min_rad) / projector.angle_increment_rad + 0.5).astype(np.intp)
    inside = (ray >= 0) & (ray < projector.rays)
    ranges = np.full(projector.rays, np.nan, dtype=np.float32)
    ranges[ray[inside]] = np.inf
    hit = inside & obstacle
    np.minimum.at(ranges, ray[hit], np.hypot(points[hit, 0], points[hit, 1]).astype(np.float32))
    return ranges
