"""Standard messages from arrays, for recordings: the counterpart of ``ros.conversions`` where there is no ROS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.bags.types import standard_types
from depthnet_ros.errors import BagError
from depthnet_ros.geometry.camera import PinholeCamera

DEPTH_ENCODINGS = ("32FC1", "16UC1")
_FLOAT32 = 7
_COMPRESSED_DEPTH_HEADER = np.zeros(3, dtype=np.float32)  # format (int32), depth quantisation A and B; unused for 16UC1


def _new(name: str, *values: Any) -> Any:
    return standard_types().types[name](*values)


def stamp(time_ns: int) -> Any:
    """builtin_interfaces/Time."""
    return _new("builtin_interfaces/msg/Time", int(time_ns // 1_000_000_000), int(time_ns % 1_000_000_000))


def header(time_ns: int, frame: str) -> Any:
    """std_msgs/Header."""
    return _new("std_msgs/msg/Header", stamp(time_ns), frame)


def image(pixels: NDArray[Any], encoding: str, time_ns: int, frame: str) -> Any:
    """sensor_msgs/Image of an (H, W) or (H, W, C) array whose memory is laid out as ``encoding`` says."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    data = pixels.reshape(-1).view(np.uint8)
    return _new(
        "sensor_msgs/msg/Image", header(time_ns, frame), height, width, encoding, 0, pixels.nbytes // height, data
    )


def compressed_image(data: bytes | NDArray[np.uint8], fmt: str, time_ns: int, frame: str) -> Any:
    """sensor_msgs/CompressedImage from (N,) bytes that are compressed already; ``fmt`` such as ``jpeg``."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    return _new("sensor_msgs/msg/CompressedImage", header(time_ns, frame), fmt, buffer)


def depth_image(depth_m: NDArray[np.floating], encoding: str, time_ns: int, frame: str) -> Any:
    """sensor_msgs/Image of (H, W) depth in metres, by REP 118: 32FC1 metres, or 16UC1 millimetres with 0 invalid.

    Raises:
        BagError: another encoding.
    """
    if encoding == "32FC1":
        return image(depth_m.astype(np.float32, copy=False), encoding, time_ns, frame)
    if encoding == "16UC1":
        return image(_millimetres(depth_m), encoding, time_ns, frame)
    raise BagError(f"depth images are {' or '.join(DEPTH_ENCODINGS)}, got {encoding!r}")


def compressed_depth(depth_m: NDArray[np.floating], time_ns: int, frame: str) -> Any:
    """sensor_msgs/CompressedImage of (H, W) depth in metres as compressed_depth_image_transport has it: 12 bytes of
    header, a 16-bit PNG of millimetres.

    Raises:
        BagError: a size that PNG cannot hold.
    """
    done, png = cv2.imencode(".png", _millimetres(depth_m))
    if not done:
        raise BagError(f"depth of shape {depth_m.shape} cannot be written as PNG")
    data = _COMPRESSED_DEPTH_HEADER.tobytes() + np.asarray(png).tobytes()
    return compressed_image(data, "16UC1; compressedDepth png", time_ns, frame)


def _millimetres(depth_m: NDArray[np.floating]) -> NDArray[np.uint16]:
    with np.errstate(invalid="ignore"):
        value = np.rint(depth_m * 1000.0)
        return np.where((value > 0) & (value < 65536), value, 0).astype(np.uint16)


def camera_info(camera: PinholeCamera, time_ns: int, frame: str) -> Any:
    """sensor_msgs/CameraInfo of a rectified camera: no distortion, R the identity."""
    k = np.array([camera.fx_px, 0, camera.cx_px, 0, camera.fy_px, camera.cy_px, 0, 0, 1], dtype=np.float64)
    p = np.insert(k, (3, 6, 9), 0.0)
    roi = _new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    return _new(
        "sensor_msgs/msg/CameraInfo",
        header(time_ns, frame),
        camera.height_px,
        camera.width_px,
        "plumb_bob",
        np.zeros(5),
        k,
        np.eye(3).ravel(),
        p,
        0,
        0,
        roi,
    )


def range_reading(
    range_m: float, fov_rad: float, limits_m: tuple[float, float], time_ns: int, frame: str, infrared: bool = True
) -> Any:
    """sensor_msgs/Range along the x axis of ``frame``; +Inf for no return (REP 117)."""
    low, high = limits_m
    return _new("sensor_msgs/msg/Range", header(time_ns, frame), int(infrared), fov_rad, low, high, range_m, 0.0)


def laser_scan(
    ranges_m: NDArray[np.floating],
    angle_min_rad: float,
    increment_rad: float,
    limits_m: tuple[float, float],
    time_ns: int,
    frame: str,
) -> Any:
    """sensor_msgs/LaserScan of (N,) ranges; angles are about the z axis of ``frame``, from its x axis towards its y."""
    return _new(
        "sensor_msgs/msg/LaserScan",
        header(time_ns, frame),
        angle_min_rad,
        angle_min_rad + increment_rad * (len(ranges_m) - 1),
        increment_rad,
        0.0,
        0.0,
        limits_m[0],
        limits_m[1],
        np.asarray(ranges_m, dtype=np.float32),
        np.zeros(0, dtype=np.float32),
    )


def point_cloud(points_m: NDArray[np.floating], time_ns: int, frame: str) -> Any:
    """sensor_msgs/PointCloud2 of (N, 3) x, y, z in metres: unorganised, FLOAT32, little-endian."""
    points = np.ascontiguousarray(points_m, dtype="<f4")
    fields = [_new("sensor_msgs/msg/PointField", name, 4 * i, _FLOAT32, 1) for i, name in enumerate("xyz")]
    data = points.reshape(-1).view(np.uint8)
    size = len(points)
    dense = bool(np.isfinite(points).all())
    return _new(
        "sensor_msgs/msg/PointCloud2", header(time_ns, frame), 1, size, fields, False, 12, 12 * size, data, dense
    )


def transforms(entries: list[tuple[str, str, NDArray[np.float64]]], time_ns: int) -> Any:
    """tf2_msgs/TFMessage of (parent, child, 4 x 4 pose of the child in the parent)."""
    from depthnet_ros.bags.transforms import quaternion

    stamped = []
    for parent, child, pose in entries:
        translation = _new("geometry_msgs/msg/Vector3", *map(float, pose[:3, 3]))
        rotation = _new("geometry_msgs/msg/Quaternion", *map(float, quaternion(pose[:3, :3])))
        transform = _new("geometry_msgs/msg/Transform", translation, rotation)
        stamped.append(_new("geometry_msgs/msg/TransformStamped", header(time_ns, parent), child, transform))
    return _new("tf2_msgs/msg/TFMessage", stamped)
