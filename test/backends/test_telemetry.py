"""Runtimes report to nobody: no process, socket or file that people did not ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CI = {"CI", "JENKINS_URL", "TF_BUILD"}
"""Where one of them is set telemetry is off, so that continuous integration would never see it."""
WATCHED = """
import importlib, sys
reports = []
def watch(event, arguments):
    if event in ("os.fork", "os.posix_spawn", "subprocess.Popen") or event.startswith("socket."):
        reports.append(event)
sys.addaudithook(watch)
import depthnet_ros.inference
importlib.import_module(sys.argv[1])
print(reports)
"""


def reports_of(module: str, home: Path) -> str:
    """What importing a runtime into a fresh process reports, with a home of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in CI | {"ORT_DISABLE_TELEMETRY"}}
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, module],
        cwd=ROOT,
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["openvino", "nncf", "onnxruntime"])
def test_a_runtime_reports_to_nobody(module, tmp_path):
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    assert reports_of(module, tmp_path) == "[]"
    assert not list(tmp_path.iterdir())
