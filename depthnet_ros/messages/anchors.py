"""Sensor messages as anchors of metric scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.messages.measurements import depth_from_image, points_from_cloud, scan_geometry
from depthnet_ros.messages.stamps import header_stamp_ns
from depthnet_ros.metric_scale import (
    Anchor,
    MetricScaleConfig,
    RangeFinder,
    SensorNoise,
    from_depth_image,
    from_points,
    from_range,
    from_scan,
)

_MOST_SENSORS = 64  # of a topic: more frames than that is a driver that counts in its frame's name


class SensorNames:
    """Names of sensors: several may share a topic, a ring of range finders say, each in a frame of its own."""

    def __init__(self) -> None:
        self._frames: dict[str, list[str]] = {}
        self.usable: set[str] = set()
        """Names of those that have given a usable reading; others may be of stray messages."""

    def __call__(self, kind: str, frame_id: str) -> str:
        """``kind`` for the first frame that a source of that kind was heard from, with the frame's name for others; of
        very many frames the last share a name.
        """
        frames = self._frames.setdefault(kind, [])
        if frame_id not in frames and len(frames) < _MOST_SENSORS:
            frames.append(frame_id)
        if frame_id == frames[0]:
            return kind
        return f"{kind} {frame_id}" if frame_id in frames else f"{kind} of other frames"


def anchor_from_message(
    kind: str,
    message: Any,
    camera: PinholeCamera,
    pose: NDArray[np.float64],
    config: MetricScaleConfig,
    rectified: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    sensor: str = "",
) -> Anchor:
    """One sensor message as an anchor.

    Args:
        kind: of :data:`depthnet_ros.metric_scale.config.SOURCES`.
        message: of that kind's type.
        camera: of the images.
        pose: (4, 4) transform from the sensor's frame into the optical frame.
        config: for the sensor's noise.
        rectified: brings (h, w) depth of the raw image's view to that of the rectified one, which ``camera`` is of.
        sensor: its name, of :class:`SensorNames`; empty: ``kind``.

    Raises:
        AnchorError: nothing in it can be used.
        ImageError: a depth image of another encoding.
        MessageError: a cloud whose fields do not fit its data.
    """
    noise = SensorNoise(config.sensor_sigma_m, config.sensor_sigma_relative)
    stamp_s, source = 1e-9 * header_stamp_ns(message), sensor or kind
    if kind == "range":
        finder = RangeFinder(message.field_of_view, message.min_range, message.max_range)
        variance_m2 = getattr(message, "variance", 0.0)
        return from_range(message.range, finder, camera, pose, stamp_s, variance_m2, noise, source)
    if kind == "scan":
        geometry = scan_geometry(message)
        return from_scan(message.ranges, geometry, camera, pose, stamp_s, noise, source, config.scan_is_level)
    if kind == "points":
        return from_points(points_from_cloud(message), camera, pose, stamp_s, noise=noise, source=source)
    depth_m = depth_from_image(message)
    fov_rad = config.depth_fov_rad
    if fov_rad <= 0 and rectified is not None:  # registered to the image as it came
        depth_m = rectified(depth_m)
    size = depth_m.shape[1], depth_m.shape[0]
    depth_camera = PinholeCamera.from_fov(*size, fov_rad) if fov_rad > 0 else camera.resized(*size)
    return from_depth_image(depth_m, depth_camera, camera, pose, stamp_s, noise, source)
