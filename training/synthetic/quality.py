"""Which rendered frames are worth learning from, judged by their depth and brightness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.renderer import Frame

_MAX_BACKS = 0.01


@dataclass(frozen=True)
class Limits:
    """What a view's depth must keep to; the defaults suit streets, tracks and halls.

    Attributes:
        nearest_m: at most 3 % of what is seen is nearer.
        min_range: ratio of far to near (97th to 3rd percentile).
        max_planarity: see :func:`planarity`.
        max_sky: share of the picture.
    """

    nearest_m: float = 0.25
    min_range: float = 2.2
    max_planarity: float = 0.93
    max_sky: float = 0.6


def planarity(depth_m: NDArray[np.float32]) -> float:
    """R^2 in 0..1 of the best plane through the finite ones of (H, W) depths in metres.

    The inverse depth of a plane is affine in the pixel's column and row, so one linear fit tells a bare wall, or a
    bare field, from a scene.
    """
    rows, columns = np.nonzero(np.isfinite(depth_m))
    inverse = 1.0 / depth_m[rows, columns].astype(np.float64)
    design = np.stack((columns, rows, np.ones(len(rows))), axis=1).astype(np.float64)
    solution = np.linalg.lstsq(design, inverse, rcond=None)[0]
    spread = float(np.square(inverse - inverse.mean()).sum())
    return 1.0 if spread == 0 else 1.0 - float(np.square(inverse - design @ solution).sum()) / spread


def fault_of_depth(depth_m: NDArray[np.float32], limits: Limits = Limits()) -> str | None:
    """Why a view is rejected, or None.

    Args:
        depth_m: (H, W) float32, infinity at the sky, negative on the backs of walls.
        limits: of the world.
    """
    if (depth_m < 0).mean() > _MAX_BACKS:
        return "inside a wall"
    seen = np.abs(depth_m[np.isfinite(depth_m)])
    if seen.size < (1 - limits.max_sky) * depth_m.size:
        return "mostly sky"
    near, far = np.percentile(seen, (3, 97))
    if near < limits.nearest_m:
        return "something touches the camera"
    if far < limits.min_range * near:
        return "facing a wall"
    if planarity(np.abs(depth_m)[::8, ::8]) > limits.max_planarity:
        return "a bare plane"
    return None


def fault_of_picture(frame: Frame) -> str | None:
    """Why a drawn picture is rejected, or None: it shows nothing to tell depth from."""
    grey = frame.rgb.mean(axis=2)
    if grey.mean() < 25 or grey.std() < 12:
        return "dark or flat"
    if (grey > 250).mean() > 0.4:
        return "burnt out"
    return None
