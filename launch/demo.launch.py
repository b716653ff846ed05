"""A camera out of files, depthnet_node and RViz: depth without a camera driver.

    ros2 launch depthnet_ros demo.launch.py
    ros2 launch depthnet_ros demo.launch.py input:=/path/to/pictures rviz:=false

Without an input the room is rendered, and its sonar and the height of its camera give metric scale.
"""

import math
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from depthnet_ros.demo.scaling import LEVEL_FRAME, SONAR_REMAP, scale_parameters
from depthnet_ros.errors import DepthNetError
from depthnet_ros.sources import open_source

FOLDER = Path(__file__).resolve().parent
FRAME = "camera_optical_frame"  # of camera_replay's pictures
REPLAY = {
    "input": (str, "folder, video, recording, /dev/video0, scene:room or scene:street; empty: the rendered room"),
    "rate_hz": (float, "pictures per second"),
    "loop": (bool, "false: end with the source"),
    "camera_info_file": (str, "calibration of the pictures"),
    "horizontal_fov_deg": (float, "used where there is no calibration"),
}
NETWORK = {
    "weights": "checkpoint, exported network, or depthnet_base",
    "backend": "auto, torch, openvino, onnxruntime or tensorrt",
    "device": "auto, cpu, cuda or cuda:N",
}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """camera_replay, the node with what measures scale, and RViz if it is wanted and installed."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    try:
        measured = scale_parameters(open_source(given("input")))
    except DepthNetError as error:
        raise RuntimeError(f"demo.launch.py: {error}") from error
    replay = [
        {name: ParameterValue(LaunchConfiguration(name), value_type=kind)}
        for name, (kind, _) in REPLAY.items()
        if given(name)
    ]
    network = [{name: ParameterValue(LaunchConfiguration(name), value_type=str)} for name in NETWORK if given(name)]
    camera = Node(package="depthnet_ros", executable="camera_replay", parameters=replay, output="screen")
    node = LifecycleNode(
        package="depthnet_ros",
        executable="depthnet_node",
        name="depthnet_node",
        namespace="",
        parameters=[*([measured] if measured else []), *network],
        remappings=[SONAR_REMAP],
        output="screen",
    )
    return [camera, node, *_frames(measured), *_rviz(given("rviz"))]


def _frames(measured: dict[str, Any]) -> list[LaunchDescriptionEntity]:
    """Where the rendered robot's sonar and the level frame, which RViz's view is in, lie to the camera; of one of which
    nothing is known a level one is made.
    """
    tilt = ["--roll", str(-math.pi / 2 - measured.get("scale.ground_pitch_rad", 0.0)), "--yaw", str(-math.pi / 2)]
    ways = [[*tilt, "--frame-id", LEVEL_FRAME, "--child-frame-id", FRAME]]
    if measured:
        sonar = ["--qx", "0.5", "--qy", "-0.5", "--qz", "0.5", "--qw", "0.5"]  # x ahead is the optical frame's z
        ways.append([*sonar, "--frame-id", FRAME, "--child-frame-id", "sonar"])
    return [Node(package="tf2_ros", executable="static_transform_publisher", arguments=way) for way in ways]


def _rviz(wanted: str) -> list[LaunchDescriptionEntity]:
    if wanted.lower() not in ("true", "1", "yes"):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed: look at the topics with another viewer, or set rviz:=false")]
    config = FOLDER.parent / "rviz" / "depthnet.rviz"
    return [Node(package="rviz2", executable="rviz2", arguments=["-d", str(config)], output="log")]


def generate_launch_description() -> LaunchDescription:
    """Arguments, all of them optional, and what they start."""
    arguments = [
        *(DeclareLaunchArgument(name, default_value="", description=text) for name, (_, text) in REPLAY.items()),
        *(DeclareLaunchArgument(name, default_value="", description=text) for name, text in NETWORK.items()),
        DeclareLaunchArgument("rviz", default_value="true", description="start RViz if it is installed"),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
