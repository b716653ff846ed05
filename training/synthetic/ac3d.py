"""Reader of AC3D models (``.ac`` and TORCS's ``.acc`` with normals and texture layers)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.synthetic.errors import AssetError
from training.synthetic.mesh import Surface, Texture, vertices

_POLYGON, _STRIP = 0, 4


@dataclass
class AcObject:
    """One ``OBJECT poly`` of a file.

    Attributes:
        name: as in the file; TORCS calls pieces of the main track ``TKMN<n>``, in driving order.
        texture: name of the base layer, "" without one.
        points: (N, 3) float32 in file order.
        triangles: (3 T, 8) float32 position, normal, uv.
    """

    name: str = ""
    texture: str = ""
    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    triangles: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 8), np.float32))


def read_ac(path: Path) -> list[AcObject]:
    """All objects with triangles. ``loc`` of nested groups is added up; rotations are not read (TORCS uses none).

    Raises:
        AssetError: the file ends early or is damaged.
    """
    lines = iter(path.read_text(errors="replace").splitlines())
    objects: list[AcObject] = []
    try:
        _read_object(lines, np.zeros(3), objects)
    except (StopIteration, IndexError, ValueError) as error:
        raise AssetError(f"{path} ends early or is damaged: {error!r}") from error
    return [item for item in objects if len(item.triangles)]


def _read_object(lines: Iterator[str], origin: NDArray[np.float64], objects: list[AcObject]) -> None:
    """Reads up to and with the ``kids`` of one object, then the kids."""
    item, parts = AcObject(), []
    normals: NDArray[np.float32] = np.zeros((0, 3), np.float32)
    kind = _POLYGON
    for line in lines:
        key, _, rest = line.partition(" ")
        words = rest.split()
        if key == "name":
            item.name = rest.strip().strip('"')
        elif key == "texture" and not item.texture and (len(words) < 2 or words[-1] == "base"):
            item.texture = words[0].strip('"')
        elif key == "loc":
            origin = origin + np.array(words[:3], dtype=np.float64)
        elif key == "numvert":
            item.points, normals = _read_points(lines, int(words[0]), origin)
        elif key == "SURF":
            kind = int(words[0], 16) & 0xF
        elif key == "refs":
            parts.append(_read_surface(lines, int(words[0]), kind, item.points, normals))
        elif key == "data":
            next(lines)
        elif key == "kids":
            if parts:
                item.triangles = np.concatenate(parts)
                objects.append(item)
            for _ in range(int(words[0])):
                _read_object(lines, origin, objects)
            return


def _read_points(
    lines: Iterator[str], count: int, origin: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    data = np.zeros((count, 6), dtype=np.float32)
    for row in data:
        values = next(lines).split()[:6]
        row[: len(values)] = values
    return data[:, :3] + origin.astype(np.float32), data[:, 3:]


def _read_surface(
    lines: Iterator[str], count: int, kind: int, points: NDArray[np.float32], normals: NDArray[np.float32]
) -> NDArray[np.float32]:
    refs = [next(lines).split() for _ in range(count)]
    if count < 3 or kind not in (_POLYGON, _STRIP):
        return np.zeros((0, 8), np.float32)
    index = np.array([int(words[0]) for words in refs])
    uv = np.array([words[1:3] for words in refs], dtype=np.float32)
    if kind == _STRIP:
        corner = [(k, k + 1, k + 2) if k % 2 == 0 else (k + 1, k, k + 2) for k in range(count - 2)]
    else:
        corner = [(0, k, k + 1) for k in range(1, count - 1)]
    order = np.array(corner).ravel()
    out = np.concatenate((points[index[order]], normals[index[order]], uv[order]), axis=1)
    _fill_normals(out.reshape(-1, 3, 8))
    return out


def _fill_normals(triangles: NDArray[np.float32]) -> None:
    """Gives vertices without a normal that of their triangle, in place."""
    edge_a, edge_b = triangles[:, 1, :3] - triangles[:, 0, :3], triangles[:, 2, :3] - triangles[:, 0, :3]
    face = np.cross(edge_a, edge_b)
    face /= np.linalg.norm(face, axis=1, keepdims=True) + 1e-12
    missing = np.linalg.norm(triangles[:, :, 3:6], axis=2) < 1e-3
    triangles[:, :, 3:6] = np.where(missing[..., None], face[:, None], triangles[:, :, 3:6])


def to_surface(item: AcObject, texture: Texture, cut_out: bool) -> Surface:
    """The object's triangles with a texture."""
    data = item.triangles
    return Surface(vertices(data[:, :3], data[:, 3:6], data[:, 6:8]), texture, cut_out)
