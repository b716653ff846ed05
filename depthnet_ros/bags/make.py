"""Recordings for people without a robot, and for tests: camera, depth, lidar, laser, range and TF from frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.bags import messages
from depthnet_ros.bags.frame_sources import RgbdFrame
from depthnet_ros.bags.transforms import OPTICAL_IN_BODY
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import BagError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.pose import transform
from depthnet_ros.simulation.sonar import Sonar

IMAGE, IMAGE_COMPRESSED, INFO = "/camera/image_rect", "/camera/image_rect/compressed", "/camera/camera_info"
DEPTH, DEPTH_COMPRESSED = "/reference/depth", "/reference/depth/compressedDepth"
POINTS, SCAN, RANGE, TF, TF_STATIC = "/reference/points", "/reference/scan", "/range", "/tf", "/tf_static"
IMAGE_FORMATS = ("raw", "jpeg", "both")
DEPTH_FORMATS = ("32FC1", "16UC1", "compressed")
EXTRAS = ("points", "scan", "range")

BASE, CAMERA_LINK, OPTICAL, LIDAR = "base_link", "camera_link", "camera_optical_frame", "lidar_link"
_LIDAR_IN_CAMERA = (-0.05, 0.0, 0.08)
_LIDAR_RANGE_M = 100.0
_JPEG_QUALITY = 92
_SCAN_RANGE_M = (0.1, 30.0)


@dataclass(frozen=True)
class MakeOptions:
    """What goes into the recording.

    ``image_format``: raw, jpeg or both; ``depth_format``: 32FC1, 16UC1 or compressed. ``extras``: of :data:`EXTRAS`;
    points are every ``points_stride``-th pixel of depth as a lidar above the camera would give them, scan is the depth
    along the camera's horizon, range a sonar on the optical axis. The camera's height above the ground and its pitch
    (positive looks down) go into /tf_static.

    Raises:
        BagError: an unknown name.
    """

    image_format: str = "raw"
    depth_format: str = "32FC1"
    extras: tuple[str, ...] = EXTRAS
    camera_height_m: float = 0.5
    camera_pitch_rad: float = 0.0
    points_stride: int = 6
    start_ns: int = 1_700_000_000_000_000_000

    def __post_init__(self) -> None:
        for value, known in ((self.image_format, IMAGE_FORMATS), (self.depth_format, DEPTH_FORMATS)):
            if value not in known:
                raise BagError(f"no format named {value!r}; there are {', '.join(known)}")
        if unknown := sorted(set(self.extras) - set(EXTRAS)):
            raise BagError(f"no extra topics named {unknown}; there are {', '.join(EXTRAS)}")


def make_bag(
    frames: Iterable[RgbdFrame], camera: PinholeCamera, writer: BagWriter, options: MakeOptions = MakeOptions()
) -> int:
    """Write frames as a robot's recorder would have; returns how many.

    Raises:
        BagError: the disk is full, or a name is unknown.
        ConfigError: the range finder is wanted, and no pixel lies in its cone.
    """
    writer.write(TF_STATIC, _mounts(options, options.start_ns), options.start_ns)
    sonar = Sonar(drop_out=0.0, noise=0.0, noise_m=0.0)
    count = 0
    for frame in frames:
        now = options.start_ns + round(frame.time_s * 1e9)
        _write_camera(frame, camera, writer, options, now)
        if frame.pose is not None:
            writer.write(TF, messages.transforms([("odom", BASE, _base_pose(frame.pose, options))], now), now)
        if frame.depth_m is not None:
            _write_depth(frame.depth_m, writer, options, now)
            _write_extras(frame, frame.depth_m, camera, writer, options, sonar, now)
        count += 1
    return count


def _mounts(options: MakeOptions, now: int) -> object:
    camera, lidar = _mount(options), np.eye(4)
    lidar[:3, 3] = _LIDAR_IN_CAMERA
    entries = [(BASE, CAMERA_LINK, camera), (CAMERA_LINK, OPTICAL, OPTICAL_IN_BODY), (CAMERA_LINK, LIDAR, lidar)]
    return messages.transforms(entries, now)


def _base_pose(optical_pose: NDArray[np.float64], options: MakeOptions) -> NDArray[np.float64]:
    return np.asarray(optical_pose @ np.linalg.inv(_mount(options) @ OPTICAL_IN_BODY))


def _mount(options: MakeOptions) -> NDArray[np.float64]:
    """(4, 4) of the camera's body frame in the robot's."""
    mount, sine, cosine = np.eye(4), np.sin(options.camera_pitch_rad), np.cos(options.camera_pitch_rad)
    mount[:3, :3] = ((cosine, 0.0, sine), (0.0, 1.0, 0.0), (-sine, 0.0, cosine))
    mount[2, 3] = options.camera_height_m
    return mount


def _write_camera(frame: RgbdFrame, camera: PinholeCamera, writer: BagWriter, options: MakeOptions, now: int) -> None:
    if options.image_format != "jpeg":
        writer.write(IMAGE, messages.image(frame.rgb, "rgb8", now, OPTICAL), now)
    if options.image_format != "raw":
        jpeg = frame.jpeg if frame.jpeg is not None else _jpeg(frame.rgb)
        writer.write(IMAGE_COMPRESSED, messages.compressed_image(jpeg, "rgb8; jpeg compressed bgr8", now, OPTICAL), now)
    writer.write(INFO, messages.camera_info(camera, now, OPTICAL), now)


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return np.asarray(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]).tobytes()


def _write_depth(depth_m: NDArray[np.float32], writer: BagWriter, options: MakeOptions, now: int) -> None:
    if options.depth_format == "compressed":
        writer.write(DEPTH_COMPRESSED, messages.compressed_depth(depth_m, now, OPTICAL), now)
    else:
        writer.write(DEPTH, messages.depth_image(depth_m, options.depth_format, now, OPTICAL), now)


def _write_extras(
    frame: RgbdFrame,
    depth_m: NDArray[np.float32],
    camera: PinholeCamera,
    writer: BagWriter,
    options: MakeOptions,
    sonar: Sonar,
    now: int,
) -> None:
    if depth_m.shape != (camera.height_px, camera.width_px):
        camera = camera.resized(depth_m.shape[1], depth_m.shape[0])
    if "points" in options.extras:
        stride = options.points_stride
        seen = camera.strided(stride).unproject(depth_m[::stride, ::stride]).reshape(-1, 3)
        seen = seen[np.linalg.norm(seen, axis=1) < _LIDAR_RANGE_M]  # false for NaN and infinity
        points = transform(OPTICAL_IN_BODY, seen) - _LIDAR_IN_CAMERA
        writer.write(POINTS, messages.point_cloud(points, now, LIDAR), now)
    if "scan" in options.extras:
        writer.write(SCAN, _scan_on_horizon(depth_m, camera, now), now)
    if "range" in options.extras:
        reading = frame.range_m
        if reading is None:
            near = sonar.cone(camera).nearest(np.where(np.isnan(depth_m), np.float32(np.inf), depth_m))
            reading = sonar.measure(near, np.random.default_rng(0))
        limits = (sonar.min_range_m, sonar.max_range_m)
        message = messages.range_reading(reading, sonar.field_of_view_rad, limits, now, CAMERA_LINK, infrared=False)
        writer.write(RANGE, message, now)


def _scan_on_horizon(depth_m: NDArray[np.float32], camera: PinholeCamera, now: int) -> object:
    """The depth along the row of the principal point, at even angles, as a laser in the camera's place sees it."""
    row = int(np.clip(round(camera.cy_px), 0, camera.height_px - 1))
    left = np.arctan(-camera.ray_x[0])
    right = np.arctan(-camera.ray_x[-1])
    angles = np.linspace(right, left, camera.width_px // 2)
    columns = np.clip(np.rint(camera.cx_px - camera.fx_px * np.tan(angles)), 0, camera.width_px - 1).astype(np.intp)
    ranges = depth_m[row, columns] / np.cos(angles)
    step = float(angles[1] - angles[0])
    return messages.laser_scan(ranges, float(angles[0]), step, _SCAN_RANGE_M, now, CAMERA_LINK)
