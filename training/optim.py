"""Optimiser, learning-rate schedule and moving average of a run."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from training.config import OptimConfig


def make_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW or RMSProp over what is to be trained; the encoder with its own rate, and no decay on biases and norms."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    options = [
        {
            "params": members,
            "lr": config.lr * (config.encoder_lr_factor if in_encoder else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_encoder, decays), members in groups.items()
    ]
    if config.name == "rmsprop":
        return torch.optim.RMSprop(options, lr=config.lr)
    return torch.optim.AdamW(options, lr=config.lr)


def rate_factor(step: int, steps: int, config: OptimConfig) -> float:
    """What the learning rate is multiplied with at ``step`` of ``steps``: warm-up, then the schedule."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "cosine":
        done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    if config.schedule == "stable_decay":
        start = steps * (1.0 - config.decay_share)
        return 1.0 if step < start else 1.0 - math.sqrt((step - start) / max(1.0, steps - start))
    return 1.0


def set_rate(optimizer: torch.optim.Optimizer, base_rates: list[float], factor: float) -> None:
    """Give each group its base rate times ``factor``."""
    for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
        group["lr"] = rate * factor


class MovingAverage:
    """Exponential moving average of all weights and statistics; early on it averages over what there is."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after an optimiser step."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10.0))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1.0 - decay)
            else:
                mine.copy_(theirs)
