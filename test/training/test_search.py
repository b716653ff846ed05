"""The search over named ranges runs real trials, keeps them, and names mistakes."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from depthnet_ros.errors import ConfigError
from test.training.conftest import written
from training.config import TrainConfig, load_config
from training.search import figures_of, main, search, shortened, suggest
from training.step import TrainingError
from training.train import train

optuna = pytest.importorskip("optuna")


def test_a_search_judges_real_trials_and_goes_on(settings: dict[str, Any], index: Path, tmp_path: Path):
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "run.batch_size": {"choices": [2]}}
    path = written(settings, tmp_path)
    values, _ = search(path, tmp_path / "out", trials=1, steps=2, figure="abs_rel")
    assert set(values) == {"optim.lr", "run.batch_size"}
    _, best = search(path, tmp_path / "out", trials=1, steps=2, figure="abs_rel")
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'out' / 'search.db'}")
    assert len(study.trials) == 2
    assert len({trial.params["optim.lr"] for trial in study.trials}) == 2
    assert best == min(trial.value for trial in study.trials)
    assert (tmp_path / "out" / "trial0001" / "weights.safetensors").is_file()


def test_a_trial_that_diverges_is_passed_over(settings: dict[str, Any], index: Path, tmp_path: Path):
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["run"]["checkpoint_every"] = 100
    settings["search"] = {"optim.lr": {"choices": [1e30]}}
    path = written(settings, tmp_path)
    with pytest.raises(TrainingError, match="not one of 2 trials came to a finite end"):
        search(path, tmp_path / "out", trials=2, steps=14, figure="abs_rel")


def test_a_short_trial_has_all_stages(settings: dict[str, Any], tmp_path: Path):
    crops = settings["run"]["stages"][0]["crops"]
    settings["run"]["stages"] = [{"until_step": 5000, "crops": crops}, {"until_step": 5010, "crops": crops}]
    settings["run"]["stages"].append({"crops": crops})
    config = load_config(written(settings, tmp_path), {"run.steps": 10_000, "optim.warmup_steps": 1000})
    short = shortened(config, 100)
    assert [stage.until_step for stage in short.run.stages] == [50, 51, 0]
    assert (short.run.steps, short.run.evaluate_every, short.optim.warmup_steps) == (100, 100, 10)
    assert shortened(config, 0) == config
    epochs = load_config(tmp_path / "config.yaml", {"run.steps": 0, "run.epochs": 1000})  # of 8 images, 4 a step
    assert [stage.until_step for stage in shortened(epochs, 20).run.stages] == [50, 51, 0]


def test_mistakes_are_named(settings: dict[str, Any], tmp_path: Path):
    with pytest.raises(ConfigError, match="a search needs `search` with ranges"):
        search(written(settings, tmp_path), tmp_path / "out", 1, 1, "abs_rel")
    for trials, steps in ((0, 1), (1, -5)):
        with pytest.raises(ConfigError, match=f"trials must be at least 1 and --steps at least 0, got {trials} and"):
            search(written(settings, tmp_path), tmp_path / "out", trials, steps, "abs_rel")


def test_a_figure_that_the_validation_does_not_give_is_named_before_the_first_trial(
    settings: dict[str, Any], index: Path, tmp_path: Path
):
    """As WSVD's, whose zero is arbitrary: order alone is judged."""
    options = {"include": ["street"], "split": "all"}
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index), "options": options}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2}}
    path = written(settings, tmp_path)
    with pytest.raises(ConfigError, match=r"no figure to compare by named 'abs_rel'; there are spearman, whdr"):
        search(path, tmp_path / "out", 1, 1, "abs_rel")
    assert not (tmp_path / "out").exists()
    search(path, tmp_path / "out", 1, 1, "whdr")


def test_a_figure_may_be_of_a_later_data_set(settings: dict[str, Any], index: Path, tmp_path: Path):
    """The street's zero is arbitrary, the room's is not."""
    sources = [
        {"reader": "index_csv", "path": str(index), "options": {"include": [name], "split": "all"}}
        for name in ("street", "room")
    ]
    for val in (sources, sources[::-1], [{"reader": "index_csv", "path": str(index)}]):
        settings["data"]["val"] = val
        names = figures_of(load_config(written(settings, tmp_path)))
        assert {"spearman", "whdr", "abs_rel"} <= set(names) and names == sorted(names)
    rows = index.read_text().splitlines(keepends=True)
    street_first = index.with_name("street_first.csv")
    street_first.write_text("".join([rows[0], *rows[:0:-1]]))
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(street_first)}]
    assert "abs_rel" in figures_of(load_config(written(settings, tmp_path)))


def test_a_search_that_is_stopped_says_so(
    settings: dict[str, Any], index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2}}
    path = written(settings, tmp_path)
    monkeypatch.setattr("training.search.train", lambda *_: {})  # what a run gives that was asked to stop
    assert main(["--config", str(path), "--out", str(tmp_path / "out"), "--trials", "3", "--steps", "1"]) == 130
    assert "interrupted; run the same command again to go on" in capsys.readouterr().err


