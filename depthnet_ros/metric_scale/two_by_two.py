"""Algebra of (2, 2) matrices in plain numbers: numpy's own spends most of its time on the call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SINGULAR = 1e-6  # determinant over the trace squared, below which one eigenvalue counts as zero


def determinant(matrix: Array) -> float:
    """Of a (2, 2) matrix."""
    (a, b), (c, d) = matrix.tolist()
    return float(a * d - b * c)


def inverse(matrix: Array) -> Array:
    """Of a (2, 2) matrix that is not singular."""
    (a, b), (c, d) = matrix.tolist()
    return np.array([[d, -b], [-c, a]]) / (a * d - b * c)


def pseudo_inverse(matrix: Array) -> Array:
    """Of a symmetric (2, 2) matrix without negative eigenvalues, which may have one zero eigenvalue, or two.

    With one, ``matrix = t e e'`` for a unit vector e and the trace t, so that ``e e' / t = matrix / t**2``.
    """
    trace = float(matrix[0, 0] + matrix[1, 1])
    if trace <= 0:
        return np.zeros((2, 2))
    if determinant(matrix) > _SINGULAR * trace**2:
        return inverse(matrix)
    return matrix / trace**2


def solve(matrix: Array, vector: Array) -> Array:
    """(2,) x of ``matrix @ x = vector``, by Cramer's rule."""
    (a, b), (c, d) = matrix.tolist()
    p, q = vector.tolist()
    return np.array([p * d - b * q, a * q - c * p]) / (a * d - b * c)


def change_of_unit(gain: float, offset: float) -> Array:
    """(2, 2) matrix from scale and shift on x to those on ``gain * x + offset``, which give the same numbers:
    ``scale * x + shift = (scale / gain) * (gain * x + offset) + (shift - scale * offset / gain)``.
    """
    return np.array([[1.0 / gain, 0.0], [-offset / gain, 1.0]])
