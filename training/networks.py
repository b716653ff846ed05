"""The network of a run: built, started from pretrained weights, partly frozen; and its specification."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthnet_ros.errors import ConfigError, WeightsError
from depthnet_ros.models.checkpoint import load_checkpoint
from depthnet_ros.models.depthnet import DepthNet, pretrained_encoder
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from training.balance import balance
from training.config import TrainConfig
from training.data import Batch, BatchSource
from training.sections import ModelConfig

CAMERA_PX = (480, 640)
"""(height, width) of a usual camera's picture: the network must take the input that its specification makes of one."""


def make_network(config: ModelConfig, images: BatchSource | Sequence[Batch] = ()) -> nn.Module:
    """The configured network: fresh, with a pretrained encoder, or from a checkpoint; frozen parts do not train.

    ``images``: batches of the run, the first of which ``balance`` measures on.

    Raises:
        ConfigError: no such architecture, the checkpoint or the options do not fit it, or the package with the
            pretrained encoder is not installed.
        WeightsError: the checkpoint cannot be read.
    """
    try:
        network = build(config.architecture, **config.arguments)
    except WeightsError as error:
        raise ConfigError(f"model: {error}") from error
    if config.pretrained_encoder and config.weights:
        raise ConfigError("model.pretrained_encoder and model.weights both give the encoder: leave one of them out")
    if config.weights:
        _take_weights(network, config)
    elif config.pretrained_encoder:
        _take_pretrained(network, config)
    if config.balance:
        if not isinstance(network, DepthNet) or not config.weights or config.log_sigma:
            raise ConfigError("model.balance needs model.weights of a depthnet without log_sigma")
        balance(network.eval(), images[0]["image"])
    _freeze(network, config)
    return network


def _take_weights(network: nn.Module, config: ModelConfig) -> None:
    """Those of ``config.weights``, or their encoder's alone, and the offset; raises as :func:`make_network`."""
    loaded, spec = load_checkpoint(config.weights)
    state = loaded.state_dict()
    if config.fresh_decoder:
        state = {name: value for name, value in state.items() if name.startswith("encoder.")}
        state = {**network.state_dict(), **state}
    gains_sigma = config.log_sigma and not spec.log_sigma
    theirs = {**spec.arguments, "log_sigma": True} if gains_sigma else dict(spec.arguments)
    if spec.architecture != config.architecture or theirs != config.arguments:
        raise ConfigError(
            f"model.weights is {spec.architecture} {dict(spec.arguments)}, "
            f"the configuration says {config.architecture} {config.arguments}"
        )
    check_meaning(config, spec)
    network.load_state_dict(with_sigma(state, network) if gains_sigma else state)
    if config.offset:
        add_offset(network, config.offset)


def _take_pretrained(network: nn.Module, config: ModelConfig) -> None:
    """ImageNet's weights for the encoder; ConfigError where there are none."""
    if not isinstance(network, DepthNet):
        raise ConfigError(f"model.pretrained_encoder: {config.architecture} has none")
    try:
        network.encoder.load_state_dict(pretrained_encoder(network.size))
    except ModuleNotFoundError as error:
        raise ConfigError(f"model.pretrained_encoder: {error}") from error


def _freeze(network: nn.Module, config: ModelConfig) -> None:
    """Keep the encoder's first parts from training; ConfigError where there are none to freeze."""
    if (config.frozen_stages or config.freeze_norm) and not hasattr(network, "encoder"):
        raise ConfigError(f"model: {config.architecture} has no encoder to freeze")
    if config.frozen_stages:
        encoder: Any = network.encoder
        if not hasattr(encoder, "stem"):
            raise ConfigError(
                f"model.frozen_stages must be 0 for {config.architecture}, whose encoder has no stages to freeze by "
                f"number, got {config.frozen_stages}: leave it out, or take architecture depthnet"
            )
        for part in [encoder.stem, *encoder.stages][: config.frozen_stages]:
            part.requires_grad_(False)


def check_meaning(config: ModelConfig, spec: ModelSpec) -> None:
    """Raise ConfigError unless weights of this specification take their input and give their output as the run does.

    A network whose input is normalised otherwise, or whose output grows the other way, starts worse than a fresh one.
    """
    of_output = {} if config.fresh_decoder else {"output_kind": (spec.output_kind.value, "inverse_depth")}
    compared = {
        "mean": (list(spec.input.mean), list(config.mean)),
        "std": (list(spec.input.std), list(config.std)),
        "color_order": (spec.input.color_order, "rgb"),
        **of_output,
    }
    if others := {name: pair for name, pair in compared.items() if pair[0] != pair[1]}:
        theirs, own = (", ".join(f"{name} {pair[which]}" for name, pair in others.items()) for which in (0, 1))
        raise ConfigError(
            f"model.weights has {theirs}, the run has {own}: set model.mean and model.std to those of the weights; "
            "color_order and output_kind cannot be set, weights of others are not for training"
        )


