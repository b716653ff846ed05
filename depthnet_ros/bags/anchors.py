"""Sensor messages as anchors of metric scale, by their fields alone: for recordings and for the node."""

from __future__ import annotations

from typing import Any

from depthnet_ros.bags.references import depth_from_image, points_from_cloud
from depthnet_ros.bags.stamps import stamp_ns
from depthnet_ros.bags.transforms import Pose, TransformTree
from depthnet_ros.errors import BagError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import (
    Anchor,
    MetricScaleConfig,
    SensorNoise,
    from_depth_image,
    from_points,
    from_range,
    from_scan,
    mounted,
)

KINDS = {
    "range": "sensor_msgs/msg/Range",
    "scan": "sensor_msgs/msg/LaserScan",
    "points": "sensor_msgs/msg/PointCloud2",
    "depth": "sensor_msgs/msg/Image",
}
"""Sources of metric scale and the message type of each."""


def sensor_pose(kind: str, message: Any, camera_frame: str, tree: TransformTree, config: MetricScaleConfig) -> Pose:
    """The sensor's pose in the optical frame: from TF, else from the parameter ``scale.<kind>_pose``.

    Raises:
        BagError: TF is asked for but does not know the frame, and the parameter is left at its default.
    """
    given = getattr(config, f"{kind}_pose")
    if config.use_tf:
        try:
            return tree.lookup(camera_frame, message.header.frame_id, stamp_ns(message))
        except BagError:
            if not any(given):
                raise
    return mounted(kind, given)


def anchor_from_message(
    kind: str, message: Any, camera: PinholeCamera, pose: Pose, config: MetricScaleConfig
) -> Anchor:
    """One sensor message as an anchor.

    Args:
        kind: of :data:`KINDS`.
        message: of that kind's type.
        camera: of the images.
        pose: of the sensor in the optical frame.
        config: for the sensor's noise.

    Raises:
        AnchorError: nothing in it can be used.
        ImageError: a depth image of another encoding.
    """
    noise = SensorNoise(config.sensor_sigma_m, config.sensor_sigma_relative)
    stamp_s = 1e-9 * stamp_ns(message)
    if kind == "range":
        return from_range(
            message.range,
            message.field_of_view,
            message.min_range,
            message.max_range,
            camera,
            pose,
            stamp_s,
            getattr(message, "variance", 0.0),
            noise,
        )
    if kind == "scan":
        angles = (message.angle_min, message.angle_increment)
        limits = (message.range_min, message.range_max)
        return from_scan(message.ranges, *angles, *limits, camera, pose, stamp_s, noise, level=config.scan_is_level)
    if kind == "points":
        return from_points(points_from_cloud(message), camera, pose, stamp_s, noise=noise)
    depth_m = depth_from_image(message)
    size = depth_m.shape[1], depth_m.shape[0]
    fov_rad = config.depth_fov_rad
    sensor = PinholeCamera.from_fov(*size, fov_rad) if fov_rad > 0 else camera.resized(*size)
    return from_depth_image(depth_m, sensor, camera, pose, stamp_s, noise)
