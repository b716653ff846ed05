"""A camera out of files, depthnet_node and RViz: depth without a camera driver.

    ros2 launch depthnet_ros demo.launch.py
    ros2 launch depthnet_ros demo.launch.py input:=/path/to/pictures rviz:=false

Without an input the room is rendered, and its sonar and the height of its camera give metric scale.
"""

import tempfile
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, LogInfo, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, SetRemap
from launch_ros.parameter_descriptions import ParameterValue

from depthnet_ros.demo.scaling import SONAR_REMAP, scale_parameters
from depthnet_ros.sources import open_source

FOLDER = Path(__file__).resolve().parent
REPLAY = {
    "input": (str, "folder, video, recording, /dev/video0, scene:room or scene:street; empty: the rendered room"),
    "rate_hz": (float, "pictures per second"),
    "loop": (bool, "false: end with the source"),
    "camera_info_file": (str, "calibration of the pictures"),
    "horizontal_fov_deg": (float, "stands in where no calibration is known"),
}
NETWORK = {
    "weights": "checkpoint or exported network",
    "backend": "auto, torch, openvino, onnxruntime or tensorrt",
    "device": "auto, cpu, cuda or cuda:N",
}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """camera_replay, the node with what measures scale, and RViz if it is wanted and installed."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    replay = [
        {name: ParameterValue(LaunchConfiguration(name), value_type=kind)}
        for name, (kind, _) in REPLAY.items()
        if given(name)
    ]
    camera = Node(package="depthnet_ros", executable="camera_replay", parameters=replay, output="screen")
    arguments = [(name, LaunchConfiguration(name)) for name in NETWORK]
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(FOLDER / "depthnet.launch.py")),
        launch_arguments=[*arguments, ("params_file", _scale_file(given("input")))],
    )
    return [camera, GroupAction([SetRemap(*SONAR_REMAP), node]), *_rviz(given("rviz"))]


def _scale_file(source: str) -> str:
    """A parameter file of what measures scale for this source."""
    parameters = {"/**": {"ros__parameters": scale_parameters(open_source(source))}}
    with tempfile.NamedTemporaryFile("w", prefix="depthnet_demo_", suffix=".yaml", delete=False) as file:
        yaml.safe_dump(parameters, file)
    return file.name


def _rviz(wanted: str) -> list[LaunchDescriptionEntity]:
    if wanted.lower() not in ("true", "1", "yes"):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed: look at the topics with another viewer, or set rviz:=false")]
    config = FOLDER.parent / "rviz" / "depthnet.rviz"
    # The sonar looks along the optical axis: x forward in its own frame is z of the camera's optical frame.
    rotation = ["--qx", "0.5", "--qy", "-0.5", "--qz", "0.5", "--qw", "0.5"]
    frames = ["--frame-id", "camera_optical_frame", "--child-frame-id", "sonar"]
    return [
        Node(package="tf2_ros", executable="static_transform_publisher", arguments=[*rotation, *frames]),
        Node(package="rviz2", executable="rviz2", arguments=["-d", str(config)], output="log"),
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, all of them optional, and what they start."""
    arguments = [
        *(DeclareLaunchArgument(name, default_value="", description=text) for name, (_, text) in REPLAY.items()),
        *(DeclareLaunchArgument(name, default_value="", description=text) for name, text in NETWORK.items()),
        DeclareLaunchArgument("rviz", default_value="true", description="start RViz if it is installed"),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
