"""The loop itself: exact resuming, several processes, accumulation, rates, and that it learns."""

from __future__ import annotations

import json
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
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from test.training.conftest import environment, written
from training.config import load_config
from training.data import BatchSource
from training.datasets.base import open_dataset
from training.networks import make_network, model_spec
from training.optim import MovingAverage, make_optimizer, rate_factor
from training.runtime import Processes, Schedule
from training.sections import OptimConfig
from training.state import STATE_NAME, load_state
from training.step import train_step
from training.train import main, train
from training.validation import macro_average, validate

ROOT = Path(__file__).parents[2]


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def same_weights(first: Path, second: Path) -> None:
    for key in ("network", "average"):
        torch.testing.assert_close(load_state(first)[key], load_state(second)[key], rtol=0, atol=0)


@pytest.mark.parametrize(
    "change",
    [{"optim.name": "adamw"}, {"optim.name": "muon"}, {"run.adversarial": 0.01}],
    ids=["adamw", "muon", "critic"],
)
def test_interrupted_and_resumed_equals_uninterrupted(settings: dict[str, Any], tmp_path: Path, change: dict[str, Any]):
    config = load_config(written(settings, tmp_path), change)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    train(config, whole)
    train(config, parts, stop_at=3)
    assert load_state(parts)["step"] == 3
    train(config, parts, resume=True)
    same_weights(whole, parts)
    exported = [load_checkpoint(folder / "weights.safetensors") for folder in (whole, parts)]
    torch.testing.assert_close(exported[0][0].state_dict(), exported[1][0].state_dict(), rtol=0, atol=0)
    assert exported[0][1] == exported[1][1]


def test_a_run_writes_what_it_promises(settings: dict[str, Any], index: Path, tmp_path: Path):
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    figures = train(load_config(written(settings, tmp_path), {"run.keep_at": [3]}), tmp_path)
    kept = load_checkpoint(tmp_path / "weights_3.safetensors")[1]
    assert kept.provenance["step"] == 3 and len(list(tmp_path.glob("*.safetensors"))) == 2
    assert {"abs_rel", "delta1", "spearman", "whdr"} <= set(figures)
    logged = lines(tmp_path)
    assert {"loss", "ssitrim", "gradient", "relative", "lr"} <= set(logged[0])
    assert logged[-1]["val/abs_rel"] == figures["abs_rel"]
    assert list(tmp_path.glob("events.out.tfevents.*"))
    network, spec = load_checkpoint(tmp_path / "weights.safetensors")
    assert spec.provenance["step"] == 6
    assert spec.provenance["recipe"]["loss"] == settings["loss"]
    assert not list(tmp_path.glob("*.part"))
    assert network(torch.zeros(1, 3, 128, 128)).shape == (1, 1, 128, 128)


def test_scenes_that_train_and_val_share_are_named_once(
    settings: dict[str, Any], index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, logger="training.train")  # other libraries raise the root's
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    train(load_config(written(settings, tmp_path), {"run.steps": 1}), tmp_path)
    (message,) = [text for text in caplog.messages if "data.val has scenes of data.train" in text]
    assert message.endswith(": room/room0, street/road")


def test_the_default_network_learns_a_picture(settings: dict[str, Any], tmp_path: Path):
    settings["model"] = {"architecture": "depthnet", "height_px": 64, "width_px": 96}
    settings["optim"] = {"lr": 3e-3, "warmup_steps": 2}
    settings["run"].update(steps=20, batch_size=4, stages=[{"crops": [{"height_px": 64, "width_px": 96}]}])
    settings["augment"] = {"colour": 0.0, "jpeg": 0.0, "smallest_crop": 1.0, "rotate": 0.0}
    early = load_config(written(settings, tmp_path), {"run.steps": 1})
    late = load_config(written(settings, tmp_path))
    for name, config in (("early", early), ("late", late)):
        (tmp_path / name).mkdir()
        train(config, tmp_path / name)
    assert lines(tmp_path / "late")[-1]["ssitrim"] < 0.6 * lines(tmp_path / "early")[-1]["ssitrim"]


