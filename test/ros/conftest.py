"""Without rclpy none of these tests is run."""

from __future__ import annotations

import gc
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS: neither an installation nor its Python wheels")

from rclpy.lifecycle import LifecycleNode

from .graph import REPOSITORY, Graph


@pytest.fixture(scope="session")
def tiny_weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of all tests; without torch, as on a robot, the shipped export."""
    if importlib.util.find_spec("torch"):
        return request.getfixturevalue("tiny_weights")
    folder = tmp_path_factory.mktemp("weights")
    for name in ("depthnet_small.onnx", "depthnet_small.yaml", "depthnet_small.parity.npz"):
        shutil.copy(REPOSITORY / "weights" / name, folder)
    return folder / "depthnet_small.onnx"


@pytest.fixture
def node(graph: Graph) -> Iterator[LifecycleNode]:
    """A node in the test's own process, for parts of depthnet_node without the rest."""
    made = LifecycleNode("channels", context=graph.context)
    yield made
    made.destroy_node()
    del made
    gc.collect()  # rclpy leaves the topic of its transitions on the graph until the node itself is gone
