"""depthnet_node for Nav2, and Nav2's collision monitor where the bring-up does not start one.

    ros2 launch depthnet_ros nav2_depth.launch.py image:=/camera/image_raw

The costmap layers are parameters of your own Nav2 bring-up: take config/nav/nav2_obstacle_layer.yaml (or voxel)
into it, and nav2_collision_monitor.yaml, too, as jazzy's navigation_launch.py starts a collision monitor itself. With
``collision_monitor:=true`` one is started here: two of them would both write cmd_vel. When you include this file, pass
``params_file`` and ``namespace`` yourself: Nav2's bring-up has arguments of the same names, whose values would be taken
otherwise.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from depthnet_ros.middleware import room_for_images

SHARE = Path(get_package_share_directory("depthnet_ros"))
PASSED_ON = (
    *("namespace", "tf_in_namespace", "image", "camera_info", "camera_info_file", "image_transport", "range"),
    *("scan", "rectify", "params_file", "use_sim_time", "weights", "backend"),
)
NO_DRIVER = {"camera_driver": "none", "video_device": "", "camera_frame": "", "camera_params_file": ""}
ARGUMENTS = {
    "namespace": ("", "namespace of depthnet_node (with one, collision_monitor:=true is refused)"),
    "tf_in_namespace": ("false", "true: TF is in /<namespace>/tf, as with Nav2 started in a namespace"),
    "image": ("image_raw", "image topic (for compressed: without /compressed)"),
    "camera_info": ("", "camera_info topic; empty: the one beside the image"),
    "camera_info_file": ("", "calibration in place of camera_info, where the driver publishes none that fits"),
    "image_transport": ("", "raw or compressed; empty: as the parameter file has it"),
    "range": ("sonar/range", "input topic of the sonar (sensor_msgs/Range)"),
    "scan": ("", "OUTPUT topic of the scan; depth/scan where a lidar already publishes /scan; empty: scan"),
    "params_file": (str(SHARE / "config" / "nav" / "depthnet_robot.yaml"), "parameters of depthnet_node"),
    "rectify": ("", "false for an already rectified image; empty: as the parameter file has it"),
    "weights": ("", "checkpoint, exported network, or depthnet_base; empty: as the parameter file has it"),
    "backend": ("", "auto, torch, openvino, onnxruntime or tensorrt; empty: as the parameter file has it"),
    "collision_monitor": ("false", "start Nav2's collision monitor and its manager; not beside one of Nav2's bring-up"),
    "use_sim_time": ("", "true with a bag or a simulator that publishes /clock; for all nodes"),
}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The robot's camera without a driver, the collision monitor and its lifecycle."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "robot_camera.launch.py")),
        launch_arguments={**NO_DRIVER, **{n: given(n) for n in PASSED_ON}}.items(),
    )
    robot = GroupAction([included])  # its arguments stay out of the including file's
    if given("collision_monitor").lower() not in ("true", "1", "yes"):
        return [robot]
    if given("namespace"):
        raise RuntimeError(
            "config/nav/nav2_collision_monitor.yaml names topics and nodes without a namespace: start the monitor of "
            f"{given('namespace')!r} in your own bring-up"
        )
    clock = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    shared = [{"use_sim_time": clock}] if given("use_sim_time") else []
    monitor = Node(
        package="nav2_collision_monitor",
        executable="collision_monitor",
        name="collision_monitor",
        parameters=[str(SHARE / "config" / "nav" / "nav2_collision_monitor.yaml"), *shared],
        additional_env=room_for_images()[0],  # with Cyclone DDS listeners need it, too, or they lose clouds
    )
    manager = Node(  # of the monitor alone, which has a bond; depthnet_node has none and starts itself
        package="nav2_lifecycle_manager",
        executable="lifecycle_manager",
        name="lifecycle_manager_depthnet",
        parameters=[{"autostart": True, "node_names": ["collision_monitor"]}, *shared],
    )
    return [robot, monitor, manager]


def generate_launch_description() -> LaunchDescription:
    """Arguments, all of them optional, and what they start."""
    declared = [DeclareLaunchArgument(n, default_value=v, description=d) for n, (v, d) in ARGUMENTS.items()]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
