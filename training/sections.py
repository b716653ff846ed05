"""The sections of a run's configuration, each checked by itself when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from depthnet_ros.errors import ConfigError
from training.typed import ABOVE_0, Ranges, check_limits

ANY = math.nextafter(math.inf, 0.0)
"""Largest value where any will do: infinity itself is no setting."""
_RUN_RANGES: Ranges = {
    "batch_size": (1, ANY), "accumulate": (1, ANY), "steps": (0, ANY), "epochs": (0, ANY), "threads": (0, 4096),
    "minutes": (0, ANY), "ema_decay": (0, math.nextafter(1.0, 0.0)), "timeout_min": (ABOVE_0, ANY),
    "checkpoint_every": (1, ANY), "evaluate_every": (1, ANY), "picture_every": (1, ANY), "adversarial": (0, ANY),
    "seed": (0, 2**63 - 1),
}  # fmt: skip
_OPTIM_RANGES: Ranges = {
    "lr": (ABOVE_0, ANY), "matrix_lr": (ABOVE_0, ANY), "encoder_lr_factor": (0, ANY), "weight_decay": (0, ANY),
    "warmup_steps": (0, ANY), "decay_share": (0, 1), "clip_norm": (0, ANY),
}  # fmt: skip
_DATA_RANGES: Ranges = {
    "scene_power": (0, 10), "cache_gib": (0, 1e6), "cache_area_px": (1, ANY), "workers": (0, ANY),
}  # fmt: skip
_AUGMENT_RANGES: Ranges = {
    **dict.fromkeys(("flip", "rotate", "tilt", "colour", "grey", "blur", "noise", "jpeg", "erase"), (0, 1)),
    "smallest_crop": (ABOVE_0, 1), "aspect_jitter": (0, ANY), "rotate_deg": (0, 180), "tilt_deg": (0, 45),
}  # fmt: skip
_MODEL_RANGES: Ranges = {
    "height_px": (1, ANY),
    "width_px": (1, ANY),
    "multiple_of": (1, ANY),
    "frozen_stages": (0, ANY),
    "offset": (-1e6, 1e6),
}


def check_weights(weights: Mapping[str, float], where: str) -> None:
    """Raise ConfigError, which begins with ``where``, unless all are finite and not negative."""
    if wrong := {name: weight for name, weight in weights.items() if not 0 <= weight <= ANY}:
        raise ConfigError(f"{where}: weights must be finite and not negative, got {wrong}")


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

    def __post_init__(self) -> None:
        check_limits(self, "data", _DATA_RANGES)
        check_weights(self.dataset_weights, "data.dataset_weights")
        if not self.train:
            raise ConfigError("data.train: name at least one source")
        if self.sampling == "uniform" and self.dataset_weights:
            raise ConfigError("data.dataset_weights: with sampling uniform all images are seen alike: leave them out")


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

    def __post_init__(self) -> None:
        check_limits(self, "augment", _AUGMENT_RANGES)


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

    def __post_init__(self) -> None:
        check_limits(self, "model", _MODEL_RANGES)
        numbers = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, numbers)):
            raise ConfigError("model: mean and std must have three finite numbers each, red, green and blue")
        if min(self.std) <= 0:
            raise ConfigError(f"model.std must be above 0, got {self.std}")
        if self.offset and not self.weights:
            raise ConfigError("model.offset is added to what model.weights gives: name them")
        if self.fresh_decoder and not self.weights:
            raise ConfigError("model.fresh_decoder takes of model.weights the encoder alone: name them")

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

    def __post_init__(self) -> None:
        check_limits(self, "optim", _OPTIM_RANGES)


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

    def __post_init__(self) -> None:
        check_limits(self, "run", _RUN_RANGES)
        if (self.steps > 0) == (self.epochs > 0):
            raise ConfigError("run: give either steps or epochs, and one of them only")
        if any(step < 1 for step in self.keep_at):
            raise ConfigError(f"run.keep_at: steps are counted from 1, got {self.keep_at}")
        if self.accumulate > self.batch_size:
            raise ConfigError(f"run.accumulate is {self.accumulate}: a batch_size of {self.batch_size} has fewer parts")
        if self.adversarial and self.accumulate > 1:
            raise ConfigError(
                "run.adversarial and run.accumulate do not go together, since the critic would take a step for each "
                "part: leave one of them out"
            )
        self._check_ends_of_stages()
        for number, stage in enumerate(self.stages):
            check_weights(stage.loss, f"run.stages[{number}].loss")

    def _check_ends_of_stages(self) -> None:
        """Raise ConfigError unless the stages follow each other to the end."""
        if not self.stages or 0 < self.stages[-1].until_step < self.steps:
            raise ConfigError("run.stages: the last one must reach the end of the run: leave its until_step out")
        ends = [stage.until_step for stage in self.stages]
        growing = ends[:-1] + ([ends[-1]] if ends[-1] else [])
        if any(end < 1 for end in growing) or sorted(set(growing)) != growing:
            raise ConfigError(f"run.stages: until_step must grow from stage to stage, got {ends}")
