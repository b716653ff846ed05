"""What the package says of itself to rosdep, pip and people, and what `make` runs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from depthnet_ros.errors import _ROBOT_PACKAGES

ROOT = Path(__file__).parents[2]
# Python package -> rosdep key that brings it from apt.
_FROM_APT = {
    "numpy": "python3-numpy",
    "opencv-python-headless": "python3-opencv",
    "pyyaml": "python3-yaml",
    "tqdm": "python3-tqdm",
}
_PACKAGE_OF = {"cv2": "opencv-python-headless", "yaml": "pyyaml"}


def _names(file: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / file).read_text().splitlines()
    return {re.split(r"[<>=~]", line)[0].strip(): line for line in lines if line and line[0] not in "#-"}


def test_a_robot_gets_from_apt_and_pip_together_what_the_runtime_needs():
    runtime, robot = _names("runtime.txt"), _names("robot.txt")
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    keys = {element.text for element in package.findall("exec_depend")}
    assert set(runtime) - set(robot) == set(_FROM_APT)
    assert set(_FROM_APT.values()) <= keys
    assert robot == {name: runtime[name] for name in robot}  # the same bounds in both
    assert set(_ROBOT_PACKAGES) == set(robot)
    assert set(_FROM_APT) <= set(_names("ubuntu-24.04.txt")), "what `make test-robot` has in place of apt"


def test_what_the_package_imports_is_declared():
    """Beside what is installed on purpose: further backends, and torch for the networks' source."""
    imported = set()
    for file in (ROOT / "depthnet_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    declared = {element.text for element in package.findall("exec_depend")} | set(_names("runtime.txt"))
    found = {_PACKAGE_OF.get(name, name) for name in imported - sys.stdlib_module_names - {"depthnet_ros", "_typeshed"}}
    assert found - declared == {"torch", "openvino", "onnx", "nncf"}


def test_every_licence_that_is_named_is_there():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    files = [element.get("file") for element in package.findall("license")]
    assert len(files) == 2 and all(name and (ROOT / name).is_file() for name in files)


def _made(*words: str) -> str:
    """The commands that make would run, what it needs being there."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    there = ("-o", ".venv/.runtime", "-o", ".venv/.dev")
    return subprocess.run(["make", "-n", *there, *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_results_go_where_make_is_told_to_put_them():
    words = ("OUT=my results", "INPUT=my pictures")
    assert '--out "my results" --input "my pictures"' in _made("demo", *words)
    assert '--out "my results/bench"' in _made("bench", *words)


def test_clean_leaves_no_cache():
    assert {".mypy_cache", ".pytest_cache", ".ruff_cache", "build"} <= set(_made("clean").split())


def test_setup_runs_by_a_link_from_another_folder(tmp_path):
    """As ``colcon build --symlink-install`` runs it."""
    (tmp_path / "setup.py").symlink_to(ROOT / "setup.py")
    done = subprocess.run([sys.executable, "setup.py", "--name"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["depthnet_ros"], done.stderr


@pytest.mark.parametrize(
    "start",
    ["cli import main; sys.exit(main(['infer', '.', '--out', '.']))", "ros.run import depthnet_node; depthnet_node()"],
)
def test_a_package_that_an_update_needs_is_asked_for(start):
    if "ros.run" in start:
        pytest.importorskip("rclpy")
    code = f"import sys; sys.modules['simplejpeg'] = None; from depthnet_ros.{start}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the Python package simplejpeg is not installed: pip install -r requirements/robot.txt" in done.stderr
