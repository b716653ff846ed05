"""A camera in a process of its own: ``python -m benchmarks.camera PREFIX RATE_HZ WIDTH HEIGHT``, until it is ended."""

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
    """Publish the same picture with fresh stamps."""
    prefix, rate_hz = sys.argv[1], float(sys.argv[2])
    width, height = int(sys.argv[3]), int(sys.argv[4])
    rclpy.init()
    node = rclpy.create_node(f"camera_{prefix or 'only'}")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    name = f"{prefix}/" if prefix else ""
    images = node.create_publisher(Image, f"{name}image", qos)
    infos = node.create_publisher(CameraInfo, f"{name}camera_info", qos)
    message = image_message(picture(height, width), "rgb8", Header(frame_id="camera_optical"))
    info = info_from_camera(PinholeCamera.from_fov(width, height, 1.2), message.header)
    due = time.perf_counter()
    while True:
        message.header.stamp = node.get_clock().now().to_msg()
        info.header = message.header
        infos.publish(info)
        images.publish(message)
        due = max(due + 1.0 / rate_hz, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))


if __name__ == "__main__":
    main()
