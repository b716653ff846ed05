"""Reader of Quake 3 maps (``IBSP`` version 46), as OpenArena has them."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.errors import AssetError

_ENTITIES, _TEXTURES, _VERTICES, _MESH_VERTICES, _FACES, _LIGHT_MAPS = 0, 1, 10, 11, 13, 14
_POLYGON, _PATCH, _MESH = 1, 2, 3
_UNITS_PER_M = 40.0  # a player's eyes are 56 units above the floor
_PATCH_STEPS = 6
LIGHT_MAP_PX = 128


@dataclass(frozen=True)
class BspFace:
    """Triangles with one shader.

    Attributes:
        shader: name of the shader or texture.
        light_map: index of the light map, negative without one.
        corners: (3 T, 13) float32 in the columns of :func:`training.synthetic.mesh.vertices`; metres, y up.
    """

    shader: str
    light_map: int
    corners: NDArray[np.float32]


@dataclass(frozen=True)
class BspMap:
    """A map's geometry, light and named places.

    Attributes:
        faces: in file order.
        light_maps: (N, 128, 128, 3) uint8.
        places: class name and position in metres of each entity that has one.
    """

    faces: list[BspFace]
    light_maps: NDArray[np.uint8]
    places: list[tuple[str, NDArray[np.float64]]]


def _lump(data: bytes, index: int, stride: int) -> NDArray[np.uint8]:
    offset, length = struct.unpack_from("<ii", data, 8 + 8 * index)
    return np.frombuffer(data, np.uint8, length // stride * stride, offset).reshape(-1, stride)


def _y_up(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Quake's x forward, y left, z up to x, z, -y."""
    return np.stack((points[:, 0], points[:, 2], -points[:, 1]), axis=1).astype(np.float32)


def read_bsp(data: bytes) -> BspMap:
    """A map from the bytes of its file. Raises AssetError if it is not a Quake 3 map or is cut short."""
    try:
        if data[:4] != b"IBSP" or struct.unpack_from("<i", data, 4)[0] != 46:
            raise AssetError("not an IBSP map of version 46")
        names = [bytes(row[:64]).split(b"\0")[0].decode("latin1").lower() for row in _lump(data, _TEXTURES, 72)]
        corners = _corners(_lump(data, _VERTICES, 44))
        mesh_vertices = _lump(data, _MESH_VERTICES, 4).copy().view("<i4")[:, 0]
        table = _lump(data, _FACES, 104).copy().view("<i4")
        light_maps = _lump(data, _LIGHT_MAPS, LIGHT_MAP_PX * LIGHT_MAP_PX * 3)
        entities = bytes(_lump(data, _ENTITIES, 1).ravel()).decode("latin1")
        faces = []
        for row in table:
            triangles = _face(row, corners, mesh_vertices)
            if len(triangles):
                faces.append(BspFace(names[row[0]], int(row[7]), triangles))
        places = _places(entities)
    except (struct.error, IndexError, ValueError) as error:
        raise AssetError(f"the map is cut short or damaged: {error}") from error
    return BspMap(faces, light_maps.reshape(-1, LIGHT_MAP_PX, LIGHT_MAP_PX, 3), places)


def _corners(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    numbers = np.ascontiguousarray(raw[:, :40]).view("<f4")
    out = np.zeros((len(raw), 13), np.float32)
    out[:, 0:3] = _y_up(numbers[:, 0:3]) / _UNITS_PER_M
    out[:, 3:6] = _y_up(numbers[:, 7:10])
    out[:, 6:8] = numbers[:, 3:5] * (1, -1)
    out[:, 8:10] = numbers[:, 5:7] * (1, -1) + (0, 1)
    out[:, 10:13] = 1
    return out


def _face(
    row: NDArray[np.int32], corners: NDArray[np.float32], mesh_vertices: NDArray[np.int32]
) -> NDArray[np.float32]:
    kind, first, first_mesh, mesh_count = row[2], row[3], row[5], row[6]
    if kind in (_POLYGON, _MESH):
        # The game's front faces are clockwise; OpenGL's are not.
        order = mesh_vertices[first_mesh : first_mesh + mesh_count // 3 * 3].reshape(-1, 3)[:, ::-1].ravel()
        return corners[first + order]
    if kind == _PATCH:
        width, height = int(row[24]), int(row[25])
        return tessellate(corners[first : first + width * height].reshape(height, width, -1))
    return corners[:0]


def tessellate(control: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3 T, C) triangles of a grid (H, W, C) of control points, H and W odd: biquadratic Bezier patches of 3 x 3."""
    t = np.linspace(0, 1, _PATCH_STEPS + 1)[:, None]
    basis = np.concatenate(((1 - t) ** 2, 2 * t * (1 - t), t**2), axis=1)
    out = []
    for i in range(0, control.shape[0] - 2, 2):
        for j in range(0, control.shape[1] - 2, 2):
            grid = np.einsum("ai,bj,ijc->abc", basis, basis, control[i : i + 3, j : j + 3])
            a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
            out.append(np.stack((a, b, c, b, d, c), axis=2).reshape(-1, control.shape[2]))
    return np.concatenate(out).astype(np.float32) if out else control[:0, 0]


def _places(entities: str) -> list[tuple[str, NDArray[np.float64]]]:
    places = []
    for block in re.findall(r"\{([^}]*)\}", entities):
        keys = dict(re.findall(r'"([^"]*)"\s+"([^"]*)"', block))
        origin = keys.get("origin", "").split()
        if len(origin) == 3:
            position = _y_up(np.array([[float(word) for word in origin]]))[0] / _UNITS_PER_M
            places.append((keys.get("classname", ""), position.astype(np.float64)))
    return places
