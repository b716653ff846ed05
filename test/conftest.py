"""Fixtures for all tests."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch is loaded, here and in child processes: threads of its that spin while they wait for each other make
# networks as small as these take ten times as long wherever the cores are shared.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import pytest

import depthnet_ros.inference  # noqa: F401  # first: no runtime that a test imports reports that

if TYPE_CHECKING:
    from test.ros.graph import Graph

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real images with depth; it is not part of the project."""
    if not (SHARED / "data" / "index.csv").is_file():
        pytest.skip("no ../shared/data beside the checkout: this test needs its real images")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests neither use nor fill the user's cache of engines and timings."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["DEPTHNET_CACHE_DIR"] = str(folder)
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A message lost between real processes, on a machine whose cores are lent out meanwhile, is no fault of theirs:
    what fails on a graph is tried once more, as ``colcon test --retest-until-pass 1`` does, and counted as a rerun.
    """
    if not config.pluginmanager.hasplugin("rerunfailures"):
        return
    for item in items:
        if "ros_domain" in getattr(item, "fixturenames", ()) or item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    """What is imported by now stays: garbage collections need not look at all of it each time."""
    gc.freeze()


@pytest.fixture(autouse=True)
def subnormal_floats() -> None:
    """Networks flush subnormal numbers to zero, in the thread for good; property tests need them back."""
    ctypes.CDLL("libm.so.6").fesetenv(ctypes.c_void_p(-1))  # FE_DFL_ENV: the state that the process began with


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the deck's network with seeded weights: cheap to load and to run."""
    torch = pytest.importorskip("torch")
    from depthnet_ros.models.checkpoint import save_checkpoint
    from depthnet_ros.models.registry import build
    from depthnet_ros.models.spec import InputSpec, ModelSpec

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    spec = ModelSpec("depthnet_deck", InputSpec(128, 128), provenance={"made_by": "test/conftest.py"})
    network = build("depthnet_deck")
    with torch.no_grad():  # as drawn, N(0, 0.02) weights give an all but constant output
        for parameter in network.parameters():
            parameter.mul_(4.0)
    save_checkpoint(path, network, spec)
    return path


@pytest.fixture
def graph(ros_domain: int) -> Iterator[Graph]:
    """A ROS graph of this test's own, to start nodes in and to talk to them."""
    pytest.importorskip("rclpy", reason="no ROS: neither an installation nor its Python wheels")
    from test.ros.graph import Graph

    started = Graph(ros_domain)
    yield started
    started.close()


@pytest.fixture(scope="session")
def ros_domain() -> Iterator[int]:
    """A DDS domain that no other test process on this machine uses; set in the environment for child processes."""
    from depthnet_ros.demo.session import GraphDomain

    with GraphDomain() as domain:
        yield domain.id
