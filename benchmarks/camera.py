"""Cameras in a process of their own: ``python -m benchmarks.camera PREFIX[,PREFIX] RATE_HZ WIDTH HEIGHT``."""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from benchmarks.worker import picture
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.conversions import image_message, info_from_camera


def main() -> None:
    """Publish the same picture with fresh stamps; several cameras are triggered together."""
    prefixes, rate_hz = sys.argv[1].split(","), float(sys.argv[2])
    width, height = int(sys.argv[3]), int(sys.argv[4])
    rclpy.init()
    node = rclpy.create_node(f"camera_{prefixes[0] or 'only'}")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    names = [f"{prefix}/" if prefix else "" for prefix in prefixes]
    infos = [node.create_publisher(CameraInfo, f"{name}camera_info", qos) for name in names]
    images = [node.create_publisher(Image, f"{name}image", qos) for name in names]
    message = image_message(picture(height, width), "rgb8", Header(frame_id="camera_optical"))
    info = info_from_camera(PinholeCamera.from_fov(width, height, 1.2), message.header)
    due = time.perf_counter()
    while True:
        message.header.stamp = node.get_clock().now().to_msg()
        info.header = message.header
        for publisher in infos:
            publisher.publish(info)
        for publisher in images:
            publisher.publish(message)
        due = max(due + 1.0 / rate_hz, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))


if __name__ == "__main__":
    main()
