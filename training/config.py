"""The typed configuration of a run. Unknown keys, wrong types and missing paths are errors before anything starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from depthnet_ros.errors import ConfigError
from depthnet_ros.files import from_user
from training.losses import LOSSES
from training.typed import ABOVE_0, Ranges, check_limits, from_dict, read_yaml


@dataclass(frozen=True)
class SourceConfig:
    """One data set: the reader's name (training.datasets.base.READERS), where it lies, and the reader's own options."""

    reader: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, and how often each data set is drawn. Each of ``workers`` has a cache of its own.

    ``balanced``: a data set is drawn with probability proportional to ``scenes ** scene_power`` times its factor in
    ``dataset_weights``; then a scene, then an image of it, each with equal chance: one long sequence of one kitchen
    counts as one scene, and an epoch is as many draws as there are images. ``uniform``: each image once an epoch, in an
    order that is another one in each.
    """

    train: list[SourceConfig]
    val: list[SourceConfig] = field(default_factory=list)
    sampling: Literal["balanced", "uniform"] = "balanced"
    scene_power: float = 0.5
    dataset_weights: dict[str, float] = field(default_factory=dict)
    exact_edges: list[str] = field(default_factory=list)
    """Data sets whose depth is exact up to its edges, rendered ones: what loss ``edges`` looks at."""
    cache_gib: float = 4.0
    cache_area_px: int = 200_000
    workers: int = 1


@dataclass(frozen=True)
class CropConfig:
    """A size of training crops in pixels, and how often a batch has it.

    ``aspect``: width over height of the window in the picture, where it is squeezed to the size; 0: the size's own.
    """

    height_px: int
    width_px: int
    weight: float = 1.0
    aspect: float = 0.0


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities and ranges of augmentation; see training.augment."""

    flip: float = 0.5
    smallest_crop: float = 0.4
    """Least share of the largest possible crop's area."""
    aspect_jitter: float = 0.15
    rotate: float = 0.2
    rotate_deg: float = 6.0
    tilt: float = 0.0
    tilt_deg: float = 12.0
    """Largest pitch of the turned view, and twice its largest yaw."""
    colour: float = 0.8
    grey: float = 0.12
    blur: float = 0.15
    noise: float = 0.15
    jpeg: float = 0.3
    erase: float = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """Architecture (models.registry), its arguments, the input it will have in use, and where its weights start."""

    architecture: str
    height_px: int
    width_px: int
    arguments: dict[str, Any] = field(default_factory=dict)
    mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    std: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    keep_aspect: bool = True
    multiple_of: int = 32
    pretrained_encoder: bool = False
    weights: str = ""
    """A checkpoint to start from (fine-tuning); empty: a fresh network."""
    fresh_decoder: bool = False
    """Of ``weights`` take the encoder alone."""
    offset: float = 0.0
    """Added to the output of ``weights``: brings its zero to where loss ``zero`` has least to correct."""
    balance: bool = False
    """Bring the decoder of ``weights`` to moderate activations first (training/balance.py)."""
    freeze_norm: bool = False
    """Keep the encoder's normalisation statistics as they came."""
    frozen_stages: int = 0
    """How many of the encoder's first parts (stem, then stages) are not trained."""

    @property
    def log_sigma(self) -> bool:
        """Whether the network's last channel is the log of its own standard deviation."""
        return bool(self.arguments.get("log_sigma", False))


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and learning rate.

    ``stable_decay`` (2405.18392): constant, then ``1 - sqrt`` down to zero over the last ``decay_share`` of the run.
    """

    name: Literal["adamw", "rmsprop", "muon"] = "adamw"
    lr: float = 5e-4
    matrix_lr: float = 0.01
    """Rate of Muon's matrices; ``lr`` is then that of the rest."""
    encoder_lr_factor: float = 1.0
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine", "stable_decay"] = "cosine"
    warmup_steps: int = 100
    decay_share: float = 0.3
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0: not clipped."""


@dataclass(frozen=True)
class StageConfig:
    """A stretch of the run: up to ``until_step`` (0: to the end) batches have these crop sizes.

    ``loss``, where given, takes the place of the run's: a gradient term from the start holds a network back, since no
    edge at all costs less than one in a slightly wrong place.
    """

    crops: list[CropConfig]
    until_step: int = 0
    loss: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunConfig:
    """Length (either ``steps`` or ``epochs``), batches, precision and what is written."""

    batch_size: int
    """Images per optimiser step, over all processes and accumulated parts."""
    stages: list[StageConfig]
    steps: int = 0
    epochs: int = 0
    minutes: float = 0.0
    """At most, by the clock, and the rate falls by it: for a machine that is lent by the hour. 0: no limit."""
    accumulate: int = 1
    """Parts that a process's share of a batch is split into, to need less memory."""
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    cuda_graphs: bool = False
    """Replay the network's passes as CUDA graphs (training/graphs.py); on one GPU."""
    threads: int = 0
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, which is what is evaluated and exported; 0: none."""
    timeout_min: float = 60.0
    """How long a process waits for the others, in minutes, before it gives up the run."""
    checkpoint_every: int = 200
    keep_at: list[int] = field(default_factory=list)
    """Steps whose weights are kept beside the last ones, as ``weights_<step>.safetensors``."""
    evaluate_every: int = 1000
    picture_every: int = 500
    adversarial: float = 0.0
    """Weight of the Wasserstein critic's term (WGAN-GP); 0: no critic. Not with ``accumulate``."""


