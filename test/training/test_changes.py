"""A run that is resumed with another configuration: what is refused, what is told, and what goes on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.checkpoint import load_checkpoint
from test.training.conftest import written
from training.changes import changed, settings_of
from training.config import load_config
from training.state import STATE_NAME, load_state, save_state
from training.train import main, train


@pytest.fixture
def stopped(settings: dict[str, Any], tmp_path: Path) -> Path:
    """The configuration of a run in the same folder that was stopped at step 3 of 6."""
    path = written(settings, tmp_path)
    train(load_config(path), tmp_path, stop_at=3)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.mean=[0.4, 0.5, 0.5]", "model.mean was [0.5, 0.5, 0.5], now [0.4, 0.5, 0.5]: set it back"),
        ("model.std=[0.2, 0.5, 0.5]", "model.std was [0.5, 0.5, 0.5], now [0.2, 0.5, 0.5]: set it back"),
        ("model.arguments={out_channels: 3}", "model.arguments.out_channels was None, now 3: set it back"),
        (
            "run.steps=2",
            "the state is at step 3, beyond the 2 of run.steps: raise it (or run.epochs), or give another --out",
        ),
    ],
)
def test_what_its_weights_would_be_wrong_with_is_refused(
    stopped: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
):
    before = (stopped.parent / STATE_NAME).read_bytes()
    assert main(["--config", str(stopped), "--out", str(stopped.parent), "--resume", "--set", change]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ") and message in said
    assert (stopped.parent / STATE_NAME).read_bytes() == before


def test_other_changes_are_told_and_recorded(stopped: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, logger="training")
    folder = stopped.parent
    for more, stop_at in (({"run.seed": 7, "data.cache_gib": 0.1}, 4), ({"run.seed": 7}, None)):
        train(load_config(stopped, {"run.steps": 8, **more}), folder, resume=True, stop_at=stop_at)
    told = [text for text in caplog.messages if "was changed" in text]
    assert told == ["the configuration was changed since step 3: run.seed was 0, now 7; run.steps was 6, now 8"]
    state, (_, spec) = load_state(folder), load_checkpoint(folder / "weights.safetensors")
    assert state["step"] == 8
    recorded = [{"step": 3, "run.seed": [0, 7], "run.steps": [6, 8]}]
    assert state["changes"] == spec.provenance["changed"] == recorded


def test_a_run_without_changes_says_nothing_of_them(stopped: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, logger="training")
    train(load_config(stopped), stopped.parent, resume=True)
    assert "was changed" not in caplog.text
    assert "changed" not in load_checkpoint(stopped.parent / "weights.safetensors")[1].provenance


def test_a_state_of_an_earlier_version_goes_on(stopped: Path):
    """Which has no configuration in it."""
    state = load_state(stopped.parent)
    del state["config"], state["changes"]
    save_state(stopped.parent, state)
    train(load_config(stopped), stopped.parent, resume=True)
    assert load_state(stopped.parent)["step"] == 6
    with pytest.raises(ConfigError, match=r"the state is at step 6, beyond the 5 of run\.steps"):
        train(load_config(stopped, {"run.steps": 5}), stopped.parent, resume=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("average_updates", None, "it has no 'average_updates'"),
        ("random", torch.zeros(3, dtype=torch.uint8), "does not fit the configuration: .*RNG state size"),
        ("step", None, "no optimiser or step that can be read: KeyError"),
        ("optimizer", None, "no optimiser or step that can be read: KeyError"),
        ("network", None, "it has no 'network'"),
    ],
)
def test_a_state_that_lacks_something_is_named(stopped: Path, name: str, value: Any, message: str):
    state = load_state(stopped.parent)
    save_state(stopped.parent, {key: item for key, item in {**state, name: value}.items() if item is not None})
    with pytest.raises(ConfigError, match=message):
        train(load_config(stopped), stopped.parent, resume=True)


def test_settings_differ_by_dotted_key(settings: dict[str, Any], tmp_path: Path):
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2}}
    path = written(settings, tmp_path)
    was = settings_of(load_config(path))
    now = settings_of(load_config(path, {"loss": {"ssitrim": 1.0}, "run.threads": 3, "search": {}}))
    differ = changed(was, now)
    assert differ == {
        "loss.gradient": [0.5, None],
        "loss.relative": [0.2, None],
        "search.optim.lr": [{"low": 1e-4, "high": 1e-2}, None],
    }
    assert set(changed(was, now, but=("search.",))) == {"loss.gradient", "loss.relative"}
