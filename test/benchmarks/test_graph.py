"""A benchmark that is ended takes along what it has started, and hears nobody else."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS: neither an installation nor its Python wheels")

import psutil

from ..ros.graph import REPOSITORY, wait_until


@pytest.fixture
def benchmark(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Of the node under overload, with its camera: all processes run when the test begins."""
    command = [sys.executable, "-m", "benchmarks", "overload", "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: {"depthnet_node", "benchmarks.camera"} <= _words(process), 60.0)
    children = psutil.Process(process.pid).children(recursive=True)
    yield process
    for one in (process, *children):
        with suppress(psutil.NoSuchProcess):
            one.kill()


def _words(process: subprocess.Popen[str]) -> set[str]:
    children = psutil.Process(process.pid).children(recursive=True)
    return {word for child in children for word in child.cmdline()}


def test_its_processes_end_with_it(benchmark: subprocess.Popen[str]) -> None:
    children = psutil.Process(benchmark.pid).children(recursive=True)
    (node,) = (child for child in children if "depthnet_node" in child.cmdline())
    domain = node.environ()["ROS_DOMAIN_ID"]
    lock = Path(tempfile.gettempdir()) / f"depthnet_ros_domain_{domain}.lock"
    with lock.open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else takes it
    benchmark.send_signal(signal.SIGTERM)
    _, errors = benchmark.communicate(timeout=30)
    assert benchmark.returncode == 130
    assert errors.splitlines() == ["benchmarks: stopped; the parts that were done are written"]
    assert not [child for child in children if child.is_running()]
