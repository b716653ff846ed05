"""The numerics without ROS and the runtime without torch: shown in a process where importing them fails."""

from __future__ import annotations

import ast
import re
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
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name not in {optional!r}:
            raise
        continue
    count += 1
assert not BLOCKED & set(sys.modules), BLOCKED & set(sys.modules)
print(count)
"""

ROS = {"rclpy", "sensor_msgs", "std_msgs", "cv_bridge", "rosidl_runtime_py", "builtin_interfaces", "launch"}
OPTIONAL = {"torch", "openvino", "onnx", "nncf"}
"""What a robot may lack, and with it the modules that are for it; what is blocked is another error than what lacks."""


def _import_all(blocked: set[str], skipped: tuple[str, ...]) -> int:
    code = _IMPORT_ALL.format(blocked=blocked, skipped=skipped, optional=OPTIONAL)
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
    {"errors", "memory", "share", "signals"},
    {"files", "middleware"},
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


def parts_imported(code: str) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not looked at"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = {name.split(".")[1] for name in names if name.startswith("depthnet_ros.")}
    return parts - {"__version__"}


def test_every_way_to_import_is_seen():
    ways = ("from depthnet_ros.ros.run import run_node", "from depthnet_ros import ros", "import depthnet_ros.ros.run")
    assert [parts_imported(f"def later():\n    {way}") for way in ways] == [{"ros"}] * 3
    assert parts_imported("import depthnet_ros\nfrom pathlib import Path") == set()


@pytest.mark.parametrize("part", sorted(set().union(*LAYERS)))
def test_a_part_imports_only_parts_below_it(part):
    package = ROOT / "depthnet_ros"
    files = list((package / part).rglob("*.py")) or [package / f"{part}.py"]
    (level,) = (index for index, names in enumerate(LAYERS) if part in names)
    imported = set().union(*(parts_imported(file.read_text()) for file in files))
    assert imported or level == 0
    assert imported <= {part}.union(*LAYERS[:level])


def test_contributing_has_the_folders_in_the_order_of_their_layers():
    table = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    rows = [[name.removeprefix("depthnet_ros/") for name in re.findall(r"`([\w/]+)`", row)] for row in table]
    level = {part: index for index, names in enumerate(LAYERS) for part in names}
    levels = [level[name] for row in rows for name in row if name in level]
    assert levels == sorted(levels)
    assert {path.name for path in (ROOT / "depthnet_ros").iterdir() if path.is_dir() and path.name[0] != "_"} <= {
        name for row in rows for name in row
    }


def test_every_part_has_its_layer():
    parts = {
        path.stem for path in (ROOT / "depthnet_ros").iterdir() if path.stem[0] != "_" and path.suffix in ("", ".py")
    }
    assert parts == set().union(*LAYERS)
