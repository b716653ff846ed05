"""From a depth image to what a planner takes: a planar scan, and far points that clear.

Both, and the corridor, rest on one sorting of pixels: into obstacles (within the height band over the ground), what is
too near, free view, and unknown. Ranges follow REP 117: a number is a measured obstacle, +Inf a view that is free, -Inf
something too near, NaN not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.patches import filled, largest_where_filled

_BANDS_KEPT = 4
_MIN_KNOWN = 0.25
_MIN_IN_VIEW = 0.5
"""Of the way to the farthest range, the share in which obstacles must be in view for a ray to be free."""
_CLEARING_RAYS = 0.98
"""Share of the rays that clear: the picture's last columns hold but a part of their ray, and would set the range."""
SHORT_OF_OBSTACLE = 0.9
"""Share of the way to what is seen that counts as free."""


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
class BandView:
    """Where a camera sees the height band, by its lens and mounting alone: what is outside is neither free nor cleared.

    The lower half is what must be in view. Whatever stands on the ground, and a table top, reaches into it; the upper
    half comes into a low camera's picture metres away, and demanding it would leave nothing to be cleared before a
    small robot. What hangs in the upper half alone is not seen when near: the band's top should be the robot's own.

    Attributes:
        entry_m, exit_m: (H, W) float32 depths between which each pixel's line of sight is in the band, 0 from a camera
            within it; where it never is, the second is 0.
        seen_to_m: (H, W) float32 depth that a pixel must be seen through to, for its line to be free as far as the band
            and the farthest range go; +Inf where the line is not in the band in the farther half of that range, and so
            says nothing of it.
        looks_far: (H, W) True for pixels that look into that farther half.
        far: (rays,) how many they are of each ray.
        from_m, to_m: (rays,) horizontal ranges between which all of the band's lower half is in view; where it never
            is, ``from_m`` is +Inf and ``to_m`` 0.
        free_to_end: (rays,) True where the stretch reaches the farthest range and is more than half of the way there:
            only such a ray can be free.
        nearest_m: range from which on the lower half is in view of the rays that clear; +Inf: of none. The picture's
            last column may see it much later than all others: such rays clear nothing.
        range_per_depth: the least horizontal range that a pixel which comes into the band has for one metre of depth;
            +Inf: no pixel does.
    """

    entry_m: NDArray[np.float32]
    exit_m: NDArray[np.float32]
    seen_to_m: NDArray[np.float32]
    looks_far: NDArray[np.bool_]
    far: NDArray[np.float32]
    from_m: NDArray[np.float64]
    to_m: NDArray[np.float64]
    free_to_end: NDArray[np.bool_]
    nearest_m: float
    range_per_depth: float


