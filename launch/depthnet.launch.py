"""depthnet_node beside a camera driver.

    ros2 launch depthnet_ros depthnet.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info

An argument that is not given overrides nothing: the parameter file, or the node's own default, decides. For one camera:
with the parameter ``cameras`` topics stand below each camera's name, and each needs remaps of its own (README, Topics).
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

REMAPS = {
    "image": "image topic (for compressed: without /compressed)",
    "camera_info": "camera_info topic; empty: the one beside the image",
    "scan": "OUTPUT topic of the scan; depth/scan where a lidar already publishes /scan; empty: scan",
}
# TF of the namespace, /robot1/tf, as Nav2's launch files and the drivers of robots in a namespace remap it.
TF_REMAPS = [("/tf", "tf"), ("/tf_static", "tf_static")]
PARAMETERS = {
    "weights": (str, "checkpoint, exported network, or depthnet_base"),
    "backend": (str, "auto, torch, openvino, onnxruntime or tensorrt"),
    "device": (str, "auto, cpu, cuda or cuda:N"),
    "image_transport": (str, "raw or compressed"),
    "camera_info_file": (str, "calibration in place of camera_info, where the driver publishes none that fits"),
    "rectify": (bool, "true where image is raw and the lens has distortion"),
    "autostart": (bool, "false leaves the lifecycle to a manager"),
    "use_sim_time": (bool, "true with a bag that publishes /clock"),
}


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node with what was given and nothing else."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    parameters: list[object] = []
    if params_file := given("params_file"):
        if not Path(params_file).is_file():  # launch would start the node on its defaults, without metres
            raise RuntimeError(f"params_file: there is no file {params_file} (seen from {Path.cwd()})")
        parameters.append(params_file)
    parameters += [
        {name: ParameterValue(LaunchConfiguration(name), value_type=kind)}
        for name, (kind, _) in PARAMETERS.items()
        if given(name)
    ]
    tf = TF_REMAPS if given("tf_in_namespace").lower() in ("true", "1", "yes") else []
    return [
        LifecycleNode(
            package="depthnet_ros",
            executable="depthnet_node",
            name=given("node_name"),
            namespace=given("namespace"),
            parameters=parameters,
            remappings=[*((name, given(name)) for name in REMAPS if given(name)), *tf],
            output="screen",
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, all of them optional, and the node."""
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the node and its outputs"),
        DeclareLaunchArgument("tf_in_namespace", default_value="false", description="true: TF is in /<namespace>/tf"),
        DeclareLaunchArgument("node_name", default_value="depthnet_node", description="name of the node"),
        DeclareLaunchArgument("params_file", default_value="", description="YAML file of parameters (config/)"),
        *(DeclareLaunchArgument(n, default_value="", description=text) for n, text in REMAPS.items()),
        *(DeclareLaunchArgument(n, default_value="", description=text) for n, (_, text) in PARAMETERS.items()),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_node)])