def test_a_trial_that_is_stopped_behind_a_validation_is_no_result(
    settings: dict[str, Any], index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Figures of half a run are not those of its values."""
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["run"]["evaluate_every"] = 1
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2}}
    path = written(settings, tmp_path)

    def interrupted(config: TrainConfig, folder: Path) -> dict[str, float]:
        return train(config, folder, stop_at=2)  # as a signal would

    monkeypatch.setattr("training.search.train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(path, tmp_path / "out", trials=2, steps=0, figure="abs_rel")
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'out' / 'search.db'}")
    assert [(trial.state.name, trial.value) for trial in study.trials] == [("FAIL", None)]


def test_kinds_of_ranges():
    ranges = {"a": {"low": 1, "high": 9}, "b": {"low": 0.1, "high": 0.9}, "c": {"choices": ["x", "y"]}}
    fixed = optuna.trial.FixedTrial({"a": 3, "b": 0.5, "c": "y"})
    assert suggest(fixed, ranges) == {"a": 3, "b": 0.5, "c": "y"}


def test_another_aim_in_the_same_folder_is_refused(settings: dict[str, Any], index: Path, tmp_path: Path):
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-3}}
    path = written(settings, tmp_path)
    search(path, tmp_path / "out", 1, 2, "abs_rel")
    for figure in ("spearman", "whdr"):
        with pytest.raises(ConfigError, match=r"holds a search by .*: give another --out"):
            search(path, tmp_path / "out", 1, 2, figure)


def test_trials_that_cannot_be_compared_are_not_put_together(settings: dict[str, Any], index: Path, tmp_path: Path):
    """Of another length, configuration or override; where they run does not matter, nor how wide the ranges are."""
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-3}}
    path, out = written(settings, tmp_path), tmp_path / "out"
    search(path, out, 1, 2, "abs_rel")
    with pytest.raises(ConfigError, match=r"cannot be compared with: --steps was 2, now 3: set it back, or give"):
        search(path, out, 1, 3, "abs_rel")
    with pytest.raises(ConfigError, match=r"with: run.batch_size was 4, now 2: set it back, or give another --out"):
        search(path, out, 1, 2, "abs_rel", {"run.batch_size": 2})
    settings["search"]["optim.lr"]["high"] = 1e-2
    search(path, out, 1, 2, "abs_rel", {"run.threads": 2})
    settings["search"]["optim.lr"]["high"] = 1e-2
    search(written(settings, tmp_path), out, 1, 2, "abs_rel")
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{out / 'search.db'}")
    assert len(study.trials) == 3


@pytest.mark.parametrize("earlier", [False, True], ids=["this version", "without settings"])
def test_ranges_of_another_kind_are_one_line(
    settings: dict[str, Any], index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, earlier: bool,
):  # fmt: skip
    """Optuna's own error of other choices is a traceback, and leaves a trial that failed."""
    monkeypatch.setattr("training.search.train", lambda *_: {"abs_rel": 0.5})
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"run.batch_size": {"choices": [2, 4]}, "optim.lr": {"low": 1e-4, "high": 1e-3}}
    command = ["--out", str(tmp_path / "out"), "--trials", "1", "--steps", "1", "--config"]
    assert main([*command, str(written(settings, tmp_path))]) == 0
    database = tmp_path / "out" / "search.db"
    if earlier:
        with sqlite3.connect(database) as connection:
            assert connection.execute("DELETE FROM study_user_attributes WHERE key = 'settings'").rowcount == 1
    for changes in ({"run.batch_size": {"choices": [2, 8]}}, {"optim.lr": {"low": 1e-4, "high": 1e-3, "log": True}}):
        (key,) = changes
        path = written({**settings, "search": {**settings["search"], **changes}}, tmp_path)
        assert main([*command, str(path)]) == 1
        told = capsys.readouterr().err
        assert f"for which search.{key} was" in told and "ranges were changed: give another --out" in told
        assert "Traceback" not in told
    assert len(optuna.load_study(study_name="search", storage=f"sqlite:///{database}").trials) == 1


def test_the_figure_tells_what_is_better(
    settings: dict[str, Any], index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-3}}
    path = written(settings, tmp_path)
    for figure, best in (("delta1", 0.9), ("spearman", 0.9), ("abs_rel", 0.2)):
        figures = iter((0.5, 0.9, 0.2))
        monkeypatch.setattr("training.search.train", lambda *_, name=figure, at=figures: {name: next(at)})
        assert search(path, tmp_path / figure, 3, 1, figure)[1] == best
    monkeypatch.setattr("training.search.train", lambda *_: {"abs_rel": 0.4})
    command = ["--config", str(path), "--out", str(tmp_path / "abs_rel"), "--trials", "1", "--steps", "1"]
    assert main([*command, "--maximise"]) == 0
    told = capsys.readouterr()
    assert "--maximise has no effect any more" in told.err and json.loads(told.out)["abs_rel"] == 0.2
    with pytest.raises(ConfigError, match="no figure to compare by named 'bias'"):
        search(path, tmp_path / "bias", 1, 1, "bias")
