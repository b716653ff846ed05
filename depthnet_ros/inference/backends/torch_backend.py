"""PyTorch on the CPU or on CUDA."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depthnet_ros.errors import BackendError


class TorchBackend:
    """Runs an ``nn.Module`` as it is, in float32."""

    name = "torch"

    def __init__(self, network: nn.Module, device: str = "auto", precision: str = "auto", threads: int = 0) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BackendError("device 'cuda' was asked for but torch sees no CUDA device: use device:=cpu or auto")
        if threads:
            torch.set_num_threads(threads)
        self.device = device
        self.precision = "float32"
        self._network = network.to(device).eval()

    @torch.inference_mode()
    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) to (N, C, h, w)."""
        output = self._network(torch.from_numpy(batch).to(self.device))
        return np.asarray(output.float().cpu().numpy())

    def close(self) -> None:
        """Drop the network."""
        self._network = nn.Identity()
