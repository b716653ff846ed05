"""A network's forward and backward pass as CUDA graphs: hundreds of small kernels with one launch.

With batches as small as training likes them a GPU waits for the launches of a light network, not for its kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.norms import training_norms


class GraphedNetwork(nn.Module):
    """``network`` on a CUDA device, captured once for each size of batch and replayed from then on.

    ``precision``: as in ``run.precision``; whatever is around the call, the passes are those of this precision. The
    network must do the same whatever its input holds; its parameters stay where they are and get their gradients as
    ever. What it gives is overwritten by the next call.
    """

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.network = network
        self._lower = precision == "bfloat16"
        self._captured: dict[tuple[int, ...], nn.Module] = {}

    def forward(self, image: Tensor) -> Tensor:
        """As ``network``'s own, for an image batch (B, 3, H, W)."""
        size = tuple(image.shape)
        if size not in self._captured:
            self._captured[size] = self._capture(image)
        output: Tensor = self._captured[size](image)
        return output

    def _capture(self, image: Tensor) -> nn.Module:
        # Casts must not come from a cache: a replay would read weights as they were when it was captured.
        statistics = [(buffer, buffer.clone()) for norm in training_norms(self.network) for buffer in norm.buffers()]
        with torch.autocast("cuda", torch.bfloat16, enabled=self._lower, cache_enabled=False):
            graphed = torch.cuda.make_graphed_callables(_Shell(self.network), (image.clone(),))
        with torch.no_grad():
            for buffer, before in statistics:  # it was run some times to warm up, and that is no training
                buffer.copy_(before)
        assert isinstance(graphed, nn.Module)  # a module's own forward is replaced, the module is given back
        return graphed


class _Shell(nn.Module):
    """Capturing replaces a module's ``forward``: a module of its own for each size, all of the same network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.network(image)
        return output
