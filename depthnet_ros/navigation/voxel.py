"""Thinning an organised cloud to one point per cube, without losing its rows and columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BITS = 21  # of each coordinate's cell number in one 64-bit key: two million cells to each side


def voxel_mask(points_m: NDArray[np.floating], size_m: float) -> NDArray[np.bool_]:
    """(H, W) True for the first finite point (row by row) of each cube with sides ``size_m``.

    Args:
        points_m: (H, W, 3) in metres; a point with NaN or infinity is never kept.
        size_m: side of the cubes; zero or less keeps every finite point.
    """
    flat = points_m.reshape(-1, 3)
    finite = np.isfinite(flat).all(axis=1)
    keep = np.zeros(len(flat), dtype=bool)
    if size_m <= 0:
        keep[finite] = True
        return keep.reshape(points_m.shape[:2])
    cell = np.floor(flat[finite] / size_m).astype(np.int64) + (1 << (_BITS - 1))
    cell &= (1 << _BITS) - 1
    key = (cell[:, 0] << (2 * _BITS)) | (cell[:, 1] << _BITS) | cell[:, 2]
    _, first = np.unique(key, return_index=True)
    keep[np.flatnonzero(finite)[first]] = True
    return keep.reshape(points_m.shape[:2])
