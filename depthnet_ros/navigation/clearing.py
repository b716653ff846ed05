"""Points that clear a map of voxels: each at the end of one line of sight that is free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.navigation.patches import smallest
from depthnet_ros.navigation.pixels import SHORT_OF_OBSTACLE, ClassifiedPixels
from depthnet_ros.navigation.scan import ScanProjector

_WITHIN = 0.999  # of the way to where a line leaves the band: a numerical guard, so that its end is within
_APART_M = 0.05, 0.1  # of lines at the clearing range, across and down: Nav2's voxels as config/nav has them
_MOST_PX = 4


def lines_of_sight(
    projector: ScanProjector,
    pixels: ClassifiedPixels,
    clearing_range_m: float,
    free_share: float = SHORT_OF_OBSTACLE,
) -> NDArray[np.float32]:
    """(N, 3) finite points in the *optical* frame, within the height band, each at the end of a free line of sight.

    A voxel map clears what a line passes through, not the column that it passes. So pixels on a grid, dense enough that
    no voxel lies between their lines, give each its own: to where it leaves the band, to the clearing range, or to
    ``free_share`` of the way to what is seen there, obstacle or floor. Of three by three pixels the shortest line
    counts. What is not known gives no line. A line clears no more than what was seen through, so these need no least
    range of tracing.

    Args:
        projector: of the camera.
        pixels: classified by it.
        clearing_range_m: horizontal range that a line ends at, at most.
        free_share: share of the way to what is seen that counts as free, 0..1.
    """
    entry_m, exit_m = pixels.view.entry_m, pixels.view.exit_m
    seen_m = np.where(pixels.known, np.fmax(pixels.depth_m, np.float32(0.0)), np.float32(0.0))  # fmax passes NaN over
    end_m = np.minimum(seen_m * np.float32(free_share), exit_m * np.float32(_WITHIN))
    end_m = np.minimum(end_m, np.float32(clearing_range_m) / projector.range_per_metre).astype(np.float32)
    camera = projector.camera
    columns, rows = (
        _every(min(_MOST_PX, int(apart_m / clearing_range_m * focal_px)))
        for apart_m, focal_px in zip(_APART_M, (camera.fx_px, camera.fy_px), strict=True)
    )
    ends = smallest(end_m)[rows, columns]
    kept = (ends > entry_m[rows, columns]) & (ends > 0)
    x, y = np.meshgrid(camera.ray_x[columns], camera.ray_y[rows])
    depth = ends[kept]
    return np.stack((x[kept] * depth, y[kept] * depth, depth), axis=1).astype(np.float32)


def _every(step_px: int) -> slice:
    return slice(step_px // 2, None, max(1, step_px))
