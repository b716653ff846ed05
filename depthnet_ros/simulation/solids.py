"""Textured parallelograms and the boxes, prisms and slabs made of them.

World frame as in REP 103: x forward, y left, z up, the ground at z = 0, metres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.simulation.textures import Texture

Vector = NDArray[np.float64]
_UP = np.array((0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Face:
    """The parallelogram ``origin + s * edge_u + t * edge_v``, s and t in [0, 1], seen from one side only.

    From that side ``edge_u`` points right and ``edge_v`` down, as a picture's columns and rows do.
    ``ground``: the face receives shadows.
    """

    origin: Vector
    edge_u: Vector
    edge_v: Vector
    texture: Texture
    ground: bool = False

    @property
    def normal(self) -> Vector:
        """Unit normal towards the side the face is seen from."""
        normal = np.cross(self.edge_v, self.edge_u)
        return np.asarray(normal / np.linalg.norm(normal))

    def split(self, columns: int, rows: int, textures: Sequence[Texture]) -> list[Face]:
        """The face cut into a grid, row by row, each part with a texture of its own, as coarse as it is far."""
        u, v = self.edge_u / columns, self.edge_v / rows
        return [
            Face(
                self.origin + column * u + row * v,
                u,
                v,
                textures[(row * columns + column) % len(textures)],
                self.ground,
            )
            for row in range(rows)
            for column in range(columns)
        ]


@dataclass(frozen=True)
class Footprint:
    """What a thing covers of the ground plane: a convex polygon, and its heights.

    ``polygon``: (N, 2) x, y in metres, counter-clockwise.
    """

    polygon: NDArray[np.float64]
    bottom_m: float
    top_m: float

    def moved(self, x: float, y: float, yaw: float) -> Footprint:
        """Rotated by ``yaw`` about the origin, then shifted."""
        return Footprint(self.polygon @ rotation(yaw).T + (x, y), self.bottom_m, self.top_m)


@dataclass(frozen=True)
class Solid:
    """Faces and footprints of one thing."""

    faces: tuple[Face, ...]
    footprints: tuple[Footprint, ...] = field(default=())

    def __add__(self, other: Solid) -> Solid:
        return Solid(self.faces + other.faces, self.footprints + other.footprints)


def rotation(yaw: float) -> NDArray[np.float64]:
    """(2, 2) counter-clockwise rotation in the ground plane."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array(((cos, -sin), (sin, cos)))


def join(solids: Iterable[Solid]) -> Solid:
    """All of them as one."""
    faces: list[Face] = []
    footprints: list[Footprint] = []
    for solid in solids:
        faces.extend(solid.faces)
        footprints.extend(solid.footprints)
    return Solid(tuple(faces), tuple(footprints))


def wall(start: Sequence[float], end: Sequence[float], bottom_m: float, top_m: float, texture: Texture) -> Face:
    """An upright face seen with ``start`` (x, y) at its left and ``end`` at its right."""
    left, right = np.array((*start, top_m), float), np.array((*end, top_m), float)
    return Face(left, right - left, -(top_m - bottom_m) * _UP, texture)


def floor(x: tuple[float, float], y: tuple[float, float], z: float, texture: Texture, ground: bool = True) -> Face:
    """A level face seen from above; the texture's columns run along +x, its rows along -y."""
    origin = np.array((x[0], y[1], z), float)
    return Face(origin, np.array((x[1] - x[0], 0, 0), float), np.array((0, y[0] - y[1], 0), float), texture, ground)


def ceiling(x: tuple[float, float], y: tuple[float, float], z: float, texture: Texture) -> Face:
    """A level face seen from below."""
    origin = np.array((x[0], y[0], z), float)
    return Face(origin, np.array((x[1] - x[0], 0, 0), float), np.array((0, y[1] - y[0], 0), float), texture)


def box(
    center: Sequence[float],
    size: Sequence[float],
    side: Texture | Sequence[Texture],
    top: Texture,
    yaw: float = 0.0,
    bottom_m: float = 0.0,
    ends: str = "top",
) -> Solid:
    """A box of ``size`` (x, y, z) about ``center`` (x, y). ``side``: one texture or four (front +x, left, back, right).

    ``ends``: "top", "bottom", both or neither, whichever can be seen.
    """
    half = np.array(((1, -1), (1, 1), (-1, 1), (-1, -1))) * (size[0] / 2, size[1] / 2)
    corners = half @ rotation(yaw).T + (center[0], center[1])
    sides = (side,) * 4 if isinstance(side, Texture) else tuple(side)
    top_m = bottom_m + size[2]
    faces = [wall(corners[i], corners[(i + 1) % 4], bottom_m, top_m, sides[i]) for i in range(4)]
    along, across = corners[0] - corners[3], corners[3] - corners[2]
    if "top" in ends:
        faces.append(Face(np.array((*corners[2], top_m)), np.array((*along, 0)), np.array((*across, 0)), top))
    if "bottom" in ends:
        faces.append(Face(np.array((*corners[3], bottom_m)), np.array((*along, 0)), np.array((*-across, 0)), top))
    return Solid(tuple(faces), (Footprint(corners, bottom_m, top_m),))


def prism(
    center: Sequence[float], radius_m: float, bottom_m: float, top_m: float, side: Texture, ends: str = ""
) -> Solid:
    """A regular hexagonal prism. ``ends`` as for :func:`box`.

    An end is three rhombi, so that every face stays a parallelogram.
    """
    angles = np.arange(6) * np.pi / 3
    corners = np.stack((np.cos(angles), np.sin(angles)), axis=1) * radius_m + (center[0], center[1])
    faces = [wall(corners[i], corners[(i + 1) % 6], bottom_m, top_m, side) for i in range(6)]
    middle = np.array((center[0], center[1]))
    for i in (0, 2, 4):
        first, second = corners[i] - middle, corners[(i + 2) % 6] - middle
        flat = (np.array((*second, 0)), np.array((*first, 0)))
        if "top" in ends:
            faces.append(Face(np.array((*middle, top_m)), flat[0], flat[1], side))
        if "bottom" in ends:
            faces.append(Face(np.array((*middle, bottom_m)), flat[1], flat[0], side))
    return Solid(tuple(faces), (Footprint(corners, bottom_m, top_m),))
