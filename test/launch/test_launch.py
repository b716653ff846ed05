"""Launch files under the real launch system, which comes with a ROS installation."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from pathlib import Path

import pytest

launch = pytest.importorskip("launch", reason="launch comes with a ROS installation, it is not on PyPI")
pytest.importorskip("launch_ros")

FOLDER = Path(__file__).resolve().parents[2] / "launch"
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


def _node_parameters(**arguments: str) -> tuple[dict, list]:
    """Parameters and remappings of the node that depthnet.launch.py makes of these arguments."""
    from launch_ros.utilities import evaluate_parameters

    module, description = _description("depthnet.launch.py")
    context = launch.LaunchContext()
    for entity in description.entities:
        if isinstance(entity, launch.actions.DeclareLaunchArgument):
            name = entity.name
            context.launch_configurations[name] = arguments.get(name, entity.default_value[0].text)
    (node,) = module.start_node(context)
    evaluated = evaluate_parameters(context, node._Node__parameters)
    merged: dict = {}
    for item in evaluated:
        merged |= item if isinstance(item, dict) else {"params_file": str(item)}
    return merged, node._Node__remappings


@pytest.mark.parametrize("name", FILES)
def test_every_launch_file_gives_a_description_with_described_arguments(name):
    _, description = _description(name)
    arguments = [e for e in description.entities if isinstance(e, launch.actions.DeclareLaunchArgument)]
    assert arguments and all(argument.description for argument in arguments)


def test_an_argument_that_is_not_given_overrides_nothing():
    assert _node_parameters() == ({}, [])


def test_given_arguments_reach_the_node_typed(tmp_path):
    (tmp_path / "p.yaml").write_text("/**:\n  ros__parameters:\n    max_rate_hz: 3.0\n")
    given = {"autostart": "false", "device": "cpu", "image": "/cam/image_raw", "params_file": str(tmp_path / "p.yaml")}
    parameters, remappings = _node_parameters(**given)
    assert parameters == {"autostart": False, "device": "cpu", "params_file": str(tmp_path / "p.yaml")}
    assert len(remappings) == 1


@pytest.mark.skipif(not _installed(), reason="depthnet_ros is not installed in an ament workspace")
def test_the_node_runs_under_launch(ros_domain, tiny_weights, capfd):
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from ..ros.graph import Graph, wait_until

    arguments = {"weights": str(tiny_weights), "namespace": "robot", "image": "/cam/image_raw"}
    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(FOLDER / "depthnet.launch.py")), launch_arguments=arguments.items()
    )
    service = launch.LaunchService(noninteractive=True)
    service.include_launch_description(launch.LaunchDescription([include]))
    graph = Graph(ros_domain)

    def watch() -> None:
        try:
            wait_until(lambda: graph.node.count_publishers("/robot/inverse_depth/image") == 1, 60.0)
            wait_until(lambda: graph.node.count_subscribers("/cam/image_raw") == 1, 60.0)
            seen.append(True)
        finally:
            time.sleep(0.2)
            service.shutdown()

    seen: list[bool] = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    status = service.run()
    watcher.join()
    graph.close()
    assert seen and status == 0
    assert "Traceback" not in capfd.readouterr().err
