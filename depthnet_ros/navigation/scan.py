"""From a depth image to what a planner takes: a planar scan, and far points that clear.

Both, and the corridor, rest on one classification of pixels: into obstacles (within the height band over the ground),
what is too near, free view, and unknown. Ranges follow REP 117: a number is a measured obstacle, +Inf a view that is
free, -Inf something too near, NaN not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.navigation.height_band import BandView, HeightBand, max_known_range_m, view_of_band
from depthnet_ros.navigation.patches import filled, largest_where_filled
from depthnet_ros.navigation.pixels import SHORT_OF_OBSTACLE, ClassifiedPixels, PlacedPixels
from depthnet_ros.navigation.ray_groups import RayGroups

_BANDS_KEPT = 4  # views of height bands that are remembered
_LINES_APART_M = 0.05  # at the clearing range, at most: the side of a costmap's cell, as Nav2's default has it
_MIN_KNOWN = 0.25  # of a ray's pixels that look far into the band, the share that must be seen through to its end


@dataclass(frozen=True)
class PlanarScan:
    """A scan about the camera in the levelled frame (x ahead, y left, z up); angles grow to the left (REP 103).

    Attributes:
        angle_min_rad, angle_increment_rad: of the first ray and from ray to ray.
        ranges_m: (N,) float32 by REP 117.
        free_m: (N,) float32 how far each ray is free of all that may be an obstacle, sure or not; +Inf: all the way;
            0 where that is not known.
        view: where the band is in view.
    """

    angle_min_rad: float
    angle_increment_rad: float
    ranges_m: NDArray[np.float32]
    free_m: NDArray[np.float32]
    view: BandView

    @property
    def angle_max_rad(self) -> float:
        """Angle of the last ray."""
        return self.angle_min_rad + self.angle_increment_rad * (len(self.ranges_m) - 1)

    @property
    def angles_rad(self) -> NDArray[np.float64]:
        """(N,) angle of each ray."""
        return np.asarray(self.angle_min_rad + self.angle_increment_rad * np.arange(len(self.ranges_m)), np.float64)


class ScanProjector:
    """Groups the pixels of one camera, mounted in one way, by rays. What depends on the two alone is computed once.

    Attributes:
        camera: of the depth images.
        height_m: of the camera over the ground.
        ahead_per_metre, left_per_metre, up_per_metre: (H, W) way of a pixel's line in the levelled frame for one metre
            of depth.
        range_per_metre: (H, W) horizontal range of each pixel for one metre of depth.
        rays: of the scan.
        angle_min_rad, angle_increment_rad: of the first ray and from ray to ray.
    """

    def __init__(
        self,
        camera: PinholeCamera,
        level_from_optical: NDArray[np.float64],
        rays: int = 0,
        valid_mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Prepare.

        Args:
            camera: of the depth images to come.
            level_from_optical: (4, 4) into a frame with x ahead, z up and zero height on the ground; only its
                rotation and the camera's height are used.
            rays: of the scan, at most one for two columns: of more some would have no pixel; 0: one for four.
            valid_mask: (H, W), False where a rectified picture is black: what is so from its upper or lower edge on
                counts as not in view; None: it is full.

        Raises:
            ViewError: the picture is too narrow for a scan, or rolled too far.
        """
        self.camera = camera
        self.height_m = float(level_from_optical[2, 3])
        self._rotation = level_from_optical[:3, :3]
        across, down = camera.ray_x[None, :], camera.ray_y[:, None]
        self.ahead_per_metre, self.left_per_metre, self.up_per_metre = (
            across * x + (down * y + z) for x, y, z in self._rotation.astype(np.float32)
        )
        ways = self.ahead_per_metre, self.left_per_metre
        self.range_per_metre = np.maximum(cv2.magnitude(*ways), np.float32(1e-9))
        self._steepness = np.abs(self.up_per_metre)
        azimuth = np.arctan2(self.left_per_metre, self.ahead_per_metre)
        self._groups = RayGroups(azimuth, max(1, min(rays or camera.width_px // 4, camera.width_px // 2)))
        self._in_picture = None if valid_mask is None or valid_mask.all() else _without_border(valid_mask)
        self.rays = self._groups.count
        self.angle_min_rad = self._groups.angle_min_rad
        self.angle_increment_rad = self._groups.angle_increment_rad
        self._band_views: dict[HeightBand, BandView] = {}
        self._max_known_ranges_m: dict[tuple[HeightBand, float], float] = {}

    def band_view(self, band: HeightBand) -> BandView:
        """Where this camera sees the band; computed once for a band."""
        if band not in self._band_views:
            if len(self._band_views) >= _BANDS_KEPT:  # a band that moves, with a drone's height
                self._band_views.clear()
                self._max_known_ranges_m.clear()
            self._band_views[band] = view_of_band(
                band, self.height_m, self.up_per_metre, self.range_per_metre, self._groups, self._in_picture
            )
        return self._band_views[band]

    def max_known_range_m(self, band: HeightBand, max_depth_m: float) -> float:
        """Horizontal range that ``band`` is known up to, where depth of no more than ``max_depth_m`` is told."""
        key, view = (band, max_depth_m), self.band_view(band)
        if key not in self._max_known_ranges_m:
            self._max_known_ranges_m[key] = max_known_range_m(view, self.range_per_metre, max_depth_m)
        return self._max_known_ranges_m[key]

    def per_pixel(self, of_rays: NDArray[np.float64]) -> NDArray[np.float32]:
        """(H, W) each ray's own of ``of_rays``, (rays,), at its pixels; +Inf at pixels of no ray."""
        return self._groups.spread(of_rays.astype(np.float32), np.inf)

    def heights_m(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) height of each pixel over the ground."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.float32(self.height_m) + depth_m * self.up_per_metre)

    def place(
        self, depth_m: NDArray[np.float32], band: HeightBand, sigma_m: NDArray[np.float32] | None = None
    ) -> PlacedPixels:
        """Where the surface of each pixel is.

        Args:
            depth_m: (H, W); +Inf where nothing is near enough, -Inf where it is too near, NaN unknown.
            band: what counts as an obstacle.
            sigma_m: (H, W); with it a pixel must also stand above the ground by one sigma of its own height, or a far
                piece of ground with a wrong depth would stand in the way. A band that begins at the ground or below has
                the ground in it by intention.
        """
        with np.errstate(invalid="ignore"):
            height_m = self.heights_m(depth_m)
            in_band = (height_m >= band.min_height_m) & (height_m <= band.max_height_m) & np.isfinite(depth_m)
            standing = in_band
            if sigma_m is not None and band.min_height_m > 0:
                standing = in_band & (height_m >= self._steepness * sigma_m)
            range_m = depth_m * self.range_per_metre
        return PlacedPixels(depth_m, sigma_m, range_m, in_band, standing, band, self.band_view(band))

    def classify(
        self,
        depth_m: NDArray[np.float32],
        known: NDArray[np.bool_],
        band: HeightBand,
        sigma_m: NDArray[np.float32] | None = None,
    ) -> ClassifiedPixels:
        """:meth:`place`, and what each pixel is to a planner where nothing contradicts the metres:
        :meth:`PlacedPixels.classified`.
        """
        return self.place(depth_m, band, sigma_m).classified(known)

    def scan(self, pixels: ClassifiedPixels) -> PlanarScan:
        """The nearest obstacle of each ray.

        An obstacle must fill a patch of three by three pixels: the nearest of a hundred noisy pixels is always noise.
        A ray is free only if the band is in its view, enough of what looks far into the band is seen through to its
        end, and nothing unsure would stand in it: the floor before an obstacle that cannot be made out says nothing of
        what is behind. A range is that of the nearest *sure* obstacle, for marking: the way there may hold something
        unsure, which ``free_m`` and the clearing points know.
        """
        view, rays = pixels.view, self._groups
        blocking_range_m = pixels.range_m
        if not pixels.all_trusted:
            with np.errstate(invalid="ignore"):
                blocking_range_m = pixels.blocking_m * self.range_per_metre
        nearest = rays.reduce(np.minimum, largest_where_filled(pixels.range_m, pixels.obstacle), np.inf)
        free = rays.reduce(np.minimum, pixels.blocked(blocking_range_m), np.inf)
        unsure = (rays.sum(pixels.telling) < _MIN_KNOWN * np.maximum(view.far, 1)) | (free <= pixels.band.max_range_m)
        hidden = np.zeros(self.rays, np.bool_) if pixels.hidden is None else rays.any(filled(pixels.hidden))
        unsure |= hidden
        no_obstacle, too_near = np.isposinf(nearest), rays.any(filled(pixels.too_near))
        nearest[no_obstacle & (unsure | ~view.free_to_end)] = np.nan
        nearest[too_near] = -np.inf
        free[no_obstacle & unsure | too_near | hidden] = 0.0
        return PlanarScan(self.angle_min_rad, self.angle_increment_rad, nearest, free, view)

    def clearing_points(
        self, scan: PlanarScan, clearing_range_m: float, height_m: float, free_share: float = SHORT_OF_OBSTACLE
    ) -> NDArray[np.float32]:
        """(N, 3) finite points in the *optical* frame, each at the end of a free stretch: of each ray that is known;
        and between two such rays, as far as both are free, so many that no cell of a costmap lies between the lines.

        Nav2 applies its height band before it traces rays, and drops what is not finite: so the points stand at
        ``height_m``, within the band, at the clearing range or at ``free_share`` of the way to what is, or may be, the
        ray's obstacle, and nowhere but where the band is in view. Rays are traced from the camera: that they clear
        nothing nearer than :attr:`BandView.nearest_m`, where an obstacle may be below or above the picture, is for the
        tracer to see to.
        """
        ends = np.minimum(np.minimum(scan.free_m * free_share, clearing_range_m), scan.view.to_m)
        known = (ends > scan.view.from_m) & (scan.view.from_m <= scan.view.nearest_m)
        ends = np.where(known, ends, 0.0)
        lines = math.ceil(scan.angle_increment_rad * clearing_range_m / _LINES_APART_M) | 1  # odd: one is the ray's own
        across = (np.arange(lines) + 0.5) / lines - 0.5  # in widths of a ray, growing to the left as angles do
        right, left = np.concatenate((ends[:1], ends[:-1])), np.concatenate((ends[1:], ends[-1:]))
        beside = np.select([across < 0.0, across > 0.0], [right[:, None], left[:, None]], ends[:, None])
        free = np.minimum(ends[:, None], beside)
        kept = free > np.broadcast_to(scan.view.from_m, ends.shape)[:, None]
        angles, ranges = (scan.angles_rad[:, None] + scan.angle_increment_rad * across)[kept], free[kept]
        rise = np.full(len(ranges), height_m - self.height_m)
        level = np.stack((ranges * np.cos(angles), ranges * np.sin(angles), rise), axis=1)
        return np.asarray(level @ self._rotation, dtype=np.float32)


def _without_border(valid_mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) False where a column has not begun yet, from above or from below; True for holes within."""
    begun = np.logical_or.accumulate(valid_mask, axis=0)
    return np.asarray(begun & np.logical_or.accumulate(valid_mask[::-1], axis=0)[::-1])
