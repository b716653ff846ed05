"""Reader of Quake III's ``.md3`` models (OpenArena's items, weapons and statues), first frame only."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.errors import AssetError

_HEADER, _SURFACE = "<4si64siiiiiiiii", "<4s64siiiiiiiiii"
_UNITS = 1 / 64


@dataclass(frozen=True)
class Md3Part:
    """Triangles of one shader, y up and right-handed, in the file's units.

    Attributes:
        shader: name of the first shader, "" without one.
        position: (3 T, 3) float32.
        normal: (3 T, 3) float32.
        uv: (3 T, 2) float32 with v growing upwards.
    """

    shader: str
    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    uv: NDArray[np.float32]


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("latin1")


def read_md3(data: bytes) -> list[Md3Part]:
    """All parts of a model. Raises AssetError for a file that is not MD3 version 15 or ends early."""
    if data[:4] != b"IDP3" or data[4:8] != struct.pack("<i", 15):
        raise AssetError("not an IDP3 model of version 15")
    try:
        header = struct.unpack_from(_HEADER, data)
        surface_count, at = header[6], header[10]
        parts = []
        for _ in range(surface_count):
            parts.append(_read_surface(data, at))
            at += struct.unpack_from(_SURFACE, data, at)[11]
        return parts
    except (struct.error, ValueError, IndexError) as error:
        raise AssetError(f"model ends early or is damaged: {error}") from error


def _read_surface(data: bytes, at: int) -> Md3Part:
    fields = struct.unpack_from(_SURFACE, data, at)
    shader_count, vertex_count, triangle_count = fields[4:7]
    triangles_at, shaders_at, uv_at, points_at = (at + offset for offset in fields[7:11])
    order = np.frombuffer(data, "<i4", 3 * triangle_count, triangles_at)
    uv = np.frombuffer(data, "<f4", 2 * vertex_count, uv_at).reshape(-1, 2) * (1, -1) + (0, 1)
    packed = np.frombuffer(data, "<i2", 4 * vertex_count, points_at).reshape(-1, 4)
    x, y, z = packed[:, :3].T * np.float32(_UNITS)
    zenith = (packed[:, 3].view(np.uint16) & 255) * (2 * np.pi / 256)
    azimuth = (packed[:, 3].view(np.uint16) >> 8) * (2 * np.pi / 256)
    normal = np.stack((np.cos(azimuth) * np.sin(zenith), np.cos(zenith), -np.sin(azimuth) * np.sin(zenith)), axis=1)
    position = np.stack((x, z, -y), axis=1)
    shader = _text(data[shaders_at : shaders_at + 64]) if shader_count else ""
    return Md3Part(shader, *(array[order].astype(np.float32) for array in (position, normal, uv)))
