"""From a batch and a network's output to one number to minimise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from training.data import Batch
from training.losses import LOSSES, Loss


def split_output(prediction: Tensor, log_sigma: bool) -> tuple[Tensor, Tensor | None]:
    """(B, C, h, w) raw output to inverse depth (B, h, w), channels averaged as in use, and log sigma if there is."""
    prediction = prediction.float()
    if log_sigma:
        return prediction[:, :-1].mean(dim=1), prediction[:, -1]
    return prediction.mean(dim=1), None


def objective(
    prediction: Tensor, batch: Batch, weights: Mapping[str, float], log_sigma: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of losses, and each one's own mean, for (B, C, h, w) raw output; ``log_sigma``: the last is that.

    Images that a loss cannot judge (no real zero, no exact edges, ordinal maps) count as 0 and stay in the divisor: the
    mean of two processes' losses is then the loss of one process with both shares.
    """
    inverse_depth, sigma = split_output(prediction, log_sigma)
    further = {"mean_colour": batch["mean_colour"], "log_sigma": sigma}
    total = inverse_depth.new_zeros(())
    parts: dict[str, Tensor] = {}
    for name, weight in weights.items():
        loss = LOSSES[name]
        applies = judged_images(loss, batch)
        if applies.any():
            values = loss.function(
                inverse_depth, batch["target"], batch["mask"], **{key: further[key] for key in loss.takes}
            )
        else:
            values = torch.zeros_like(applies, dtype=inverse_depth.dtype)
        mean = torch.where(applies, values, 0.0).mean()
        parts[name] = mean.detach()
        total = total + weight * mean
    if not total.requires_grad and prediction.requires_grad:  # no loss applies, but the gradient, 0, is still asked for
        total = total + 0.0 * prediction.float().sum()
    return total, parts


def judged_images(loss: Loss, batch: Batch) -> Tensor:
    """(B,) bool: which images of ``batch`` have what ``loss`` looks at."""
    judged = batch["ordinal"] if loss.ordinal else ~batch["ordinal"]
    if loss.needs_zero:
        judged = judged & batch["has_zero"]
    if loss.needs_exact_edges:
        judged = judged & batch["exact_edges"]
    return judged
