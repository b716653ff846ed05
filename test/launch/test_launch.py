"""Launch files under the real launch system, which comes with a ROS installation."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from pathlib import Path

import pytest

launch = pytest.importorskip("launch", reason="launch comes with a ROS installation, it is not on PyPI")
launch_ros = pytest.importorskip("launch_ros")
importlib.import_module("launch_ros.actions")

FOLDER = Path(__file__).resolve().parents[2] / "launch"
PICTURE = FOLDER.parent / "docs" / "demo.png"
FILES = sorted(path.name for path in FOLDER.glob("*.launch.py"))


def _description(name: str):
    spec = importlib.util.spec_from_file_location(name.split(".")[0], FOLDER / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.generate_launch_description()


def _installed() -> bool:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix("depthnet_ros")
    except (PackageNotFoundError, LookupError, OSError):
        return False
    return True


needs_installation = pytest.mark.skipif(not _installed(), reason="depthnet_ros is not installed in an ament workspace")


def _node_parameters(**arguments: str) -> tuple[dict, list]:
    """Parameters and remappings of the node that depthnet.launch.py makes of these arguments."""
    module, context = _started("depthnet.launch.py", arguments)
    (node,) = module.start_node(context)
    return _evaluated(node, context), node._Node__remappings


def _started(name: str, arguments: dict[str, str]) -> tuple:
    """The file's module, and a context with these arguments and its defaults."""
    module, description = _description(name)
    context = launch.LaunchContext()
    for entity in description.entities:
        if isinstance(entity, launch.actions.DeclareLaunchArgument):
            default = "".join(part.text for part in entity.default_value)
            context.launch_configurations[entity.name] = arguments.get(entity.name, default)
    return module, context


def _evaluated(node, context) -> dict:
    from launch_ros.utilities import evaluate_parameters

    merged: dict = {}
    for item in evaluate_parameters(context, node._Node__parameters):
        merged |= item if isinstance(item, dict) else {"params_file": str(item)}
    return merged


def _entities(name: str, **arguments: str) -> tuple[dict[str, dict], list[dict[str, str]]]:
    """Parameters of the nodes that a file starts, by package, and the arguments of the files that it includes."""
    module, context = _started(name, arguments)
    entities = list(_flat(module.start(context)))
    nodes = [e for e in entities if isinstance(e, launch_ros.actions.Node)]
    included = [e for e in entities if isinstance(e, launch.actions.IncludeLaunchDescription)]
    texts = [{key: str(value) for key, value in e.launch_arguments} for e in included]
    return {node.node_package: _evaluated(node, context) for node in nodes}, texts


def _flat(entities):
    """What is in groups, too."""
    for entity in entities:
        grouped = isinstance(entity, launch.actions.GroupAction)
        yield from _flat(entity.get_sub_entities()) if grouped else [entity]


@pytest.fixture
def own_share(monkeypatch):
    """This checkout in place of an installation."""
    import ament_index_python.packages

    share = str(FOLDER.parent)
    monkeypatch.setattr(ament_index_python.packages, "get_package_share_directory", lambda _: share)


@pytest.mark.parametrize("name", FILES)
def test_every_launch_file_gives_a_description_with_described_arguments(name, own_share):
    _, description = _description(name)
    arguments = [e for e in description.entities if isinstance(e, launch.actions.DeclareLaunchArgument)]
    stand_in = launch.actions.DeclareLaunchArgument("undescribed").description  # launch has a text of its own for it
    assert arguments and all(a.description and a.description != stand_in for a in arguments)


@pytest.mark.parametrize(("driver", "parameter"), [("v4l2_camera", "camera_frame_id"), ("usb_cam", "frame_id")])
def test_a_driver_s_images_are_in_an_optical_frame(driver, parameter, own_share):
    """Its own default is none by its name, and scan and obstacle/nearest would be silent."""
    nodes, _ = _entities("robot_camera.launch.py", camera_driver=driver, video_device="/dev/video7")
    assert nodes[driver] == {"video_device": "/dev/video7", parameter: "camera_optical_frame"}
    nodes, _ = _entities("robot_camera.launch.py", camera_driver=driver, camera_frame="rear_optical_frame")
    assert nodes[driver] == {parameter: "rear_optical_frame"}, "which device, the driver or its file decides"


def test_what_is_given_by_argument_comes_after_the_driver_s_parameter_file(own_share, tmp_path):
    file = tmp_path / "camera.yaml"
    file.write_text("/**:\n  ros__parameters:\n    image_size: [320, 240]\n    video_device: /dev/video3\n")
    given = {"camera_params_file": str(file), "video_device": "/dev/video7"}
    module, context = _started("robot_camera.launch.py", given)
    (driver,) = [e for e in module.start(context) if isinstance(e, launch_ros.actions.Node)]
    first, *later = launch_ros.utilities.evaluate_parameters(context, driver._Node__parameters)
    assert str(first) == str(file)
    assert later == [{"video_device": "/dev/video7"}, {"camera_frame_id": "camera_optical_frame"}]  # the last one wins
    with pytest.raises(RuntimeError, match=r"camera_params_file: there is no file nowhere\.yaml"):
        _entities("robot_camera.launch.py", camera_params_file="nowhere.yaml")


