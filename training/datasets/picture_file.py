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
from depthnet_ros.errors import ImageError
from depthnet_ros.files import written_whole
from training.datasets.base import DatasetError

_JPEG, _END = b"\xff\xd8", b"\xff\xd9"
# In compressed data a 0xff is followed by 0 or a restart's number, so anything else is a marker.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])")


def read_picture(path: Path, flags: int) -> NDArray[Any]:
    """(H, W) or (H, W, 3) BGR of the type in the file, as OpenCV's ``flags`` (``cv2.IMREAD_...``) say.

    Raises:
        DatasetError: missing, cut short, or damaged so that a decoder notices.
    """
    data = _whole(path)
    _sound_jpeg(path, data)  # decodes it twice, but few pictures are read so
    return _decoded(path, data, flags)


def read_rgb(path: Path, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    """(H, W, 3) RGB picture as it is stored; ``flags``: ``cv2.IMREAD_COLOR``, or a reduced one for a part of its size.

    For pictures with depth beside them. It is on the grid that is stored, so an orientation in a JPEG's EXIF, by which
    viewers turn the picture, is passed over.

    Raises:
        DatasetError: missing, cut short, or damaged so that a decoder notices; of a reduced JPEG OpenCV's, which fills
            in what it cannot decode.
    """
    data = _whole(path)
    if flags == cv2.IMREAD_COLOR and (rgb := _sound_jpeg(path, data)) is not None:
        return rgb
    bgr = _decoded(path, data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: missing or damaged ({error.strerror})") from error


def _whole(path: Path) -> bytes:
    data = _bytes_of(path)
    if data.startswith(_JPEG) and not _jpeg_ends(data):  # OpenCV fills what is not there with grey
        raise DatasetError(
            f"cannot read {path}: missing or damaged (a JPEG without its end, of {len(data)} bytes); copy it again"
        )
    return data


def _sound_jpeg(path: Path, data: bytes) -> NDArray[np.uint8] | None:
    """As :func:`imaging.sound_jpeg`, whose pixels are those of OpenCV, of any picture's bytes."""
    if not data.startswith(_JPEG):
        return None
    try:
        return imaging.sound_jpeg(np.frombuffer(data, np.uint8))
    except ImageError as error:
        raise DatasetError(f"cannot read {path}: missing or damaged ({error}); copy it again") from error


def _decoded(path: Path, data: bytes, flags: int) -> NDArray[Any]:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if picture is None:
        raise DatasetError(f"cannot read {path}: missing or damaged (no whole picture in its {len(data)} bytes)")
    return picture


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
