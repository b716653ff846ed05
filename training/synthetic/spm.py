"""Reader of SuperTuxKart's ``.spm`` models (version 1, as in releases 1.0 to 1.4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.synthetic.errors import AssetError

_HAS_NORMAL, _HAS_COLOUR, _HAS_TANGENT = 1, 2, 4
_SKINNED = 1


@dataclass(frozen=True)
class SpmPart:
    """Triangles of one material, still in the file's left-handed frame.

    Attributes:
        texture: name of the first texture, "" without one.
        position: (3 T, 3) float32.
        normal: (3 T, 3) float32.
        uv: (3 T, 2) float32 with v growing upwards.
        colour: (3 T, 3) float32 in 0..1.
    """

    texture: str
    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    uv: NDArray[np.float32]
    colour: NDArray[np.float32]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def text(self) -> str:
        (length,) = self.take("<B")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf8", "replace")


def read_spm(path: Path) -> list[SpmPart]:
    """All parts of a model. Raises AssetError for a file that is not SPM or ends early."""
    reader = _Reader(path.read_bytes())
    if reader.data[:2] != b"SP":
        raise AssetError(f"{path} is not an SPM model")
    try:
        kind, flags = reader.data[2] & 7, reader.data[3]
        reader.at = 4 + 24  # magic, then the bounding box
        (material_count,) = reader.take("<H")
        materials = [(reader.text(), reader.text()) for _ in range(material_count)]
        parts = []
        (sector_count,) = reader.take("<H")
        for _ in range(sector_count):
            (buffer_count,) = reader.take("<H")
            parts += [_read_buffer(reader, materials, flags, kind == _SKINNED) for _ in range(buffer_count)]
        return parts
    except (struct.error, IndexError) as error:
        raise AssetError(f"{path} ends early or is damaged: {error}") from error


def _read_buffer(reader: _Reader, materials: list[tuple[str, str]], flags: int, skinned: bool) -> SpmPart:
    vertex_count, index_count, material = reader.take("<IIH")
    first, second = materials[material]
    head = 12 + (4 if flags & _HAS_NORMAL else 0)
    tail = (4 if first else 0) + (4 if second else 0)
    tail += (4 if flags & _HAS_TANGENT and first else 0) + (16 if skinned else 0)
    starts, colour_bytes = _vertex_starts(reader, vertex_count, head, tail, bool(flags & _HAS_COLOUR))
    raw = np.frombuffer(reader.data, np.uint8)
    position = _gather(raw, starts, 12).view("<f4")
    normal: NDArray[np.float32] = np.tile(np.array((0, 1, 0), np.float32), (vertex_count, 1))
    if flags & _HAS_NORMAL:
        normal = _unpack_normal(_gather(raw, starts + 12, 4).view("<u4")[:, 0])
    colour = np.ones((vertex_count, 3), np.float32)
    coloured = colour_bytes == 4
    colour[coloured] = _gather(raw, starts[coloured] + head, 4)[:, 1:4].astype(np.float32) / 255
    uv: NDArray[np.float32] = np.zeros((vertex_count, 2), np.float32)
    if first:
        uv = _gather(raw, starts + head + colour_bytes, 4).view("<f2").astype(np.float32)
    uv[:, 1] = 1 - uv[:, 1]
    index_type = np.dtype("<u2" if vertex_count > 255 else "u1")
    order = np.frombuffer(reader.data, index_type, index_count, reader.at).astype(np.int64)
    reader.at += index_count * index_type.itemsize
    return SpmPart(first, position[order], normal[order], uv[order], colour[order])


def _vertex_starts(
    reader: _Reader, count: int, head: int, tail: int, has_colour: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offset of each vertex and the bytes of its colour: white is stored as the single byte 128, others as four."""
    if not has_colour:
        starts = reader.at + np.arange(count, dtype=np.int64) * (head + tail)
        reader.at += count * (head + tail)
        return starts, np.zeros(count, np.int64)
    starts, sizes = np.zeros(count, np.int64), np.ones(count, np.int64)
    at, data = reader.at, reader.data
    for k in range(count):
        starts[k] = at
        size = 1 if data[at + head] == 128 else 4
        sizes[k] = size
        at += head + size + tail
    reader.at = at
    return starts, sizes


def _gather(raw: NDArray[np.uint8], starts: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(raw[starts[:, None] + np.arange(size)])


def _unpack_normal(packed: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Three signed 10-bit numbers a word."""
    axes = np.stack([((packed >> shift) & 1023).astype(np.int32) for shift in (0, 10, 20)], axis=1)
    return (np.where(axes > 511, axes - 1024, axes) / np.float32(511)).astype(np.float32)
