"""From a depth image to what a planner takes: a planar scan, far points that clear, the nearest obstacle ahead.

All three rest on one sorting of pixels: into obstacles (within the height band over the ground), what is too near,
free view, and unknown. Ranges follow REP 117: a number is a measured obstacle, +Inf a view that is free, -Inf something
too near, NaN not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera

_MIN_KNOWN = 0.25
_PATCH = np.ones((3, 3), np.uint8)
_SHORT_OF_OBSTACLE = 0.9


@dataclass(frozen=True)
class HeightBand:
    """What counts as an obstacle: heights over the ground and horizontal ranges, in metres.

    What stands in the band nearer than ``min_range_m`` is too near: in the way, but at no distance that is given.
    """

    min_height_m: float
    max_height_m: float
    min_range_m: float
    max_range_m: float


@dataclass(frozen=True)
class SortedPixels:
    """One depth image in a planner's eyes; all arrays are (H, W).

    Attributes:
        depth_m: +Inf where nothing is near enough, -Inf where it is too near, NaN unknown.
        known: depth can be trusted (confident; or +Inf).
        obstacle: measured, in the band, between its ranges.
        too_near: measured, and nearer than the band's least range.
        blocking: in the way if its depth is right: the two above, at any distance, and pixels that are not known.
        band: that they were sorted by.
    """

    depth_m: NDArray[np.float32]
    known: NDArray[np.bool_]
    obstacle: NDArray[np.bool_]
    too_near: NDArray[np.bool_]
    blocking: NDArray[np.bool_]
    band: HeightBand


@dataclass(frozen=True)
class PlanarScan:
    """A scan about the camera in the levelled frame (x ahead, y left, z up); angles grow to the left (REP 103).

    Attributes:
        angle_min_rad, angle_increment_rad: of the first ray and from ray to ray.
        ranges_m: (N,) float32 by REP 117.
        free_m: (N,) float32 how far each ray is free of all that may be an obstacle, sure or not; +Inf: all the way.
    """

    angle_min_rad: float
    angle_increment_rad: float
    ranges_m: NDArray[np.float32]
    free_m: NDArray[np.float32]

    @property
    def angle_max_rad(self) -> float:
        """Angle of the last ray."""
        return self.angle_min_rad + self.angle_increment_rad * (len(self.ranges_m) - 1)

    @property
    def angles_rad(self) -> NDArray[np.float64]:
        """(N,) angle of each ray."""
        return np.asarray(self.angle_min_rad + self.angle_increment_rad * np.arange(len(self.ranges_m)), np.float64)


class ScanProjector:
    """Sorts the pixels of one camera, mounted in one way, into rays. What depends on the two alone is computed once."""

    def __init__(self, camera: PinholeCamera, level_from_optical: NDArray[np.float64], rays: int = 0) -> None:
        """Prepare.

        Args:
            camera: of the depth images to come.
            level_from_optical: (4, 4) into a frame with x ahead, z up and zero height on the ground; only its
                rotation and the camera's height are used.
            rays: of the scan; 0: one for four columns.
        """
        self.camera = camera
        self.height_m = float(level_from_optical[2, 3])
        self._rotation = level_from_optical[:3, :3]
        directions = np.empty((camera.height_px, camera.width_px, 3), dtype=np.float32)
        directions[..., 0] = camera.ray_x[None, :]
        directions[..., 1] = camera.ray_y[:, None]
        directions[..., 2] = 1.0
        self._ray = directions @ self._rotation.T.astype(np.float32)
        """(H, W, 3) of each pixel in the levelled frame for one metre of depth."""
        self._per_metre = np.maximum(np.hypot(self._ray[..., 0], self._ray[..., 1]), np.float32(1e-9))
        azimuth = np.arctan2(self._ray[..., 1], self._ray[..., 0])
        # Rows far from the middle reach farther to the side; the scan covers what every row of the middle half sees.
        middle = azimuth[camera.height_px // 4 : max(3 * camera.height_px // 4, camera.height_px // 4 + 1)]
        low, high = float(middle[:, -1].max()), float(middle[:, 0].min())
        self.rays = rays or max(1, camera.width_px // 4)
        self.angle_increment_rad = (high - low) / self.rays
        self.angle_min_rad = low + 0.5 * self.angle_increment_rad
        index = np.floor((azimuth - low) / max(self.angle_increment_rad, 1e-9)).astype(np.intp)
        index[(index < 0) | (index >= self.rays)] = self.rays
        self._order = np.argsort(index, axis=None, kind="stable")
        self._index = index.ravel()[self._order]
        self._starts = np.searchsorted(self._index, np.arange(self.rays + 1))
        self._counts = np.diff(self._starts)

    @cached_property
    def up_per_metre(self) -> NDArray[np.float32]:
        """(H, W) height gained along each pixel's ray per metre of depth."""
        return np.ascontiguousarray(self._ray[..., 2])

    def heights_m(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) height of each pixel over the ground."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.float32(self.height_m) + depth_m * self.up_per_metre)

    def obstacles(self, depth_m: NDArray[np.float32], band: HeightBand) -> NDArray[np.bool_]:
        """(H, W) True for pixels within the height band and the marking range, whatever their depth is worth."""
        span, inside = self._in_band(depth_m, self.heights_m(depth_m), band)
        return np.asarray(inside & (span >= band.min_range_m) & (span <= band.max_range_m))

    def _in_band(
        self, depth_m: NDArray[np.float32], height_m: NDArray[np.float32], band: HeightBand
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(H, W) horizontal range of each pixel, and True where it is finite and within the heights."""
        with np.errstate(invalid="ignore"):
            inside = (height_m >= band.min_height_m) & (height_m <= band.max_height_m) & np.isfinite(depth_m)
            return np.asarray(depth_m * self._per_metre, dtype=np.float32), np.asarray(inside)

    def sort(
        self,
        depth_m: NDArray[np.float32],
        known: NDArray[np.bool_],
        band: HeightBand,
        sigma_m: NDArray[np.float32] | None = None,
    ) -> SortedPixels:
        """What each pixel is to a planner.

        Args:
            depth_m: (H, W); +Inf where nothing is near enough, -Inf where it is too near, NaN unknown.
            known: (H, W) depth can be trusted (confident; or +Inf).
            band: what counts as an obstacle.
            sigma_m: (H, W); with it a trusted pixel must also stand above the ground by one sigma of its own height,
                or a far piece of ground with a wrong depth would stand in the way.
        """
        height, no_range = self.heights_m(depth_m), np.isneginf(depth_m)
        span, inside = self._in_band(depth_m, height, band)
        sure = inside & known
        if sigma_m is not None:
            with np.errstate(invalid="ignore"):
                sure &= height >= np.abs(self.up_per_metre) * sigma_m
        too_near = sure & (span < band.min_range_m) | no_range & known
        obstacle = sure & (span >= band.min_range_m) & (span <= band.max_range_m)
        return SortedPixels(depth_m, known, obstacle, too_near, sure | no_range | inside & ~known, band)

    def scan(self, pixels: SortedPixels) -> PlanarScan:
        """The nearest obstacle of each ray.

        An obstacle must fill a patch of three by three pixels: the nearest of a hundred noisy pixels is always noise.
        A ray is free only if enough of it is known and nothing unsure would stand in it: the floor before an obstacle
        that cannot be made out says nothing of what is behind.
        """
        with np.errstate(invalid="ignore"):
            span = (pixels.depth_m * self._per_metre).astype(np.float32)
        nearest = self._per_ray(np.minimum, _patches(span, pixels.obstacle), np.float32(np.inf))
        free = self._per_ray(np.minimum, _patches(span, pixels.blocking), np.float32(np.inf))
        share = self._per_ray(np.add, pixels.known.astype(np.float32), np.float32(0.0)) / np.maximum(self._counts, 1)
        unsure = (share < _MIN_KNOWN) | (free <= pixels.band.max_range_m)
        nearest[unsure & np.isposinf(nearest)] = np.nan
        nearest[self._per_ray(np.logical_or, _filled(pixels.too_near), False)] = -np.inf
        return PlanarScan(self.angle_min_rad, self.angle_increment_rad, nearest, free)

    def clearing_points(self, scan: PlanarScan, clearing_range_m: float, height_m: float) -> NDArray[np.float32]:
        """(N, 3) finite points in the *optical* frame, one at the end of the free stretch of each ray that is known.

        Nav2 applies its height band before it traces rays, and drops what is not finite: so the points stand at
        ``height_m``, within the band, at the clearing range or short of what is, or may be, the ray's obstacle.
        """
        known = ~np.isnan(scan.ranges_m) & ~np.isneginf(scan.ranges_m) & (scan.free_m > 0)
        ranges = np.minimum(scan.free_m[known] * _SHORT_OF_OBSTACLE, clearing_range_m)
        angles = scan.angles_rad[known]
        rise = np.full(len(ranges), height_m - self.height_m)
        level = np.stack((ranges * np.cos(angles), ranges * np.sin(angles), rise), axis=1)
        return np.asarray(level @ self._rotation, dtype=np.float32)

    def nearest_in_corridor(self, pixels: SortedPixels, width_m: float) -> float:
        """Distance ahead of the nearest obstacle within ``width_m`` about the camera's axis, in metres.

        +Inf: the corridor is free as far as it can be seen. -Inf: something is too near to be measured. NaN: too
        little of the corridor is known, or something unsure would stand in it.
        """
        band, aside = pixels.band, np.abs(self._ray[..., 1])
        # What has no distance because it is too near lies at most as far aside as at the least range.
        depth = np.where(np.isneginf(pixels.depth_m), np.float32(band.min_range_m), pixels.depth_m)
        with np.errstate(invalid="ignore"):
            within = depth * aside <= 0.5 * width_m
            in_reach = depth * self._per_metre <= band.max_range_m
            ahead = (depth * self._ray[..., 0]).astype(np.float32)
        if _filled(pixels.too_near & within).any():
            return float("-inf")
        nearest = float(_patches(ahead, pixels.obstacle & within).min())
        if np.isfinite(nearest):
            return nearest
        way = aside * band.max_range_m <= 0.5 * width_m * np.maximum(self._ray[..., 0], 1e-6)
        clear = way.any() and pixels.known[way].mean() >= 2 * _MIN_KNOWN
        return float("inf") if clear and not _filled(pixels.blocking & within & in_reach).any() else float("nan")

    def _per_ray(self, combine: np.ufunc, values: NDArray[Any], empty: object) -> NDArray[Any]:
        """(rays,) reduction over each ray's pixels."""
        ordered = values.ravel()[self._order]
        result = np.full(self.rays, empty, dtype=bool if combine is np.logical_or else np.float32)
        filled = np.flatnonzero(self._counts > 0)
        if len(filled):
            ends = self._starts[filled[-1] + 1]
            result[filled] = combine.reduceat(ordered[:ends], self._starts[filled])
        return result


def _patches(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W) the largest of each three by three pixels where all of them are in the mask; +Inf elsewhere."""
    return np.asarray(cv2.dilate(np.where(mask, values, np.float32(np.inf)), _PATCH), dtype=np.float32)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) True where all of three by three pixels are in the mask."""
    return np.asarray(cv2.erode(mask.view(np.uint8), _PATCH)).view(np.bool_)
