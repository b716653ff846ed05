"""The robot's way ahead: how far it is to the nearest obstacle in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.navigation.height_band import BandView
from depthnet_ros.navigation.patches import filled, largest_where_filled
from depthnet_ros.navigation.pixels import ClassifiedPixels
from depthnet_ros.navigation.scan import ScanProjector

_MIN_KNOWN = 0.5  # of the pixels that look along the corridor, the share that must be seen through to its end


def nearest_in_corridor(
    projector: ScanProjector, pixels: ClassifiedPixels, width_m: float, offset_m: float = 0.0
) -> float:
    """Metres to the nearest obstacle in a corridor of ``width_m`` straight ahead of the camera, level with the ground.

    +Inf: the corridor is free as far as it can be seen. -Inf: something is too near to be measured. NaN: too little of
    the corridor is known or in view, or something unsure would stand in it. A number is the distance of the nearest
    *sure* obstacle; something unsure may be nearer, but a planner must not lose what is sure to it.

    Args:
        projector: of the camera.
        pixels: classified by it.
        width_m: of the corridor.
        offset_m: of the corridor's middle to the left of the camera: that of the robot's own middle.
    """
    band, ahead_per_metre, left_per_metre = pixels.band, projector.ahead_per_metre, projector.left_per_metre
    # What has no distance because it is too near lies at most as far aside as at the least range.
    depth, no_range = pixels.depth_m, np.isneginf(pixels.depth_m)
    if no_range.any():
        depth = np.where(no_range, np.float32(band.min_range_m), depth)

    def is_within(depth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(depth_m * left_per_metre - np.float32(offset_m)) <= 0.5 * width_m)

    within = is_within(depth)
    if filled(pixels.too_near & within).any():
        return float("-inf")
    with np.errstate(invalid="ignore"):
        ahead = (depth * ahead_per_metre).astype(np.float32)
    # A patch counts by its middle: where the corridor is narrower than a patch, none would lie wholly inside.
    patches = largest_where_filled(ahead, pixels.obstacle, posts=True)
    nearest = float(patches[within].min(initial=np.inf))
    if np.isfinite(nearest):
        return max(nearest, band.min_range_m)  # aside, what has that range is less far ahead
    view = pixels.view
    forward = np.maximum(ahead_per_metre, 1e-6)
    way = np.abs(left_per_metre * band.max_range_m - offset_m * forward) <= 0.5 * width_m * forward
    way &= view.looks_far
    if not way.any() or pixels.telling[way].mean() < _MIN_KNOWN:
        return float("nan")
    if pixels.hidden is not None:
        hidden = pixels.hidden & _passes(projector, view, width_m, offset_m, band.max_range_m)
        if filled(hidden).any():
            return float("nan")
    rays = _rays_to_the_end(projector, width_m, offset_m, band.max_range_m)
    if rays is None or not view.free_to_end[rays].all():
        return float("nan")
    if pixels.all_trusted:
        free = float(pixels.blocked(ahead)[within].min(initial=np.inf))
        return float("inf") if free > band.max_range_m else float("nan")
    blocking = np.where(no_range, np.float32(band.min_range_m), pixels.blocking_m)
    # Assume at least half its depth: at depth 0 every pixel beside the corridor would count as in front of the robot.
    may_block = within | is_within(np.maximum(blocking, np.float32(0.5) * depth))
    free = float(pixels.blocked(blocking * ahead_per_metre)[may_block].min(initial=np.inf))
    return float("inf") if free > band.max_range_m else float("nan")


def _passes(
    projector: ScanProjector, view: BandView, width_m: float, offset_m: float, range_m: float
) -> NDArray[np.bool_]:
    """(H, W) True for lines of sight that are in the corridor somewhere between where they come into the band and where
    they leave it: no nearer than from where on all of the band's lower half is in their ray's view.
    """
    first_m = np.maximum(view.entry_m, projector.per_pixel(view.from_m) / projector.range_per_metre)
    last_m = np.minimum(view.exit_m, np.float32(range_m) / projector.range_per_metre)
    passes = (first_m <= last_m) & (projector.ahead_per_metre > 0)
    with np.errstate(invalid="ignore"):  # where it is never in view
        first_left, last_left = (end_m * projector.left_per_metre - np.float32(offset_m) for end_m in (first_m, last_m))
    passes &= np.minimum(first_left, last_left) <= 0.5 * width_m
    passes &= np.maximum(first_left, last_left) >= -0.5 * width_m
    return np.asarray(passes)


def _rays_to_the_end(projector: ScanProjector, width_m: float, offset_m: float, range_m: float) -> slice | None:
    """Rays that are within the corridor at this range; the middle one at least. None where it ends beside the view."""
    sides: NDArray[np.float64] = np.arctan2((offset_m - 0.5 * width_m, offset_m + 0.5 * width_m), range_m)
    ends = (sides - projector.angle_min_rad) / max(projector.angle_increment_rad, 1e-9)
    if ends[0] > projector.rays - 0.5 or ends[1] < -0.5:
        return None
    first, last = np.clip(np.rint(ends).astype(np.intp), 0, projector.rays - 1)
    return slice(int(first), int(last) + 1)