def test_accumulation_gives_the_same_step(settings: dict[str, Any], tmp_path: Path):
    # the deck's network has instance norms only, so an image's output does not depend on the rest of its batch
    for count in (1, 2, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        changes = {"run.accumulate": count, "run.steps": 2, "run.picture_every": 1}
        train(load_config(written(settings, tmp_path), changes), folder)
    # Weights that an instance norm cancels get noise for a gradient, so the losses are what must agree.
    one, two, four = (lines(tmp_path / name)[-1] for name in ("1", "2", "4"))
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert four["loss"] == pytest.approx(one["loss"], rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": {"deck": 1.0}}, {"run.adversarial": 0.1}, {"model.architecture": "depthnet"}],
    ids=["", "deck", "critic", "batch norm"],
)
def test_two_processes_give_the_loss_and_the_validation_of_one(
    settings: dict[str, Any], index: Path, tmp_path: Path, changes: dict[str, Any]
):
    settings["run"]["steps"] = 3
    for key, value in changes.items():
        *section, name = key.split(".")
        (settings[section[0]] if section else settings)[name] = value
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index), "options": {"split": "all"}}]
    path = written(settings, tmp_path)
    (tmp_path / "one").mkdir()
    train(load_config(path), tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=localhost:0", "-m", "training.train", "--config", str(path), "--out"]
    done = subprocess.run(
        [*command, str(tmp_path / "two")], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (one, one_val), (two, two_val) = (lines(tmp_path / name)[-2:] for name in ("one", "two"))
    assert one["step"] == two["step"] == 3
    if "model.architecture" not in changes:  # batch normalisation sees each process's share alone
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    network, spec = load_checkpoint(tmp_path / "two" / "weights.safetensors")
    alone = macro_average(validate(network.eval(), spec, [open_dataset("index_csv", index, "all")]))
    assert {name.removeprefix("val/"): value for name, value in two_val.items() if name != "step"} == pytest.approx(
        alone, rel=1e-5, abs=1e-7
    )
    assert set(two_val) == set(one_val)


def test_processes_that_would_go_on_from_different_states_do_not(settings: dict[str, Any], tmp_path: Path):
    """Two machines whose run folder is not shared: the second one's is a leftover."""
    settings["run"]["steps"] = 4
    path = written(settings, tmp_path)
    for rank, step in enumerate((3, 1)):
        (tmp_path / f"run{rank}").mkdir()
        train(load_config(path), tmp_path / f"run{rank}", stop_at=step)
    arguments = f"['--config', {str(path)!r}, '--resume', '--out', {str(tmp_path / 'run')!r} + os.environ['RANK']]"
    script = f"import os, sys; from training.train import main; sys.exit(main({arguments}))"
    (tmp_path / "rank.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=localhost:0", str(tmp_path / "rank.py")]
    environ = {**environment(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=110)
    assert done.returncode != 0
    assert "would go on from steps [3, 1]" in done.stderr
    assert [load_state(tmp_path / f"run{rank}")["step"] for rank in (0, 1)] == [3, 1]


def test_each_process_judges_its_share_of_the_validation(index: Path):
    network, spec = build("depthnet_deck").eval(), ModelSpec("depthnet_deck", InputSpec(128, 128))
    datasets = [open_dataset("index_csv", index, split) for split in ("train", "val")]
    whole = validate(network, spec, datasets)
    first, second = (validate(network, spec, datasets, rank, 2) for rank in (0, 1))
    assert (len(whole), len(first), len(second)) == (10, 5, 5)
    assert {r.name: r.figures for r in [*first, *second]} == {r.name: r.figures for r in whole}


def test_a_step_whose_gradient_is_not_finite_is_not_taken(settings: dict[str, Any], tmp_path: Path):
    config = load_config(written(settings, tmp_path))
    source = BatchSource(config, model_spec(config).input)
    network = make_network(config.model)
    optimizer = make_optimizer(network, config.optim)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    poisoned = source[0]
    poisoned["target"][0] = math.inf
    assert not train_step(network, optimizer, poisoned, {"ssimse": 1.0}, config, None).taken
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    assert train_step(network, optimizer, source[0], {"ssimse": 1.0}, config, None).taken


def test_command_line_errors_are_one_line(settings: dict[str, Any], tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STATE_NAME).touch()
    command = [sys.executable, "-m", "training.train", "--config", str(written(settings, tmp_path)), "--out"]
    done = subprocess.run(
        [*command, str(tmp_path / "run")], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "holds a run: go on with --resume" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_command_begins_and_goes_on(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A job that a cluster starts again after a fault cannot change its command."""
    settings["run"]["steps"] = 4
    command = ["--config", str(written(settings, tmp_path)), "--out", str(tmp_path / "run"), "--resume", "auto"]
    real = train
    monkeypatch.setattr("training.train.train", lambda *args: real(*args, stop_at=2))
    assert main(command) == 0
    assert load_state(tmp_path / "run")["step"] == 2
    monkeypatch.setattr("training.train.train", real)
    assert main(command) == 0
    assert load_state(tmp_path / "run")["step"] == 4
    assert [line["step"] for line in lines(tmp_path / "run") if "loss" in line][-1] == 4


def test_weight_decay_is_the_configuration_s_after_resuming(settings: dict[str, Any], tmp_path: Path):
    settings["run"]["steps"] = 4
    path = written(settings, tmp_path)
    (tmp_path / "run").mkdir()
    for decay, stop_at in ((0.01, 2), (0.5, 4)):
        config = load_config(path, {"optim.weight_decay": decay, "optim.name": "adamw"})
        train(config, tmp_path / "run", resume=stop_at == 4, stop_at=stop_at)
    groups = load_state(tmp_path / "run")["optimizer"]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0.5, 0.0}


def test_who_fails_alone_waits_for_nobody(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Destroying the group is a collective of its own with NCCL: the others would be waited for, inside another one."""
    calls: list[str] = []
    monkeypatch.setattr("training.runtime.dist.init_process_group", lambda *_, **__: calls.append("begin"))
    monkeypatch.setattr("training.runtime.dist.destroy_process_group", lambda: calls.append("end"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = load_config(written(settings, tmp_path)).run
    with pytest.raises(ConfigError), Processes(config):
        raise ConfigError("one rank's data is damaged")
    assert calls == ["begin"]
    with Processes(config):
        pass
    assert calls == ["begin", "begin", "end"]


def test_schedules():
    cosine = OptimConfig(schedule="cosine", warmup_steps=10)
    assert [rate_factor(step, 110, cosine) for step in (0, 9, 10, 60, 110)] == pytest.approx([0.1, 1, 1, 0.5, 0])
    stable = OptimConfig(schedule="stable_decay", warmup_steps=0, decay_share=0.5)
    assert [rate_factor(step, 100, stable) for step in (0, 50, 75, 100)] == pytest.approx([1, 1, 1 - 0.5**0.5, 0])
    assert rate_factor(10**6, 10, OptimConfig(schedule="constant", warmup_steps=0)) == 1


def test_frozen_parts_stay_and_decay_spares_norms(settings: dict[str, Any], tmp_path: Path):
    change = {"model.architecture": "depthnet", "model.frozen_stages": 3}
    config = load_config(written(settings, tmp_path), change)
    network = make_network(config.model)
    optimizer = make_optimizer(network, OptimConfig(lr=1.0, encoder_lr_factor=0.1, weight_decay=0.3))
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in network.encoder.stem.parameters()}
    assert not trained & {id(p) for p in network.encoder.stages[1].parameters()}
    assert {id(p) for p in network.encoder.stages[2].parameters()} <= trained
    for group in optimizer.param_groups:
        assert group["weight_decay"] == (0.3 if group["params"][0].ndim > 1 else 0.0)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.1, 1.0]


def test_the_moving_average_forgets_the_start():
    network = torch.nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, decay=0.5)
    for value in (1.0, 2.0, 3.0):
        torch.nn.init.constant_(network.weight, value)
        average.update(network)
    assert 2.0 < average.network.weight.item() < 3.0


def test_the_moving_average_is_that_of_its_decay_once_there_is_enough():
    """Early on it averages over what there is: after n steps the newest counts 10 / (n + 10)."""
    network = torch.nn.Linear(1, 1, bias=False)
    for steps, decay, wanted in ((1, 0.9, 1.0 / 11.0), (200, 0.9, 0.9)):
        average = MovingAverage(network, decay)
        average.updates = steps - 1
        torch.nn.init.constant_(average.network.weight, 1.0)
        torch.nn.init.constant_(network.weight, 0.0)
        average.update(network)
        assert average.network.weight.item() == pytest.approx(wanted, abs=1e-6)


def test_the_log_has_the_rate_of_the_schedule(settings: dict[str, Any], tmp_path: Path):
    settings["optim"] = {"name": "adamw", "lr": 1e-3, "warmup_steps": 40, "schedule": "constant"}
    train(load_config(written(settings, tmp_path), {"run.steps": 40, "run.batch_size": 1}), tmp_path)
    assert [line["lr"] for line in lines(tmp_path)] == pytest.approx([0.5e-3, 1e-3])


def test_the_warm_up_is_one_of_steps_whatever_the_clock_says():
    """A first step that takes a share of the time, while its kernels are sought, must not skip it."""
    optim = OptimConfig(warmup_steps=100, schedule="cosine")
    run = replace(load_config(ROOT / "training" / "configs" / "base_gpu.yaml").run, steps=1000, minutes=1.0)
    schedule = Schedule(run, optim, Processes(run))
    schedule.spent_s = 30.0
    assert schedule.rate_factor(0) == pytest.approx(0.01)
    assert schedule.rate_factor(49) == pytest.approx(0.5)
    assert schedule.rate_factor(100) == pytest.approx(rate_factor(500, 1000, optim), abs=0.01)
    assert schedule.rate_factor(800) == pytest.approx(rate_factor(800, 1000, optim))
    schedule.spent_s = 61.0
    assert schedule.rate_factor(500) == 0.0


def test_the_clock_ends_a_run_and_its_rate_falls_with_it(settings: dict[str, Any], tmp_path: Path):
    """Far more steps than there is time for; to go on after that is to do nothing."""
    settings["optim"] = {"name": "adamw", "lr": 1e-3, "warmup_steps": 0, "schedule": "cosine"}
    config = load_config(written(settings, tmp_path), {"run.steps": 10**6, "run.minutes": 0.05})
    train(config, tmp_path)
    state = load_state(tmp_path)
    assert 3.0 <= state["spent_s"] < 30.0
    assert 1 <= state["step"] < 10**5
    rates = [line["lr"] for line in lines(tmp_path) if "lr" in line]
    assert rates[-1] < 0.1 * 1e-3
    train(config, tmp_path, resume=True)
    assert load_state(tmp_path)["step"] == state["step"]
