"""The last resort of an executable that is asked to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# PyDLL keeps Python's lock through the call, as a library may that waits for a lock of its own.
STUCK = """
import ctypes
from rclpy.node import Node
from depthnet_ros.ros.run import run_node

class Stuck(Node):
    def destroy_node(self):
        ctypes.PyDLL(None).sleep(60)

def make():
    node = Stuck("stuck")
    node.create_timer(0.2, lambda: print("up", flush=True))
    return node

run_node(make)
"""

TORN = """
import os, signal, time
from rclpy.node import Node
from depthnet_ros.ros.run import run_node

def make():
    node = Node("torn")

    def tick():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        raise AttributeError("what rclpy says of an executor that is shut down while it waits")

    node.create_timer(0.2, tick)
    return node

run_node(make)
"""


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Four of one executable, up and running: what goes wrong there does not go wrong each time."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "depthnet_ros.ros.run", "flight_scan"]
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=root) for _ in range(4)]
    time.sleep(2.0)
    yield started
    for process in started:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_many_signals_end_it_as_one_does(processes: list[subprocess.Popen[bytes]], number: signal.Signals):
    """Ctrl-C twice, or a launch system that passes on what the terminal has sent to all."""
    for process in processes:  # some half of the bursts hung it
        for _ in range(3000):
            if process.poll() is not None:
                break
            process.send_signal(number)
        assert process.wait(15.0) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_the_process_is_stopped_ends_it_when_it_goes_on(
    processes: list[subprocess.Popen[bytes]], number: signal.Signals
):
    """Ctrl-Z, then ``kill``: the kernel gives it to any thread, and Python's handlers run in the main one alone."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    for process in processes:
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
    assert [process.wait(15.0) for process in processes] == [0] * 4


def test_a_library_that_does_not_return_does_not_keep_the_process():
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(15.0) == -signal.SIGALRM
    finally:
        process.kill()


def test_what_fails_once_it_is_to_end_is_no_error():
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", TORN], capture_output=True, text=True, cwd=root, timeout=30.0)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stdout + ended.stderr