def test_a_driver_that_is_not_known_is_told_how_to_start_elsewhere(own_share):
    with pytest.raises(RuntimeError, match=r"usb_cam or none \(the camera runs already\), got 'realsense'"):
        _entities("robot_camera.launch.py", camera_driver="realsense")


def test_simulated_time_reaches_every_node(own_share):
    nodes, (robot,) = _entities("nav2_depth.launch.py", use_sim_time="true", collision_monitor="true")
    assert {name: p["use_sim_time"] for name, p in nodes.items()} == {
        "nav2_collision_monitor": True,
        "nav2_lifecycle_manager": True,
    }
    assert robot["use_sim_time"] == "true"
    nodes, (node,) = _entities("robot_camera.launch.py", use_sim_time="true")
    assert nodes["v4l2_camera"]["use_sim_time"] is True and node["use_sim_time"] == "true"


def test_simulated_time_that_is_not_given_overrides_nothing(own_share):
    nodes, (robot,) = _entities("nav2_depth.launch.py", collision_monitor="true")
    assert (
        nodes and not any("use_sim_time" in parameters for parameters in nodes.values()) and robot["use_sim_time"] == ""
    )
    assert "use_sim_time" not in _entities("robot_camera.launch.py")[0]["v4l2_camera"]


def test_only_the_robot_starts_unless_a_collision_monitor_is_asked_for(own_share):
    """Nav2's own bring-up has one; two would both write cmd_vel."""
    nodes, (robot,) = _entities("nav2_depth.launch.py", image="/eye/image_raw")
    assert not nodes and (robot["camera_driver"], robot["image"]) == ("none", "/eye/image_raw")


def test_what_is_included_leaves_nothing_behind(own_share):
    """The sonar's remap and the arguments would else hold for what is started next: another robot, Nav2."""
    for name in ("robot_camera.launch.py", "nav2_depth.launch.py"):
        module, context = _started(name, {"camera_driver": "none"})
        entities = module.start(context)
        assert entities
        for entity in entities:
            assert isinstance(entity, launch.actions.GroupAction) and entity._GroupAction__scoped


def _declared(name: str) -> dict[str, str]:
    """Arguments of a launch file and their defaults."""
    arguments = [e for e in _description(name)[1].entities if isinstance(e, launch.actions.DeclareLaunchArgument)]
    return {a.name: "".join(part.text for part in a.default_value) for a in arguments}


def test_nothing_of_an_including_bring_up_gets_in_by_its_name(own_share):
    """Its lidar's device, or Nav2's autostart: what a file that is included does not get is taken from around it."""
    _, (node,) = _entities("robot_camera.launch.py")
    known = _declared("depthnet.launch.py")
    assert set(node) == set(known)
    own = {"image", "camera_info", "scan", "image_transport", "params_file"}
    own |= {"rectify", "use_sim_time", "weights", "backend", "tf_in_namespace"}
    assert {name: value for name, value in node.items() if name not in own} == {
        name: value for name, value in known.items() if name not in own
    }
    _, (robot,) = _entities("nav2_depth.launch.py")
    assert set(robot) == set(_declared("robot_camera.launch.py"))


def test_a_namespace_is_that_of_driver_and_node(own_share):
    module, context = _started("robot_camera.launch.py", {"namespace": "robot1"})
    (group,) = module.start(context)
    wanted = (launch_ros.actions.PushRosNamespace, launch_ros.actions.Node, launch.actions.GroupAction)
    found = [kind for entity in group.get_sub_entities() for kind in wanted if isinstance(entity, kind)]
    assert found == list(wanted)
    _, (robot,) = _entities("nav2_depth.launch.py", namespace="robot1")
    assert robot["namespace"] == "robot1"
    with pytest.raises(RuntimeError, match="names topics and nodes without a namespace"):
        _entities("nav2_depth.launch.py", namespace="robot1", collision_monitor="true")


@pytest.mark.parametrize("name", ["robot_camera.launch.py", "nav2_depth.launch.py"])
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("rectify", "false"),
        ("camera_info", "/calibrated/camera_info"),
        ("image_transport", "compressed"),
        ("scan", "depth/scan"),
        ("tf_in_namespace", "true"),
    ],
)
def test_what_is_said_of_image_scan_and_tf_is_passed_on(name, argument, value, own_share):
    for given in ({}, {argument: value}):
        _, (included,) = _entities(name, camera_driver="none", **given)
        assert included[argument] == given.get(argument, _declared(name)[argument])


