"""The last resort of an executable that is asked to end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

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
