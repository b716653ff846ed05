"""The search's command: settings that are given, and a disk that takes nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from test.training.conftest import written
from test.training_data.full_disk import files_of_at_most
from training.search import main

pytest.importorskip("optuna")


@pytest.fixture
def command(settings: dict[str, Any], index: Path, tmp_path: Path) -> list[str]:
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    path = written(settings, tmp_path)
    return ["--config", str(path), "--out", str(tmp_path / "out"), "--trials", "1", "--steps", "1"]


def test_settings_that_are_given_are_each_trials(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, float, float]] = []

    def noted(config: Any, _: Path) -> dict[str, float]:
        seen.append((config.run.batch_size, config.optim.weight_decay, config.optim.lr))
        return {"abs_rel": 0.5}

    monkeypatch.setattr("training.search.train", noted)
    given = ["--set", "run.batch_size=2", "--set", "optim.weight_decay=0.5", "--trials", "2"]
    assert main([*command, *given]) == 0
    assert [values[:2] for values in seen] == [(2, 0.5)] * 2
    assert len({values[2] for values in seen}) == 2
    capsys.readouterr()
    assert main([*command, "--set", "optim.lr=0.01"]) == 1
    assert "--set optim.lr: the search tries values of it" in capsys.readouterr().err
    assert main([*command, "--set", "run.batch=2"]) == 1
    assert "unknown keys ['batch']" in capsys.readouterr().err


@pytest.mark.parametrize("size_bytes", [0, 20_000, 110_000])
def test_a_full_disk_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str], size_bytes: int) -> None:
    with files_of_at_most(size_bytes):
        assert main(command) == 1
    said = capsys.readouterr().err.splitlines()
    assert "search.db cannot be read or written" in said[-1] and "make room or give another --out" in said[-1]
    assert not any("Traceback" in line for line in said)


def test_a_database_that_is_none_is_one_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "search.db").write_bytes(b"junk" * 100)
    assert main(command) == 1
    assert "search.db cannot be read or written" in capsys.readouterr().err
