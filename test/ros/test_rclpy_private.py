"""rclpy's private parts that the node uses are there: see ``depthnet_ros/ros/rclpy_private.py``."""

from importlib.metadata import PackageNotFoundError, version

import pytest
import rclpy
from rclpy.lifecycle import LifecycleNode


@pytest.fixture
def node(ros_domain):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    made = LifecycleNode("private", context=context)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


def _release() -> str:
    try:
        return version("rclpy")
    except PackageNotFoundError:
        return "of unknown version"


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("_service_change_state.callback", "answer_every_transition"),
        ("_state_machine.current_state", "answer_every_transition"),
        ("_state_machine.available_transitions", "answer_every_transition"),
        ("_parameter_overrides.keys", "given_parameters"),
    ],
)
def test_the_private_parts_of_a_node_are_there(node, path, user):
    found = node
    for name in path.split("."):
        assert hasattr(found, name), f"rclpy {_release()} has no Node.{path}: mend {user} in rclpy_private.py"
        found = getattr(found, name)
