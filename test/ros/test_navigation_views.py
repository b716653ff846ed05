"""What of a picture scan and cloud can use: through a rectified lens, rolled, and thinned by cubes."""

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


def test_a_cube_is_not_lost_with_a_first_point_that_is_too_far(graph: Graph, tiny_weights) -> None:
    """Without a ground; one cube holds a whole quarter of the picture."""
    depth = graph.listen("/depth/image_rect", Image)
    whole = {"points.stride": 1, "nav.min_confidence": 0.0, "nav.remove_flying_pixels": False}
    unlike = {"scale.ground_height_m": 0.0, "scale.fixed_scale": 0.5, "nav.voxel_size_m": 10.0}
    wall = Wall(graph, str(tiny_weights), **whole, **unlike)
    wall.send_until(lambda: bool(depth))
    depth_m = np.frombuffer(bytes(depth[-1].data), "<f4").reshape(CAMERA.height_px, CAMERA.width_px)
    quarter = depth_m[: CAMERA.height_px // 2, : CAMERA.width_px // 2]
    limit_m = 0.999 * float(quarter[0, 0])
    assert (quarter < limit_m).any()
    assert all(r.successful for r in graph.set_parameters("depthnet_node", {"nav.max_range_m": limit_m}))
    wall.heard["/points"].clear()
    wall.send_until(lambda: len(wall.heard["/points"]) > 2)
    points = np.frombuffer(bytes(wall.heard["/points"][-1].data), "<f4").reshape(-1, 4)[:, :3]
    kept = points[np.isfinite(points[:, 0])]
    assert (kept[:, 2] <= limit_m).all()
    assert ((kept[:, 0] < 0) & (kept[:, 1] < 0)).sum() == 1


def test_more_rays_than_there_are_pixels_for_are_not_given_and_that_is_said(graph: Graph, tiny_weights) -> None:
    wall = Wall(graph, str(tiny_weights), **{"nav.scan_rays": 1000})
    ranges_m = wall.at(2.0)["/scan"].ranges
    assert len(ranges_m) == CAMERA.width_px // 2 // 2 and np.isfinite(ranges_m).all()  # points.stride is 2
    wall.send_until(lambda: "the scan has 40 rays" in wall.told)
    assert wall.process.output.count("not nav.scan_rays") == 1
    wall.at(2.0, **{"nav.scan_rays": 40})
    wall.send_until(lambda: "nav.scan_rays" not in wall.told)
