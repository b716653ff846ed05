"""Generated triangle meshes: boxes, turned bodies, sheets, cards; texture coordinates are metres along the surface.

A mesh is (3 * triangles, 13) float32 as :func:`training.synthetic.mesh.vertices` lays it out, y up, standing on y = 0
and centred on the vertical axis unless told otherwise. Texture coordinates in metres let one density (repeats a metre)
give all parts of a scene texture at one scale; cards alone have 0..1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.synthetic.mesh import vertices

Mesh = NDArray[np.float32]
_POSITION, _NORMAL, _UV, _COLOUR = slice(0, 3), slice(3, 6), slice(6, 8), slice(10, 13)


def joined(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh of several; an empty one of none."""
    parts = list(meshes)
    return np.concatenate(parts) if parts else vertices(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)))


def moved(mesh: Mesh, matrix: NDArray[np.floating]) -> Mesh:
    """The mesh moved by a (4, 4) matrix."""
    out = mesh.copy()
    linear = np.asarray(matrix, np.float64)[:3, :3]
    out[:, _POSITION] = out[:, _POSITION] @ linear.T + np.asarray(matrix)[:3, 3]
    normal = out[:, _NORMAL] @ np.linalg.pinv(linear)
    out[:, _NORMAL] = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
    return out


def shifted(mesh: Mesh, offset_m: ArrayLike) -> Mesh:
    """The mesh moved by (3,) metres."""
    out = mesh.copy()
    out[:, _POSITION] += np.asarray(offset_m, np.float32)
    return out


def tinted(mesh: Mesh, colour: ArrayLike) -> Mesh:
    """The mesh with its vertex colours multiplied by (3,) or (N, 1) or (N, 3)."""
    out = mesh.copy()
    out[:, _COLOUR] *= np.asarray(colour, np.float32)
    return out


def textured(mesh: Mesh, per_metre: float, offset: ArrayLike = (0.0, 0.0), turned: bool = False) -> Mesh:
    """The mesh with texture coordinates in repeats: scaled, moved, and with u and v exchanged if ``turned``."""
    out = mesh.copy()
    uv = out[:, _UV][:, ::-1] if turned else out[:, _UV]
    out[:, _UV] = uv * np.float32(per_metre) + np.asarray(offset, np.float32)
    return out


def sheet(points: NDArray[np.floating], smooth: bool = True) -> Mesh:
    """A surface through a grid of points (R, C, 3); columns run along u, rows along v.

    Args:
        points: in metres.
        smooth: normals shared by neighbouring cells; otherwise one a cell.
    """
    points = np.asarray(points, np.float64)
    du, dv = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normal = _unit(np.cross(du, dv))
    steps_u = np.linalg.norm(np.diff(points, axis=1), axis=2)
    steps_v = np.linalg.norm(np.diff(points, axis=0), axis=2)
    uv = np.zeros((*points.shape[:2], 2))
    uv[:, 1:, 0] = np.cumsum(np.broadcast_to(steps_u.max(axis=0), steps_u.shape), axis=1)
    uv[1:, :, 1] = np.cumsum(np.broadcast_to(steps_v.max(axis=1)[:, None], steps_v.shape), axis=0)
    corners = [grid_corners(array) for array in (points, normal, uv)]
    if not smooth:
        cell = corners[0].reshape(-1, 6, 3)
        flat = _unit(np.cross(cell[:, 1] - cell[:, 0], cell[:, 2] - cell[:, 0]))
        corners[1] = np.repeat(flat, 6, axis=0)
    return vertices(corners[0], corners[1], corners[2])


