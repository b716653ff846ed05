"""A run, and what it writes: resumable state that is never half there, and the checkpoint for use."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthnet_ros.errors import ConfigError, WeightsError
from depthnet_ros.files import written_whole
from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.spec import ModelSpec
from training.adversary import Adversary
from training.changes import changed, settings_of, told
from training.config import TrainConfig
from training.optim import MovingAverage
from training.runtime import Processes, Schedule

_LOG = logging.getLogger(__name__)
STATE_NAME = "state.pt"
WEIGHTS_NAME = "weights.safetensors"
_FIXED = ("model.mean", "model.std", "model.arguments.")
"""Settings that weights are tied to: under other ones they would be taken for what they are not."""


@dataclass
class Run:
    """A run under way: what it was given, and what its steps change.

    ``folder`` gets what it writes. ``average`` is what is validated and exported, with the specification ``spec``.
    ``base_rates`` are the learning rates of the optimiser's groups before ``schedule``. ``step`` counts those done,
    ``saved_step`` those in the folder's state; None where it has none of this run.
    ``changes``: what of the configuration was changed on the way, a mapping for each time with the step and, by dotted
    key, the value before and after.
    """

    config: TrainConfig
    folder: Path
    processes: Processes
    spec: ModelSpec
    network: nn.Module
    average: MovingAverage
    optimizer: torch.optim.Optimizer
    base_rates: list[float]
    adversary: Adversary | None
    schedule: Schedule
    step: int = 0
    saved_step: int | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)


def how_to_resume(run: Run) -> str:
    """What to tell people whose run ends before its last step: steps that were not taken, say, are not saved."""
    if run.saved_step == run.step:
        return "go on with --resume"
    if run.saved_step is None:
        return "nothing was saved that --resume could go on from"
    return f"--resume goes on from step {run.saved_step}, the last that was saved"


def non_finite(state: Any, where: str = "") -> list[str]:
    """Dotted names of the tensors anywhere in ``state`` (mappings, lists, tuples) that have NaN or infinity in them."""
    if isinstance(state, Tensor):
        return [where] if state.is_floating_point() and not bool(torch.isfinite(state).all()) else []
    if isinstance(state, Mapping):
        entries = list(state.items())
    elif isinstance(state, (list, tuple)):
        entries = list(enumerate(state))
    else:
        return []
    return [name for key, value in entries for name in non_finite(value, f"{where}.{key}".lstrip("."))]


def save_state(folder: Path, state: dict[str, Any]) -> bool:
    """Write ``state`` to ``folder``; the old one stays until the new one is whole on the disk.

    Returns:
        False if it could not be written (disk full): the old one is untouched and the run may go on.
    """
    path = folder / STATE_NAME
    try:
        with written_whole(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        _LOG.error("state not written to %s (%s); the one before is kept", path, error)
        return False
    return True


def save_weights(folder: Path, network: nn.Module, spec: ModelSpec, name: str = WEIGHTS_NAME) -> bool:
    """Write the checkpoint for use; False, with the old one untouched, if it could not be written."""
    path = folder / name
    try:
        save_checkpoint(path, network, spec)
    except Exception as error:  # safetensors has its own error type for a full disk
        _LOG.error("weights not written to %s (%s); the ones before are kept", path, error)
        return False
    return True


def load_state(folder: Path) -> dict[str, Any]:
    """The state last saved in ``folder``.

    Raises:
        WeightsError: none there, or damaged.
    """
    path = folder / STATE_NAME
    if not path.is_file():
        raise WeightsError(
            f"nothing to resume at {path}: start without --resume, or with --resume auto; on several machines the "
            "run's folder must be one that all share"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # by which bytes are damaged, unpickling raises almost anything
        raise WeightsError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is damaged: expected a mapping, got {type(state).__name__}")
    return state


def state_of(run: Run) -> dict[str, Any]:
    """Everything that the next step depends on; batches follow from the step alone."""
    return {
        "step": run.step,
        "model": run.config.model.architecture,
        "config": settings_of(run.config),
        "changes": run.changes,
        "network": run.network.state_dict(),
        "average": run.average.network.state_dict(),
        "average_updates": run.average.updates,
        "optimizer": run.optimizer.state_dict(),
        "adversary": run.adversary.state() if run.adversary else None,
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "spent_s": run.schedule.spent_s,
    }


def restore(run: Run, state: dict[str, Any]) -> None:
    """Bring ``run`` to where it was when :func:`state_of` gave ``state``.

    What of the configuration was changed since is warned of and, with what was before, in the provenance of its weights
    from then on; a state of an earlier version has no configuration to compare.

    Raises:
        ConfigError: the state is of another architecture, arguments, normalisation or optimiser, beyond ``run.steps``,
            or lacks something.
    """
    check_fits(run, state)
    try:
        run.network.load_state_dict(state["network"])
        run.average.network.load_state_dict(state["average"])
        decay = [group["weight_decay"] for group in run.optimizer.param_groups]
        run.optimizer.load_state_dict(state["optimizer"])
        for group, configured in zip(run.optimizer.param_groups, decay, strict=True):
            group["weight_decay"] = configured  # as the rate: what the configuration says now
        run.average.updates = int(state["average_updates"])
        if run.adversary is not None and state.get("adversary"):
            run.adversary.restore(state["adversary"])
        if "random" in state:
            torch.set_rng_state(state["random"])
        if state.get("random_cuda") is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["random_cuda"])
        run.schedule.spent_s = float(state.get("spent_s", 0.0))
        run.step = run.saved_step = int(state["step"])
        run.changes = list(state.get("changes", []))
    except KeyError as error:
        raise ConfigError(f"the state does not fit the configuration: it has no {error}") from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"the state does not fit the configuration: {error}") from error
    note_changes(run, state)


def check_fits(run: Run, state: dict[str, Any]) -> None:
    """Raise ConfigError, as :func:`restore` says, where the run cannot go on from ``state``."""
    config = run.config
    if (theirs := state.get("model", "no run of this program")) != config.model.architecture:
        raise ConfigError(f"the state is of {theirs}, the configuration says {config.model.architecture}")
    others = changed(state["config"], settings_of(config)) if "config" in state else {}
    if fixed := {key: values for key, values in others.items() if key.startswith(_FIXED)}:
        raise ConfigError(
            f"the state does not fit the configuration: {told(fixed)}: set it back, or give another --out"
        )
    # Torch's own optimisers take each other's state and fail at the first step, or go on without it.
    mark = {"adamw": "betas", "rmsprop": "alpha", "muon": "orthogonal"}[config.optim.name]
    try:
        other_optimizer = any(mark not in group for group in state["optimizer"]["param_groups"])
        step = int(state["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the state has no optimiser or step that can be read: {error!r}") from error
    if other_optimizer:
        raise ConfigError(f"the state is of another optimiser, the configuration says {config.optim.name}")
    if step > config.run.steps:
        raise ConfigError(
            f"the state is at step {step}, beyond the {config.run.steps} of run.steps: raise it (or "
            "run.epochs), or give another --out"
        )


def note_changes(run: Run, state: dict[str, Any]) -> None:
    """Warn of what was changed in the configuration since ``state``, and add it to ``run.changes`` and ``run.spec``."""
    others = changed(state["config"], settings_of(run.config), but=("search.",)) if "config" in state else {}
    if others:
        run.changes.append({"step": run.step, **others})
        if run.processes.first:
            _LOG.warning("the configuration was changed since step %d: %s", run.step, told(others))
    if run.changes:
        run.spec = replace(run.spec, provenance={**run.spec.provenance, "changed": run.changes})
