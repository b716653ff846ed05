"""depthnet_node for Nav2, with Nav2's collision monitor fed by its scan and its nearest obstacle.

    ros2 launch depthnet_ros nav2_depth.launch.py image:=/camera/image_raw

The costmap layers are parameters of your own Nav2 bring-up: take config/nav/nav2_obstacle_layer.yaml (or voxel)
into it.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("depthnet_ros"))
PASSED_ON = ("image", "range", "params_file")


def generate_launch_description() -> LaunchDescription:
    """The robot's camera without a driver, the collision monitor and its lifecycle."""
    robot = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "robot_camera.launch.py")),
        launch_arguments={"camera_driver": "none", **{n: LaunchConfiguration(n) for n in PASSED_ON}}.items(),
    )
    wanted = IfCondition(LaunchConfiguration("collision_monitor"))
    monitor = Node(
        package="nav2_collision_monitor",
        executable="collision_monitor",
        name="collision_monitor",
        parameters=[str(SHARE / "config" / "nav" / "nav2_collision_monitor.yaml")],
        condition=wanted,
    )
    manager = Node(
        package="nav2_lifecycle_manager",
        executable="lifecycle_manager",
        name="lifecycle_manager_depthnet",
        parameters=[{"autostart": True, "node_names": ["collision_monitor"]}],
        condition=wanted,
    )
    defaults = {
        "image": "image_raw",
        "range": "sonar/range",
        "params_file": str(SHARE / "config" / "nav" / "depthnet_robot.yaml"),
        "collision_monitor": "true",
    }
    return LaunchDescription(
        [*(DeclareLaunchArgument(n, default_value=v) for n, v in defaults.items()), robot, monitor, manager]
    )