def grid_corners(grid: NDArray[np.floating]) -> NDArray[np.floating]:
    """(R, C, K) values at grid points to (6 (R - 1) (C - 1), K) values at the corners of two triangles a cell."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    return np.stack((a, b, c, a, c, d), axis=2).reshape(-1, grid.shape[2])


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)


def rectangle(origin_m: ArrayLike, side_u_m: ArrayLike, side_v_m: ArrayLike, cells: tuple[int, int] = (1, 1)) -> Mesh:
    """A parallelogram from ``origin_m`` along two sides (3,), cut into ``cells`` along (u, v)."""
    origin, u, v = (np.asarray(value, np.float64) for value in (origin_m, side_u_m, side_v_m))
    a, b = np.linspace(0, 1, cells[0] + 1)[None, :, None], np.linspace(0, 1, cells[1] + 1)[:, None, None]
    grid = grid_corners(np.concatenate(np.broadcast_arrays(a, b), axis=2))
    normal = _unit(np.cross(u, v))
    uv = grid * (np.linalg.norm(u), np.linalg.norm(v))
    return vertices(origin + grid[:, :1] * u + grid[:, 1:] * v, np.broadcast_to(normal, (len(grid), 3)), uv)


def _unit_box() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(36, 3) corners and normals of the cube from (-0.5, 0, -0.5), and which (36, 2) axes u and v run along."""
    sides = (
        ((0, 0, 1), 0, 1),
        ((0, 0, -1), 0, 1),
        ((1, 0, 0), 2, 1),
        ((-1, 0, 0), 2, 1),
        ((0, 1, 0), 0, 2),
        ((0, -1, 0), 0, 2),
    )
    square = np.array(((0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1)), np.float64)
    corners, normals, axes = [], [], []
    for normal, u, v in sides:
        side = np.zeros((6, 3)) + np.maximum(normal, 0)
        side[:, u], side[:, v] = square.T
        corners.append(side - (0.5, 0.0, 0.5))
        normals.append(np.tile(np.array(normal, np.float64), (6, 1)))
        axes.append(np.tile((u, v), (6, 1)))
    return np.concatenate(corners), np.concatenate(normals), np.concatenate(axes)


_BOX_CORNERS, _BOX_NORMALS, _BOX_AXES = _unit_box()


def box(size_m: ArrayLike) -> Mesh:
    """A block of (x, y, z) metres standing on y = 0."""
    corners = _BOX_CORNERS * np.asarray(size_m, np.float64)
    return vertices(corners, _BOX_NORMALS, np.take_along_axis(corners, _BOX_AXES, axis=1))


