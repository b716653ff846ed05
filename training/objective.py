"""From a batch and a network's output to one number to minimise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from training.data import Batch
from training.losses import LOSSES, NEEDS_ZERO, deck


def objective(prediction: Tensor, batch: Batch, weights: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of losses, and each one's own mean, for (B, C, h, w) raw output.

    Several channels are averaged, as in use. Images that a loss cannot judge (no real zero, ordinal maps) count as 0
    and stay in the divisor: the mean of two processes' losses is then the loss of one process with both shares.
    """
    inverse_depth = prediction.float().mean(dim=1)
    target, mask, is_ordinal = batch["target"], batch["mask"], batch["ordinal"]
    total = inverse_depth.new_zeros(())
    parts: dict[str, Tensor] = {}
    for name, weight in weights.items():
        applies = is_ordinal if name == "ordinal" else ~is_ordinal
        if name in NEEDS_ZERO:
            applies = applies & batch["has_zero"]
        if name == "deck":
            values = deck(inverse_depth, target, mask, batch["mean_colour"])
        elif applies.any():
            values = LOSSES[name](inverse_depth, target, mask)
        else:
            values = torch.zeros_like(applies, dtype=inverse_depth.dtype)
        mean = torch.where(applies, values, 0.0).mean()
        parts[name] = mean.detach()
        total = total + weight * mean
    return total, parts
