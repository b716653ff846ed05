"""What of a picture the scan can use: through a rectified lens, and on its side."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.conversions import image_message, info_from_camera

from .graph import CAMERA, Graph, picture
from .test_navigation import FREE_M, Wall

BENT = [-0.3, 0.08, 0.0, 0.0, 0.0]


class BentLens(Wall):
    """Of a lens whose rectified picture keeps all that the raw one shows, and is black around it."""

    def send(self) -> None:
        header = self.graph.send_image(header=self._header(), camera=None)
        message = info_from_camera(CAMERA, header)
        size = (CAMERA.width_px, CAMERA.height_px)
        new, _ = cv2.getOptimalNewCameraMatrix(np.reshape(message.k, (3, 3)), np.array(BENT), size, 1.0)
        message.d = BENT
        message.p = [*new[0], 0.0, *new[1], 0.0, *new[2], 0.0]
        self.graph.publisher("/camera_info", CameraInfo).publish(message)


def test_the_black_border_of_a_rectified_picture_leaves_the_way_free(graph: Graph, tiny_weights) -> None:
    wall = BentLens(graph, str(tiny_weights), rectify=True, **{"points.stride": 1})
    messages = wall.at(FREE_M)
    assert np.isposinf(messages["/scan"].ranges).mean() > 0.85
    assert messages["/obstacle/nearest"].range == np.inf
    assert messages["/points/clearing"].width > 0.85 * len(messages["/scan"].ranges)
    assert wall.at(2.0)["/obstacle/nearest"].range == pytest.approx(2.0, rel=1e-3)


class Tall(Wall):
    """Of a camera whose picture is four times as high as wide."""

    def send(self) -> None:
        header = self._header()
        image = image_message(picture(60, 240), "rgb8", header)
        self.graph.send_image(image, camera=PinholeCamera.from_fov(60, 240, 0.5), header=header)


def test_a_tall_picture_that_is_rolled_gives_no_scan_and_says_why(graph: Graph, tiny_weights) -> None:
    wall = Tall(graph, str(tiny_weights), **{"nav.scan_frame": "camera_level", "scale.ground_roll_rad": 0.0})
    ranges_m = wall.at(2.0)["/scan"].ranges
    assert ranges_m[len(ranges_m) // 2] == pytest.approx(2.0, rel=0.01)
    depth = graph.listen("/depth/image_rect", Image)
    wall.at(2.0)
    assert all(r.successful for r in graph.set_parameters("depthnet_node", {"scale.ground_roll_rad": 0.7}))
    wall.send_until(lambda: "share 0.0 degrees of directions" in wall.told)
    for messages in (depth, *wall.heard.values()):
        messages.clear()
    wall.send_until(lambda: len(depth) > 3)
    assert not any(wall.heard.values())
    assert wall.process.output.count("degrees of directions") == 1