def test_the_demo_s_robot_knows_its_sizes_and_frames(own_share):
    module, context = _started("demo.launch.py", {"rviz": "false"})
    nodes = module.start(context)
    (depth,) = [node for node in nodes if isinstance(node, launch_ros.actions.LifecycleNode)]
    parameters = _evaluated(depth, context)
    assert parameters["scale.sources"] == ("range",) and parameters["nav.scan_frame"] == "camera_level"
    ways = [node for node in nodes if node.node_package == "tf2_ros"]
    assert len(ways) == 2 and any("camera_level" in str(node._Node__arguments) for node in ways)
    module, context = _started("demo.launch.py", {"rviz": "false", "input": str(PICTURE)})
    (way,) = [node for node in module.start(context) if node.node_package == "tf2_ros"]
    assert "camera_level" in str(way._Node__arguments), "which RViz's view is in"
    module, context = _started("demo.launch.py", {"rviz": "false", "input": "/nowhere"})
    with pytest.raises(RuntimeError, match=r"demo\.launch\.py: .*/nowhere"):
        module.start(context)


def test_an_argument_that_is_not_given_overrides_nothing():
    assert _node_parameters() == ({}, [])


def test_given_arguments_reach_the_node_typed(tmp_path):
    (tmp_path / "p.yaml").write_text("/**:\n  ros__parameters:\n    max_rate_hz: 3.0\n")
    given = {"autostart": "false", "device": "cpu", "image": "/cam/image_raw", "params_file": str(tmp_path / "p.yaml")}
    parameters, remappings = _node_parameters(**given)
    assert parameters == {"autostart": False, "device": "cpu", "params_file": str(tmp_path / "p.yaml")}
    assert len(remappings) == 1


def test_the_scan_can_leave_scan_to_a_lidar():
    _, remappings = _node_parameters(scan="depth/scan")
    ((name, topic),) = ((a[0].text, b[0].text) for a, b in remappings)
    assert (name, topic) == ("scan", "depth/scan")


def test_tf_can_be_that_of_the_namespace():
    """As with Nav2's own launch files, and the robots whose drivers do so."""
    _, remappings = _node_parameters(namespace="robot1", tf_in_namespace="true")
    assert {a[0].text: b[0].text for a, b in remappings} == {"/tf": "tf", "/tf_static": "tf_static"}
    assert _node_parameters(namespace="robot1", tf_in_namespace="false") == ({}, [])


def test_a_parameter_file_that_is_not_there_starts_nothing():
    """The launch system itself warns, and starts the node on its defaults."""
    with pytest.raises(RuntimeError, match=r"there is no file nowhere\.yaml"):
        _node_parameters(params_file="nowhere.yaml")


def test_without_a_sonar_nothing_is_remapped(own_share):
    module, context = _started("robot_camera.launch.py", {"camera_driver": "none", "range": ""})
    assert not any(isinstance(e, launch_ros.actions.SetRemap) for e in _flat(module.start(context)))


def _run_until(ros_domain: int, arguments: dict[str, str], *conditions) -> None:
    """The node as the launch system starts it with these arguments, until each condition on a graph's node held."""
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from ..ros.graph import Graph, wait_until

    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(FOLDER / "depthnet.launch.py")), launch_arguments=arguments.items()
    )
    service = launch.LaunchService(noninteractive=True)
    service.include_launch_description(launch.LaunchDescription([include]))
    graph = Graph(ros_domain)

    def watch() -> None:
        try:
            for condition in conditions:
                wait_until(lambda condition=condition: condition(graph.node), 60.0)
                seen.append(condition)
        finally:
            time.sleep(0.2)
            service.shutdown()

    seen: list = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    status = service.run()
    watcher.join()
    graph.close()
    assert len(seen) == len(conditions) and status == 0


@needs_installation
def test_the_node_runs_under_launch(ros_domain, tiny_weights, capfd):
    _run_until(
        ros_domain,
        {"weights": str(tiny_weights), "namespace": "robot", "image": "/cam/image_raw"},
        lambda node: node.count_publishers("/robot/inverse_depth/image") == 1,
        lambda node: node.count_subscribers("/cam/image_raw") == 1,
    )
    assert "Traceback" not in capfd.readouterr().err


@needs_installation
def test_the_node_listens_to_tf_of_its_namespace(ros_domain, tiny_weights, tmp_path):
    pytest.importorskip("tf2_ros", reason="tf2_ros comes with a ROS installation, it is not on PyPI")
    (tmp_path / "p.yaml").write_text(
        "/**:\n  ros__parameters:\n    scale.mode: anchors\n    scale.ground_frame: base_footprint\n"
    )
    given = {"weights": str(tiny_weights), "namespace": "robot", "params_file": str(tmp_path / "p.yaml")}
    _run_until(
        ros_domain,
        {**given, "tf_in_namespace": "true"},
        lambda node: node.count_subscribers("/robot/tf") == node.count_subscribers("/robot/tf_static") == 1,
        lambda node: node.count_subscribers("/tf") == node.count_subscribers("/tf_static") == 0,
    )
