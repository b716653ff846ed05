"""Shadows that upright things cast on the ground: polygons, projected along the light."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.simulation.face_set import Matrix, clip_near
from depthnet_ros.simulation.solids import Footprint

_REACH_M = 25.0
_DARKNESS = 0.5
_SOFTNESS_PX = 5


def outline(footprint: Footprint, light: NDArray[np.float64]) -> Matrix:
    """(N, 3) convex outline on the ground z = 0 of the shadow of something upright."""
    shift = -light[:2] / light[2]
    ends = np.concatenate((footprint.polygon + shift * footprint.bottom_m, footprint.polygon + shift * footprint.top_m))
    hull = cv2.convexHull(ends.astype(np.float32))[:, 0].astype(np.float64)
    return np.column_stack((hull, np.zeros(len(hull))))


def cast(
    outlines: Sequence[Matrix], pose: Matrix, intrinsics: Matrix, ground: NDArray[np.uint8], rgb: NDArray[np.uint8]
) -> None:
    """Darken ``rgb`` in place where ``ground`` (H, W; 0 or 1) lies in a shadow."""
    mask = np.zeros(ground.shape, np.uint8)
    for world in outlines:
        polygon = (world - pose[:3, 3]) @ pose[:3, :3]
        if polygon[:, 2].max() < 0 or polygon[:, 2].min() > _REACH_M:
            continue
        polygon = clip_near(polygon)
        if len(polygon) >= 3:
            pixels = polygon @ intrinsics.T
            pixels = np.clip(pixels[:, :2] / pixels[:, 2:], -8000, 8000)
            cv2.fillConvexPoly(mask, np.round(pixels).astype(np.int32), 255)
    mask = np.asarray(cv2.blur(mask, (_SOFTNESS_PX, _SOFTNESS_PX)), dtype=np.uint8)
    light = 255 - np.asarray(cv2.multiply(mask, ground, scale=_DARKNESS), dtype=np.uint8)
    cv2.multiply(rgb, cv2.merge((light, light, light)), dst=rgb, scale=1 / 255)
