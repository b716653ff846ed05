"""`depthnet infer` as a user runs it, in a process where rclpy cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.cli import COMMANDS, main
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.visualization.color import colorize

WITHOUT_ROS = """
import sys
for name in ("rclpy", "sensor_msgs", "std_msgs", "builtin_interfaces", "cv_bridge"):
    sys.modules[name] = None
from depthnet_ros.cli import main
sys.exit(main(sys.argv[1:]))
"""


def depthnet(*arguments: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_ROS, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for name, size in (("a.jpg", (90, 120)), ("b.v2.png", (64, 100)), ("grey.png", (48, 64))):
        coarse = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / name), picture if name != "grey.png" else picture[..., 0])
    assert cv2.imwrite(str(folder / "a.depth.png"), np.full((90, 120), 1500, np.uint16))
    return folder


def test_npy_is_relative_inverse_depth_at_the_source_size(pictures, tiny_weights, tmp_path):
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.npy", "b.v2.npy", "grey.npy"]
    assert "3 of 3 pictures" in result.stdout
    estimator = DepthEstimator.from_weights(tiny_weights)
    for name, size in (("a.jpg", (90, 120)), ("b.v2.png", (64, 100))):
        array = np.load(tmp_path / "out" / f"{Path(name).stem}.npy")
        assert array.dtype == np.float32 and array.shape == size
        rgb = cv2.cvtColor(cv2.imread(str(pictures / name)), cv2.COLOR_BGR2RGB)
        np.testing.assert_allclose(array, estimator.infer(rgb).at_source(), rtol=1e-3, atol=1e-3 * array.std())


def test_color_and_ply_of_one_picture(pictures, tiny_weights, tmp_path):
    out = tmp_path / "deep" / "out"
    result = depthnet(
        "infer", pictures / "a.jpg", "--out", out, "--color", "--ply", "--npy", "--fov", 70, "--weights", tiny_weights
    )
    assert result.returncode == 0, result.stderr
    picture = cv2.cvtColor(cv2.imread(str(out / "a.depth.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(picture, colorize(np.load(out / "a.npy")))
    header, _, body = (out / "a.ply").read_bytes().partition(b"end_header\n")
    assert b"unit: arbitrary" in header and f"element vertex {90 * 120}".encode() in header
    x, _, z = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"][119]
    assert x / z == pytest.approx(np.tan(np.radians(35)) * 119 / 120, rel=1e-4)


def test_colours_are_the_default_and_a_limit_ends_an_endless_source(tiny_weights, tmp_path):
    out = tmp_path / "out"
    result = depthnet("infer", "scene:room", "--out", out, "--limit", 2, "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["room_000000.depth.png", "room_000001.depth.png"]


def test_unreadable_pictures_are_named_and_the_rest_is_done(pictures, tiny_weights, tmp_path):
    (pictures / "broken.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:300])
    (pictures / "empty.png").touch()
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert result.returncode == 1
    assert "broken.jpg" in result.stderr and "empty.png" in result.stderr
    assert "Traceback" not in result.stderr
    assert "3 of 5 pictures" in result.stdout and len(list((tmp_path / "out").iterdir())) == 3


def test_pictures_of_one_stem_do_not_overwrite_each_other(pictures, tiny_weights, tmp_path):
    assert cv2.imwrite(str(pictures / "a.png"), np.full((10, 12, 3), 9, np.uint8))
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    shapes = sorted(np.load(path).shape for path in (tmp_path / "out").glob("a*.npy"))
    assert shapes == [(10, 12), (90, 120)]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["infer", "/nowhere", "--out", "o"], 1, "no file, folder or camera"),
        (["infer", "scene:room", "--out", "o"], 1, "has no known end"),
        (["infer", "scene:room", "--out", "o", "--limit", "1", "--weights", "/nowhere.safetensors"], 1, "weights"),
        (["infer", "scene:room", "--out", "o", "--limit", "1", "--device", "toaster"], 1, "device"),
        (["infer", "scene:room", "--out", "o", "--fov", "200"], 1, "--fov"),
        (["infer", "scene:room", "--out", "/dev/null/x", "--limit", "1"], 1, "cannot make the folder"),
        (["infer", "scene:room"], 2, "--out"),
        (["fly"], 2, "invalid choice"),
        ([], 2, "COMMAND"),
    ],
)
def test_wrong_use_gives_one_line_and_a_status(arguments, status, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        result = main(arguments)
    except SystemExit as leaving:  # argparse's way
        result = leaving.code
    assert result == status
    assert reason in capsys.readouterr().err


def test_help_names_every_command_and_imports_nothing_heavy():
    heavy = "print([name for name in ('torch', 'onnxruntime', 'openvino', 'rosbags', 'cv2') if name in sys.modules])"
    program = f"import sys\nfrom depthnet_ros.cli import main\ntry: main(['--help'])\nfinally: {heavy}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.endswith("[]\n"), result.stdout
    assert all(name in result.stdout for name in COMMANDS)


def test_real_pictures(shared, tiny_weights, tmp_path):
    folder = shared / "data" / "rgbd_misc"
    pattern = f"{folder}/cho_0000000*.color.jpg"
    result = depthnet("infer", pattern, "--out", tmp_path, "--npy", "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    for path in folder.glob("cho_0000000*.color.jpg"):
        assert np.load(tmp_path / f"{path.stem}.npy").shape == cv2.imread(str(path)).shape[:2]
