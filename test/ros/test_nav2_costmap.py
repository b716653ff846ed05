"""The shipped costmap recipes with Nav2's own costmap, where nav2_costmap_2d and tf2_ros are installed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import OccupancyGrid
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from depthnet_ros.bags.transforms import OPTICAL_IN_BODY, quaternion
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.conversions import image_message

from .graph import REPOSITORY, Graph, picture, wait_until
from .test_navigation import FREE_M, HEIGHT_M, Wall

tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros comes with a ROS installation, it is not on PyPI")
try:
    COSTMAP = Path(get_package_prefix("nav2_costmap_2d")) / "lib" / "nav2_costmap_2d" / "nav2_costmap_2d"
except (PackageNotFoundError, LookupError, OSError):  # or no prefix is set at all
    pytest.skip("nav2_costmap_2d is not installed", allow_module_level=True)

CONFIGURE, ACTIVATE = 1, 3  # lifecycle_msgs/Transition
LETHAL, CELL_M, CAMERA_X_M = 100, 0.05, 0.2
BRING_UP = {  # what Nav2's own nav2_params.yaml has beside the recipe
    "update_frequency": 5.0,
    "publish_frequency": 5.0,
    "global_frame": "odom",
    "robot_base_frame": "base_footprint",
    "rolling_window": True,
    "resolution": CELL_M,
    "robot_radius": 0.22,
    "always_send_full_costmap": True,
}
SIZE_PX, FIELD_OF_VIEW_RAD = (320, 240), 1.2
AS_OF_640_PIXELS = {"points.stride": 1}
UNREACHED_CELLS = 1  # from one place: beyond raytrace_min_range Nav2 begins its lines at rounded cells
CLEARED_RAD = 0.56  # pixels farther to the side mark; no ray lies there


class WideWall(Wall):
    """Of a picture that is large enough."""

    def send(self) -> None:
        header = self._header()
        image = image_message(picture(*SIZE_PX), "rgb8", header)
        self.graph.send_image(image, camera=PinholeCamera.from_fov(*SIZE_PX, FIELD_OF_VIEW_RAD), header=header)


def still_frames(stamp: Any) -> list[TransformStamped]:
    """The robot stands at the origin of odom, its camera is level."""
    x, y, z, w = (float(value) for value in quaternion(np.asarray(OPTICAL_IN_BODY)[:3, :3]))
    level = Quaternion(w=1.0)
    frames = {
        ("odom", "base_footprint"): Transform(rotation=level),
        ("base_footprint", "camera"): Transform(translation=Vector3(x=CAMERA_X_M, z=HEIGHT_M), rotation=level),
        ("camera", "camera_optical"): Transform(rotation=Quaternion(x=x, y=y, z=z, w=w)),
    }
    return [
        TransformStamped(header=Header(frame_id=parent, stamp=stamp), child_frame_id=child, transform=transform)
        for (parent, child), transform in frames.items()
    ]


class Map:
    """Nav2's costmap with a recipe of config/nav."""

    def __init__(self, graph: Graph, folder: Path, recipe: str) -> None:
        base = folder / "bring_up.yaml"
        base.write_text(yaml.safe_dump({"local_costmap": {"local_costmap": {"ros__parameters": BRING_UP}}}))
        command = [str(COSTMAP), "--ros-args", "-r", "__ns:=/local_costmap", "-r", "__node:=local_costmap"]
        for path in (base, REPOSITORY / "config" / "nav" / f"{recipe}.yaml"):
            command += ["--params-file", str(path)]
        self.log = folder / "costmap.log"
        self.process = subprocess.Popen(command, stdout=self.log.open("w"), stderr=subprocess.STDOUT)
        self.maps: list[OccupancyGrid] = []
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        graph.node.create_subscription(OccupancyGrid, "/local_costmap/costmap", self.maps.append, latched)
        for transition in (CONFIGURE, ACTIVATE):
            request = ChangeState.Request()
            request.transition.id = transition
            client = graph.node.create_client(ChangeState, "/local_costmap/local_costmap/change_state")
            assert graph.call(client, request).success, self.log.read_text()

    def marked(self) -> np.ndarray:
        """(N, 2) middles of the lethal cells of the newest map, x ahead and y left of the robot."""
        if not self.maps:
            return np.empty((0, 2))
        message = self.maps[-1]
        cells = np.array(message.data, np.int8).reshape(message.info.height, message.info.width)
        row, column = np.nonzero(cells == LETHAL)
        origin = message.info.origin.position
        return np.column_stack((origin.x + (column + 0.5) * CELL_M, origin.y + (row + 0.5) * CELL_M))

    @property
    def width_m(self) -> float:
        left = self.marked()[:, 1]
        return float(np.ptp(left)) if len(left) else 0.0


@contextmanager
def costmap(graph: Graph, folder: Path, recipe: str) -> Iterator[Map]:
    made = Map(graph, folder, recipe)
    try:
        yield made
    finally:
        made.process.terminate()
        try:
            made.process.wait(10.0)
        except subprocess.TimeoutExpired:
            made.process.kill()
            made.process.wait()


@pytest.mark.parametrize("recipe", ["nav2_obstacle_layer", "nav2_voxel_layer"])
@pytest.mark.parametrize("distance_m", [2.0, 3.0])
def test_nav2_marks_a_wall_where_it_stands_and_clears_it_when_it_is_gone(
    graph: Graph, tiny_weights, tmp_path: Path, recipe: str, distance_m: float
):
    broadcaster = tf2_ros.StaticTransformBroadcaster(graph.node)
    broadcaster.sendTransform(still_frames(graph.header().stamp))
    wall = WideWall(graph, str(tiny_weights), **AS_OF_640_PIXELS)
    with costmap(graph, tmp_path, recipe) as local:
        width_m = 2.0 * np.tan(0.5 * FIELD_OF_VIEW_RAD) * distance_m
        wall.at(distance_m)
        wall.send_until(lambda: local.width_m > 0.95 * width_m)
        cells = local.marked()
        ahead, left = cells[np.abs(azimuth(cells)) < CLEARED_RAD].T
        assert np.abs(ahead - (CAMERA_X_M + distance_m)).max() < CELL_M
        assert len(np.unique(np.round(left / CELL_M))) > 0.95 * np.ptp(left) / CELL_M
        wall.at(FREE_M)
        wall.send_until(lambda: np.sum(np.abs(azimuth(local.marked())) < CLEARED_RAD) <= UNREACHED_CELLS)
        assert not any(word in local.log.read_text() for word in ("ERROR", "dropping", "bounds")), local.log.read_text()
        wait_until(lambda: "has not been updated" in local.log.read_text(), 10.0)  # depth ends: expected_update_rate


def azimuth(cells: np.ndarray) -> np.ndarray:
    return np.arctan2(cells[:, 1], cells[:, 0] - CAMERA_X_M)
