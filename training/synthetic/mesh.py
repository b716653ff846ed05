"""What the loaders give to the renderer: triangles by texture, and placed models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# position 3, normal 3, texture uv 2, light map uv 2, colour 3
VERTEX_FLOATS = 13
_POSITION, _NORMAL = slice(0, 3), slice(3, 6)


@dataclass(frozen=True)
class Texture:
    """An image named by a key, read when it is first drawn.

    Attributes:
        key: what tells this texture from others; also the cache key on the GPU.
        load: gives (H, W, 4) uint8 RGBA, first row on top; None where the file is missing (drawn as plain grey).
    """

    key: str
    load: Callable[[], NDArray[np.uint8] | None] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Surface:
    """Triangles that share one texture.

    Attributes:
        vertices: (3 * triangles, 13) float32, see :func:`vertices`; lengths in metres, y up, right-handed.
        texture: colour, and shape where ``cut_out``.
        cut_out: texels with alpha below one half are holes, in colour and in depth alike. Otherwise alpha is ignored.
        light_map: baked light multiplied with the colour, or None for sun and sky.
        one_sided: seen from the back it shows that the camera stands inside a wall.
    """

    vertices: NDArray[np.float32]
    texture: Texture
    cut_out: bool = False
    light_map: Texture | None = None
    one_sided: bool = False


Model = list[Surface]


def vertices(
    position: NDArray[np.floating],
    normal: NDArray[np.floating],
    uv: NDArray[np.floating],
    light_uv: NDArray[np.floating] | None = None,
    colour: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """(N, 13) float32 of columns given apart; light map coordinates default to 0 and colours to white."""
    count = len(position)
    out = np.zeros((count, VERTEX_FLOATS), dtype=np.float32)
    out[:, _POSITION], out[:, _NORMAL], out[:, 6:8] = position, normal, uv
    if light_uv is not None:
        out[:, 8:10] = light_uv
    out[:, 10:13] = 1.0 if colour is None else colour
    return out


def transformed(model: Model, matrix: NDArray[np.floating]) -> Model:
    """The model moved by a (4, 4) matrix; normals go with the inverse transpose."""
    linear = np.asarray(matrix, dtype=np.float64)[:3, :3]
    normal_matrix = np.linalg.pinv(linear).T
    out = []
    for surface in model:
        moved = surface.vertices.copy()
        moved[:, _POSITION] = moved[:, _POSITION] @ linear.T + np.asarray(matrix)[:3, 3]
        moved[:, _NORMAL] = moved[:, _NORMAL] @ normal_matrix.T
        out.append(Surface(moved, surface.texture, surface.cut_out, surface.light_map, surface.one_sided))
    return out


def merged(surfaces: Iterable[Surface]) -> Model:
    """Surfaces of the same texture and kind joined: fewer draw calls."""
    groups: dict[tuple[Texture, bool, Texture | None, bool], list[NDArray[np.float32]]] = {}
    for surface in surfaces:
        key = (surface.texture, surface.cut_out, surface.light_map, surface.one_sided)
        groups.setdefault(key, []).append(surface.vertices)
    return [Surface(np.concatenate(parts), *key) for key, parts in groups.items()]


def bounds(model: Model) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest corner (x, y, z) in metres."""
    low = np.min([surface.vertices[:, _POSITION].min(axis=0) for surface in model], axis=0)
    high = np.max([surface.vertices[:, _POSITION].max(axis=0) for surface in model], axis=0)
    return low, high


def rotation_y(angle_rad: float) -> NDArray[np.float64]:
    """(4, 4) turn about the vertical axis."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    out = np.eye(4)
    out[0, 0], out[0, 2], out[2, 0], out[2, 2] = c, s, -s, c
    return out


def placement(position_m: NDArray[np.floating], yaw_rad: float = 0.0, scale: float = 1.0) -> NDArray[np.float64]:
    """(4, 4) world-from-model: scaled, turned about the vertical, then moved."""
    out = rotation_y(yaw_rad)
    out[:3, :3] *= scale
    out[:3, 3] = position_m
    return out
