"""Large surfaces cut into pieces, so that those out of sight are not drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from training.synthetic.camera import NEAR_M
from training.synthetic.mesh import Surface

_CELL_M = 40.0
_FEW_TRIANGLES = 1500


@dataclass(frozen=True)
class Sphere:
    """A ball around all vertices of a piece."""

    centre_m: NDArray[np.float64]
    radius_m: float

    def may_be_seen(self, eye_from_model: NDArray[np.float64], camera: PinholeCamera) -> bool:
        """False only if the ball lies wholly outside one of the near, left, right, upper and lower planes of view.

        Args:
            eye_from_model: (4, 4) to OpenGL's eye frame (x right, y up, looking along -z), scaled evenly.
            camera: of the picture.
        """
        x, y, z = eye_from_model[:3, :3] @ self.centre_m + eye_from_model[:3, 3]
        radius = self.radius_m * float(np.linalg.norm(eye_from_model[:3, 0]))
        depth = -z
        if depth + radius < NEAR_M:
            return False
        left = (camera.cx_px + 0.5) / camera.fx_px
        right = (camera.width_px - camera.cx_px - 0.5) / camera.fx_px
        up = (camera.cy_px + 0.5) / camera.fy_px
        down = (camera.height_px - camera.cy_px - 0.5) / camera.fy_px
        sides = ((-x, left), (x, right), (y, up), (-y, down))
        return all(offset - slope * depth <= radius * np.hypot(1.0, slope) for offset, slope in sides)


def pieces(surface: Surface) -> Iterator[tuple[Surface, Sphere]]:
    """The surface in cells of 40 m, or as it is if it has few triangles."""
    triangles = surface.vertices.reshape(-1, 3, surface.vertices.shape[1])
    if len(triangles) <= _FEW_TRIANGLES:
        if len(triangles):
            yield surface, _sphere(triangles)
        return
    cells = np.floor(triangles[:, :, (0, 2)].mean(axis=1) / _CELL_M).astype(np.int64)
    _, owner = np.unique(cells, axis=0, return_inverse=True)
    order = np.argsort(owner.ravel(), kind="stable")
    borders = np.flatnonzero(np.diff(owner.ravel()[order])) + 1
    for part in np.split(order, borders):
        chosen = triangles[part]
        yield replace(surface, vertices=chosen.reshape(-1, chosen.shape[2])), _sphere(chosen)


def _sphere(triangles: NDArray[np.float32]) -> Sphere:
    points = triangles[:, :, :3].reshape(-1, 3).astype(np.float64)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    return Sphere(centre, float(np.linalg.norm(points - centre, axis=1).max()))
