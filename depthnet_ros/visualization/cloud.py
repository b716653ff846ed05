"""Point clouds for people: PLY files, and pictures of a cloud from the side, drawn without OpenGL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError
from depthnet_ros.files import written_whole
from depthnet_ros.visualization.color import robust_limits

Points = NDArray[np.float32]
Colors = NDArray[np.uint8]
_BACKGROUND = (24, 26, 30)
_STAND_BACK = 3.0  # from the middle, in reaches of the cloud: a view like that of a long lens
_LEAST_REACH = 1e-6  # of a single point, or of one many times over
_FILL = 0.9
RELATIVE_CONTRAST = 5.0
"""How many times farther than the nearest point the farthest is put when only relative depth is known."""


def relative_cloud_depth(inverse_depth: NDArray[np.floating]) -> NDArray[np.float32]:
    """(H, W) relative inverse depth to (H, W) depth in arbitrary units, 1 at the nearest.

    Relative inverse depth is known up to scale and shift only, so the shape of such a cloud rests on an assumption:
    the farthest surface (2nd percentile) is :data:`RELATIVE_CONTRAST` times as far as the nearest (98th percentile).
    """
    low, high = robust_limits(inverse_depth)
    span = max(high - low, 1e-12)
    ratio = np.clip((inverse_depth - low) / span, 0.0, 1.0)
    return np.asarray(1.0 / (ratio * (1.0 - 1.0 / RELATIVE_CONTRAST) + 1.0 / RELATIVE_CONTRAST), dtype=np.float32)


def valid_points(points: NDArray[np.floating], colors: Colors) -> tuple[Points, Colors]:
    """Flat (N, 3) points and colours of those that are finite."""
    flat, tint = points.reshape(-1, 3), colors.reshape(-1, 3)
    if len(flat) != len(tint):
        raise ImageError(f"a cloud needs a colour for each point, got {len(flat)} points and {len(tint)} colours")
    good = np.isfinite(flat).all(axis=1)
    return flat[good].astype(np.float32), tint[good]


def write_ply(path: Path, points: NDArray[np.floating], colors: Colors, unit: str = "metres") -> int:
    """Write (..., 3) points in the optical frame and (..., 3) RGB colours as binary PLY; returns how many are finite.

    ``unit`` goes into a comment: a reader must be able to tell metres from arbitrary units.
    """
    flat, tint = valid_points(points, colors)
    vertices = np.empty(len(flat), dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    vertices["xyz"], vertices["rgb"] = flat, tint
    header = "\n".join([
        "ply",
        "format binary_little_endian 1.0",
        f"comment unit: {unit}; x right, y down, z forward",
        f"element vertex {len(flat)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "end_header\n",
    ])  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, durable=False) as unfinished:
        unfinished.write_bytes(header.encode("ascii") + vertices.tobytes())
    return len(flat)


def render_cloud(
    points: NDArray[np.floating],
    colors: Colors,
    size_px: tuple[int, int] = (960, 640),
    yaw_deg: float = 28.0,
    pitch_deg: float = 22.0,
    splat_px: int = 0,
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of a cloud in the optical frame, seen from above and from one side of the camera.

    ``size_px`` is (width, height). Points are drawn as squares of ``splat_px`` (0: the fewer the points, the
    larger), near ones over far ones. The view turns about the median point, and is zoomed until 98 % of the cloud fills
    the picture.
    """
    width, height = size_px
    picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
    flat, tint = valid_points(points, colors)
    if len(flat) == 0:
        return picture
    seen = (flat - np.median(flat, axis=0)) @ _view(yaw_deg, pitch_deg).T
    seen[:, 2] += _STAND_BACK * max(float(np.percentile(np.abs(seen), 95)), _LEAST_REACH)
    in_front = seen[:, 2] > 0
    seen, tint = seen[in_front], tint[in_front]
    plane = seen[:, :2] / seen[:, 2:]
    low, high = np.percentile(plane, (1, 99), axis=0)
    zoom = _FILL * np.min(np.array(size_px) / np.maximum(high - low, 1e-6))
    pixels = np.round((plane - 0.5 * (low + high)) * zoom + 0.5 * np.array(size_px)).astype(np.intp)
    column, row = pixels[:, 0], pixels[:, 1]
    splat_px = splat_px or int(np.clip(np.sqrt(3.0 * width * height / len(flat)), 2, 7))
    offsets = np.arange(splat_px) - splat_px // 2
    order = np.argsort(-seen[:, 2], kind="stable")  # far first: of points on one pixel the last assignment stays
    rows = (row[order, None, None] + offsets[:, None]).repeat(splat_px, axis=2).ravel()
    columns = (column[order, None, None] + offsets[None, :]).repeat(splat_px, axis=1).ravel()
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    picture[rows[inside], columns[inside]] = np.repeat(tint[order], splat_px**2, axis=0)[inside]
    return picture


def _view(yaw_deg: float, pitch_deg: float) -> NDArray[np.float64]:
    """(3, 3) rotation of the optical frame: turned about the vertical, then looking down from above."""
    yaw, pitch = np.radians(yaw_deg), np.radians(pitch_deg)
    turn = np.array(((np.cos(yaw), 0, -np.sin(yaw)), (0, 1, 0), (np.sin(yaw), 0, np.cos(yaw))))
    tilt = np.array(((1, 0, 0), (0, np.cos(pitch), -np.sin(pitch)), (0, np.sin(pitch), np.cos(pitch))))
    return np.asarray(tilt @ turn)
