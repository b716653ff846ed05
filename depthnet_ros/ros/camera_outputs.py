"""One camera's topics going out. What has no subscriber is not computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.conversions import info_from_camera, to_millimetres
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.ros.in_place import InPlacePublisher
from depthnet_ros.ros.lifecycle_publishers import LifecyclePublishers
from depthnet_ros.visualization.color import colorize

RELATIVE_TOPICS: Mapping[str, type] = {"inverse_depth/image": Image, "depth/preview": Image}
METRIC_TOPICS: Mapping[str, type] = {
    "depth/image_rect": Image,
    "depth/camera_info": CameraInfo,
}


class CameraOutputs:
    """Makes the messages of one camera's topics."""

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        topics = {**RELATIVE_TOPICS, **METRIC_TOPICS}
        self.publishers = LifecyclePublishers(node, prefix, topics)
        self._in_place = {name: InPlacePublisher(self.publishers[name]) for name in topics}
        self._info = CameraInfo()
        self._info_camera: PinholeCamera | None = None

    def publish(self, result: FrameResult, wanted: frozenset[str], parameters: Mapping[str, Any]) -> bool:
        """Hand one frame's wanted outputs to the middleware; whether there were any."""
        metric = result.metric.published and not wanted.isdisjoint(METRIC_TOPICS)
        if metric:
            self._publish_metric(result, wanted, parameters["depth.encoding"])
        if "inverse_depth/image" in wanted:
            self._publish_image("inverse_depth/image", result.masked(result.prediction.at_source()), "32FC1", result)
        if "depth/preview" in wanted:
            picture = colorize(result.masked(result.prediction.at_source()))
            if parameters["preview.side_by_side"]:
                picture = np.hstack((result.rgb, picture))
            self._publish_image("depth/preview", picture, "rgb8", result)
        return metric or not wanted.isdisjoint(RELATIVE_TOPICS)

    def _publish_image(self, name: str, pixels: NDArray[Any], encoding: str, result: FrameResult) -> None:
        output = self._in_place[name]
        np.copyto(output.pixels(encoding, *pixels.shape[:2]), pixels)
        output.publish(result.header)

    def _publish_metric(self, result: FrameResult, wanted: frozenset[str], encoding: str) -> None:
        if "depth/image_rect" in wanted:
            output, size = self._in_place["depth/image_rect"], result.prediction.source_size
            pixels = output.pixels(encoding, *size)
            if encoding == "16UC1":
                to_millimetres(result.masked(result.metric.depth_m(*size)), pixels)
            else:
                result.mask(result.metric.depth_m(*size, out=pixels))
            output.publish(result.header)
        if "depth/camera_info" in wanted and result.camera is not None:
            info = self._in_place["depth/camera_info"]
            info.hold(self._info_of(result.camera))
            info.publish(result.header)

    def _info_of(self, camera: PinholeCamera) -> CameraInfo:
        if camera != self._info_camera:
            self._info_camera, self._info = camera, info_from_camera(camera, Header())
        return self._info
