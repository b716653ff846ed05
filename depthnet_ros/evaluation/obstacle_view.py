"""Depth and its reference as a planner would get them, and how the two differ."""

from __future__ import annotations

from dataclasses import asdict

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.frame import Frame
from depthnet_ros.evaluation.obstacles import grid_rates, scan_rates
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.pose import transform
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.planner_view import PlannerView
from depthnet_ros.navigation.ray_groups import ViewError
from depthnet_ros.navigation.reach import height_band, within_depth
from depthnet_ros.navigation.scan import ScanProjector

_DENSE_SHARE = 0.2
PLACES = ("scan", "grid")
MIN_OBSTACLES = 100
"""Beams or cells with an obstacle, in a whole recording, that a rate needs."""


class ObstacleView:
    """Makes the scan of :mod:`depthnet_ros.navigation.scan` from depth as published and from the reference alike."""

    def __init__(self, navigation: NavigationConfig, stride: int = 1) -> None:
        """``stride``: the grid is coarser than the image by this, as that of the node's clouds and scans."""
        self._navigation, self._stride = navigation, stride
        self._band = height_band(navigation)
        self._projector: tuple[PinholeCamera, bytes, NDArray[np.bool_] | None, ScanProjector] | None = None

    def rates(self, frame: Frame) -> dict[str, float | None]:
        """Rates of one frame by name (``scan.false_free``, ...); empty without metres, or how the camera is mounted."""
        if frame.reference_m is None or (view := self.planner_view(frame)) is None:
            return {}
        reference = self._reference_ranges_m(view.projector, frame, frame.reference_m)
        ranges, reference = (self._at_least_range(values) for values in (view.scan.ranges_m, reference))
        limit = view.config.max_range_m  # range_max of the scan: beyond nothing is claimed
        by_place = {
            "scan": scan_rates(ranges, reference, limit),
            "grid": grid_rates(ranges, reference, view.scan.angles_rad, limit),
        }
        return {f"{place}.{name}": value for place, rates in by_place.items() for name, value in asdict(rates).items()}

    def planner_view(self, frame: Frame) -> PlannerView | None:
        """A frame as the node has it for planners; None where it gives no scan."""
        metric, level = frame.metric, frame.level_from_optical
        if metric is None or not metric.published or frame.camera is None or level is None:
            return None
        try:
            projector = self._projector_for(frame.camera.coarser(self._stride), frame, level)
        except ViewError:
            return None
        config, nowhere = within_depth(self._navigation, metric.max_depth_m, projector)
        depth_m = frame.masked(metric.depth_m(projector.camera.height_px, projector.camera.width_px))
        return None if nowhere else PlannerView(metric, depth_m, projector, config)

    def _reference_ranges_m(
        self, projector: ScanProjector, frame: Frame, reference_m: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(rays,) The scan of the reference, (h, w) of any size: of dense depth as of the estimate."""
        assert frame.camera is not None and frame.level_from_optical is not None
        if np.isnan(reference_m).mean() <= 1.0 - _DENSE_SHARE:
            size = projector.camera.width_px, projector.camera.height_px
            # EXACT: of each block the middle, as in the estimate, and not the corner.
            depth_m = np.asarray(cv2.resize(reference_m, size, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
            return projector.scan(projector.classify(depth_m, ~np.isnan(depth_m), self._band)).ranges_m
        camera = frame.camera.resized(reference_m.shape[1], reference_m.shape[0])
        points = camera.unproject(reference_m)[np.isfinite(reference_m)]
        return _sparse_scan(projector, transform(frame.level_from_optical, points), self._band)

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
            seen = frame.seen_at(camera.height_px, camera.width_px)
            kept = camera, key, frame.valid_mask, ScanProjector(camera, level, self._navigation.scan_rays, seen)
            self._projector = kept
        return kept[3]


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
