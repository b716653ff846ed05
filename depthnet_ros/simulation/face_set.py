"""Many faces as arrays: moved, joined and culled at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation.solids import Face, rotation

NEAR_M = 0.02
"""Distance of the near plane."""
_EDGE_ON = 1e-9  # a face whose plane holds the camera has no pixels, and no inverse
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class FaceSet:
    """Faces by row: ``origin``, ``edge_u``, ``edge_v``, ``normal`` are (N, 3), in one frame."""

    faces: tuple[Face, ...]
    origin: Matrix
    edge_u: Matrix
    edge_v: Matrix
    normal: Matrix

    @classmethod
    def of(cls, faces: Sequence[Face]) -> FaceSet:
        """The arrays of some faces."""
        columns = ([getattr(face, name) for face in faces] for name in ("origin", "edge_u", "edge_v", "normal"))
        return cls(tuple(faces), *(np.array(column, dtype=np.float64).reshape(-1, 3) for column in columns))

    @classmethod
    def join(cls, sets: Sequence[FaceSet]) -> FaceSet:
        """All sets as one, in order."""
        faces = tuple(face for one in sets for face in one.faces)
        names = ("origin", "edge_u", "edge_v", "normal")
        return cls(faces, *(np.concatenate([getattr(one, name) for one in sets]) for name in names))

    def moved(self, x: float, y: float, yaw: float) -> FaceSet:
        """Turned by ``yaw`` about the world's z axis, then shifted."""
        turn = np.eye(3)
        turn[:2, :2] = rotation(yaw)
        origin, u, v, normal = (array @ turn.T for array in (self.origin, self.edge_u, self.edge_v, self.normal))
        return FaceSet(self.faces, origin + np.array((x, y, 0.0)), u, v, normal)


@dataclass(frozen=True)
class Visible:
    """Faces that may show up in the image, nearest first.

    Attributes:
        index: (M,) rows in the FaceSet.
        forms: (M, 3, 3): times (u, v, 1) in pixels gives s / z, t / z and 1 / z.
        regions: (M, 4) left, top, right, bottom (exclusive) in pixels.
        nearest: (M,) inverse depth of the nearest corner, at most 1 / NEAR_M.
    """

    index: NDArray[np.intp]
    forms: Matrix
    regions: NDArray[np.intp]
    nearest: Matrix


def find_visible(faces: FaceSet, pose: Matrix, camera: PinholeCamera, intrinsics: Matrix) -> Visible:
    """Cull by facing, by the view frustum and by size in pixels: a face that holds no pixel centre is not drawn.

    ``pose`` is (4, 4) world from optical frame, ``intrinsics`` the camera's (3, 3) matrix.
    """
    turn = pose[:3, :3]  # world vectors as rows, times this, are optical
    offset = faces.origin - pose[:3, 3]
    front = np.flatnonzero(np.einsum("ni,ni->n", faces.normal, offset) < -_EDGE_ON)
    origin, u, v = offset[front] @ turn, faces.edge_u[front] @ turn, faces.edge_v[front] @ turn
    corners = np.stack((origin, origin + u, origin + u + v, origin + v), axis=1)
    seen = corners[..., 2].max(axis=1) > NEAR_M
    for axis, rays in ((0, camera.ray_x), (1, camera.ray_y)):
        seen &= (corners[..., axis] <= float(rays[-1]) * corners[..., 2]).any(axis=1)
        seen &= (corners[..., axis] >= float(rays[0]) * corners[..., 2]).any(axis=1)
    kept = np.flatnonzero(seen)
    regions = _regions(corners[kept], camera, intrinsics)
    filled = (regions[:, 0] < regions[:, 2]) & (regions[:, 1] < regions[:, 3])
    kept, regions = kept[filled], regions[filled]
    nearest = 1 / np.maximum(corners[kept, :, 2].min(axis=1), NEAR_M)
    order = np.argsort(-nearest, kind="stable")
    kept = kept[order]
    forms = np.linalg.inv(intrinsics @ np.stack((u[kept], v[kept], origin[kept]), axis=2))
    return Visible(front[kept], forms.astype(np.float64), regions[order], nearest[order].astype(np.float64))


def _regions(corners: Matrix, camera: PinholeCamera, intrinsics: Matrix) -> NDArray[np.intp]:
    """(N, 4) left, top, right, bottom (exclusive) around faces' corners (N, 4, 3), cut at the near plane."""
    low, high = np.empty((2, len(corners), 2))
    whole = corners[..., 2].min(axis=1) >= NEAR_M
    pixels = corners[whole] @ intrinsics.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    low[whole], high[whole] = pixels.min(axis=1), pixels.max(axis=1)
    for i in np.flatnonzero(~whole):
        polygon = clip_near(corners[i]) @ intrinsics.T
        polygon = polygon[:, :2] / polygon[:, 2:]
        low[i], high[i] = polygon.min(axis=0), polygon.max(axis=0)
    size = np.array((camera.width_px, camera.height_px))
    first = np.clip(np.ceil(low - 0.01), 0, size)
    last = np.clip(np.floor(high + 0.01) + 1, 0, size)
    return np.concatenate((first, last), axis=1).astype(np.intp)


def clip_near(polygon: Matrix) -> Matrix:
    """(N, 3) convex polygon in the optical frame, cut to z >= NEAR_M; (0, 3) where nothing is left."""
    inside = polygon[:, 2] >= NEAR_M
    if inside.all():
        return polygon
    kept = []
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        if inside[i]:
            kept.append(polygon[i])
        if inside[i] != inside[j]:
            weight = (NEAR_M - polygon[i, 2]) / (polygon[j, 2] - polygon[i, 2])
            kept.append(polygon[i] + weight * (polygon[j] - polygon[i]))
    return np.array(kept).reshape(-1, 3)