@dataclass(frozen=True)
class SortedPixels:
    """One depth image in a planner's eyes; all arrays are (H, W).

    Attributes:
        depth_m: +Inf where nothing is near enough, -Inf where it is too near, NaN unknown.
        known: depth can be trusted (confident; or +Inf).
        obstacle: measured, in the band, between its ranges.
        too_near: measured, and nearer than the band's least range.
        blocking: in the way if its depth is right: the two above, at any distance, and all that may be in the band,
            be it unsure for its confidence or for its height.
        blocking_m: depth from which on a blocking pixel may be in the way: less than its depth by one sigma where that
            is not trusted.
        band: that they were sorted by.
    """

    depth_m: NDArray[np.float32]
    known: NDArray[np.bool_]
    obstacle: NDArray[np.bool_]
    too_near: NDArray[np.bool_]
    blocking: NDArray[np.bool_]
    blocking_m: NDArray[np.float32]
    band: HeightBand


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
        self.ray = directions @ self._rotation.T.astype(np.float32)
        """(H, W, 3) way of each pixel in the levelled frame (x ahead, y left, z up) for one metre of depth."""
        self.range_per_metre = np.maximum(np.hypot(self.ray[..., 0], self.ray[..., 1]), np.float32(1e-9))
        """(H, W) horizontal range of each pixel for one metre of depth."""
        azimuth = np.arctan2(self.ray[..., 1], self.ray[..., 0])
        # Rows far from the middle reach farther to the side; the scan covers what every row of the middle half sees.
        middle = azimuth[camera.height_px // 4 : max(3 * camera.height_px // 4, camera.height_px // 4 + 1)]
        left, right = middle[:, 0], middle[:, -1]
        if left.mean() < right.mean():  # the camera hangs upside down
            left, right = right, left
        low, high = float(right.max()), float(left.min())
        self.rays = rays or max(1, camera.width_px // 4)
        self.angle_increment_rad = (high - low) / self.rays
        self.angle_min_rad = low + 0.5 * self.angle_increment_rad
        index = np.floor((azimuth - low) / max(self.angle_increment_rad, 1e-9)).astype(np.intp)
        index[(index < 0) | (index >= self.rays)] = self.rays
        self._order = np.argsort(index, axis=None, kind="stable")
        self._index = index.ravel()[self._order]
        self._starts = np.searchsorted(self._index, np.arange(self.rays + 1))
        self._counts = np.diff(self._starts)
        self._band_views: dict[HeightBand, BandView] = {}

    def band_view(self, band: HeightBand) -> BandView:
        """Where this camera sees the band; computed once for a band."""
        if band not in self._band_views:
            if len(self._band_views) >= _BANDS_KEPT:  # a band that moves, with a drone's height
                self._band_views.clear()
            entry_m, exit_m = self._crossing_m(band)
            reach_m = (np.float32(band.max_range_m) / self.range_per_metre).astype(np.float32)
            enters = (exit_m > entry_m) & (entry_m <= reach_m)
            range_per_depth = float(self.range_per_metre[enters].min()) if enters.any() else float("inf")
            to_end = np.minimum(exit_m, reach_m)
            seen_to_m = np.where(enters & (to_end >= (1.0 - _MIN_IN_VIEW) * reach_m), to_end, np.float32(np.inf))
            looks_far = np.isfinite(seen_to_m)
            far = self._per_ray(np.add, looks_far.astype(np.float32), np.float32(0.0))
            slope = self.ray[..., 2] / self.range_per_metre
            low, high = (self._per_ray(edge, slope, np.float32(0.0)) for edge in (np.minimum, np.maximum))
            middle_m = 0.5 * (band.min_height_m + band.max_height_m)
            below, above = (band.min_height_m - self.height_m), (middle_m - self.height_m)
            from_low, to_low = _stretch(-low, -below)
            from_high, to_high = _stretch(high, above)
            from_m, to_m = np.maximum(from_low, from_high), np.minimum(to_low, to_high)
            never = (from_m > to_m) | (self._counts == 0)
            from_m[never], to_m[never] = np.inf, 0.0
            free = (to_m >= band.max_range_m) & (from_m <= (1.0 - _MIN_IN_VIEW) * band.max_range_m)
            seen = from_m[~never]
            nearest_m = float(np.quantile(seen, _CLEARING_RAYS, method="lower")) if len(seen) else float("inf")
            view = BandView(
                *(entry_m, exit_m, seen_to_m, looks_far, far, from_m, to_m, free, nearest_m, range_per_depth)
            )
            self._band_views[band] = view
        return self._band_views[band]

    def _crossing_m(self, band: HeightBand) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(H, W) and (H, W), see :class:`BandView`."""
        up, low, high = self.up_per_metre, band.min_height_m, band.max_height_m
        with np.errstate(divide="ignore", invalid="ignore"):
            to_low, to_high = ((np.float32(edge - self.height_m) / up).astype(np.float32) for edge in (low, high))
        level = up == 0
        first, last = np.minimum(to_low, to_high), np.maximum(to_low, to_high)
        first[level], last[level] = 0.0, np.inf if low <= self.height_m <= high else 0.0
        return np.maximum(first, 0.0), np.maximum(last, 0.0)

    @cached_property
    def up_per_metre(self) -> NDArray[np.float32]:
        """(H, W) height gained along each pixel's ray per metre of depth."""
        return np.ascontiguousarray(self.ray[..., 2])

    def heights_m(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) height of each pixel over the ground."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.float32(self.height_m) + depth_m * self.up_per_metre)

    def obstacles(
        self, depth_m: NDArray[np.float32], band: HeightBand, sigma_m: NDArray[np.float32] | None = None
    ) -> NDArray[np.bool_]:
        """(H, W) True for pixels within the height band and the marking range, whatever their depth is worth; with
        ``sigma_m`` only for those that stand above the ground by one sigma of their own height, as in :meth:`sort`; a
        band that begins at the ground or below has the ground in it by intention.
        """
        height_m = self.heights_m(depth_m)
        span, inside = self._in_band(depth_m, height_m, band)
        if sigma_m is not None and band.min_height_m > 0:
            inside &= self._above_ground(height_m, sigma_m)
        return np.asarray(inside & (span >= band.min_range_m) & (span <= band.max_range_m))

    def _above_ground(self, height_m: NDArray[np.float32], sigma_m: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(H, W) True where a height is at least one sigma of its own; not where that is not known."""
        with np.errstate(invalid="ignore"):
            return np.asarray(height_m >= np.abs(self.up_per_metre) * sigma_m)

    def _in_band(
        self, depth_m: NDArray[np.float32], height_m: NDArray[np.float32], band: HeightBand
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(H, W) horizontal range of each pixel, and True where it is finite and within the heights."""
        with np.errstate(invalid="ignore"):
            inside = (height_m >= band.min_height_m) & (height_m <= band.max_height_m) & np.isfinite(depth_m)
            return np.asarray(depth_m * self.range_per_metre, dtype=np.float32), np.asarray(inside)

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
        if sigma_m is not None and band.min_height_m > 0:
            sure &= self._above_ground(height, sigma_m)
        too_near = sure & (span < band.min_range_m) | no_range & known
        obstacle = sure & (span >= band.min_range_m) & (span <= band.max_range_m)
        blocking, blocking_m = self._blocking(depth_m, known, inside | no_range, band, sigma_m)
        return SortedPixels(depth_m, known, obstacle, too_near, blocking, blocking_m, band)

    def _blocking(
        self,
        depth_m: NDArray[np.float32],
        known: NDArray[np.bool_],
        inside: NDArray[np.bool_],
        band: HeightBand,
        sigma_m: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """(H, W) and (H, W), see :class:`SortedPixels`; ``inside``: in the band if its depth is right, or too near."""
        unsure = np.isfinite(depth_m) & ~known
        if sigma_m is None or not unsure.any():
            return inside, depth_m
        view = self.band_view(band)
        with np.errstate(invalid="ignore"):
            nearest_m = np.maximum(depth_m - sigma_m, view.entry_m)
            unsure &= (nearest_m <= view.exit_m) & (nearest_m <= depth_m)
        return inside | unsure, np.where(unsure, nearest_m, depth_m)

    def scan(self, pixels: SortedPixels) -> PlanarScan:
        """The nearest obstacle of each ray.

        An obstacle must fill a patch of three by three pixels: the nearest of a hundred noisy pixels is always noise.
        A ray is free only if the band is in its view, enough of what looks far into the band is seen through to its
        end, and nothing unsure would stand in it: the floor before an obstacle that cannot be made out says nothing of
        what is behind. A range is that of the nearest *sure* obstacle, for marking: the way there may hold something
        unsure, which ``free_m`` and the clearing points know.
        """
        view = self.band_view(pixels.band)
        with np.errstate(invalid="ignore"):
            span = block_span = (pixels.depth_m * self.range_per_metre).astype(np.float32)
            if pixels.blocking_m is not pixels.depth_m:
                block_span = (pixels.blocking_m * self.range_per_metre).astype(np.float32)
        nearest = self._per_ray(np.minimum, largest_where_filled(span, pixels.obstacle), np.float32(np.inf))
        free = self._per_ray(np.minimum, self.blocked(block_span, pixels), np.float32(np.inf))
        telling = self._per_ray(np.add, self.telling(pixels).astype(np.float32), np.float32(0.0))
        unsure = (telling < _MIN_KNOWN * np.maximum(view.far, 1)) | (free <= pixels.band.max_range_m)
        hidden: NDArray[np.bool_] = np.zeros(self.rays, dtype=bool)
        if (unknown := self.hidden(pixels)) is not None:
            hidden = self._per_ray(np.logical_or, filled(unknown), False)
            unsure |= hidden
        no_obstacle, too_near = np.isposinf(nearest), self._per_ray(np.logical_or, filled(pixels.too_near), False)
        nearest[no_obstacle & (unsure | ~view.free_to_end)] = np.nan
        nearest[too_near] = -np.inf
        free[no_obstacle & unsure | too_near | hidden] = 0.0
        return PlanarScan(self.angle_min_rad, self.angle_increment_rad, nearest, free, view)

    def telling(self, pixels: SortedPixels) -> NDArray[np.bool_]:
        """(H, W) pixels that say that their line of sight is free as far as it can matter."""
        view = self.band_view(pixels.band)
        with np.errstate(invalid="ignore"):
            through = pixels.depth_m >= np.float32(SHORT_OF_OBSTACLE) * view.seen_to_m
        through &= pixels.known
        return np.asarray(np.logical_and(through, view.looks_far, out=through))

    def hidden(self, pixels: SortedPixels) -> NDArray[np.bool_] | None:
        """(H, W) pixels that look far into the band and show nothing at all; None where every pixel shows something."""
        if not np.isnan(pixels.depth_m.min()):
            return None
        return np.asarray(np.isnan(pixels.depth_m) & self.band_view(pixels.band).looks_far)

    @staticmethod
    def blocked(
        distance_m: NDArray[np.float32], pixels: SortedPixels, where: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """(H, W) of what blocks ``where`` (everywhere), the largest distance in its patch; +Inf elsewhere.

        Sure pixels need but be five above each other, a post; unsure ones three by three: beside every edge there is a
        column of them.
        """
        blocking = pixels.blocking if where is None else pixels.blocking & where
        blocked = largest_where_filled(distance_m, blocking)
        return np.minimum(blocked, largest_where_filled(distance_m, blocking & pixels.known, posts=True), out=blocked)

    def clearing_points(self, scan: PlanarScan, clearing_range_m: float, height_m: float) -> NDArray[np.float32]:
        """(N, 3) finite points in the *optical* frame, one at the end of the free stretch of each ray that is known.

        Nav2 applies its height band before it traces rays, and drops what is not finite: so the points stand at
        ``height_m``, within the band, at the clearing range or short of what is, or may be, the ray's obstacle, and
        nowhere but where the band is in view. Rays are traced from the camera: that they clear nothing nearer than
        :attr:`BandView.nearest_m`, where an obstacle may be below or above the picture, is for the tracer to see to.
        """
        ends = np.minimum(np.minimum(scan.free_m * SHORT_OF_OBSTACLE, clearing_range_m), scan.view.to_m)
        known = (ends > scan.view.from_m) & (scan.view.from_m <= scan.view.nearest_m)
        ranges = ends[known]
        angles = scan.angles_rad[known]
        rise = np.full(len(ranges), height_m - self.height_m)
        level = np.stack((ranges * np.cos(angles), ranges * np.sin(angles), rise), axis=1)
        return np.asarray(level @ self._rotation, dtype=np.float32)

    def _per_ray(self, combine: np.ufunc, values: NDArray[Any], empty: object) -> NDArray[Any]:
        """(rays,) reduction over each ray's pixels."""
        ordered = values.ravel()[self._order]
        result = np.full(self.rays, empty, dtype=bool if combine is np.logical_or else np.float32)
        filled = np.flatnonzero(self._counts > 0)
        if len(filled):
            ends = self._starts[filled[-1] + 1]
            result[filled] = combine.reduceat(ordered[:ends], self._starts[filled])
        return result


def _stretch(slope: NDArray[np.float32], rise_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rays,) Ranges between which lines of these slopes, which begin at zero, are at or above ``rise_m``."""
    rises = slope > 0
    with np.errstate(divide="ignore"):
        crossing = np.maximum(rise_m / np.where(slope == 0, np.nan, slope).astype(np.float64), 0.0)
    crossing = np.nan_to_num(crossing, nan=np.inf, posinf=np.inf)
    begin = np.where(rises, crossing, 0.0 if rise_m <= 0 else np.inf)
    return begin, np.where(rises, np.inf, crossing if rise_m <= 0 else 0.0)
