"""Inference backends, by name."""

from __future__ import annotations

from pathlib import Path

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends.base import Backend
from depthnet_ros.inference.weights import default_weights
from depthnet_ros.models.spec import ModelSpec

BACKENDS = ("auto", "torch")


def create_backend(
    weights: str | Path, backend: str = "auto", device: str = "auto", precision: str = "auto", threads: int = 0
) -> tuple[Backend, ModelSpec]:
    """The backend for a weights file, ready to run, and the network's specification.

    Raises:
        WeightsError: the file cannot be used.
        BackendError: no such backend, or not installed, or the device is not there.
    """
    if backend not in BACKENDS:
        raise BackendError(f"no backend named {backend!r}; there are {', '.join(BACKENDS)}")
    from depthnet_ros.inference.backends.torch_backend import TorchBackend
    from depthnet_ros.models.checkpoint import load_checkpoint

    network, spec = load_checkpoint(weights or default_weights())
    return TorchBackend(network, device, precision, threads), spec
