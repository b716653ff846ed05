"""What a run writes: resumable state that is never half there, and the checkpoint for use."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthnet_ros.errors import WeightsError
from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.spec import ModelSpec

_LOG = logging.getLogger(__name__)
STATE_NAME = "state.pt"
WEIGHTS_NAME = "weights.safetensors"


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
    path, temporary = folder / STATE_NAME, folder / (STATE_NAME + ".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        _LOG.error("state not written to %s (%s); the one before is kept", path, error)
        return False
    return True


def save_weights(folder: Path, network: nn.Module, spec: ModelSpec, name: str = WEIGHTS_NAME) -> bool:
    """Write the checkpoint for use; False, with the old one untouched, if it could not be written."""
    path = folder / name
    try:
        save_checkpoint(path, network, spec)
    except Exception as error:  # safetensors has its own error type for a full disk
        path.with_name(path.name + ".tmp").unlink(missing_ok=True)
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
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is damaged ({error})") from error
