"""One camera's topics going out. What has no subscriber is not computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image

from depthnet_ros.ros.camera_input import prefixed
from depthnet_ros.ros.conversions import depth_message, image_message, info_from_camera
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.visualization.color import colorize

OUTPUT_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)

RELATIVE_TOPICS: Mapping[str, type] = {"inverse_depth/image": Image, "depth/color": Image}
METRIC_TOPICS: Mapping[str, type] = {
    "depth/image_rect": Image,
    "depth/camera_info": CameraInfo,
}


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

    def wanted(self) -> frozenset[str]:
        """Names of the topics that somebody subscribes to."""
        return frozenset(name for name, publisher in self._publishers.items() if publisher.get_subscription_count() > 0)

    def publish(self, result: FrameResult, wanted: frozenset[str], parameters: Mapping[str, Any]) -> None:
        """Hand one frame's wanted outputs to the middleware."""
        if "inverse_depth/image" in wanted:
            message = image_message(result.masked(result.prediction.at_source()), "32FC1", result.header)
            self._publishers["inverse_depth/image"].publish(message)
        if result.metric.published and wanted & METRIC_TOPICS.keys():
            self._publish_metric(result, wanted, parameters)
        if "depth/color" in wanted:
            picture = colorize(result.masked(result.prediction.at_source()))
            if parameters["preview.side_by_side"]:
                picture = np.hstack((result.rgb, picture))
            self._publishers["depth/color"].publish(image_message(picture, "rgb8", result.header))

    def _publish_metric(self, result: FrameResult, wanted: frozenset[str], parameters: Mapping[str, Any]) -> None:
        if "depth/image_rect" in wanted:
            depth_m = result.masked(result.metric.depth_m(*result.prediction.source_size))
            message = depth_message(depth_m, parameters["depth.encoding"], result.header)
            self._publishers["depth/image_rect"].publish(message)
        if "depth/camera_info" in wanted and result.camera is not None:
            self._publishers["depth/camera_info"].publish(info_from_camera(result.camera, result.header))

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
