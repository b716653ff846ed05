"""The exact occupancy of the ground plane: what a map built from depth is measured against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.simulation.solids import Footprint


@dataclass(frozen=True)
class Grid:
    """Square cells on the world's ground plane. Cell [row, column] covers ``x_min_m + column * cell_m`` and up along x,
    ``y_min_m + row * cell_m`` and up along y, as in nav_msgs/OccupancyGrid."""

    x_min_m: float
    y_min_m: float
    cell_m: float
    columns: int
    rows: int

    def index(self, points_m: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        """Row and column of (N, 2) points x, y, and which of them lie on the grid."""
        column = np.floor((points_m[:, 0] - self.x_min_m) / self.cell_m).astype(np.intp)
        row = np.floor((points_m[:, 1] - self.y_min_m) / self.cell_m).astype(np.intp)
        return row, column, (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)


def occupied_cells(footprints: Iterable[Footprint], grid: Grid, height_m: tuple[float, float]) -> NDArray[np.bool_]:
    """(rows, columns): true where something that reaches into the height band (low, high) covers part of a cell.

    Exact: convex polygons against squares by separating axes; touching is not covering.
    """
    occupied = np.zeros((grid.rows, grid.columns), dtype=bool)
    for footprint in footprints:
        if footprint.top_m > height_m[0] and footprint.bottom_m < height_m[1]:
            _mark(occupied, footprint.polygon, grid)
    return occupied


def _mark(occupied: NDArray[np.bool_], polygon: NDArray[np.float64], grid: Grid) -> None:
    origin = (grid.x_min_m, grid.y_min_m)
    limit = (grid.columns, grid.rows)
    low = np.clip(np.floor((polygon.min(axis=0) - origin) / grid.cell_m), 0, limit).astype(np.intp)
    high = np.clip(np.ceil((polygon.max(axis=0) - origin) / grid.cell_m), 0, limit).astype(np.intp)
    if (low >= high).any():
        return
    middle_x = grid.x_min_m + (np.arange(low[0], high[0]) + 0.5) * grid.cell_m
    middle_y = grid.y_min_m + (np.arange(low[1], high[1]) + 0.5) * grid.cell_m
    overlap = np.ones((len(middle_y), len(middle_x)), dtype=bool)
    edges = np.roll(polygon, -1, axis=0) - polygon
    for corner, (dx, dy) in zip(polygon, edges, strict=True):
        outward = np.array((dy, -dx))  # of a counter-clockwise polygon
        half = 0.5 * grid.cell_m * np.abs(outward).sum()
        centre = (middle_x[None, :] - corner[0]) * outward[0] + (middle_y[:, None] - corner[1]) * outward[1]
        overlap &= centre - half < -1e-9 * half
    occupied[low[1] : high[1], low[0] : high[0]] |= overlap
