"""One camera's topics going out. What has no subscriber is not computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import CloudPacker
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale.result import MetricDepth
from depthnet_ros.ros.camera_input import prefixed
from depthnet_ros.ros.conversions import cloud_message, depth_message, image_message, info_from_camera
from depthnet_ros.visualization.color import colorize

OUTPUT_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)

RELATIVE_TOPICS: Mapping[str, type] = {"inverse_depth/image": Image, "depth/color": Image}
METRIC_TOPICS: Mapping[str, type] = {
    "depth/image_rect": Image,
    "depth/camera_info": CameraInfo,
    "points": PointCloud2,
}


@dataclass(frozen=True)
class FrameResult:
    """All that is known of one frame when it is published.

    ``rgb``: (H, W, 3) uint8, rectified where that was asked for. ``camera`` is None without usable camera_info.
    """

    header: Header
    rgb: NDArray[np.uint8]
    camera: PinholeCamera | None
    prediction: DepthPrediction
    metric: MetricDepth


class CameraOutputs:
    """Publishers of one camera, made at configure and active with the node's lifecycle."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        options = QoSOverridingOptions.with_default_policies()
        self._publishers = {
            name: node.create_lifecycle_publisher(
                kind, prefixed(prefix, name), OUTPUT_QOS, qos_overriding_options=options
            )
            for name, kind in (*RELATIVE_TOPICS.items(), *METRIC_TOPICS.items())
        }
        self._packer = CloudPacker()

    def wanted(self) -> frozenset[str]:
        """Names of the topics that somebody subscribes to."""
        return frozenset(name for name, publisher in self._publishers.items() if publisher.get_subscription_count() > 0)

    def publish(self, result: FrameResult, wanted: frozenset[str], parameters: Mapping[str, Any]) -> None:
        """Hand one frame's wanted outputs to the middleware."""
        if "inverse_depth/image" in wanted:
            message = image_message(result.prediction.at_source(), "32FC1", result.header)
            self._publishers["inverse_depth/image"].publish(message)
        if result.metric.published and wanted & METRIC_TOPICS.keys():
            self._publish_metric(result, wanted, parameters)
        if "depth/color" in wanted:
            picture = colorize(result.prediction.at_source())
            if parameters["preview.side_by_side"]:
                picture = np.hstack((result.rgb, picture))
            self._publishers["depth/color"].publish(image_message(picture, "rgb8", result.header))

    def _publish_metric(self, result: FrameResult, wanted: frozenset[str], parameters: Mapping[str, Any]) -> None:
        height, width = result.prediction.source_size
        depth_m = result.metric.depth_m(height, width)
        if "depth/image_rect" in wanted:
            message = depth_message(depth_m, parameters["depth.encoding"], result.header)
            self._publishers["depth/image_rect"].publish(message)
        if result.camera is None:
            return
        if "depth/camera_info" in wanted:
            self._publishers["depth/camera_info"].publish(info_from_camera(result.camera, result.header))
        if "points" in wanted:
            stride = parameters["points.stride"]
            small = result.camera.strided(stride)
            rgb = np.ascontiguousarray(result.rgb[::stride, ::stride])
            payload = self._packer.pack(depth_m[::stride, ::stride], small, rgb)
            message = cloud_message(payload, small.width_px, small.height_px, result.header)
            self._publishers["points"].publish(message)

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