def block(low_m: ArrayLike, high_m: ArrayLike) -> Mesh:
    """A block between two corners (x, y, z) in metres."""
    low, high = np.asarray(low_m, np.float64), np.asarray(high_m, np.float64)
    return shifted(box(high - low), ((low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2))


def lathe(
    profile_m: Sequence[tuple[float, float]] | NDArray[np.floating], segments: int = 20, smooth: bool = True
) -> Mesh:
    """A body turned about the vertical axis.

    Args:
        profile_m: (radius, height) from the bottom to the top.
        segments: around the axis.
        smooth: along the profile as well; otherwise its corners are edges.
    """
    profile = np.asarray(profile_m, np.float64)
    pieces = [profile] if smooth else [profile[k : k + 2] for k in range(len(profile) - 1)]
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    out, widest = [], max(float(profile[:, 0].max()), 1e-6)
    start = 0.0
    for piece in pieces:
        radius, height = piece[:, :1], np.broadcast_to(piece[:, 1:], (len(piece), segments + 1))
        points = np.stack((radius * np.cos(angle), height, -radius * np.sin(angle)), axis=2)
        tangent = np.gradient(piece, axis=0)
        slope = _unit(np.stack((tangent[:, 1], -tangent[:, 0]), axis=1))
        normal = np.stack(
            (slope[:, :1] * np.cos(angle), np.broadcast_to(slope[:, 1:], height.shape), -slope[:, :1] * np.sin(angle)),
            axis=2,
        )
        arc = start + np.concatenate(((0.0,), np.cumsum(np.linalg.norm(np.diff(piece, axis=0), axis=1))))
        start = float(arc[-1])
        uv = np.stack(
            (np.broadcast_to(angle * widest, height.shape), np.broadcast_to(arc[:, None], height.shape)), axis=2
        )
        out.append(vertices(grid_corners(points), grid_corners(normal), grid_corners(uv)))
    return joined(out)


def cylinder(radius_m: float, height_m: float, segments: int = 20) -> Mesh:
    """Closed at both ends."""
    return lathe(((0.0, 0.0), (radius_m, 0.0), (radius_m, height_m), (0.0, height_m)), segments, smooth=False)


def cone(radius_m: float, height_m: float, top_radius_m: float = 0.0, segments: int = 20) -> Mesh:
    """Closed, cut off at the top if ``top_radius_m`` is above 0."""
    profile = [(0.0, 0.0), (radius_m, 0.0), (top_radius_m, height_m)]
    if top_radius_m > 0:
        profile.append((0.0, height_m))
    return lathe(profile, segments, smooth=False)


def ball(radius_m: float, squash: float = 1.0, segments: int = 18) -> Mesh:
    """A sphere standing on y = 0, or an ellipsoid ``squash`` times as high."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 2)
    profile = np.stack((radius_m * np.cos(angle), squash * radius_m * (1 + np.sin(angle))), axis=1)
    return lathe(profile, segments)


def torus(radius_m: float, tube_m: float, segments: int = 20) -> Mesh:
    """A ring lying flat on y = 0."""
    angle = np.linspace(-np.pi, np.pi, 4 * (segments // 8) + 5)  # with the lowest point among them
    profile = np.stack((radius_m + tube_m * np.cos(angle), tube_m * (1 + np.sin(angle))), axis=1)
    return lathe(profile, segments)


def rod(start_m: ArrayLike, end_m: ArrayLike, radius_m: float, segments: int = 8) -> Mesh:
    """A thin cylinder between two points (3,)."""
    start, end = np.asarray(start_m, np.float64), np.asarray(end_m, np.float64)
    length = float(np.linalg.norm(end - start))
    matrix = np.eye(4)
    axis = (end - start) / max(length, 1e-9)
    side = _unit(np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0)))
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = side, axis, np.cross(side, axis), start
    return moved(cylinder(radius_m, length, segments), matrix)


def cards(width_m: float, height_m: float, count: int = 2) -> Mesh:
    """Upright rectangles crossed at the vertical axis, each with the whole texture: a cut-out plant."""
    out = []
    for k in range(count):
        angle = np.pi * k / count
        side = np.array((np.cos(angle), 0.0, np.sin(angle))) * width_m
        card = rectangle(-side / 2, side, (0.0, height_m, 0.0))
        card[:, _UV] /= (width_m, height_m)
        card[:, _NORMAL] = _unit(card[:, _NORMAL] + np.array((0.0, 1.0, 0.0)))  # leaves are lit from above
        out.append(card)
    return joined(out)


def darkened_below(mesh: Mesh, height_m: float, floor_m: float = 0.0, strength: float = 0.45) -> Mesh:
    """Vertex colours darkened towards the base, as light is that hardly reaches the foot of a thing."""
    share = np.clip((mesh[:, 1:2] - floor_m) / max(height_m, 1e-6), 0, 1)
    return tinted(mesh, 1 - strength * (1 - share) ** 2)


def with_contact_shadows(mesh: Mesh, footprints_m: NDArray[np.floating], strength: float = 0.65) -> Mesh:
    """Vertex colours of a finely cut, level mesh darkened around what stands on it.

    Args:
        mesh: at the height where the things stand.
        footprints_m: (K, 3) of x, z and radius.
        strength: share of the light lost right under a thing.
    """
    light = np.ones((len(mesh), 1))
    for x, z, radius in np.asarray(footprints_m, np.float64).reshape(-1, 3):
        distance = np.hypot(mesh[:, 0] - x, mesh[:, 2] - z)[:, None] / max(radius, 1e-6)
        light *= 1 - strength * np.exp(-(np.maximum(distance - 0.6, 0) ** 2) * 3.0)
    return tinted(mesh, np.maximum(light, 0.15))
