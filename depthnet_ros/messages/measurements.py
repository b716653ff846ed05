"""Messages that measure: depth images, clouds and laser scans, as arrays and as depth in the camera's image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError, MessageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.imaging import pixels_of
from depthnet_ros.metric_scale.anchors import AnchorError, ScanGeometry, from_points, scan_points

MILLIMETRE_M = 0.001
_COMPRESSED_DEPTH_HEADER_BYTES = 12
_POINT_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def depth_from_image(message: Any, unit_m: float = MILLIMETRE_M) -> NDArray[np.float32]:
    """A depth image of REP 118 to (H, W) metres: NaN for invalid and too near, +Inf for no return (32FC1 only).

    ``unit_m`` is the unit of 16UC1.

    Raises:
        ImageError: another encoding, or data that does not fit the header.
    """
    if message.encoding in ("16UC1", "mono16"):
        raw = pixels_of(message, "u2", 1)
        return _clean(raw.astype(np.float32) * np.float32(unit_m))
    if message.encoding == "32FC1":
        return _clean(pixels_of(message, "f4", 1).astype(np.float32))
    raise ImageError(f"a depth image is 16UC1 or 32FC1 (REP 118), got {message.encoding!r}")


def depth_from_compressed(message: Any, unit_m: float = MILLIMETRE_M) -> NDArray[np.float32]:
    """A CompressedImage of compressed_depth_image_transport (PNG) to (H, W) metres, NaN for invalid.

    Its 12 bytes of header hold the quantisation of 32FC1: depth = A / (code - B), code 0 for invalid.

    Raises:
        ImageError: another compression, or damaged data.
    """
    text = str(message.format)
    if "compressedDepth" not in text:
        raise ImageError(f"expected the format '16UC1; compressedDepth png', got {text!r}: is it a camera image?")
    if "rvl" in text.lower():
        raise ImageError(f"{text!r}: RVL cannot be read here; record with png, or the raw depth image")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size <= _COMPRESSED_DEPTH_HEADER_BYTES:
        raise ImageError(f"compressed depth of {data.size} bytes is cut short")
    try:
        code = cv2.imdecode(data[_COMPRESSED_DEPTH_HEADER_BYTES:], cv2.IMREAD_UNCHANGED)
    except cv2.error as error:  # a header that claims to be larger than OpenCV takes, say
        raise ImageError(f"compressed depth of {data.size} bytes cannot be decoded: {error}") from error
    if code is None or code.dtype != np.uint16 or code.ndim != 2:
        found = "no image" if code is None else f"{code.dtype} of shape {code.shape}"
        raise ImageError(f"compressed depth must hold a 16-bit grey PNG, got {found}")
    if not text.startswith("32FC1"):
        return _clean(code.astype(np.float32) * np.float32(unit_m))
    quant_a, quant_b = (float(value) for value in data[4:_COMPRESSED_DEPTH_HEADER_BYTES].view("<f4"))
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(quant_a) / (code.astype(np.float32) - np.float32(quant_b))
    return _clean(np.where(code > 0, depth, np.float32(np.nan)))


def _clean(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(depth_m > 0, depth_m, np.float32(np.nan))


def points_from_cloud(message: Any) -> NDArray[np.float32]:
    """The finite points of a PointCloud2, (N, 3) x, y, z in metres in the cloud's frame.

    Raises:
        MessageError: no fields x, y, z, or data that does not fit the layout.
    """
    fields = {field.name: field for field in message.fields}
    if missing := [name for name in "xyz" if name not in fields]:
        raise MessageError(f"the cloud lacks the fields {missing}; it has {sorted(fields)}")
    height, width, step, row = int(message.height), int(message.width), int(message.point_step), int(message.row_step)
    if height == 1:  # a row of its own: drivers leave row_step at 0 then, or have the length of the buffer in it
        row = width * step
    if len(message.data) < row * height or row < width * step:
        raise MessageError(
            f"a cloud of {width} x {height} points of {step} bytes, {row} a row, does not fit {len(message.data)} bytes"
        )
    for name in "xyz":
        field = fields[name]
        if field.datatype not in _POINT_TYPES:
            raise MessageError(f"the cloud's field {name} has the unknown datatype {field.datatype}; known are 1 to 8")
        if field.offset + np.dtype(_POINT_TYPES[field.datatype]).itemsize > step:
            raise MessageError(f"the cloud's field {name} at byte {field.offset} does not fit a point of {step} bytes")
    order = ">" if message.is_bigendian else "<"
    kind = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": [order + _POINT_TYPES[fields[name].datatype] for name in "xyz"],
            "offsets": [int(fields[name].offset) for name in "xyz"],
            "itemsize": step,
        }
    )
    flat = np.frombuffer(message.data, dtype=np.uint8)
    table: NDArray[Any] = np.ndarray((height, width), kind, flat, strides=(row, step))
    points = np.stack([table[name].ravel() for name in "xyz"], axis=1).astype(np.float32)
    return points[np.isfinite(points).all(axis=1)]


def points_from_scan(message: Any) -> NDArray[np.float64]:
    """The returns of a LaserScan, (N, 3) x, y, z in metres in the scan's frame (z = 0), chosen as for anchors: see
    :func:`depthnet_ros.metric_scale.anchors.scan_points`.

    Raises:
        AnchorError: the angles are not finite, or all beams have the same one.
    """
    return scan_points(message.ranges, scan_geometry(message))


def scan_geometry(message: Any) -> ScanGeometry:
    """Beams and limits of a LaserScan."""
    return ScanGeometry(message.angle_min, message.angle_increment, message.range_min, message.range_max)


def depth_from_points(
    points_m: NDArray[np.floating], camera: PinholeCamera, camera_from_sensor: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(N, 3) points in a sensor's frame to (H, W) depth in metres: the nearest point of each pixel, NaN elsewhere.

    Points that something nearer hides from the camera are left out, as they are for anchors of metric scale.

    Args:
        points_m: (N, 3).
        camera: of the image.
        camera_from_sensor: (4, 4) transform into the optical frame.
    """
    depth = np.full((camera.height_px, camera.width_px), np.nan, dtype=np.float32)
    try:
        seen = from_points(points_m, camera, camera_from_sensor, 0.0)
    except AnchorError:  # none in view
        return depth
    rows = np.clip(np.rint(seen.v_px), 0, camera.height_px - 1).astype(np.intp)
    columns = np.clip(np.rint(seen.u_px), 0, camera.width_px - 1).astype(np.intp)
    order = np.argsort(seen.inverse_depth, kind="stable")  # the last one written wins: the nearest
    depth[rows[order], columns[order]] = 1.0 / seen.inverse_depth[order]
    return depth
