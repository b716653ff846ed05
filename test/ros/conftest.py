"""Without rclpy none of these tests is run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="no ROS: neither an installation nor its Python wheels")

from rclpy.lifecycle import LifecycleNode

from .graph import Graph


@pytest.fixture
def node(graph: Graph) -> Iterator[LifecycleNode]:
    """A node in the test's own process, for parts of depthnet_node without the rest."""
    made = LifecycleNode("channels", context=graph.context)
    yield made
    made.destroy_node()
    del made
    gc.collect()  # rclpy leaves the topic of its transitions on the graph until the node itself is gone
