"""One run at a time writes to a folder, and what a killed one left half written goes."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from depthnet_ros.errors import ConfigError
from test.training.conftest import environment, written
from training.config import load_config
from training.run_folder import held
from training.state import STATE_NAME, load_state, save_state
from training.train import main, train

ROOT = Path(__file__).parents[2]


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_is_gone(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Killed, too: its worker, which outlives it for some seconds, does not keep the next one out."""
    settings["run"].update(steps=100_000, checkpoint_every=5)
    settings["data"]["workers"] = 1
    out = tmp_path / "run"
    command = ["--config", str(written(settings, tmp_path)), "--out", str(out), "--resume", "auto"]
    process = subprocess.Popen([sys.executable, "-m", "training.train", *command], cwd=ROOT, env=environment())
    try:
        deadline = time.monotonic() + 90
        while not (out / STATE_NAME).exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        assert main(command) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == f"error: another run is writing to {out}: wait for its end, or give another --out"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    step = load_state(out)["step"]
    leftovers = [out / name for name in ("state.pt.tmp", "state.pt.ab1.part", "weights.safetensors.ab1.part")]
    for path in leftovers:
        path.write_bytes(b"half")
    (out / "mine.part").touch()
    more = ["--set", f"run.steps={step + 1}", "--set", "data.workers=0"]
    assert main([*command, *more]) == 0
    assert load_state(out)["step"] == step + 1
    assert not any(path.exists() for path in leftovers) and (out / "mine.part").exists()


def test_a_state_is_whole_whoever_else_writes_one(tmp_path: Path):
    """On a file system without locks two runs may meet: what is read is of one of them."""
    states = [{"step": step, "weights": [torch.full((100_000,), float(step))] * 2} for step in (1, 2)]
    done = threading.Event()
    failed: list[bool] = []

    def write(state: dict[str, Any]) -> None:
        while not done.is_set():
            failed.extend([True] if not save_state(tmp_path, state) else [])

    writers = [threading.Thread(target=write, args=(state,)) for state in states]
    assert save_state(tmp_path, states[0])
    for writer in writers:
        writer.start()
    try:
        for _ in range(40):
            state = load_state(tmp_path)
            assert all(bool((values == state["step"]).all()) for values in state["weights"])
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert not failed and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("number", "busy"),
    [
        (errno.EAGAIN, True),
        (errno.EACCES, True),
        (errno.EPERM, False),
        (errno.ENOLCK, False),
        (errno.EOPNOTSUPP, False),
    ],
)
def test_a_lock_that_cannot_be_had_is_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, busy: bool
):
    """Systems that forbid locks, sandboxes say, answer EPERM: no run of the user's would end that."""

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    caplog.set_level(logging.WARNING, logger="training")
    monkeypatch.setattr("fcntl.lockf", refuse)
    new = tmp_path / "not" / "there"
    with pytest.raises(ConfigError, match="another run is writing to") if busy else nullcontext(), held(new):
        assert not busy and "cannot be locked" in caplog.text
    assert new.is_dir()


def test_a_run_makes_its_folder(settings: dict[str, Any], tmp_path: Path):
    train(load_config(written(settings, tmp_path), {"run.steps": 1}), tmp_path / "a" / "b")
    assert load_state(tmp_path / "a" / "b")["step"] == 1


def test_a_folder_that_cannot_be_written_to_is_one_line(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    assert main(["--config", str(written(settings, tmp_path)), "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {tmp_path / 'run'} cannot be written (")
