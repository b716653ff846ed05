"""The heights that obstacles are looked for in, and where a camera sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.navigation.ray_groups import RayGroups

_MIN_IN_VIEW = 0.5
"""Share of the way to the farthest range in which obstacles must be in view for a ray to be free."""
_CLEARING_RAYS = 0.98
"""Share of the rays that clear: the image's last columns hold only a part of their ray, and would set the range."""


@dataclass(frozen=True)
class HeightBand:
    """What counts as an obstacle: heights over the ground and horizontal ranges, in metres.

    What stands in the band nearer than ``min_range_m`` is too near: in the way, but at no distance that is given.
    """

    min_height_m: float
    max_height_m: float
    min_range_m: float
    max_range_m: float

    @property
    def middle_m(self) -> float:
        """Height of its middle over the ground; what must be in view reaches up to there."""
        return 0.5 * (self.min_height_m + self.max_height_m)


@dataclass(frozen=True)
class BandView:
    """Where a camera sees the height band, by its lens and mounting alone: what is outside is neither free nor cleared.

    The lower half is what must be in view. Whatever stands on the ground, and a table top, reaches into it. A low
    camera sees the upper half only from metres away: if that had to be in view, nothing in front of a small robot would
    ever be cleared. What hangs in the upper half alone is not seen when near: the band's top should be the robot's own.

    The farthest range is the band's ``max_range_m``; the line of a pixel is its line of sight.

    Attributes:
        entry_m: (H, W) float32 depth at which each pixel's line enters the band; 0 if the camera is within the band.
        exit_m: (H, W) float32 depth at which it leaves the band; 0 where the line never meets the band, or the pixel is
            outside the image.
        enters: (H, W) True where the line enters the band within the farthest range: something may stand there unseen
            if such a pixel shows nothing.
        seen_to_m: (H, W) float32 depth to which a pixel must be seen through so that its line is free as far as the
            band and the farthest range go. +Inf: the line misses the band in the farther half of that range, and says
            nothing about it.
        looks_far: (H, W) True where the line is in the band somewhere in that farther half.
        far: (rays,) number of such pixels in each ray.
        from_m, to_m: (rays,) horizontal ranges between which all of the band's lower half is in view; +Inf and 0 where
            it never is.
        free_to_end: (rays,) True where that stretch reaches the farthest range and covers more than half of it: only
            such a ray can be free.
        nearest_m: range from which on the rays that clear have the lower half in view; +Inf: no ray ever has. The
            image's last columns may see it only much farther away: their rays clear nothing.
    """

    entry_m: NDArray[np.float32]
    exit_m: NDArray[np.float32]
    enters: NDArray[np.bool_]
    seen_to_m: NDArray[np.float32]
    looks_far: NDArray[np.bool_]
    far: NDArray[np.float32]
    from_m: NDArray[np.float64]
    to_m: NDArray[np.float64]
    free_to_end: NDArray[np.bool_]
    nearest_m: float


def view_of_band(
    band: HeightBand,
    camera_height_m: float,
    up_per_metre: NDArray[np.float32],
    range_per_metre: NDArray[np.float32],
    rays: RayGroups,
    in_picture: NDArray[np.bool_] | None = None,
) -> BandView:
    """Where a camera sees the band.

    Args:
        band: the band.
        camera_height_m: of the camera over the ground.
        up_per_metre, range_per_metre: (H, W) gain of height and of horizontal range for one metre of depth.
        rays: of the scan.
        in_picture: (H, W) False for pixels outside the image, as above and below a rectified one; None: none is.
    """
    entry_m, exit_m = _crossing_m(band, camera_height_m, up_per_metre)
    if in_picture is not None:
        exit_m[~in_picture] = 0.0
    reach_m = (np.float32(band.max_range_m) / range_per_metre).astype(np.float32)
    enters = (exit_m > entry_m) & (entry_m <= reach_m)
    to_end = np.minimum(exit_m, reach_m)
    seen_to_m = np.where(enters & (to_end >= (1.0 - _MIN_IN_VIEW) * reach_m), to_end, np.float32(np.inf))
    looks_far = np.isfinite(seen_to_m)
    from_m, to_m = _lower_half(band, camera_height_m, up_per_metre / range_per_metre, rays, in_picture)
    seen = from_m[np.isfinite(from_m)]
    return BandView(
        entry_m=entry_m,
        exit_m=exit_m,
        enters=enters,
        seen_to_m=seen_to_m,
        looks_far=looks_far,
        far=rays.sum(looks_far),
        from_m=from_m,
        to_m=to_m,
        free_to_end=(to_m >= band.max_range_m) & (from_m <= (1.0 - _MIN_IN_VIEW) * band.max_range_m),
        nearest_m=float(np.quantile(seen, _CLEARING_RAYS, method="lower")) if len(seen) else float("inf"),
    )


