"""The search over named ranges runs real trials, keeps them, and names mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from depthnet_ros.errors import ConfigError
from test.training.conftest import written
from training.search import search, suggest

optuna = pytest.importorskip("optuna")


def test_a_search_judges_real_trials_and_goes_on(settings: dict[str, Any], index: Path, tmp_path: Path):
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "run.batch_size": {"choices": [2]}}
    path = written(settings, tmp_path)
    values, _ = search(path, tmp_path / "out", trials=1, steps=1, figure="abs_rel", maximise=False)
    assert set(values) == {"optim.lr", "run.batch_size"}
    _, best = search(path, tmp_path / "out", trials=1, steps=1, figure="abs_rel", maximise=False)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'out' / 'search.db'}")
    assert len(study.trials) == 2
    assert best == min(trial.value for trial in study.trials)
    assert (tmp_path / "out" / "trial0001" / "weights.safetensors").is_file()


def test_mistakes_are_named(settings: dict[str, Any], tmp_path: Path):
    with pytest.raises(ConfigError, match="a search needs `search` with ranges"):
        search(written(settings, tmp_path), tmp_path / "out", 1, 1, "abs_rel", False)
    with pytest.raises(ConfigError, match=r"search.optim.lr: expected \{low, high, log\} or \{choices\}"):
        suggest(optuna.trial.FixedTrial({}), {"optim.lr": {"from": 1, "to": 2}})


def test_kinds_of_ranges():
    ranges = {"a": {"low": 1, "high": 9}, "b": {"low": 0.1, "high": 0.9}, "c": {"choices": ["x", "y"]}}
    fixed = optuna.trial.FixedTrial({"a": 3, "b": 0.5, "c": "y"})
    assert suggest(fixed, ranges) == {"a": 3, "b": 0.5, "c": "y"}
