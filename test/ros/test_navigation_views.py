"""What of a picture the scan can use: through a rectified lens, and on its side."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from depthnet_ros.ros.conversions import info_from_camera

from .graph import CAMERA, Graph
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
