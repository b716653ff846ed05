"""The demo as `make demo` runs it, in a short form: real processes on a real graph."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from ..ros.graph import wait_until

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "depthnet_ros.demo", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_rendered_room(tiny_weights, tmp_path):
    result = demo("--seconds", 3, "--out", tmp_path, "--weights", tiny_weights, "--rate", 8)
    assert result.returncode == 0, result.stderr
    for name in ("side_by_side.png", "cloud.png"):
        assert cv2.imread(str(tmp_path / name)).std() > 5
    header, _, body = (tmp_path / "cloud.ply").read_bytes().partition(b"end_header\n")
    assert b"unit: " in header and len(body) > 15 * 1000
    table = (tmp_path / "table.md").read_text()
    assert table.strip() in result.stdout
    cells = {
        cell[0]: cell[1]
        for line in table.splitlines()
        if len(cell := [part.strip() for part in line.split("|")[1:3]]) == 2
    }
    assert int(cells["frames in"]) >= int(cells["frames out"]) > 3
    assert float(cells["stamp to publish p50 / p90 / p99"].split(" /")[0]) > 0
    assert cells["device"] == "cpu"
    assert "domain" in result.stdout


def test_a_folder_of_pictures(tiny_weights, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for index in range(3):
        coarse = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{index}.jpg"), cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC))
    result = demo("--seconds", 2, "--out", tmp_path / "out", "--weights", tiny_weights, "--input", folder)
    assert result.returncode == 0, result.stderr
    assert "arbitrary units" in result.stdout and "AbsRel" not in result.stdout


def test_where_no_depth_comes_it_says_why_and_fails_and_nothing_of_an_earlier_run_is_left(tmp_path):
    for name in ("scale.png", "table.md", "notes.txt"):
        (tmp_path / name).touch()
    result = demo("--seconds", 2, "--out", tmp_path, "--weights", "/nowhere.safetensors")
    assert result.returncode == 1
    assert "depthnet_node ended with status 1" in result.stderr and "/nowhere.safetensors" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["camera_replay.log", "depthnet_node.log", "notes.txt"]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_its_nodes_end_with_it(number, tiny_weights, tmp_path):
    weights = shutil.copy(tiny_weights, tmp_path)
    command = [
        sys.executable,
        "-m",
        "depthnet_ros.demo",
        "--seconds",
        "60",
        "--out",
        str(tmp_path),
        "--weights",
        weights,
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Where these tests run in a shell's background SIGINT is ignored, by whatever they start too.
        preexec_fn=_hears_signals,
    )
    log = tmp_path / "camera_replay.log"
    wait_until(lambda: log.is_file() and "replaying" in log.read_text(), 60.0)
    assert len(_processes_with(weights)) >= 2, "the demo and the node"
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert not _processes_with(weights)


def _hears_signals() -> None:
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        signal.signal(number, handler)


def _processes_with(argument: str) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if argument.encode() in path.read_bytes():
                found.append(path)
    return found


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--input", "/nowhere"], "no file, folder or camera"),
        (["--seconds", "0"], "must be positive"),
        (["--seconds", "nan"], "must be positive"),
        (["--rate", "inf"], "must be positive"),
    ],
)
def test_wrong_use_is_told_before_anything_starts(arguments, reason, tmp_path, monkeypatch, capsys):
    from depthnet_ros.demo.__main__ import main

    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_log_that_cannot_be_written_is_one_line_and_leaves_no_node_behind(tiny_weights, tmp_path):
    weights = shutil.copy(tiny_weights, tmp_path)
    (tmp_path / "camera_replay.log").mkdir()
    result = demo("--seconds", 2, "--out", tmp_path, "--weights", weights)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "camera_replay.log: Is a directory" in result.stderr
    assert not _processes_with(weights)


def test_a_folder_of_logs_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("ROS_LOG_DIR", raising=False)
    monkeypatch.delenv("ROS_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nohome")
    result = demo("--seconds", 2, "--out", tmp_path)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    assert "set ROS_LOG_DIR" in result.stderr
