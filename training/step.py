"""One step of training, and what of it shows that a run has diverged."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from depthnet_ros.errors import DepthNetError
from training.adversary import Adversary
from training.config import TrainConfig
from training.data import Batch
from training.norms import training_norms
from training.objective import objective, split_output
from training.runtime import micro_batches

_LOG = logging.getLogger("training")
MOST_SKIPPED = 10
"""Steps in a row whose gradient may be infinite or NaN: one is chance, as many are a run that has diverged."""
ADVICE = "lower optim.lr, set optim.clip_norm or take run.precision float32"


class TrainingError(DepthNetError):
    """A run that cannot go on."""


class StepResult(NamedTuple):
    """What a step did.

    ``losses``: each one's mean over the batch, and their weighted sum as ``loss``; ``part``, ``prediction``: the last
    part of the batch, B images of it, and the network's raw output (B, C, h, w) for them; ``taken``: whether the
    weights were changed.
    """

    losses: dict[str, Tensor]
    part: Batch
    prediction: Tensor
    taken: bool


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    weights: dict[str, float],
    config: TrainConfig,
    adversary: Adversary | None,
) -> StepResult:
    """Forward, backward and one optimiser step on ``batch``, for the losses with these ``weights``.

    The step is not taken if the gradient is not finite: one such step would end all. The statistics of normalisation
    are then as before, too.
    """
    optimizer.zero_grad(set_to_none=True)
    statistics = [(buffer, buffer.clone()) for norm in training_norms(network) for buffer in norm.buffers()]
    size, device = len(batch["image"]), batch["image"].device
    sums = {name: torch.zeros((), device=device) for name in ("loss", *weights)}
    for part, maybe_unshared in micro_batches(batch, config.run.accumulate, network):
        share = len(part["image"]) / size
        with maybe_unshared:
            with torch.autocast(device.type, torch.bfloat16, enabled=config.run.precision == "bfloat16"):
                prediction = network(part["image"])
            loss, parts = objective(prediction, part, weights, config.model.log_sigma)
            if adversary is not None:
                parts["critic"] = adversary.term(split_output(prediction, config.model.log_sigma)[0], part)
                loss = loss + config.run.adversarial * parts["critic"]
            (loss * share).backward()  # type: ignore[no-untyped-call]
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + share * value.detach()
    # Without a limit the gradient stays as it is, and only its norm is computed. All processes have the same gradient.
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.clip_norm or math.inf)
    taken = bool(torch.isfinite(norm))
    if taken:
        optimizer.step()
    else:
        for buffer, before in statistics:
            buffer.copy_(before)
    return StepResult(sums, part, prediction, taken)


def check_skipped(step: int, in_a_row: int, last: bool) -> None:
    """Log that ``step`` was not taken, if it was not; raise TrainingError if that is no exception any more, as it is
    where the ``last`` step of a run is not the only one.
    """
    if in_a_row >= MOST_SKIPPED or (last and in_a_row > 1):
        raise TrainingError(
            f"the gradients of the last {in_a_row} steps up to {step} are not finite: {ADVICE}. What was saved before "
            "is kept"
        )
    if in_a_row:
        _LOG.warning("step %d is not taken: its gradient is not finite", step)


def check_loss(step: int, loss: float) -> None:
    """Raise TrainingError where the loss is not finite."""
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} at step {step}: {ADVICE}")
