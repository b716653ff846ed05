"""Optimiser, learning-rate schedule and moving average of a run."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.sections import OptimConfig


class Muon(torch.optim.Optimizer):
    """Muon for matrices, AdamW for the rest (Jordan et al., "Muon: an optimizer for hidden layers", 2024).

    The momentum of a matrix, a convolution's weights seen as (out, in * kernel), is made orthogonal before it is
    applied: every direction of a layer moves alike, not only the few that have large gradients. With as few steps as
    a CPU allows that is the difference between blur and edges (training/recipe.md has figures).

    Groups say ``orthogonal``: bool, and have ``lr`` and ``weight_decay`` (decoupled) each.
    """

    MOMENTUM = 0.95
    BETAS = (0.9, 0.999)
    EPSILON = 1e-8

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 1e-3, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of everything that has a gradient. ``closure`` is not supported."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                change = self._orthogonal if group["orthogonal"] else self._adam
                parameter.add_(change(parameter.grad, self.state[parameter]), alpha=-group["lr"])

    def _orthogonal(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        momentum = state.setdefault("momentum", torch.zeros_like(gradient))
        momentum.lerp_(gradient, 1.0 - self.MOMENTUM)
        ahead = torch.lerp(gradient, momentum, self.MOMENTUM).flatten(1)  # Nesterov's
        rows, columns = ahead.shape
        return orthogonalised(ahead).view_as(gradient) * math.sqrt(max(1.0, rows / columns))

    def _adam(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """Kingma and Ba, 1412.6980."""
        count = state.setdefault("step", torch.zeros((), device="cpu"))
        mean = state.setdefault("mean", torch.zeros_like(gradient))
        square = state.setdefault("square", torch.zeros_like(gradient))
        count += 1
        mean.lerp_(gradient, 1.0 - self.BETAS[0])
        square.lerp_(gradient.square(), 1.0 - self.BETAS[1])
        unbiased = 1.0 - self.BETAS[0] ** float(count), 1.0 - self.BETAS[1] ** float(count)
        return (mean / unbiased[0]) / ((square / unbiased[1]).sqrt() + self.EPSILON)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """(m, n) matrix to nearly U V^T of its singular value decomposition, all singular values about 0.7 to 1.2.

    Five steps of the quintic Newton-Schulz iteration with Muon's coefficients, in bfloat16, which it tolerates.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


def make_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The configured optimiser of all that trains; the encoder with its own rate, no decay of biases and norms."""
    groups: dict[tuple[bool, bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            matrix = config.name == "muon" and parameter.ndim > 1 and min(parameter.shape[:2]) > 1
            groups.setdefault((name.startswith("encoder."), parameter.ndim > 1, matrix), []).append(parameter)
    options = [
        {
            "params": members,
            "lr": (config.matrix_lr if matrix else config.lr) * (config.encoder_lr_factor if in_encoder else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
            **({"orthogonal": matrix} if config.name == "muon" else {}),
        }
        for (in_encoder, decays, matrix), members in groups.items()
    ]
    if config.name == "muon":
        return Muon(options)
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
        averaged: list[Tensor] = []
        newest: list[Tensor] = []
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                averaged.append(mine)
                newest.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(averaged, newest, 1.0 - decay)  # a few launches on a GPU, not one a tensor
