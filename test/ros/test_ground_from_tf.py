"""Sensors and ground placed by TF, from the messages TF is made of; test_tf2.py has them over a graph, with tf2."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header

from depthnet_ros.bags.transforms import OPTICAL_IN_BODY, TransformTree, quaternion
from depthnet_ros.errors import BagError, ConfigError
from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.metric_scale import AnchorError, GroundPlane, MetricScaleConfig
from depthnet_ros.metric_scale.pose import rotation_from_rpy
from depthnet_ros.ros.scale_inputs import SensorPoses

HEIGHT_M, PITCH_RAD = 0.45, 0.2
STAMP = Time(sec=7)


def transform(parent: str, child: str, rotation: np.ndarray, z_m: float) -> TransformStamped:
    x, y, z, w = (float(value) for value in quaternion(rotation))
    return TransformStamped(
        header=Header(frame_id=parent, stamp=STAMP),
        child_frame_id=child,
        transform=Transform(translation=Vector3(z=z_m), rotation=Quaternion(x=x, y=y, z=z, w=w)),
    )


def robot(pitch_rad: float = PITCH_RAD, height_m: float = HEIGHT_M) -> list[TransformStamped]:
    """A camera on a robot: 0.1 m of the height is between footprint and base."""
    return [
        transform("base_footprint", "base_link", np.eye(3), 0.1),
        transform("base_link", "camera", rotation_from_rpy(0.0, pitch_rad, 0.0), height_m - 0.1),
        transform("camera", "camera_optical", np.asarray(OPTICAL_IN_BODY[:3, :3]), 0.0),
    ]


class Recorded:
    """Transforms as a recording has them, looked up as the node looks them up."""

    def __init__(self, transforms: list[TransformStamped]) -> None:
        self._tree = TransformTree()
        self._tree.add(SimpleNamespace(transforms=transforms), static=True)

    def find(self, target: str, source: str, stamp: Time, tolerance_s: float, wait_s: float = 0.0) -> np.ndarray | None:
        try:
            return self._tree.lookup(target, source, stamp_ns(stamp))
        except BagError:
            return None

    def forget(self) -> None:
        pass

    def destroy(self) -> None:
        pass


def poses(transforms: list[TransformStamped], **settings) -> SensorPoses:
    settings = {"ground_frame": "base_footprint", **settings}
    return SensorPoses(MetricScaleConfig(mode="anchors", **settings), Recorded(transforms))


def test_ground_is_where_the_robot_says():
    plane = poses(robot()).ground("camera_optical", STAMP)
    expected = GroundPlane.from_height(HEIGHT_M, PITCH_RAD)
    assert plane.height_m == pytest.approx(HEIGHT_M) and plane.down == pytest.approx(expected.down, abs=1e-9)
    assert plane.same_as(expected)
    assert not plane.same_as(poses(robot(pitch_rad=PITCH_RAD + 0.01)).ground("camera_optical", STAMP))


def test_height_parameter_goes_before_the_frame():
    assert poses(robot(), ground_height_m=1.0).ground("camera_optical", STAMP) is None
    assert poses(robot(), ground_frame="").ground("camera_optical", STAMP) is None


def test_frames_that_tf_does_not_know_are_named():
    with pytest.raises(AnchorError, match=r"camera_optical.*map"):
        poses(robot(), ground_frame="map").ground("camera_optical", STAMP)
    with pytest.raises(AnchorError, match=r"set scale\.ground_height_m"):
        SensorPoses(MetricScaleConfig(ground_frame="base_footprint"), None).ground("camera_optical", STAMP)


def test_a_camera_below_the_ground_is_an_error():
    with pytest.raises(ConfigError, match="must be above it"):
        poses(robot(height_m=-0.2)).ground("camera_optical", STAMP)


def test_a_sonar_below_the_camera_is_placed_by_tf():
    sonar = transform("base_link", "sonar", rotation_from_rpy(0.0, 0.0, math.pi / 2), HEIGHT_M - 0.2)
    pose = poses([*robot(pitch_rad=0.0), sonar]).lookup("range", "sonar", "camera_optical", STAMP)
    assert pose[:3, 3] == pytest.approx([0.0, 0.1, 0.0], abs=1e-9)  # 0.1 m below
    assert pose[:3, 0] == pytest.approx([-1.0, 0.0, 0.0], abs=1e-9)  # its x axis looks to the camera's left