# Least and largest value of settings.
_ANY = math.nextafter(math.inf, 0.0)  # infinity itself is no setting
_RUN_RANGES: Ranges = {
    "batch_size": (1, _ANY), "accumulate": (1, _ANY), "steps": (0, _ANY), "epochs": (0, _ANY), "threads": (0, 4096),
    "minutes": (0, _ANY), "ema_decay": (0, math.nextafter(1.0, 0.0)), "timeout_min": (ABOVE_0, _ANY),
    "checkpoint_every": (1, _ANY), "evaluate_every": (1, _ANY), "picture_every": (1, _ANY), "adversarial": (0, _ANY),
    "seed": (0, 2**63 - 1),
}  # fmt: skip
_OPTIM_RANGES: Ranges = {
    "lr": (ABOVE_0, _ANY), "matrix_lr": (ABOVE_0, _ANY), "encoder_lr_factor": (0, _ANY), "weight_decay": (0, _ANY),
    "warmup_steps": (0, _ANY), "decay_share": (0, 1), "clip_norm": (0, _ANY),
}  # fmt: skip
_DATA_RANGES: Ranges = {
    "scene_power": (0, 10), "cache_gib": (0, 1e6), "cache_area_px": (1, _ANY), "workers": (0, _ANY),
}  # fmt: skip
_AUGMENT_RANGES: Ranges = {
    **dict.fromkeys(("flip", "rotate", "tilt", "colour", "grey", "blur", "noise", "jpeg", "erase"), (0, 1)),
    "smallest_crop": (ABOVE_0, 1), "aspect_jitter": (0, _ANY), "rotate_deg": (0, 180), "tilt_deg": (0, 45),
}  # fmt: skip
_MODEL_RANGES: Ranges = {
    "height_px": (1, _ANY),
    "width_px": (1, _ANY),
    "multiple_of": (1, _ANY),
    "frozen_stages": (0, _ANY),
    "offset": (-1e6, 1e6),
}


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
        named = set(self.loss).union(*(stage.loss for stage in self.run.stages))
        if unknown := sorted(named - set(LOSSES)):
            raise ConfigError(f"loss: unknown names {unknown}; there are {', '.join(sorted(LOSSES))}")
        if not all(any(some.values()) for some in (self.loss, *(s.loss for s in self.run.stages if s.loss))):
            raise ConfigError("loss: name at least one with a weight above 0, such as {ssitrim: 1.0, gradient: 0.5}")
        for name in sorted(named):
            self._check_fed(name)
        if (self.run.steps > 0) == (self.run.epochs > 0):
            raise ConfigError("run: give either steps or epochs, and one of them only")
        check_limits(self.run, "run", _RUN_RANGES)
        check_limits(self.optim, "optim", _OPTIM_RANGES)
        check_limits(self.data, "data", _DATA_RANGES)
        check_limits(self.model, "model", _MODEL_RANGES)
        check_limits(self.augment, "augment", _AUGMENT_RANGES)
        if any(step < 1 for step in self.run.keep_at):
            raise ConfigError(f"run.keep_at: steps are counted from 1, got {self.run.keep_at}")
        if self.run.accumulate > self.run.batch_size:
            raise ConfigError(
                f"run.accumulate is {self.run.accumulate}: a batch_size of {self.run.batch_size} has fewer parts"
            )
        if self.model.offset and not self.model.weights:
            raise ConfigError("model.offset is added to what model.weights gives: name them")
        numbers = (*self.model.mean, *self.model.std)
        if len(self.model.mean) != 3 or len(self.model.std) != 3 or not all(map(math.isfinite, numbers)):
            raise ConfigError("model: mean and std must have three finite numbers each, red, green and blue")
        if min(self.model.std) <= 0:
            raise ConfigError(f"model.std must be above 0, got {self.model.std}")
        for where, weights in (
            ("loss", self.loss),
            ("data.dataset_weights", self.data.dataset_weights),
            *((f"run.stages[{index}].loss", stage.loss) for index, stage in enumerate(self.run.stages)),
        ):
            if wrong := {name: weight for name, weight in weights.items() if not 0 <= weight <= _ANY}:
                raise ConfigError(f"{where}: weights must be finite and not negative, got {wrong}")
        self._check_stages()
        if not self.data.train:
            raise ConfigError("data.train: name at least one source")
        if self.data.sampling == "uniform" and self.data.dataset_weights:
            raise ConfigError("data.dataset_weights: with sampling uniform all images are seen alike: leave them out")
        if self.run.adversarial and self.run.accumulate > 1:
            raise ConfigError(
                "run.adversarial and run.accumulate do not go together, since the critic would take a step for each "
                "part: leave one of them out"
            )

    def _check_stages(self) -> None:
        """Raise ConfigError unless the stages follow each other to the end, each with crops that can be drawn."""
        if not self.run.stages or 0 < self.run.stages[-1].until_step < self.run.steps:
            raise ConfigError("run.stages: the last one must reach the end of the run: leave its until_step out")
        ends = [stage.until_step for stage in self.run.stages]
        growing = ends[:-1] + ([ends[-1]] if ends[-1] else [])
        if any(end < 1 for end in growing) or sorted(set(growing)) != growing:
            raise ConfigError(f"run.stages: until_step must grow from stage to stage, got {ends}")
        multiple = self.model.multiple_of
        for number, stage in enumerate(self.run.stages):
            where = f"run.stages[{number}].crops"
            if not stage.crops or not all(0 <= v <= _ANY for crop in stage.crops for v in (crop.weight, crop.aspect)):
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
        ConfigError: no such file, not YAML, an unknown key, a wrong type or a path that does not exist.
    """
    path = Path(path)
    data = read_yaml(path)
    for key, value in (overrides or {}).items():
        _set_dotted(data, key, value, str(path))
    return from_dict(TrainConfig, data, str(path))


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
