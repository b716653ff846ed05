"""Runs whose batches are made in other processes: errors, hangs and deaths there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from test.training.conftest import environment, write_index, written
from training.runtime import _ONE_REQUEST_S

ROOT = Path(__file__).parents[2]


def started(module: str, settings: dict[str, Any], folder: Path, *options: str) -> subprocess.Popen[str]:
    """A command of training, with one process for the data."""
    settings["data"]["workers"] = 1
    command = [sys.executable, "-m", f"training.{module}", "--config", str(written(settings, folder)), *options]
    command += ["--out", str(folder / "out")]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """What it wrote to standard error; a worker that hangs is not left behind."""
    try:
        return process.communicate(timeout=90)[1]
    finally:
        if process.poll() is None:
            for worker in children_of(process):
                os.kill(worker, signal.SIGKILL)
            process.kill()


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def data_of(folder: Path, height_px: int = 96, width_px: int = 128) -> Path:
    """An index of two pictures, noise of this size, one to train on and one to judge by."""
    rng = np.random.default_rng(0)
    rows = []
    for split in ("train", "val"):
        cv2.imwrite(str(folder / f"{split}.jpg"), rng.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8))
        depth_mm = rng.integers(1000, 9000, (height_px, width_px), dtype=np.uint16)
        cv2.imwrite(str(folder / f"{split}.png"), depth_mm)
        rows.append({
            "dataset": "noise", "image": f"{split}.jpg", "gt": f"{split}.png", "kind": "depth", "scale": "0.001",
            "invalid": "0", "scene": split, "split": split,
        })  # fmt: skip
    return write_index(folder, rows)


def worker_of(process: subprocess.Popen[str]) -> int:
    """The child that stays: others, git that is asked for the commit say, are gone after a moment."""
    deadline, seen_s = time.monotonic() + 90, dict[int, float]()
    while process.poll() is None and (now_s := time.monotonic()) < deadline:
        seen_s = {pid: seen_s.get(pid, now_s) for pid in children_of(process)}
        for pid, since_s in seen_s.items():
            if now_s - since_s > 2.0:
                return pid
        time.sleep(0.1)
    raise AssertionError(f"no worker: {ended(process)}")


@pytest.fixture
def hanging(settings: dict[str, Any], tmp_path: Path) -> subprocess.Popen[str]:
    """A run whose worker waits for ever: what it should read is a pipe."""
    source = {"reader": "index_csv", "path": str(data_of(tmp_path))}
    (tmp_path / "train.jpg").unlink()
    os.mkfifo(tmp_path / "train.jpg")
    settings["data"]["train"] = [source]
    return started("train", settings, tmp_path)


def test_a_search_whose_judged_pictures_are_large_comes_to_its_end(settings: dict[str, Any], tmp_path: Path) -> None:
    """Reading them starts OpenCV's threads, which a worker that is forked afterwards waits for."""
    pytest.importorskip("optuna")
    source = {"reader": "index_csv", "path": str(data_of(tmp_path, 1200, 1600))}
    settings["data"] |= {"train": [source], "val": [source]}
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    process = started("search", settings, tmp_path, "--trials", "1", "--steps", "1")
    assert "Traceback" not in ended(process)
    assert process.returncode == 0


def test_data_of_no_use_is_one_line(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["data"]["train"] = [{"reader": "index_csv", "path": str(data_of(tmp_path))}]
    (tmp_path / "train.jpg").write_bytes(b"no picture")
    process = started("train", settings, tmp_path)
    said = ended(process)
    assert process.returncode == 1 and "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: 1 of 1 items are known to be of no use; the last: cannot read")


def test_a_worker_that_is_killed_is_one_line(hanging: subprocess.Popen[str]) -> None:
    os.kill(worker_of(hanging), signal.SIGKILL)
    said = ended(hanging)
    assert hanging.returncode == 1 and "Traceback" not in said
    assert "lower data.cache_gib" in said.splitlines()[-1]


def test_a_second_signal_ends_a_run_that_hangs(hanging: subprocess.Popen[str]) -> None:
    worker = worker_of(hanging)
    hanging.send_signal(signal.SIGINT)
    time.sleep(_ONE_REQUEST_S + 0.5)
    assert hanging.poll() is None
    hanging.send_signal(signal.SIGINT)
    assert ended(hanging).splitlines()[-1] == "interrupted"
    assert hanging.returncode == 130 and not Path(f"/proc/{worker}").exists()
