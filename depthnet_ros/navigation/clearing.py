"""Points that clear a map of voxels: each at the end of one line of sight that is free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.navigation.patches import smallest
from depthnet_ros.navigation.pixels import SHORT_OF_OBSTACLE, ClassifiedPixels
from depthnet_ros.navigation.scan import ScanProjector

_WITHIN = 0.999  # of the way to where a line leaves the band: a numerical guard, so that its end is within
_GRID_PX = 4


def lines_of_sight(
    projector: ScanProjector,
    pixels: ClassifiedPixels,
    clearing_range_m: float,
    grid_px: int = _GRID_PX,
    free_share: float = SHORT_OF_OBSTACLE,
) -> NDArray[np.float32]:
    """(N, 3) finite points in the *optical* frame, within the height band, each at the end of a free line of sight.

    A voxel map clears what a line passes through, not the column that it passes. So every ``grid_px``-th pixel of rows
    and columns gives its own line: to where it leaves the band, to the clearing range, or to ``free_share`` of the way
    to what is seen there, obstacle or floor. Of three by three pixels the shortest line counts. What is not known gives
    no line. A line clears no more than what was seen through, so these need no least range of tracing.

    Args:
        projector: of the camera.
        pixels: classified by it.
        clearing_range_m: horizontal range that a line ends at, at most.
        grid_px: distance of the lines in the image.
        free_share: share of the way to what is seen that counts as free, 0..1.
    """
    entry_m, exit_m = pixels.view.entry_m, pixels.view.exit_m
    seen_m = np.where(pixels.known, np.fmax(pixels.depth_m, np.float32(0.0)), np.float32(0.0))  # fmax passes NaN over
    end_m = np.minimum(seen_m * np.float32(free_share), exit_m * np.float32(_WITHIN))
    end_m = np.minimum(end_m, np.float32(clearing_range_m) / projector.range_per_metre).astype(np.float32)
    grid = slice(grid_px // 2, None, grid_px)
    ends = smallest(end_m)[grid, grid]
    kept = (ends > entry_m[grid, grid]) & (ends > 0)
    camera = projector.camera
    x, y = np.meshgrid(camera.ray_x[grid], camera.ray_y[grid])
    depth = ends[kept]
    return np.stack((x[kept] * depth, y[kept] * depth, depth), axis=1).astype(np.float32)