def max_known_range_m(view: BandView, range_per_metre: NDArray[np.float32], max_depth_m: float) -> float:
    """Horizontal range that the band is known up to, where depth of no more than ``max_depth_m`` is told: the least
    that a pixel's line has in the band beyond that depth; +Inf: none is in it there.

    A line that leaves the band before counts nothing: a camera that looks down sees all of its lines end at the ground.
    """
    cut = (view.exit_m > view.entry_m) & (view.exit_m > max_depth_m)
    if not cut.any():
        return float("inf")
    return float((np.maximum(view.entry_m[cut], np.float32(max_depth_m)) * range_per_metre[cut]).min())


def _crossing_m(
    band: HeightBand, camera_height_m: float, up_per_metre: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, W) and (H, W), ``entry_m`` and ``exit_m`` of :class:`BandView`."""
    low, high = band.min_height_m, band.max_height_m
    with np.errstate(divide="ignore", invalid="ignore"):
        to_low, to_high = (
            (np.float32(edge - camera_height_m) / up_per_metre).astype(np.float32) for edge in (low, high)
        )
    level = up_per_metre == 0
    first, last = np.minimum(to_low, to_high), np.maximum(to_low, to_high)
    first[level], last[level] = 0.0, np.inf if low <= camera_height_m <= high else 0.0
    return np.maximum(first, 0.0), np.maximum(last, 0.0)


def _lower_half(
    band: HeightBand,
    camera_height_m: float,
    slope: NDArray[np.float32],
    rays: RayGroups,
    in_picture: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rays,) and (rays,), ``from_m`` and ``to_m`` of :class:`BandView`; ``slope``: (H, W) height by range."""
    lowest = highest = slope
    never = rays.pixels == 0
    if in_picture is not None:
        lowest, highest = (np.where(in_picture, slope, np.float32(none)) for none in (np.inf, -np.inf))
        never = ~rays.any(in_picture)
    low, high = rays.reduce(np.minimum, lowest, 0.0), rays.reduce(np.maximum, highest, 0.0)
    from_low, to_low = _stretch(-low, camera_height_m - band.min_height_m)
    from_high, to_high = _stretch(high, band.middle_m - camera_height_m)
    from_m, to_m = np.maximum(from_low, from_high), np.minimum(to_low, to_high)
    never |= from_m > to_m
    from_m[never], to_m[never] = np.inf, 0.0
    return from_m, to_m


def _stretch(slope: NDArray[np.float32], rise_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rays,) Ranges between which lines of these slopes, which begin at zero, are at or above ``rise_m``."""
    rises = slope > 0
    with np.errstate(divide="ignore"):
        crossing = np.maximum(rise_m / np.where(slope == 0, np.nan, slope).astype(np.float64), 0.0)
    crossing = np.nan_to_num(crossing, nan=np.inf, posinf=np.inf)
    begin = np.where(rises, crossing, 0.0 if rise_m <= 0 else np.inf)
    return begin, np.where(rises, np.inf, crossing if rise_m <= 0 else 0.0)
