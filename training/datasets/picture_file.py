"""Pictures of a data set: read whole or refused, written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros import imaging
from depthnet_ros.files import written_whole
from training.datasets.base import DatasetError

_JPEG, _END = b"\xff\xd8", b"\xff\xd9"
# In compressed data a 0xff is followed by 0 or a restart's number, so anything else is a marker.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])")


def read_picture(path: Path, flags: int) -> NDArray[Any]:
    """(H, W) or (H, W, 3) BGR of the type in the file, as OpenCV's ``flags`` (``cv2.IMREAD_...``) say.

    Raises:
        DatasetError: missing, damaged or cut short. OpenCV itself fills what a JPEG lacks with grey.
    """
    data = _bytes_of(path)
    if data.startswith(_JPEG) and not _jpeg_ends(data):
        raise DatasetError(
            f"cannot read {path}: missing or damaged (a JPEG without its end, of {len(data)} bytes); copy it again"
        )
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if picture is None:
        raise DatasetError(f"cannot read {path}: missing or damaged (no whole picture in its {len(data)} bytes)")
    return picture


def read_rgb(path: Path, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    """(H, W, 3) RGB picture as it is stored; ``flags`` as of :func:`read_picture`, which must give three channels.

    For pictures with depth beside them. It is on the grid that is stored, so an orientation in a JPEG's EXIF, by which
    viewers turn the picture, is passed over.

    Raises:
        DatasetError: missing, damaged or cut short.
    """
    return np.asarray(
        cv2.cvtColor(read_picture(path, flags | cv2.IMREAD_IGNORE_ORIENTATION), cv2.COLOR_BGR2RGB), dtype=np.uint8
    )


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture as it is stored; a JPEG or PNG is not decoded for it.

    Raises:
        DatasetError: missing or damaged.
    """
    data = _bytes_of(path)
    size = imaging.picture_size(data) if data else None
    if size is None:
        raise DatasetError(f"cannot read {path}: missing or damaged (no whole picture in its {len(data)} bytes)")
    return size[::-1]


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: missing or damaged ({error.strerror})") from error


def _jpeg_ends(data: bytes) -> bool:
    """Whether the picture's own end is there: not that of a thumbnail in its header, and whatever follows it."""
    if data.endswith(_END):
        return True
    position = len(_JPEG)
    while (found := _MARKER.search(data, position)) is not None:
        if found[1][0] == _END[1]:
            return True
        # Every other marker has a segment, which may hold any bytes: its length is in the first two.
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return False


def write_picture(path: Path, picture: NDArray[np.uint8] | NDArray[np.uint16], options: Sequence[int] = ()) -> None:
    """Write an (H, W, 3) BGR or (H, W) grey picture in the format of the path's ending; ``options`` are OpenCV's.

    Raises:
        DatasetError: OpenCV cannot encode it.
        OSError: it cannot be written.
    """
    try:
        coded, data = cv2.imencode(path.suffix, picture, list(options))
    except cv2.error as error:
        raise DatasetError(f"{path}: OpenCV cannot encode a picture of shape {picture.shape}: {error}") from error
    if not coded:
        raise DatasetError(f"{path}: OpenCV cannot encode a picture of shape {picture.shape}")
    with written_whole(path, durable=False) as temporary:
        temporary.write_bytes(data.tobytes())
