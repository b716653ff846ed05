"""A monotone correction of the network's curve: from linearly scaled inverse depth to what the anchors say.

A network's inverse depth is affine to the truth only on average. Where many anchors are spread over depth, the rest is
a smooth curve: nodes over inverse depth carry a log correction, drawn to zero where anchors are few, and are kept so
that the curve rises everywhere (order of depth is the network's best knowledge).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.robust import quantiles

_NODES = 7  # of the curve
_TABLE = 4096  # entries; a linear interpolation between them is finer than float32 noise of a network

# Tuning.
_MIN_WEIGHT = 0.05  # robust weight of an anchor that counts as an inlier
_MIN_ANCHORS = 13  # inliers of a frame that teaches anything
_MIN_RATIO = 1.6  # of their inverse depths, 90th to 10th percentile
_SHRINK = 4.0  # observations' worth by which each node is drawn to zero, no correction
_SMOOTH = 6.0  # the same of each second difference of the nodes
_MEMORY = 0.97  # of what was learnt, per frame
_MOST = 1.0  # log correction that one anchor can ask for
_LEAST_SLOPE = 0.25  # of log corrected over log linear inverse depth: the curve rises, and keeps depths apart
_ACTIVE = 1e-3  # log correction: less is none

# Where nodes lie, in log inverse depth.
_COVERED = (0.03, 0.97)  # quantiles of the anchors, from one to the other of which nodes must reach
_BESIDE = 0.1  # that they reach beyond those
_MOVED = 0.3  # that those may lie beyond the nodes, before they are laid anew and learn from the beginning
_FARTHER = 1e6  # 1/m: an end of the table that no inverse depth is beyond; the curve goes on there without a bend

_SECOND = np.diff(np.eye(_NODES), n=2, axis=0)
_REGULAR = _SHRINK * np.eye(_NODES) + _SMOOTH * _SECOND.T @ _SECOND


class MonotoneCorrection:
    """Piecewise linear in log inverse depth; identity until anchors have shown otherwise."""

    def __init__(self) -> None:
        self._information = np.zeros((_NODES, _NODES))
        self._vector = np.zeros(_NODES)
        self._grid: NDArray[np.float64] | None = None
        self._log_ratio: NDArray[np.float64] = np.zeros(_NODES)

    @property
    def active(self) -> bool:
        """The correction is not the identity."""
        return self._grid is not None and bool(np.abs(self._log_ratio).max() > _ACTIVE)

    def update(
        self,
        estimate: NDArray[np.float64],
        anchors: NDArray[np.float64],
        weights: NDArray[np.float64],
        effective: float,
    ) -> None:
        """Learn from one frame's inliers.

        Args:
            estimate: (N,) linearly scaled inverse depth at the anchors, 1/m.
            anchors: (N,) inverse depth of the anchors, 1/m.
            weights: (N,) robust weights.
            effective: number of independent observations in the frame.
        """
        good = (weights > _MIN_WEIGHT) & (estimate > 0) & (anchors > 0)
        self._information *= _MEMORY
        self._vector *= _MEMORY
        if good.sum() >= _MIN_ANCHORS:
            low, high = quantiles(anchors[good], (0.1, 0.9))
            if high > _MIN_RATIO * low:
                self._learn(estimate[good], anchors[good], weights[good], effective)
        self._solve()

    def apply(self, inverse_depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) or (N,) linearly scaled inverse depth to the corrected one, 1/m; values <= 0 stay as they are."""
        if not self.active or self._grid is None:
            return inverse_depth
        nodes = np.exp(self._grid)
        table_x = np.concatenate(([-_FARTHER, 0.0], nodes, [_FARTHER + nodes[-1]]))
        corrected = nodes * np.exp(self._log_ratio)
        table_y = np.concatenate(([-_FARTHER, 0.0], corrected, [_FARTHER + corrected[-1]]))
        if inverse_depth.size < _TABLE or inverse_depth.ndim == 1:  # remap would make a column of a row
            return np.asarray(np.interp(inverse_depth, table_x, table_y), dtype=np.float32)
        low, high = float(inverse_depth.min()), float(inverse_depth.max())
        step = max(high - low, 1e-9) / (_TABLE - 1)
        table = np.interp(low + step * np.arange(_TABLE), table_x, table_y).astype(np.float32)
        place = (inverse_depth - np.float32(low)) * np.float32(1.0 / step)
        return np.asarray(cv2.remap(table[None, :], place, np.zeros_like(place), cv2.INTER_LINEAR))

    def _learn(
        self,
        estimate: NDArray[np.float64],
        anchors: NDArray[np.float64],
        weights: NDArray[np.float64],
        effective: float,
    ) -> None:
        log_x = np.log(estimate)
        low, high = quantiles(log_x, _COVERED)
        grid = self._grid
        if grid is None or low < grid[0] - _MOVED or high > grid[-1] + _MOVED:
            grid = self._grid = np.asarray(np.linspace(low - _BESIDE, high + _BESIDE, _NODES), dtype=np.float64)
            self._information[:] = 0.0
            self._vector[:] = 0.0
        basis = _hats(log_x, grid)
        share = weights * (effective / len(weights))
        self._information += (basis * share[:, None]).T @ basis
        self._vector += basis.T @ (share * np.clip(np.log(anchors) - log_x, -_MOST, _MOST))

    def _solve(self) -> None:
        if self._grid is None:
            return
        ratio = np.linalg.solve(self._information + _REGULAR, self._vector)
        least = _LEAST_SLOPE * np.diff(self._grid)  # that log y = grid + ratio rises from node to node
        value: NDArray[np.float64] = np.asarray(self._grid + ratio)
        middle = _NODES // 2
        for i in range(middle + 1, _NODES):
            value[i] = max(value[i], value[i - 1] + least[i - 1])
        for i in range(middle - 1, -1, -1):
            value[i] = min(value[i], value[i + 1] - least[i])
        self._log_ratio = value - self._grid


def _hats(x: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, nodes) weights of linear interpolation on an even grid, constant beyond its ends."""
    position = np.clip((x - grid[0]) / (grid[1] - grid[0]), 0.0, len(grid) - 1.0)
    return np.maximum(1.0 - np.abs(position[:, None] - np.arange(len(grid))), 0.0)
