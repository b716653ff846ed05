"""Small consumers that do what Nav2's layers do: height band, clear along rays from a range on, mark."""

from __future__ import annotations

import numpy as np

from depthnet_ros.simulation.occupancy import Grid


class ObstacleLayer:
    """Marked cells of a grid in the world's frame (x, y on the ground, z up)."""

    def __init__(self, grid: Grid, min_height_m: float, max_height_m: float, raytrace_min_range_m: float = 0.0) -> None:
        self.grid, self._band, self._raytrace_min_range_m = grid, (min_height_m, max_height_m), raytrace_min_range_m
        self.marked = np.zeros((grid.rows, grid.columns), dtype=bool)

    def _in_band(self, points: np.ndarray) -> np.ndarray:
        finite = points[np.isfinite(points).all(axis=1)]  # Nav2 drops NaN and infinity
        return finite[(finite[:, 2] >= self._band[0]) & (finite[:, 2] <= self._band[1])]

    def clear(self, origin: np.ndarray, ends: np.ndarray) -> None:
        """Free every cell between the least range before the sensor and each end."""
        ends = self._in_band(ends)
        if not len(ends):
            return
        reach = np.linalg.norm(ends[:, :2] - origin[:2], axis=1)
        steps = max(2, int(reach.max() / (0.5 * self.grid.cell_m)))
        share = np.linspace(0.0, 1.0, steps)[:, None]
        traced = share * reach >= self._raytrace_min_range_m
        cells = (origin[:2] + share[..., None] * (ends[None, :, :2] - origin[:2]))[traced]
        row, column, inside = self.grid.index(cells)
        self.marked[row[inside], column[inside]] = False

    def mark(self, points: np.ndarray) -> None:
        """Set the cells of points within the height band."""
        row, column, inside = self.grid.index(self._in_band(points)[:, :2])
        self.marked[row[inside], column[inside]] = True


class VoxelLayer:
    """Columns of voxels, as Nav2's voxel layer has them: a line clears the voxels that it passes through, one by one,
    and ends two cells short of its point; a column is an obstacle while more than ``mark_threshold`` are marked.
    """

    def __init__(
        self, grid: Grid, min_height_m: float, max_height_m: float, z_m: float, voxels: int, mark_threshold: int
    ) -> None:
        self.grid, self._band, self._z_m = grid, (min_height_m, max_height_m), z_m
        self._threshold = mark_threshold
        self._voxels = np.zeros((grid.rows, grid.columns, voxels), dtype=bool)

    @property
    def marked(self) -> np.ndarray:
        """(rows, columns) True for columns that are obstacles."""
        return self._voxels.sum(axis=2) > self._threshold

    def _index(self, points: np.ndarray) -> tuple[np.ndarray, ...]:
        row, column, inside = self.grid.index(points[..., :2])
        level = np.floor(points[..., 2] / self._z_m).astype(int)
        inside = inside & (level >= 0) & (level < self._voxels.shape[2])
        return row[inside], column[inside], level[inside]

    def _in_band(self, points: np.ndarray) -> np.ndarray:
        finite = points[np.isfinite(points).all(axis=1)]
        return finite[(finite[:, 2] >= self._band[0]) & (finite[:, 2] <= self._band[1])]

    def clear(self, origin: np.ndarray, ends: np.ndarray) -> None:
        """Empty every voxel on the way from the sensor to each end."""
        for end in self._in_band(ends):
            way = end - origin
            length = float(np.linalg.norm(way))
            share = max(length - 2.0 * self.grid.cell_m, 0.0) / length
            steps = max(2, int(4.0 * length / min(self.grid.cell_m, self._z_m)))
            self._voxels[self._index(origin + np.linspace(0.0, share, steps)[:, None] * way)] = False

    def mark(self, points: np.ndarray) -> None:
        """Fill the voxels of points within the height band."""
        self._voxels[self._index(self._in_band(points))] = True
