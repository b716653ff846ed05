"""Messages to arrays and back."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depthnet_ros import imaging
from depthnet_ros.errors import ImageError
from depthnet_ros.geometry.calibration import Calibration
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import FIELD_OFFSETS, POINT_STEP

# cv_bridge is ROS's own way from Image messages to arrays, so the node uses it for what it converts alike in every
# release: the encodings below. imaging.to_rgb, which needs no ROS and serves recordings too, converts the rest (rgb8
# without a copy, bayer_grbg, 16 bits, YUV, padded rows, big endian), and everything where there is no usable cv_bridge.
# It is loaded at import so that the first image does not wait for it.
try:
    from cv_bridge import CvBridge

    _BRIDGE: Any = CvBridge()
except (ImportError, AttributeError):  # not installed, or built for another numpy
    _BRIDGE = None

_BRIDGE_ENCODINGS = frozenset({"bgr8", "rgba8", "bgra8", "mono8", "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8"})


def to_rgb(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """An image message to (H, W, 3) RGB uint8; rgb8 is a view of the message's own memory.

    Raises:
        ImageError: unknown encoding, data or a size that does not fit it, or a damaged compressed image.
    """
    if isinstance(message, CompressedImage):
        return imaging.compressed_to_rgb(message.data)
    if _BRIDGE is None or message.encoding not in _BRIDGE_ENCODINGS:
        return imaging.to_rgb(message)
    if not imaging.checked_pixels(message).flags.c_contiguous:  # cv_bridge itself checks no sizes
        return imaging.to_rgb(message)
    try:
        return np.asarray(_BRIDGE.imgmsg_to_cv2(message, "rgb8"))
    except Exception as error:  # cv_bridge raises its own, cv2's or RuntimeError by release
        raise ImageError(
            f"cv_bridge cannot convert {message.width}x{message.height} {message.encoding}: {error}"
        ) from error


def image_message(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """An (H, W) or (H, W, C) array as Image, little-endian."""
    height, width = pixels.shape[:2]
    step = pixels.dtype.itemsize * int(np.prod(pixels.shape[1:]))
    message = Image(header=header, height=height, width=width, encoding=encoding, is_bigendian=0, step=step)
    _fill(message.data, pixels)
    return message


def _fill(data: array[int], values: NDArray[Any]) -> None:
    """Into a message's own array: what is assigned to the field would be copied once more."""
    if values.size:  # a memoryview with no elements cannot be cast
        data.frombytes(np.ascontiguousarray(values).data.cast("B"))


def to_millimetres(depth_m: NDArray[np.float32], out: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(H, W) metres to the millimetres of REP 118's 16UC1, 0 where there is no depth or more than they reach."""
    with np.errstate(invalid="ignore"):
        millimetres = depth_m * np.float32(1000.0) + np.float32(0.5)
        valid = (millimetres >= 1.0) & (millimetres < 65536.0)  # false for NaN
        np.copyto(out, np.where(valid, millimetres, np.float32(0.0)), casting="unsafe")
    return out


def info_from_camera(camera: PinholeCamera, header: Header) -> CameraInfo:
    """CameraInfo of a rectified image: no distortion, no ROI, no binning."""
    fx, fy, cx, cy = camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px
    return CameraInfo(
        header=header,
        width=camera.width_px,
        height=camera.height_px,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def info_from_calibration(calibration: Calibration, header: Header) -> CameraInfo:
    """CameraInfo as a driver with this calibration publishes it."""
    return CameraInfo(
        header=header,
        width=calibration.width_px,
        height=calibration.height_px,
        distortion_model=calibration.distortion_model,
        d=list(calibration.d),
        k=list(calibration.k),
        r=list(calibration.r),
        p=list(calibration.p),
    )


_POINT_FIELDS = [
    PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1) for name, offset in FIELD_OFFSETS.items()
]


def cloud_message(points: NDArray[np.float32], header: Header) -> PointCloud2:
    """An organised cloud of (H, W, 4) points: x, y, z and rgb, whose bytes are B, G, R, 0."""
    height, width = points.shape[:2]
    message = PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=_POINT_FIELDS,
        is_bigendian=False,
        point_step=POINT_STEP,
        row_step=POINT_STEP * width,
        is_dense=False,
    )
    _fill(message.data, points)
    return message


def xyz_cloud_message(points_m: NDArray[np.floating], header: Header) -> PointCloud2:
    """(N, 3) finite points as an unorganised cloud of x, y, z."""
    points = np.ascontiguousarray(points_m, dtype="<f4")
    message = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=_POINT_FIELDS[:3],
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        is_dense=True,
    )
    _fill(message.data, points)
    return message
