"""What a run leaves behind when it is killed, stopped, or the disk is full."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from depthnet_ros.errors import ConfigError, WeightsError
from depthnet_ros.models.checkpoint import load_checkpoint
from test.training.conftest import environment, written
from test.training_data.full_disk import files_of_at_most
from training.config import load_config
from training.networks import make_network
from training.runtime import RunLog
from training.state import STATE_NAME, load_state, save_state
from training.step import TrainingError
from training.train import NotWrittenError, train

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("optimizer", r"not finite at step 12: optimizer\.state\.0\.square_avg; .*The state before is kept"),
        ("network", "the gradients of the last 10 steps up to 18 are not finite: lower optim.lr"),
    ],
)
def test_what_is_not_finite_never_replaces_a_good_state(
    settings: dict[str, Any], tmp_path: Path, bad: str, message: str
):
    every = 4 if bad == "optimizer" else 1000
    config = load_config(written(settings, tmp_path), {"run.steps": 60, "run.checkpoint_every": every})
    train(config, tmp_path, stop_at=8)
    state = load_state(tmp_path)
    if bad == "optimizer":
        state["optimizer"]["state"][0]["square_avg"].fill_(math.inf)  # gradients and loss stay finite
    else:
        next(iter(state["network"].values())).fill_(math.nan)
    save_state(tmp_path, state)
    before = [(tmp_path / name).read_bytes() for name in (STATE_NAME, "weights.safetensors")]
    with pytest.raises(TrainingError, match=message):
        train(config, tmp_path, resume=True)
    assert [(tmp_path / name).read_bytes() for name in (STATE_NAME, "weights.safetensors")] == before


def test_sigterm_leaves_a_state_that_resumes(settings: dict[str, Any], tmp_path: Path):
    settings["run"].update(steps=100_000, checkpoint_every=100_000)
    settings["data"]["workers"] = 1
    command = [
        sys.executable,
        "-m",
        "training.train",
        "--config",
        str(written(settings, tmp_path)),
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (tmp_path / "log.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "go on with --resume" in errors
    step = load_state(tmp_path)["step"]
    config = load_config(tmp_path / "config.yaml", {"run.steps": step + 1, "data.workers": 0})
    train(config, tmp_path, resume=True)
    assert load_state(tmp_path)["step"] == step + 1


def test_a_run_whose_terminal_is_closed_leaves_its_state(settings: dict[str, Any], tmp_path: Path):
    """A real one: what is written to it afterwards fails. The loader's worker hears of it, too."""
    settings["run"].update(steps=100_000, checkpoint_every=100_000)
    settings["data"]["workers"] = 1
    terminal, inside = pty.openpty()
    command = [sys.executable, "-c", _IN_TERMINAL, "--config", str(written(settings, tmp_path)), "--out", str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=inside, stdout=inside, stderr=inside, start_new_session=True
    )
    os.close(inside)
    deadline = time.monotonic() + 90
    while not (tmp_path / "log.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        if select.select([terminal], [], [], 0.2)[0]:
            os.read(terminal, 4096)
    os.close(terminal)
    assert process.wait(60) == 0
    assert load_state(tmp_path)["step"] > 0


_IN_TERMINAL = """
import fcntl, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # where these tests run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # of this session from now on
from training.train import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_signal_in_mid_validation_finds_its_step_saved(
    settings: dict[str, Any], index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    saved: list[int] = []

    def judged(*_: object) -> list[object]:
        saved.append(load_state(tmp_path)["step"])  # a kill would leave this
        asked = signal.getsignal(signal.SIGTERM)  # not a real one, which other libraries in this process hear, too
        assert callable(asked)
        asked(signal.SIGTERM, None)
        return []

    monkeypatch.setattr("training.train.validate", judged)
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    every = {"run.steps": 60, "run.evaluate_every": 3, "run.checkpoint_every": 1000}
    assert train(load_config(written(settings, tmp_path), every), tmp_path) == {}
    assert saved == [3] and load_state(tmp_path)["step"] == 3


def test_a_full_disk_leaves_the_old_state(tmp_path: Path):
    assert save_state(tmp_path, {"step": 1, "weights": torch.zeros(10)})
    script = (
        "import resource, signal, sys, torch; from pathlib import Path; from training.state import save_state\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "sys.exit(0 if not save_state(Path(sys.argv[1]), {'step': 2, 'weights': torch.zeros(10**6)}) else 1)"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the one before is kept" in done.stderr
    assert load_state(tmp_path)["step"] == 1
    assert not list(tmp_path.glob("*.part"))


def test_unusable_states_and_weights_are_named(settings: dict[str, Any], tmp_path: Path):
    config = load_config(written(settings, tmp_path))
    with pytest.raises(WeightsError, match="nothing to resume"):
        train(config, tmp_path, resume=True)
    (tmp_path / STATE_NAME).write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="is damaged"):
        train(config, tmp_path, resume=True)
    save_state(tmp_path, {"step": 1, "model": "depthnet"})
    with pytest.raises(ConfigError, match="the state is of depthnet, the configuration says depthnet_deck"):
        train(config, tmp_path, resume=True)
    train(config, tmp_path / "..", stop_at=1)
    other = load_config(written(settings, tmp_path), {"model.arguments": {"out_channels": 3}})
    with pytest.raises(ConfigError, match="the state does not fit the configuration"):
        train(other, tmp_path / "..", resume=True)
    for name in ("adamw", "muon"):
        with pytest.raises(ConfigError, match=f"of another optimiser, the configuration says {name}"):
            train(load_config(written(settings, tmp_path), {"optim.name": name}), tmp_path / "..", resume=True)
    wrong = load_config(
        written(settings, tmp_path),
        {"model.architecture": "depthnet", "model.weights": str(tmp_path / ".." / "weights.safetensors")},
    )
    with pytest.raises(ConfigError, match=r"model.weights is depthnet_deck"):
        make_network(wrong.model)


def test_a_log_that_cannot_be_written_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "log.jsonl").mkdir()
    log = RunLog(tmp_path, active=True)
    log.numbers(7, {"loss": 1.0})
    log.close()
    assert "step 7 is not in the log" in caplog.text


def test_a_run_that_was_killed_before_its_last_weights_has_them_after_resuming(
    settings: dict[str, Any], index: Path, tmp_path: Path
):
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    config = load_config(written(settings, tmp_path))
    figures = train(config, tmp_path)
    weights = tmp_path / "weights.safetensors"
    network, spec = load_checkpoint(weights)
    weights.unlink()
    again = train(config, tmp_path, resume=True)
    assert again == pytest.approx(figures, rel=1e-5, abs=1e-7)
    network_again, spec_again = load_checkpoint(weights)
    torch.testing.assert_close(network_again.state_dict(), network.state_dict(), rtol=0, atol=0)
    assert spec_again == spec


def test_an_end_that_could_not_be_written_is_an_error(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.train.save_weights", lambda *_: False)
    with pytest.raises(NotWrittenError, match=r"step 6 could not be written to .*: make room and --resume"):
        train(load_config(written(settings, tmp_path)), tmp_path)


def test_a_full_disk_ends_neither_pictures_nor_the_end_of_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, logger="training")
    log = RunLog(tmp_path, True)
    board = log._board
    assert board is not None
    real = board.close

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    board.add_image = board.close = full  # type: ignore[method-assign]
    batch: Any = {name: torch.ones(1, 8, 8) for name in ("target", "mask")}
    batch |= {"image": torch.rand(1, 3, 8, 8), "mask": torch.ones(1, 8, 8, dtype=torch.bool)}
    log.pictures(3, batch, torch.rand(1, 8, 8))
    log.close()
    real()
    assert "step 3 is not in the log: [Errno 28]" in caplog.text
    assert "its end is not in the log: [Errno 28]" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's own, once more
def test_a_disk_that_is_full_from_the_start_ends_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, logger="training")
    (tmp_path / "log.jsonl").write_text('{"step": 20}\n{"step": 4')
    with files_of_at_most(0):
        log = RunLog(tmp_path, True)
        log.numbers(40, {"loss": 1.0})
        log.close()
    for what in ("TensorBoard", "the end of the line that was cut", "step 40"):
        assert f"{what} is not in the log: [Errno 27]" in caplog.text
    log = RunLog(tmp_path, False)
    log.numbers(41, {"loss": 1.0})
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 20}\n{"step": 4'


def test_without_tensorboard_there_is_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, logger="training")

    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.runtime.SummaryWriter", full)
    log = RunLog(tmp_path, True)
    log.numbers(40, {"loss": 1.0})
    log.close()
    assert "TensorBoard is not in the log: [Errno 28]" in caplog.text
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 40, "loss": 1.0}\n'


def test_a_line_that_a_kill_cut_short_takes_no_other_with_it(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text('{"step": 20}\n{"step": 4')
    log = RunLog(tmp_path, True)
    log.numbers(40, {"loss": 1.0})
    log.close()
    assert (tmp_path / "log.jsonl").read_text().splitlines()[2] == '{"step": 40, "loss": 1.0}'


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_every_damage_of_a_state_is_told_alike(tmp_path: Path):
    """A byte changed here or there makes unpickling raise errors of many kinds."""
    assert save_state(tmp_path, {"step": 1, "weights": torch.zeros(10), "groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]})
    whole = (tmp_path / STATE_NAME).read_bytes()
    begin = whole.index(b"data.pkl") + len("data.pkl")
    for place in range(begin, begin + 250):
        for bit in (1, 2, 8, 64):
            (tmp_path / STATE_NAME).write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with contextlib.suppress(WeightsError):  # or it is read: not every byte matters
                assert isinstance(load_state(tmp_path), dict)
    torch.save([1, 2], tmp_path / STATE_NAME)
    with pytest.raises(WeightsError, match="is damaged: expected a mapping, got list"):
        load_state(tmp_path)


def test_a_file_that_is_no_state_is_named(settings: dict[str, Any], tmp_path: Path):
    torch.save({"weights": torch.ones(2)}, tmp_path / STATE_NAME)
    with pytest.raises(ConfigError, match="the state is of no run of this program"):
        train(load_config(written(settings, tmp_path)), tmp_path, resume=True)
