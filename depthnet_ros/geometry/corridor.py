"""The robot's way ahead: how far it is to the nearest obstacle in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.patches import filled, largest_where_filled
from depthnet_ros.geometry.scan import SHORT_OF_OBSTACLE, ScanProjector, SortedPixels

_MIN_KNOWN = 0.5  # of what looks along the corridor


def nearest_in_corridor(projector: ScanProjector, pixels: SortedPixels, width_m: float, offset_m: float = 0.0) -> float:
    """Metres ahead to the nearest obstacle in a corridor of ``width_m`` along the camera's horizontal axis.

    +Inf: the corridor is free as far as it can be seen. -Inf: something is too near to be measured. NaN: too little of
    the corridor is known or in view, or something unsure would stand in it.

    Args:
        projector: of the camera.
        pixels: sorted by it.
        width_m: of the corridor.
        offset_m: of the corridor's middle to the left of the camera: that of the robot's own middle.
    """
    band, ahead_per_metre, left_per_metre = pixels.band, projector.ray[..., 0], projector.ray[..., 1]
    # What has no distance because it is too near lies at most as far aside as at the least range.
    depth = np.where(np.isneginf(pixels.depth_m), np.float32(band.min_range_m), pixels.depth_m)
    blocking = np.where(np.isneginf(pixels.blocking_m), np.float32(band.min_range_m), pixels.blocking_m)
    with np.errstate(invalid="ignore"):
        within = np.abs(depth * left_per_metre - np.float32(offset_m)) <= 0.5 * width_m
        ahead = (depth * ahead_per_metre).astype(np.float32)
        may_be_within = np.abs(blocking * left_per_metre - np.float32(offset_m)) <= 0.5 * width_m
        may_be_within &= blocking * projector.range_per_metre <= band.max_range_m
        blocking_ahead = (blocking * ahead_per_metre).astype(np.float32)
    if filled(pixels.too_near & within).any():
        return float("-inf")
    view = projector.band_view(band)
    forward = np.maximum(ahead_per_metre, 1e-6)
    way = np.abs(left_per_metre * band.max_range_m - offset_m * forward) <= 0.5 * width_m * forward
    way &= np.isfinite(view.seen_to_m)
    if filled(projector.hidden(pixels) & way).any():
        return float("nan")
    nearest = float(largest_where_filled(ahead, pixels.obstacle & within).min())
    may_block = pixels.blocking & (within | may_be_within)
    free = float(largest_where_filled(blocking_ahead, may_block, posts=True).min())
    if np.isfinite(nearest):
        return nearest if free >= SHORT_OF_OBSTACLE * nearest else float("nan")
    clear = way.any() and projector.telling(pixels)[way].mean() >= _MIN_KNOWN and free > band.max_range_m
    rays = _rays_to_the_end(projector, width_m, offset_m, band.max_range_m)
    clear = clear and rays is not None and view.free_to_end[rays].all()
    return float("inf") if clear else float("nan")


def _rays_to_the_end(projector: ScanProjector, width_m: float, offset_m: float, range_m: float) -> slice | None:
    """Rays that are within the corridor at this range; the middle one at least. None where it ends beside the view."""
    sides: NDArray[np.float64] = np.arctan2((offset_m - 0.5 * width_m, offset_m + 0.5 * width_m), range_m)
    ends = (sides - projector.angle_min_rad) / max(projector.angle_increment_rad, 1e-9)
    if ends[0] > projector.rays - 0.5 or ends[1] < -0.5:
        return None
    first, last = np.clip(np.rint(ends).astype(np.intp), 0, projector.rays - 1)
    return slice(int(first), int(last) + 1)
