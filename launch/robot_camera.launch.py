"""A robot's camera, its sonar and depthnet_node: metric depth from what a small robot has.

    ros2 launch depthnet_ros robot_camera.launch.py range:=/sonar/range

Camera: any installed driver that publishes image_raw and camera_info (here v4l2_camera or usb_cam by argument). With
``camera_driver:=none`` the camera runs elsewhere. When you include this file, pass ``params_file`` and ``namespace``
yourself: Nav2's bring-up has arguments of the same names, whose values would be taken otherwise.
"""

from collections.abc import Callable
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace, SetRemap
from launch_ros.parameter_descriptions import ParameterValue

from depthnet_ros.middleware import room_for_images

DRIVERS = {  # package, executable, and what they call the device and the frame of their images
    "v4l2_camera": ("v4l2_camera", "v4l2_camera_node", "video_device", "camera_frame_id"),
    "usb_cam": ("usb_cam", "usb_cam_node_exe", "video_device", "frame_id"),
}
PASSED_ON = (
    *("tf_in_namespace", "image", "camera_info", "camera_info_file", "scan", "image_transport", "rectify"),
    *("params_file", "use_sim_time", "weights", "backend"),
)
# The rest of depthnet.launch.py's, given as they are there by default: what is not given would be taken from whatever
# an including bring-up calls so, its lidar's device or Nav2's autostart.
KEPT = {"namespace": "", "node_name": "depthnet_node", "device": "", "autostart": ""}
SHARE = Path(get_package_share_directory("depthnet_ros"))


def use_sim_time(context: LaunchContext) -> list[dict[str, ParameterValue]]:
    """The parameter, if it was given."""
    given = LaunchConfiguration("use_sim_time")
    return [{"use_sim_time": ParameterValue(given, value_type=bool)}] if given.perform(context) else []


def driver_parameters(given: Callable[[str], str], device: str, frame: str) -> list[object]:
    """Its parameter file, and after it, as the later one wins, what the arguments say."""
    file = given("camera_params_file")
    if file and not Path(file).is_file():  # launch would start the driver on its defaults
        raise RuntimeError(f"camera_params_file: there is no file {file} (seen from {Path.cwd()})")
    arguments = {device: given("video_device"), frame: given("camera_frame")}
    return [*([file] if file else []), *({name: value} for name, value in arguments.items() if value)]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Driver, remap of the sonar, node."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    entities: list[LaunchDescriptionEntity] = []
    driver = given("camera_driver")
    if driver not in (*DRIVERS, "none"):
        known = ", ".join(DRIVERS)
        raise RuntimeError(f"camera_driver is {known} or none (the camera runs already), got {driver!r}")
    if driver != "none":
        package, executable, device, frame = DRIVERS[driver]
        parameters = [*driver_parameters(given, device, frame), *use_sim_time(context)]
        room, _ = room_for_images()  # or most of the driver's images are lost
        entities.append(Node(package=package, executable=executable, parameters=parameters, additional_env=room))
    arguments = {**KEPT, **{name: given(name) for name in PASSED_ON}}
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "depthnet.launch.py"))
    node = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    # A group: rule and arguments would otherwise hold for every node that an including file starts after it.
    remaps = [SetRemap("anchors/range", given("range"))] if given("range") else []
    entities.append(GroupAction([*remaps, node]))
    return [GroupAction([PushRosNamespace(given("namespace")), *entities])] if given("namespace") else entities


def generate_launch_description() -> LaunchDescription:
    """Arguments and what they start."""
    arguments = {
        "namespace": ("", "namespace of driver and node"),
        "tf_in_namespace": ("false", "true: TF is in /<namespace>/tf"),
        "camera_driver": ("v4l2_camera", "v4l2_camera, usb_cam, or none where the camera runs already"),
        "video_device": ("", "device that the driver opens; empty: as its parameter file has it, or /dev/video0"),
        # REP 103: x right, y down, z ahead, as the name says; the drivers' own defaults are not
        "camera_frame": (
            "camera_optical_frame",
            "frame of the driver's images, one for each of several; empty: as its file has it",
        ),
        "camera_params_file": ("", "YAML file of the driver, below /**: image size, pixel format, camera_info_url"),
        "image": ("image_raw", "image topic (for compressed: without /compressed)"),
        "camera_info": ("", "camera_info topic; empty: the one beside the image"),
        "camera_info_file": ("", "calibration in place of camera_info, where the driver publishes none that fits"),
        "image_transport": ("", "raw or compressed; empty: as the parameter file has it"),
        "range": ("sonar/range", "input topic of the sonar (sensor_msgs/Range)"),
        "scan": ("", "OUTPUT topic of the scan; depth/scan where a lidar already publishes /scan; empty: scan"),
        "rectify": ("", "false for an already rectified image; empty: as the parameter file has it"),
        "params_file": (str(SHARE / "config" / "nav" / "depthnet_robot.yaml"), "parameters of depthnet_node"),
        "use_sim_time": ("", "true with a bag or a simulator that publishes /clock"),
        "weights": ("", "checkpoint, exported network, or depthnet_base; empty: as the parameter file has it"),
        "backend": ("", "auto, torch, openvino, onnxruntime or tensorrt; empty: as the parameter file has it"),
    }
    declared = [DeclareLaunchArgument(n, default_value=v, description=d) for n, (v, d) in arguments.items()]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