def with_sigma(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """``state`` of a network without log_sigma for one with it: the new channel starts at a constant."""
    grown = {}
    for name, own in network.state_dict().items():
        value = state[name]
        if value.shape != own.shape:
            value = torch.cat([value, torch.zeros_like(own[: len(own) - len(value)])])
        grown[name] = value
    return grown


def without_sigma(network: nn.Module, spec: ModelSpec) -> tuple[nn.Module, ModelSpec]:
    """A network and its specification without the channel for log sigma; the same where it has none."""
    if not spec.log_sigma:
        return network, spec
    arguments = {name: value for name, value in spec.arguments.items() if name != "log_sigma"}
    depth_alone = build(spec.architecture, **arguments)
    own = depth_alone.state_dict()
    cut = {
        name: value if value.shape == own[name].shape else value[: len(own[name])]
        for name, value in network.state_dict().items()
    }
    depth_alone.load_state_dict(cut)
    return depth_alone, replace(spec, log_sigma=False, arguments=arguments)


def add_offset(network: nn.Module, offset: float) -> None:
    """Add ``offset`` to the inverse depth that ``network`` gives.

    Raises:
        ConfigError: only a depthnet has the bias for it.
    """
    if not isinstance(network, DepthNet):
        raise ConfigError("model.offset needs a network of architecture depthnet")
    last = network.head[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    with torch.no_grad():
        last.bias[0] += offset


def set_train_mode(network: nn.Module, config: ModelConfig) -> None:
    """Training mode, but for the encoder's normalisation where it is frozen."""
    network.train()
    if config.freeze_norm:
        encoder: Any = network.encoder
        encoder.eval()


def check_sizes(network: nn.Module, config: TrainConfig, spec: InputSpec) -> None:
    """Run ``network`` on black pictures of each size of the run, and of a usual camera, before hours are spent.

    Raises:
        ConfigError: it takes none of that size.
    """
    crops = {(crop.height_px, crop.width_px) for stage in config.run.stages for crop in stage.crops}
    in_use = spec.size_for(*CAMERA_PX)
    where = {**dict.fromkeys(crops, "run.stages"), in_use: "model.height_px, width_px and keep_aspect"}
    for size, setting in where.items():
        check_size(network, size, setting)


def check_size(network: nn.Module, size: tuple[int, int], setting: str) -> None:
    """Raise ConfigError, naming ``setting``, unless ``network`` takes pictures of ``size`` (height, width)."""
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, *size))
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{setting}: {size[0]}x{size[1]}: {error}") from error
    finally:
        network.train(was_training)


def model_spec(config: TrainConfig) -> ModelSpec:
    """The specification that the run's checkpoints carry."""
    model = config.model
    mean, std = (model.mean[0], model.mean[1], model.mean[2]), (model.std[0], model.std[1], model.std[2])
    spec = InputSpec(
        model.height_px, model.width_px, mean, std, keep_aspect=model.keep_aspect, multiple_of=model.multiple_of
    )
    return ModelSpec(model.architecture, spec, log_sigma=model.log_sigma, arguments=model.arguments)


def with_provenance(spec: ModelSpec, config: TrainConfig) -> ModelSpec:
    """``spec`` with where the weights of a run come from: data, recipe, and the commit of the code that is running.

    To be called once, as a run starts: a commit that is made while it runs is not what its weights were made by. A run
    that is resumed is given the commit that it was last resumed with.
    """
    recipe = {
        "loss": config.loss,
        "optimiser": config.optim.name,
        "lr": config.optim.lr,
        "batch_size": config.run.batch_size,
        "steps": config.run.steps,
        **({"minutes": config.run.minutes} if config.run.minutes else {}),
        "seed": config.run.seed,
        "pretrained_encoder": config.model.pretrained_encoder,
        "weights": Path(config.model.weights).name,
    }
    provenance = {
        "data": [f"{source.reader}:{Path(source.path).name}" for source in config.data.train],
        "licence": "research use",
        "recipe": recipe,
        "step": 0,
        "commit": git_commit(Path(__file__).parent),
        "torch": torch.__version__,
    }
    return replace(spec, provenance=provenance)


def at_step(spec: ModelSpec, step: int) -> ModelSpec:
    """``spec`` of weights after ``step`` steps of the run that it is of."""
    return replace(spec, provenance={**spec.provenance, "step": step})


def git_commit(folder: Path) -> str:
    """Short hash of the commit that ``folder`` is at, with ``-dirty`` where tracked files differ from it; ``unknown``
    where there is none.
    """
    # Every tag is excluded, so that it is always the hash.
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
