"""The Wasserstein term that the student deck planned: a critic tells predicted from true inverse depth (WGAN-GP)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from training.data import Batch
from training.losses import normalised
from training.runtime import tensors

_SIZE = (64, 64)  # (h, w) of what the critic sees
_PENALTY = 10.0  # as 1704.00028 has it, and the next two
_LR, _BETAS = 1e-4, (0.0, 0.9)


class Critic(nn.Module):
    """Judge of (image, inverse depth) pairs; layer norm, since the gradient penalty is per image."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 4
        for factor in (1, 2, 4, 8):
            layers += [nn.Conv2d(channels, width * factor, 4, 2, 1), nn.GroupNorm(1, width * factor), nn.LeakyReLU(0.2)]
            channels = width * factor
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, image: Tensor, inverse_depth: Tensor) -> Tensor:
        """(B, 3, h, w) and (B, h, w) normalised inverse depth to one score per image, (B,)."""
        scores: Tensor = self.layers(torch.cat([image, inverse_depth[:, None]], dim=1))
        return scores.mean(dim=(1, 2, 3))


def gradient_penalty(critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor, share: Tensor) -> Tensor:
    """(B,): (norm of the score's gradient - 1)^2 at points between the two (1704.00028, eq. 3).

    ``share``: (B,) of 0..1, random: how far each image's point is from ``fake`` to ``real``.
    """
    share = share[:, None, None]
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(image, between).sum(), between, create_graph=True)
    norm: Tensor = slope.flatten(1).norm(dim=1)
    return (norm - 1) ** 2


def critic_loss(critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor, share: Tensor) -> Tensor:
    """(B,): fake minus real score, and the penalty at ``share`` (B,) of the way from fake to real."""
    difference: Tensor = critic(image, fake) - critic(image, real)
    return difference + _PENALTY * gradient_penalty(critic, image, fake, real, share)


class Adversary:
    """A critic and its optimiser. :meth:`term` trains the critic once and returns what the network adds to its loss.

    So the critic takes one step for each of the network's, where 1704.00028 takes five. Ordinal maps, which have no
    depth to be told from, count as 0 and stay in the divisor, as in :func:`training.objective.objective`.
    """

    def __init__(self, device: torch.device) -> None:
        self.critic = Critic().to(device)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=_LR, betas=_BETAS)

    def term(self, inverse_depth: Tensor, batch: Batch) -> Tensor:
        """Minus the critic's mean score of (B, h, w) inverse depth; both maps without scale and shift, and small."""
        count = len(inverse_depth)
        share = _own_shares(count, inverse_depth.device)
        depth = ~batch["ordinal"]
        if not bool(depth.all()):
            rest: Any = {name: value[depth] if value.ndim else value for name, value in tensors(batch).items()}
            batch = rest
            inverse_depth, share = inverse_depth[depth], share[depth]
        self.optimizer.zero_grad(set_to_none=True)
        score = self._judged(inverse_depth, batch, share, count) if len(inverse_depth) else None
        self._share_gradients()
        # As the network's: one step on NaN would end all. Only the norm is computed, the gradient stays as it is.
        if bool(torch.isfinite(nn.utils.clip_grad_norm_(self.critic.parameters(), math.inf))):
            self.optimizer.step()
        if score is None:
            return inverse_depth.sum()
        image, fake = score
        self.critic.requires_grad_(False)
        mean: Tensor = self.critic(image, fake).sum() / count
        self.critic.requires_grad_(True)
        return -mean

    def _judged(self, inverse_depth: Tensor, batch: Batch, share: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Leaves the critic's gradients, for a mean over ``count``; returns image and prediction as it sees them."""
        mask = batch["mask"]
        fake = normalised(inverse_depth, mask)
        # Where nothing was measured both maps show the prediction: holes must not give the truth away.
        real = torch.where(mask, normalised(batch["target"], mask), fake).detach()
        image, fake, real = (_small(x) for x in (batch["image"], fake[:, None], real[:, None]))
        fake, real = fake[:, 0], real[:, 0]
        loss = critic_loss(self.critic, image, fake.detach(), real, share).sum() / count
        loss.backward()  # type: ignore[no-untyped-call]
        return image, fake

    def state(self) -> dict[str, Any]:
        """For exact resuming."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _share_gradients(self) -> None:
        """Average them over the processes; one with only ordinal maps in its share adds zeros, else all would wait."""
        for parameter in self.critic.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if dist.is_initialized():
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()


def _own_shares(count: int, device: torch.device) -> Tensor:
    """(count,) random numbers of 0..1, this process's of those for the whole batch.

    All processes have one seed, and must go on drawing alike: each draws for all.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    return torch.rand(world, count, device=device)[rank]


def _small(x: Tensor) -> Tensor:
    return F.interpolate(x.float(), size=_SIZE, mode="area")
