"""What a planner would have believed: obstacles missed and obstacles invented, in a scan and in a costmap-like grid."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CELL_M = 0.1
TOLERANCE_M = 0.15
TOLERANCE_SHARE = 0.1
_FREE, _OCCUPIED = 1, 2


@dataclass(frozen=True)
class ObstacleRates:
    """Shares, or None where there is nothing to take a share of.

    Attributes:
        false_free: of the places where the reference has an obstacle, those reported free: what robots crash into.
        false_obstacle: of the beams that both know (in a grid: of the cells that the reference knows to be free and the
            estimate knows at all), those reported as an obstacle before the reference's: where robots stall.
        unseen: of the places where the reference has an obstacle, those the estimate says nothing about.
        obstacles: number of places where the reference has one, near enough to judge: the weight of this frame.
    """

    false_free: float | None
    false_obstacle: float | None
    unseen: float | None
    obstacles: int = 0


def scan_rates(ranges_m: NDArray[np.floating], reference_m: NDArray[np.floating], max_range_m: float) -> ObstacleRates:
    """Beam by beam: (N,) ranges of the same directions, +Inf for free to the end, NaN for unknown.

    A beam is right within :data:`TOLERANCE_M` plus :data:`TOLERANCE_SHARE` of the range. A beam free in the estimate up
    to well beyond the reference's obstacle is false free; an estimated obstacle well before the reference's is false.
    Obstacles count as far as that tolerance ends within ``max_range_m``: of one nearer to the end a free beam does not
    say whether it is missed, or seen a little beyond the end.
    """
    seen = ~np.isnan(ranges_m)
    known = ~np.isnan(reference_m)
    margin = _margin(reference_m, max_range_m)
    with np.errstate(invalid="ignore"):
        obstacle = known & (reference_m + margin <= max_range_m)
        missed = obstacle & seen & (ranges_m > reference_m + margin)
        standing = np.minimum(reference_m, max_range_m)  # a reference that is free is so up to there, no farther
        invented = known & seen & (ranges_m <= max_range_m) & (ranges_m < standing - margin)
    both = known & seen
    count = int(np.count_nonzero(obstacle))
    return ObstacleRates(_share(missed, obstacle), _share(invented, both), _share(obstacle & ~seen, obstacle), count)


def grid_rates(
    ranges_m: NDArray[np.floating],
    reference_m: NDArray[np.floating],
    angles_rad: NDArray[np.floating],
    max_range_m: float,
) -> ObstacleRates:
    """As :func:`scan_rates`, on the cells that a costmap would mark and clear with these scans, (N,) ranges at (N,)
    angles from straight ahead to the left.

    The tolerance along a ray is the scan's; beside it a cell's neighbours count as the cell itself, so that a hit one
    cell off is no error.
    """
    estimate = occupancy(ranges_m, angles_rad, max_range_m)
    reference = occupancy(reference_m, angles_rad, max_range_m)
    margin = _margin(reference_m, max_range_m)
    judged = np.where(reference_m + margin <= max_range_m, reference_m, np.nan)
    obstacle = occupancy(judged, angles_rad, max_range_m) == _OCCUPIED
    # By scan_rates an estimate e of a true range t is right where |e - t| <= a + s t (a metres, s share): where
    # t >= (e - a) / (1 + s) and t <= (e + a) / (1 - s).
    nearest = (ranges_m - TOLERANCE_M) / (1 + TOLERANCE_SHARE)
    farthest = (ranges_m + TOLERANCE_M) / (1 - TOLERANCE_SHARE)
    near_estimate = _between(nearest, farthest, angles_rad, max_range_m)
    standing = np.minimum(reference_m, max_range_m)
    near_reference = _between(standing - margin, reference_m + margin, angles_rad, max_range_m)
    free = (reference == _FREE) & ~near_reference
    return ObstacleRates(
        _share(obstacle & (estimate == _FREE) & ~near_estimate, obstacle),
        _share(free & (estimate == _OCCUPIED), free & (estimate > 0)),
        _share(obstacle & (estimate == 0) & ~near_estimate, obstacle),
        int(np.count_nonzero(obstacle)),
    )


def _margin(reference_m: NDArray[np.floating], max_range_m: float) -> NDArray[np.floating]:
    return TOLERANCE_M + TOLERANCE_SHARE * np.where(np.isfinite(reference_m), reference_m, max_range_m)


def _between(
    low_m: NDArray[np.floating], high_m: NDArray[np.floating], angles_rad: NDArray[np.floating], max_range_m: float
) -> NDArray[np.bool_]:
    """Cells between two ranges of each ray, and their neighbours; none where these are NaN."""
    grid = _empty(max_range_m)
    steps = _steps(max_range_m)
    inside = (steps >= low_m[:, None]) & (steps <= high_m[:, None])
    _mark(grid, (steps * np.cos(angles_rad)[:, None])[inside], (steps * np.sin(angles_rad)[:, None])[inside], 1)
    return np.asarray(cv2.dilate(grid, np.ones((3, 3), np.uint8)) > 0)


def occupancy(
    ranges_m: NDArray[np.floating], angles_rad: NDArray[np.floating], max_range_m: float
) -> NDArray[np.uint8]:
    """A local grid of :data:`CELL_M`: 0 unknown, 1 free, 2 occupied; rows are forward, columns from right to left.

    Rays, (N,) ranges at (N,) angles from straight ahead to the left, clear up to their hit, or to ``max_range_m``
    without one; hits mark. A range of NaN does neither.
    """
    grid = _empty(max_range_m)
    known = ~np.isnan(ranges_m)
    ranges, angles = ranges_m[known], angles_rad[known]
    steps = _steps(max_range_m)
    clear = steps[None, :] < np.minimum(ranges, max_range_m)[:, None] - 0.5 * CELL_M
    _mark(grid, (steps * np.cos(angles)[:, None])[clear], (steps * np.sin(angles)[:, None])[clear], _FREE)
    hit = ranges <= max_range_m
    _mark(grid, ranges[hit] * np.cos(angles[hit]), ranges[hit] * np.sin(angles[hit]), _OCCUPIED)
    return grid


def _empty(max_range_m: float) -> NDArray[np.uint8]:
    cells = int(np.ceil(max_range_m / CELL_M)) + 1
    return np.zeros((cells, 2 * cells), dtype=np.uint8)


def _steps(max_range_m: float) -> NDArray[np.float64]:
    return np.asarray(np.arange(0.5 * CELL_M, max_range_m, 0.5 * CELL_M))


def _mark(grid: NDArray[np.uint8], x_m: NDArray[np.floating], y_m: NDArray[np.floating], value: int) -> None:
    row = np.floor(x_m / CELL_M).astype(np.intp)
    column = np.floor(y_m / CELL_M).astype(np.intp) + grid.shape[1] // 2
    inside = (row >= 0) & (row < grid.shape[0]) & (column >= 0) & (column < grid.shape[1])
    grid[row[inside], column[inside]] = value


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    count = int(np.count_nonzero(whole))
    return float(np.count_nonzero(part)) / count if count else None
