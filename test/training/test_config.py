"""Every shipped configuration is read; every kind of mistake in one is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from depthnet_ros.errors import ConfigError
from test.training.conftest import written
from training.config import TrainConfig, check_paths, from_dict, load_config
from training.data import BatchSource
from training.networks import model_spec
from training.train import main as train_main
from training.train import train
from training.typed import read_yaml

CROP = [{"height_px": 128, "width_px": 128}]
CONFIGS = sorted((Path(__file__).parents[2] / "training" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations(path: Path):
    config = load_config(path)
    spec = model_spec(config)
    for step in (0, config.run.steps - 1):
        for crop in config.stage_at(step).crops:
            assert crop.height_px % spec.input.multiple_of == crop.width_px % spec.input.multiple_of == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_loss_of_a_shipped_configuration_has_a_source_that_feeds_it(path: Path):
    config = load_config(path)
    named = set(config.loss).union(*(stage.loss for stage in config.run.stages))
    options = [source.options for source in config.data.train if source.reader == "megadepth"]
    assert ("ordinal" in named) == any(option.get("ordinal") for option in options)
    names = {option.get("name", "megadepth") for option in options}
    assert "edges" not in named or (config.data.exact_edges and set(config.data.exact_edges) <= names)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_a_shipped_configuration_says_is_among_what_its_search_tries(path: Path):
    config = load_config(path)
    for key, span in config.search.items():
        value: Any = config
        for name in key.split("."):
            value = value[name] if isinstance(value, dict) else getattr(value, name)
        assert value in span["choices"] if "choices" in span else span["low"] <= value <= span["high"], key


def test_a_stages_losses_take_the_place_of_the_runs():
    config = load_config(next(path for path in CONFIGS if path.stem == "small_real"))
    first = config.run.stages[0].until_step
    assert config.loss_at(first - 1) == config.loss
    assert "gradient" not in config.loss and config.loss_at(first)["gradient"] > 0


def test_there_are_the_promised_configurations():
    assert {"deck", "megadepth", "small_real", "finetune"} <= {path.stem for path in CONFIGS}


def test_the_decks_configuration_is_the_decks():
    config = load_config(next(path for path in CONFIGS if path.stem == "deck"))
    assert config.model.architecture == "depthnet_deck"
    assert config.optim.name == "rmsprop"
    assert config.loss == {"deck": 1.0}
    assert [source.reader for source in config.data.train] == ["megadepth"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optim": {"learning_rate": 1.0}}, r"optim: unknown keys \['learning_rate'\]; known are .*'lr'"),
        ({"optim": {"lr": "1e-3"}}, r"lr must be float, got '1e-3' \(write 1.0e-3"),
        ({"optim": {"name": "sgd"}}, r"name must be one of \['adamw', 'rmsprop', 'muon'\], got 'sgd'"),
        ({"loss": {"l2": 1.0}}, r"loss: unknown names \['l2'\]; there are deck, edges, gradient"),
        ({"loss": {}}, "loss: name at least one"),
        ({"loss": {"ssitrim": -1.0}}, "loss: weights must be finite and not negative, got {'ssitrim': -1.0}"),
        ({"loss": {"ssitrim": float("nan")}}, "loss: weights must be finite"),
        ({"data": {"dataset_weights": {"room": -1.0}}}, "data.dataset_weights: weights must be finite"),
        ({"data": {"scene_power": float("nan")}}, "data.scene_power must be"),
        ({"optim": {"lr": float("inf")}}, "optim.lr must be above 0 and finite, got inf"),
        ({"run": {"minutes": float("inf")}}, "run.minutes must be at least 0 and finite, got inf"),
        ({"run": {"threads": 10**12}}, "run.threads must be in 0 to 4096, got 1000000000000"),
        ({"data": {"cache_gib": 1e300}}, r"data.cache_gib must be in 0 to 1e\+06, got 1e\+300"),
        ({"model": {"mean": [0.5, float("nan"), 0.5]}}, "mean and std must have three finite numbers"),
        ({"run": {"stages": [{"crops": [{**CROP[0], "aspect": -1.3}]}]}}, "aspects that are not negative"),
        ({"loss": {"ordinal": 0.1}}, r"ordinal needs ordinal maps: give a megadepth source .* \{ordinal: true\}"),
        ({"loss": {"edges": 0.1}}, "edges needs exact ones: name the data sets .* data.exact_edges"),
        ({"model": {"offset": 1.0}}, "model.offset is added to what model.weights gives: name them"),
        ({"model": {"offset": 1e9}}, "offset must"),
        ({"model": {"fresh_decoder": True}}, "model.fresh_decoder takes of model.weights the encoder alone: name them"),
        (
            {"search": {"optim.lrr": {"low": 1.0, "high": 2.0}}},
            r"search.optim.lrr: 1.0 .*unknown keys \['lrr'\]",
        ),
        ({"search": {"data.train.0": {"choices": [1]}}}, "search.data.train.0: 1 cannot be tried: .*lead through"),
        (
            {"search": {"optim.lr": {"choices": []}}},
            r"search.optim.lr: choices must be a list of at least one",
        ),
        ({"search": {"optim.lr": {"choices": 1.0}}}, "search.optim.lr: choices must be a list"),
        (
            {"search": {"optim.name": {"choices": ["adamw", "sgd"]}}},
            "search.optim.name: 'sgd' cannot be tried",
        ),
        ({"search": {"run.batch_size": {"low": 1, "high": 4.5}}}, "search.run.batch_size: 4.5 cannot .* must be int"),
        ({"search": {"optim.decay_share": {"low": 0.5, "high": 2.0}}}, "search.optim.decay_share: 2.0 cannot be tried"),
        ({"search": {"optim.lr": {"low": 1.0, "high": float("inf")}}}, "search.optim.lr: expected finite numbers"),
        ({"search": {"optim.lr": {"low": 1, "high": 10**400}}}, "search.optim.lr: expected finite numbers"),
        ({"search": {"optim.lr": {"low": "1e-4", "high": 1e-3}}}, "finite numbers, .*write 1.0e-4"),
        ({"search": {"optim.lr": {"low": 2.0, "high": 1.0}}}, "finite numbers, low below high"),
        ({"search": {"optim.lr": {"low": 0.0, "high": 1.0, "log": True}}}, "and above 0 with log"),
        (
            {"search": {"optim.lr": {"from": 1, "to": 2}}},
            r"lr: expected \{low, high, log\} or \{choices\}",
        ),
        ({"loss": {"laplace": 0.1}}, "laplace teaches the log_sigma channel"),
        ({"run": {"steps": True}}, "steps must be int, got True"),
        ({"run": {"stages": [{"until_step": 5, "crops": []}]}}, "must reach the end of the run"),
        (
            {"run": {"stages": [{"until_step": 5, "crops": CROP}, {"until_step": 2, "crops": CROP}, {"crops": CROP}]}},
            "grow",
        ),
        ({"run": {"stages": [{"crops": []}]}}, r"run.stages\[0\].crops: name at least one"),
        ({"run": {"stages": [{"crops": [{**CROP[0], "weight": 0.0}]}]}}, "all weights are 0"),
        ({"run": {"stages": [{"crops": [{"height_px": 100, "width_px": 128}]}]}}, "100 x 128 must be multiples of 32"),
        ({"run": {"checkpoint_every": 0}}, "run.checkpoint_every must be at least 1, got 0"),
        ({"run": {"evaluate_every": 0}}, "run.evaluate_every must be at least 1, got 0"),
        ({"run": {"ema_decay": 1.5}}, "run.ema_decay must be from 0 to below 1, got 1.5"),
        ({"run": {"accumulate": 2, "adversarial": 0.1}}, "run.adversarial and run.accumulate do not go together"),
        ({"data": {"sampling": "uniform", "dataset_weights": {"a": 2.0}}}, "with sampling uniform all images are seen"),
        ({"data": {"sampling": "shuffled"}}, "sampling must be one of"),
        ({"run": {"accumulate": 8}}, "run.accumulate is 8: a batch_size of 4 has"),
        ({"optim": {"lr": -1.0}}, "optim.lr must be above 0, got -1.0"),
        ({"model": {"mean": [0.5]}}, "mean and std must have three finite numbers each"),
        ({"run": {"epochs": 2}}, "either steps or epochs"),
        ({"run": {"seed": 2**64}}, "run.seed must be in 0 to"),
        ({"loss": {"ssitrim": 0.0}}, "name at least one with a weight above 0"),
        ({"run": {"stages": [{"crops": CROP, "loss": {"ssitrim": 0.0}}]}}, "name at least one with a weight above 0"),
        ({"data": {"train": [{"reader": "index_csv"}]}}, r"train\[0\]: missing keys \['path'\]"),
        ({"data": {"train": {}}}, "train must be list, got {}"),
        ({"model": "deck"}, "model: expected a mapping for ModelConfig, got str"),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str):
    for section, values in change.items():
        if section not in ("loss", "search") and isinstance(values, dict):
            settings[section].update(values)
        else:
            settings[section] = values
    with pytest.raises(ConfigError, match=message):
        load_config(written(settings, tmp_path))


def test_missing_sections_files_and_paths(settings: dict[str, Any], tmp_path: Path):
    with pytest.raises(ConfigError, match="no configuration at"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"missing keys \['model', 'data', 'run'\]"):
        from_dict(TrainConfig, {}, "here")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(tmp_path / "broken.yaml")
    (tmp_path / "latin.yaml").write_bytes("# h\xf6he\na: 1".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
        load_config(tmp_path / "latin.yaml")
    (tmp_path / "twice.yaml").write_text("optim: {lr: 1.0e-3}\nrun: {steps: 5}\noptim: {lr: 5.0e-4}\n")
    with pytest.raises(ConfigError, match="given twice: optim"):
        load_config(tmp_path / "twice.yaml")
    (tmp_path / "merged.yaml").write_text("base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\n")
    assert read_yaml(tmp_path / "merged.yaml")["more"] == {"a": 1, "b": 3}
    settings["data"]["train"][0]["path"] = "nowhere/index.csv"
    with pytest.raises(ConfigError, match=r"not found .*: nowhere/index\.csv"):
        check_paths(load_config(written(settings, tmp_path)))


def test_what_the_run_itself_finds_out_is_named(settings: dict[str, Any], tmp_path: Path):
    path = written(settings, tmp_path)
    for change, message in (
        ({"run.device": "foo"}, "run.device must be auto, cpu, cuda or cuda:<number>, got 'foo'"),
        ({"run.device": "meta"}, "run.device must be auto, cpu, cuda or cuda:<number>, got 'meta'"),
        ({"run.device": "mps"}, "run.device must be auto, cpu, cuda or cuda:<number>, got 'mps'"),
        ({"model.arguments": {"out_channels": -1}}, r"does not take \['out_channels'\]: .* negative dimension"),
        ({"model.pretrained_encoder": True, "model.weights": "a"}, "pretrained_encoder and .* both give the encoder"),
        ({"run.device": "cuda:99"}, r"run.device is cuda:99, but there are \d CUDA devices here"),
        ({"model.architecture": "depthnet", "model.arguments": {"size": "large"}}, "size must be one of small, base"),
        ({"model.keep_aspect": True}, r"model.height_px, width_px and keep_aspect: .* takes 128x128 images"),
        (
            {"run.stages": [{"crops": [{"height_px": 64, "width_px": 96}]}]},
            "run.stages: 64x96: depthnet_deck takes 128x128 images",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            train(load_config(path, change), tmp_path)
    config = load_config(path, {"run.accumulate": 4})
    with pytest.raises(ConfigError, match=r"run.accumulate is 4, each process's share has 2 images only"):
        BatchSource(config, model_spec(config).input, 0, 2)


def test_epochs_become_steps(settings: dict[str, Any], tmp_path: Path):
    config = load_config(written(settings, tmp_path), {"run.steps": 0, "run.epochs": 3})
    assert config.with_steps(items=9).run.steps == 7  # 27 images in batches of 4
    assert config.with_steps(items=9).run.epochs == 0


def test_overrides_by_dotted_key(settings: dict[str, Any], tmp_path: Path):
    config = load_config(written(settings, tmp_path), {"run.steps": 5, "augment.flip": 0.0})
    assert (config.run.steps, config.augment.flip) == (5, 0.0)
    with pytest.raises(ConfigError, match=r"unknown keys \['stepz'\]"):
        load_config(written(settings, tmp_path), {"run.stepz": 5})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("data.train=[{reader: x", "--set data.train=.*: the value is not YAML"),
        ("loss={ssitrim: 1.0, ssitrim: 3.0}", "--set loss=.*: the value is not YAML: given twice: ssitrim"),
        ("data.train.0={}", "data.train.0 does not lead through mappings"),
        ("run.steps.x=3", "run.steps.x does not lead through mappings"),
    ],
)
def test_a_wrong_override_is_named(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, message: str
):
    assert train_main(["--config", str(written(settings, tmp_path)), "--out", str(tmp_path / "r"), "--set", given]) == 1
    assert re.search(message, capsys.readouterr().err)
