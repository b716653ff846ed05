"""Cameras in a process of their own: ``python -m benchmarks.camera PREFIX[,PREFIX] RATE_HZ WIDTH HEIGHT [SCENE]``.

They show one picture; with the name of a rendered scene some seconds of a drive through it, to and fro, rendered before
the first is shown, and the robot's simulated sonar speaks with each.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, Range
from std_msgs.msg import Header

from benchmarks.worker import picture
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.conversions import image_message, info_from_camera
from depthnet_ros.simulation import Renderer, create_scene
from depthnet_ros.simulation.sonar import Sonar

_FOV_RAD = 1.2
_FRAMES = 40


def _shown(camera: PinholeCamera, scene: str, rate_hz: float) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Pictures without an end, and what the sonar says; NaN without a scene."""
    if not scene:
        return itertools.repeat((picture(camera.height_px, camera.width_px), float("nan")))
    renderer = Renderer(create_scene(scene), camera)
    frames = [renderer.frame(index / rate_hz) for index in range(_FRAMES)]
    return itertools.cycle([(frame.rgb, frame.sonar_range_m) for frame in (*frames, *frames[-2:0:-1])])


def main() -> None:
    """Publish with fresh stamps; several cameras are triggered together."""
    prefixes, rate_hz = sys.argv[1].split(","), float(sys.argv[2])
    camera = PinholeCamera.from_fov(int(sys.argv[3]), int(sys.argv[4]), _FOV_RAD)
    shown = _shown(camera, "".join(sys.argv[5:]), rate_hz)
    rclpy.init()
    node = rclpy.create_node(f"camera_{prefixes[0] or 'only'}")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    names = [f"{prefix}/" if prefix else "" for prefix in prefixes]
    infos = [node.create_publisher(CameraInfo, f"{name}camera_info", qos) for name in names]
    images = [node.create_publisher(Image, f"{name}image", qos) for name in names]
    sonars = [node.create_publisher(Range, f"{name}anchors/range", qos) for name in names] if sys.argv[5:] else []
    info = info_from_camera(camera, Header(frame_id="camera_optical"))
    message, last = Image(), None
    due = time.perf_counter()
    for rgb, range_m in shown:
        if rgb is not last:
            message, last = image_message(rgb, "rgb8", info.header), rgb
        message.header.stamp = info.header.stamp = node.get_clock().now().to_msg()
        for sonar in sonars:
            sonar.publish(_reading(range_m, info.header))
        for publisher in infos:
            publisher.publish(info)
        for publisher in images:
            publisher.publish(message)
        due = max(due + 1.0 / rate_hz, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))


def _reading(range_m: float, header: Header) -> Range:
    sonar = Sonar()
    return Range(
        header=Header(stamp=header.stamp, frame_id="sonar"),
        radiation_type=Range.ULTRASOUND,
        field_of_view=sonar.field_of_view_rad,
        min_range=sonar.min_range_m,
        max_range=sonar.max_range_m,
        range=range_m,
    )


if __name__ == "__main__":
    main()
