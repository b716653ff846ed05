"""A robot's transforms from a process of their own: ``python -m test.ros.tf_robot`` where tf2_ros is installed.

base_footprint - base_link - camera_link - camera_optical stand still; base_link - sonar is a joint that is told twenty
times a second. The sonar sits at the optical centre of the rendered room's camera and looks along its axis.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header

from depthnet_ros.bags.transforms import OPTICAL_IN_BODY, quaternion
from depthnet_ros.metric_scale.pose import rotation_from_rpy

HEIGHT_M, PITCH_RAD = 0.9, float(np.radians(4))
"""Of the rendered room's camera."""
PERIOD_S = 0.05


def transform(parent: str, child: str, rotation: np.ndarray, z_m: float, stamp=None) -> TransformStamped:
    """The child's pose in the parent: (3, 3) rotation and a height in metres."""
    x, y, z, w = (float(value) for value in quaternion(rotation))
    header = Header(frame_id=parent) if stamp is None else Header(frame_id=parent, stamp=stamp)
    pose = Transform(translation=Vector3(z=z_m), rotation=Quaternion(x=x, y=y, z=z, w=w))
    return TransformStamped(header=header, child_frame_id=child, transform=pose)


def body(pitch_rad: float = PITCH_RAD, height_m: float = HEIGHT_M, stamp=None) -> list[TransformStamped]:
    """What stands still: 0.1 m of the camera's height is between footprint and base."""
    return [
        transform("base_footprint", "base_link", np.eye(3), 0.1, stamp),
        transform("base_link", "camera_link", rotation_from_rpy(0.0, pitch_rad, 0.0), height_m - 0.1, stamp),
        transform("camera_link", "camera_optical", np.asarray(OPTICAL_IN_BODY[:3, :3]), 0.0, stamp),
    ]


def joint(stamp=None) -> TransformStamped:
    """The sonar on its joint."""
    return transform("base_link", "sonar", rotation_from_rpy(0.0, PITCH_RAD, 0.0), HEIGHT_M - 0.1, stamp)


def main() -> None:
    import rclpy
    from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

    rclpy.init()
    node = rclpy.create_node("tf_robot")
    still, moving = StaticTransformBroadcaster(node), TransformBroadcaster(node)
    still.sendTransform(body(stamp=node.get_clock().now().to_msg()))
    node.create_timer(PERIOD_S, lambda: moving.sendTransform(joint(node.get_clock().now().to_msg())))
    print("sending", flush=True)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
