"""The numerics without ROS and the runtime without torch: shown in a process where importing them fails."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_IMPORT_ALL = """
import importlib, pkgutil, sys
BLOCKED = {blocked!r}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{{name}} is blocked in this test")
sys.meta_path.insert(0, Block())
import depthnet_ros
count = 0
for module in pkgutil.walk_packages(depthnet_ros.__path__, "depthnet_ros."):
    if module.name.startswith({skipped!r}) or module.name.endswith("__main__"):
        continue
    importlib.import_module(module.name)
    count += 1
assert not BLOCKED & set(sys.modules), BLOCKED & set(sys.modules)
print(count)
"""

ROS = {"rclpy", "sensor_msgs", "std_msgs", "cv_bridge", "rosidl_runtime_py", "builtin_interfaces", "launch"}


def _import_all(blocked: set[str], skipped: tuple[str, ...]) -> int:
    code = _IMPORT_ALL.format(blocked=blocked, skipped=skipped)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_everything_but_the_ros_package_imports_without_ros():
    assert _import_all(ROS, ("depthnet_ros.ros", "depthnet_ros.demo.recorder")) > 20


def test_everything_but_the_networks_and_their_backend_imports_without_torch():
    torch_users = (
        "depthnet_ros.ros",
        "depthnet_ros.demo.recorder",
        "depthnet_ros.models.deck",
        "depthnet_ros.models.depthnet",
        "depthnet_ros.models.depthwise",
        "depthnet_ros.inference.backends.torch_backend",
        "depthnet_ros.inference.export",
        "depthnet_ros.inference.quantize",
    )
    assert _import_all({"torch"}, torch_users) > 20


def test_training_does_not_import_ros():
    training = [path.read_text() for path in (ROOT / "training").rglob("*.py")]
    assert training and not any("depthnet_ros.ros" in text or "rclpy" in text for text in training)


LAYERS = [
    {"errors", "memory", "share"},
    {"files"},
    {"parameter", "imaging", "models", "geometry", "visualization"},
    {"settings", "inference", "simulation"},
    {"metric_scale"},
    {"navigation"},
    {"messages", "parameters", "evaluation"},
    {"bags"},
    {"sources"},
    {"ros", "cli"},
    {"demo"},
]
"""What may import what: a part knows those above it here, and no other of its own line."""


@pytest.mark.parametrize("part", sorted(set().union(*LAYERS)))
def test_a_part_imports_only_parts_below_it(part):
    package = ROOT / "depthnet_ros"
    files = list((package / part).rglob("*.py")) or [package / f"{part}.py"]
    (level,) = (index for index, names in enumerate(LAYERS) if part in names)
    allowed = {part}.union(*LAYERS[:level])
    imports = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("depthnet_ros.")
    ]
    assert imports or level == 0
    assert {str(node.module).split(".")[1] for node in imports} <= allowed


def test_every_part_has_its_layer():
    parts = {
        path.stem for path in (ROOT / "depthnet_ros").iterdir() if path.stem[0] != "_" and path.suffix in ("", ".py")
    }
    assert parts == set().union(*LAYERS)
