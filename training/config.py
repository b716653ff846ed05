"""The typed configuration of a run. Unknown keys, wrong types and missing paths are errors before anything starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from depthnet_ros.errors import ConfigError
from depthnet_ros.files import from_user
from training.losses import LOSSES
from training.ranges import check_range, ends
from training.sections import (
    ANY,
    AugmentConfig,
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    StageConfig,
    check_weights,
)
from training.typed import from_dict, read_yaml


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    model: ModelConfig
    data: DataConfig
    run: RunConfig
    loss: dict[str, float] = field(default_factory=lambda: {"ssitrim": 1.0, "gradient": 0.5})
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    search: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Ranges for training.search, by dotted key: ``{"optim.lr": {"low": 1e-4, "high": 1e-3, "log": true}}``."""

    def __post_init__(self) -> None:
        check_weights(self.loss, "loss")
        self._check_losses()
        self._check_crops()
        for key, span in self.search.items():
            check_range(key, span)

    def _check_losses(self) -> None:
        """Raise ConfigError unless there is a loss at every step, and each can have what it looks at."""
        named = set(self.loss).union(*(stage.loss for stage in self.run.stages))
        if unknown := sorted(named - set(LOSSES)):
            raise ConfigError(f"loss: unknown names {unknown}; there are {', '.join(sorted(LOSSES))}")
        if not all(any(some.values()) for some in (self.loss, *(s.loss for s in self.run.stages if s.loss))):
            raise ConfigError("loss: name at least one with a weight above 0, such as {ssitrim: 1.0, gradient: 0.5}")
        for name in sorted(named):
            self._check_fed(name)

    def _check_crops(self) -> None:
        """Raise ConfigError unless each stage has crops that can be drawn, of sizes that the network takes."""
        multiple = self.model.multiple_of
        for number, stage in enumerate(self.run.stages):
            where = f"run.stages[{number}].crops"
            if not stage.crops or not all(0 <= v <= ANY for crop in stage.crops for v in (crop.weight, crop.aspect)):
                raise ConfigError(f"{where}: name at least one, with weights and aspects that are not negative")
            if sum(crop.weight for crop in stage.crops) <= 0:
                raise ConfigError(f"{where}: all weights are 0, so none can be drawn")
            for crop in stage.crops:
                if min(crop.height_px, crop.width_px) < 1 or crop.height_px % multiple or crop.width_px % multiple:
                    size = f"{crop.height_px} x {crop.width_px}"
                    raise ConfigError(f"{where}: {size} must be multiples of {multiple} (model.multiple_of)")

    def _check_fed(self, name: str) -> None:
        """Raise ConfigError unless the network and the training data can have what loss ``name`` looks at."""
        loss = LOSSES[name]
        readers = {source.reader for source in self.data.train}
        with_order = any(s.reader == "megadepth" and s.options.get("ordinal") for s in self.data.train)
        if "log_sigma" in loss.takes and not self.model.log_sigma:
            raise ConfigError(f"loss: {name} teaches the log_sigma channel: give model.arguments log_sigma: true")
        if loss.ordinal and not (with_order or "shards" in readers):
            raise ConfigError(f"loss: {name} needs ordinal maps: give a megadepth source the options {{ordinal: true}}")
        if loss.needs_exact_edges and not self.data.exact_edges:
            raise ConfigError(f"loss: {name} needs exact ones: name the data sets that have them in data.exact_edges")
        if loss.needs_zero and readers == {"wsvd"}:
            raise ConfigError(f"loss: {name} needs truth whose zero is real, which wsvd's is not: add another source")

    def stage_at(self, step: int) -> StageConfig:
        """The stage that ``step`` (from 0) belongs to."""
        for stage in self.run.stages:
            if step < stage.until_step:
                return stage
        return self.run.stages[-1]

    def loss_at(self, step: int) -> dict[str, float]:
        """Weights of the losses at ``step`` (from 0)."""
        return self.stage_at(step).loss or self.loss

    def with_steps(self, items: int) -> TrainConfig:
        """The same run with its length in steps, for a training set of ``items`` images."""
        if not self.run.epochs:
            return self
        steps = math.ceil(self.run.epochs * items / self.run.batch_size)
        return replace(self, run=replace(self.run, epochs=0, steps=steps))


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Read a YAML file; ``overrides`` maps dotted keys to values (``{"run.steps": 100}``).

    Paths of sources are relative to the working directory.

    Raises:
        ConfigError: no such file, not YAML, an unknown key, a wrong type, a value that cannot be, or a range of
            ``search`` whose ends or choices are not settings that this configuration could have.
    """
    path = Path(path)
    data = read_yaml(path)
    for key, value in (overrides or {}).items():
        _set_dotted(data, key, value, str(path))
    config = from_dict(TrainConfig, data, str(path))
    for key, span in config.search.items():
        for value in ends(span):
            tried = deepcopy(data)
            try:
                _set_dotted(tried, key, value, str(path))
                from_dict(TrainConfig, tried, str(path))
            except ConfigError as error:
                raise ConfigError(f"search.{key}: {value!r} cannot be tried: {error}") from error
    return config


def check_paths(config: TrainConfig) -> None:
    """Raise ConfigError naming every source or weights file that does not exist."""
    wanted = [source.path for source in (*config.data.train, *config.data.val)]
    if config.model.weights:
        wanted.append(config.model.weights)
    if missing := sorted({name for name in wanted if not from_user(name).exists()}):
        raise ConfigError(f"not found (relative to {Path.cwd()}): {', '.join(missing)}")


def _set_dotted(data: Any, key: str, value: Any, where: str) -> None:
    *parents, leaf = key.split(".")
    for name in parents:
        data = data.setdefault(name, {}) if isinstance(data, dict) else None
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: {key} does not lead through mappings")
    data[leaf] = value
