"""Checkpoints: safetensors with the :class:`ModelSpec` in the header, so that weights know their input."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthnet_ros.errors import WeightsError
from depthnet_ros.files import from_user, written_whole
from depthnet_ros.models.spec import ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

FORMAT = "depthnet_ros/1"


def save_checkpoint(path: str | Path, network: nn.Module, spec: ModelSpec) -> None:
    """Write weights and specification; the file appears whole or not at all."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    metadata = {"format": FORMAT, "spec": json.dumps(spec.to_dict())}
    with written_whole(Path(path)) as temporary:
        save_file(state, str(temporary), metadata=metadata)


def read_spec(path: str | Path) -> ModelSpec:
    """The specification in a checkpoint's header, without its weights and without torch.

    Raises:
        WeightsError: no such file, truncated, not safetensors, or not of this project.
    """
    from safetensors import SafetensorError, safe_open

    path = _existing(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}): copy or download it again") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: expected format {FORMAT!r} in the header, got {metadata.get('format')!r}; "
            "was it written by depthnet_ros (training, `depthnet convert`)?"
        )
    try:
        return ModelSpec.from_dict(json.loads(metadata["spec"]), str(path))
    except (KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: the header holds no readable specification: {error!r}") from error


def load_checkpoint(path: str | Path) -> tuple[nn.Module, ModelSpec]:
    """The network in evaluation mode on the CPU, and its specification. Strict: every weight must have its place.

    Raises:
        WeightsError: as :func:`read_spec`, or names or shapes do not fit the architecture.
    """
    from safetensors.torch import load_file

    from depthnet_ros.models.registry import build

    path = _existing(path)
    spec = read_spec(path)
    network = build(spec.architecture, **spec.arguments)
    load_weights(network, load_file(str(path)), str(path))
    return network.eval(), spec


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy ``state`` into ``network``.

    Raises:
        WeightsError: names what is missing, unexpected or of another shape.
    """
    own = network.state_dict()
    faults = []
    if missing := sorted(set(own) - set(state)):
        faults.append(f"missing {_some(missing)}")
    if unexpected := sorted(set(state) - set(own)):
        faults.append(f"unexpected {_some(unexpected)}")
    shapes = [
        f"{name} {tuple(state[name].shape)} (expected {tuple(own[name].shape)})"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    if shapes:
        faults.append(f"other shapes: {_some(shapes)}")
    if faults:
        raise WeightsError(f"{source} does not fit {type(network).__name__}: {'; '.join(faults)}")
    network.load_state_dict(dict(state))


def output_of(network: nn.Module, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, h, w) float32 output of torch for a (1, 3, h, w) input.

    Raises:
        WeightsError: the network takes none of that size.
    """
    import torch

    try:
        with torch.inference_mode():
            return np.asarray(network.eval().float()(torch.from_numpy(batch))[0].numpy())
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"the network does not take input of shape {batch.shape}: {error}") from error


def read_pickle(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a ``.pt`` file. Read with ``weights_only=True``: a pickle that wants to run code is refused.

    Raises:
        WeightsError: no such file, damaged, holding more than tensors, or no state dict.
    """
    import torch

    path = _existing(path, ".pt")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is refused: damaged, or it holds more than tensors ({reason})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a dictionary of tensors, got {type(state).__name__}")
    return state


def _existing(path: str | Path, endings: str = ".safetensors or .onnx") -> Path:
    path = from_user(path)
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}: give the path of a {endings} file")
    return path


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
