"""Image messages to RGB arrays, by their fields alone: ROS 2, ROS 1 and bag reader messages fit alike. No ROS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError


class ImageLike(Protocol):
    """The fields of sensor_msgs/Image that describe its pixels."""

    height: int
    width: int
    encoding: str
    is_bigendian: int | bool
    step: int
    data: Any


_LONGEST_NAME = 60
_START_OF_SCAN = 0xDA
_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_JPEG_HEADER_BYTES = 1 << 16
_MOST_JPEG_PIXELS = 1 << 27  # a header can promise more memory than there is; OpenCV has a limit of its own
_FEW_BYTES = 8
"""Some webcams leave a few bytes between the picture and its end marker, which harm nothing. A stream that has lost its
step leaves 16 or more."""
_UNSUPPORTED = re.compile("Unsupported (?!marker)")  # a kind that OpenCV may read
_LEAST_BAYER_PX = 3  # OpenCV gives black for fewer
_FEW_GREYS = 20  # 12 bits of 16 are 17
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP", b"BM": "BMP"}


@dataclass(frozen=True)
class Encoding:
    """Pixel layout of one name of sensor_msgs/image_encodings, and its way to RGB uint8."""

    dtype: str
    channels: int
    to_rgb: Callable[[NDArray[Any]], NDArray[Any]]
    chroma: tuple[int, int] = (1, 1)
    """Pixels across and down that share their chroma. Two rows share it in a plane of its own, below the brightness."""

    def rows(self, height: int) -> int:
        """Rows of data of an image of ``height`` rows."""
        return height * 3 // 2 if self.chroma[1] == 2 else height


def _convert(code: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _to_8_bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Full scale 65535 to full scale 255."""
    return np.asarray(cv2.convertScaleAbs(pixels.astype(np.uint16, copy=False), alpha=255.0 / 65535.0))


def _from_16_bit(eight_bit: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda pixels: eight_bit(_to_8_bit(pixels))


def _from_float(eight_bit: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def convert(pixels: NDArray[Any]) -> NDArray[Any]:
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0.0 and high <= 1.0):  # false for NaN too
            raise ImageError(f"a float image must lie in 0..1 without NaN, got {low}..{high}: is it a depth image?")
        return eight_bit(cv2.convertScaleAbs(pixels.astype(np.float32, copy=False), alpha=255.0))

    return convert


def _same(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels


_GREY, _BGR = _convert(cv2.COLOR_GRAY2RGB), _convert(cv2.COLOR_BGR2RGB)
_RGBA, _BGRA = _convert(cv2.COLOR_RGBA2RGB), _convert(cv2.COLOR_BGRA2RGB)
_UYVY, _YUYV = _convert(cv2.COLOR_YUV2RGB_UYVY), _convert(cv2.COLOR_YUV2RGB_YUY2)
_NV12, _NV21 = _convert(cv2.COLOR_YUV2RGB_NV12), _convert(cv2.COLOR_YUV2RGB_NV21)


def _bayer() -> dict[str, Encoding]:
    """ROS names the first two rows, as OpenCV's four-letter constants do."""
    encodings = {}
    for pattern in ("rggb", "bggr", "gbrg", "grbg"):
        demosaic = _convert(getattr(cv2, f"COLOR_Bayer{pattern.upper()}2RGB"))
        encodings[f"bayer_{pattern}8"] = Encoding("u1", 1, demosaic)
        encodings[f"bayer_{pattern}16"] = Encoding("u2", 1, _from_16_bit(demosaic))
    return encodings


ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding("u1", 3, _same),
    "bgr8": Encoding("u1", 3, _BGR),
    "rgba8": Encoding("u1", 4, _RGBA),
    "bgra8": Encoding("u1", 4, _BGRA),
    "mono8": Encoding("u1", 1, _GREY),
    "8UC1": Encoding("u1", 1, _GREY),
    "8UC3": Encoding("u1", 3, _BGR),
    "8UC4": Encoding("u1", 4, _BGRA),
    "rgb16": Encoding("u2", 3, _from_16_bit(_same)),
    "bgr16": Encoding("u2", 3, _from_16_bit(_BGR)),
    "rgba16": Encoding("u2", 4, _from_16_bit(_RGBA)),
    "bgra16": Encoding("u2", 4, _from_16_bit(_BGRA)),
    "mono16": Encoding("u2", 1, _from_16_bit(_GREY)),
    "32FC1": Encoding("f4", 1, _from_float(_GREY)),
    "32FC3": Encoding("f4", 3, _from_float(_BGR)),
    # Two bytes a pixel, as OpenCV's two-channel image. yuv422 is the older name of uyvy, yuv422_yuy2 that of yuyv.
    "uyvy": Encoding("u1", 2, _UYVY, chroma=(2, 1)),
    "yuv422": Encoding("u1", 2, _UYVY, chroma=(2, 1)),
    "yuyv": Encoding("u1", 2, _YUYV, chroma=(2, 1)),
    "yuv422_yuy2": Encoding("u1", 2, _YUYV, chroma=(2, 1)),
    # (3H/2, W) for OpenCV: H rows of brightness, then chroma. v4l2_camera calls YU12 nv21, whose chroma is another.
    "nv12": Encoding("u1", 1, _NV12, chroma=(2, 2)),
    "nv21": Encoding("u1", 1, _NV21, chroma=(2, 2)),
    **_bayer(),
}


def pixels_of(message: ImageLike, dtype: str, channels: int, rows: int | None = None) -> NDArray[Any]:
    """The message's pixels as an (H, W) or (H, W, channels) array, padding at row ends left out: a view of its data,
    unless a row's step is no multiple of a number's size, which OpenCV does not take. ``rows``: H where the data has
    other rows than the image.

    Raises:
        ImageError: size, step and length of data do not fit each other.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    rows = height if rows is None else rows
    kind = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = width * channels * kind.itemsize
    size = f"{width}x{height} {message.encoding}"
    if height < 1 or width < 1:
        raise ImageError(f"image has no pixels: {size}")
    if step < row_bytes:
        raise ImageError(f"step of a {size} image must be at least {row_bytes} bytes, got {step}")
    if len(message.data) != step * rows:
        raise ImageError(f"{size} data with step {step} must be {step * rows} bytes, got {len(message.data)}")
    flat = np.frombuffer(message.data, dtype=np.uint8)
    strides = (step, channels * kind.itemsize, kind.itemsize)
    pixels: NDArray[Any] = np.ndarray((rows, width, channels), kind, flat, strides=strides)
    if step % kind.itemsize:
        pixels = pixels.copy()
    return pixels[..., 0] if channels == 1 else pixels


def checked_pixels(message: ImageLike) -> NDArray[Any]:
    """:func:`pixels_of` an image in a camera's encoding that can be converted to RGB.

    Raises:
        ImageError: an encoding that is not in :data:`ENCODINGS`, data that does not fit the header, or a size that the
            encoding cannot have.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        name = message.encoding[:_LONGEST_NAME]  # one that is damaged may be of any length
        known = ", ".join(sorted(ENCODINGS))
        raise ImageError(f"cannot read encoding {name!r}: set the camera driver's to rgb8, or to one of {known}")
    size = f"{message.width}x{message.height}"
    across, down = encoding.chroma
    if message.width % across or message.height % down:
        even = "width and height" if down == 2 else "width"
        raise ImageError(f"a {message.encoding} image needs an even {even}, got {size}")
    pixels = pixels_of(message, encoding.dtype, encoding.channels, encoding.rows(int(message.height)))
    if message.encoding.startswith("bayer") and min(message.width, message.height) < _LEAST_BAYER_PX:
        raise ImageError(f"a {message.encoding} image needs {_LEAST_BAYER_PX} rows and columns at least, got {size}")
    return pixels


def to_rgb(message: ImageLike) -> NDArray[np.uint8]:
    """An Image-like message to (H, W, 3) RGB uint8: a view of the message's data for rgb8, else converted once.

    Raises:
        ImageError: as :func:`checked_pixels`, or floats that are no picture's.
    """
    pixels = checked_pixels(message)
    try:
        return ENCODINGS[message.encoding].to_rgb(pixels)
    except cv2.error as error:
        raise ImageError(f"cannot convert {message.width}x{message.height} {message.encoding}: {error}") from error


def message_to_rgb(message: Any) -> NDArray[np.uint8]:
    """An Image-like or CompressedImage-like message, told by its fields, to (H, W, 3) RGB uint8.

    Raises:
        ImageError: it cannot be decoded.
    """
    return to_rgb(message) if hasattr(message, "encoding") else compressed_to_rgb(message.data)


def compressed_to_rgb(data: Any, upright: bool = False) -> NDArray[np.uint8]:
    """JPEG, PNG or another format OpenCV reads to (H, W, 3) RGB uint8.

    ``upright``: turned as EXIF says, and as much of a damaged JPEG as can be decoded. A camera's picture must not be
    turned, as its intrinsics would not fit; nor may it be damaged, since depth of what a decoder filled in is wrong.

    Raises:
        ImageError: not an image, a JPEG cut short (OpenCV would fill the rest with grey and say nothing), or, unless
            ``upright``, one whose data are damaged so that its decoder notices.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    if buffer.size == 0:
        raise ImageError("compressed image is empty")
    if bytes(buffer[:2]) == b"\xff\xd8" and not _jpeg_is_whole(buffer.tobytes()):
        raise ImageError(f"JPEG of {buffer.size} bytes is cut short: it has no end-of-image marker")
    if not upright and (rgb := sound_jpeg(buffer)) is not None:
        return rgb
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION))
    except cv2.error as error:
        raise ImageError(f"compressed image of {buffer.size} bytes cannot be decoded: {error}") from error
    if image is None:
        raise ImageError(_why_no_image(bytes(buffer[:12]), buffer.size))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image))


def sound_jpeg(buffer: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """(H, W, 3) RGB of a JPEG, not turned, by a decoder that reports damage, where OpenCV's fills it in; None where
    OpenCV should try: of a kind that this one does not read, or with a few bytes left over at its end.

    Raises:
        ImageError: it is damaged so that the decoder notices.
    """
    width, height = _jpeg_size(buffer[:_JPEG_HEADER_BYTES].tobytes()) or (0, 0)
    if not 0 < width * height <= _MOST_JPEG_PIXELS:
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(buffer, "RGB"))
    except ValueError as error:
        if not _UNSUPPORTED.match(str(error)) and not _is_padded(buffer.tobytes(), str(error)):
            raise ImageError(f"JPEG of {buffer.size} bytes is damaged: {error}") from error
    return None


def _is_padded(data: bytes, reason: str) -> bool:
    """Whether all that is wrong is bytes left over: a few, or all alike, as of an encoder that fills blocks."""
    if not (left_over := _PADDING.search(reason)):
        return False
    end, count = data.rfind(b"\xff\xd9"), int(left_over[1])
    return count <= _FEW_BYTES or len(set(data[max(end - count, 0) : end])) == 1


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of an encoded picture, None where it cannot be decoded."""
    size = _png_size(data) or _jpeg_size(data) or _decoded_size(data)
    return size if size and min(size) > 0 else None


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) <= 24:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _decoded_size(data: bytes) -> tuple[int, int] | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # a size that no picture has
        return None
    return None if image is None else (image.shape[1], image.shape[0])


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the frame header of a JPEG, without decoding it."""
    position = 2
    if data[:2] != b"\xff\xd8":
        return None
    while position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            return int.from_bytes(data[position + 7 : position + 9], "big"), height
        position += 2 + length
    return None


def few_greys(rgb: NDArray[np.uint8]) -> str:
    """How many greys an (H, W, 3) picture has if that is next to none, else empty. 16 bits count as full scale, as in
    cv_bridge: what a sensor of 10 or 12 bits fills of them comes out black.
    """
    low, high = int(rgb.min()), int(rgb.max())
    return f"{high - low + 1} greys of 256 ({low} to {high})" if high - low < _FEW_GREYS else ""


def _why_no_image(start: bytes, size: int) -> str:
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return f"{kind} of {size} bytes cannot be decoded: damaged, cut short, or of a kind OpenCV does not read"
    return f"{size} bytes beginning with {start[:8].hex(' ')} are no JPEG, PNG or other known image"


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the picture's own data ends in an end-of-image marker (FF D9), whatever a camera or phone hangs on after.

    Segments before the scan are stepped over by their length, as a thumbnail within them has an end of its own.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _START_OF_SCAN:
            return data.find(b"\xff\xd9", position) >= 0
        position += 1 if marker == 0xFF else 2 + length  # FF may be repeated as padding
    return False


def read_picture(path: Path, flags: int) -> NDArray[Any] | None:
    """``cv2.imread`` for files of any name: with one that is not UTF-8 OpenCV's own ends the process.

    (H, W) or (H, W, C) as ``flags`` of ``cv2.imread`` say; None where it cannot be read.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        picture = cv2.imdecode(data, flags) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if picture is None else np.asarray(picture)
