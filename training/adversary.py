"""The Wasserstein term that the student deck planned: a critic tells predicted from true inverse depth (WGAN-GP)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from training.data import Batch
from training.losses import normalised
from training.runtime import tensors

_SIZE = (64, 64)
_PENALTY = 10.0


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


def gradient_penalty(critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor) -> Tensor:
    """Mean of (norm of the score's gradient - 1)^2 at random points between the two (1704.00028, eq. 3)."""
    share = torch.rand(fake.shape[0], 1, 1, device=fake.device)
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(image, between).sum(), between, create_graph=True)
    norm: Tensor = slope.flatten(1).norm(dim=1)
    return ((norm - 1) ** 2).mean()


def critic_loss(critic: nn.Module, image: Tensor, fake: Tensor, real: Tensor, penalty: float = _PENALTY) -> Tensor:
    """Fake minus real score, and the penalty."""
    difference: Tensor = (critic(image, fake) - critic(image, real)).mean()
    return difference + penalty * gradient_penalty(critic, image, fake, real)


class Adversary:
    """A critic and its optimiser. :meth:`term` trains the critic once and returns what the network adds to its loss."""

    def __init__(self, device: torch.device, lr: float = 1e-4) -> None:
        self.critic = Critic().to(device)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=lr, betas=(0.0, 0.9))

    def term(self, inverse_depth: Tensor, batch: Batch) -> Tensor:
        """Minus the critic's mean score of (B, h, w) inverse depth; both maps without scale and shift, and small."""
        depth = ~batch["ordinal"]  # an ordinal map has no depth to be told from
        if not bool(depth.all()):
            rest: Any = {name: value[depth] if value.ndim else value for name, value in tensors(batch).items()}
            batch = rest
            inverse_depth = inverse_depth[depth]
        self.optimizer.zero_grad(set_to_none=True)
        score = self._judged(inverse_depth, batch) if len(inverse_depth) else None
        self._share_gradients()
        self.optimizer.step()
        if score is None:
            return inverse_depth.sum()
        image, fake = score
        self.critic.requires_grad_(False)
        mean: Tensor = self.critic(image, fake).mean()
        self.critic.requires_grad_(True)
        return -mean

    def _judged(self, inverse_depth: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Leaves the critic's gradients; returns image and prediction as it sees them."""
        mask = batch["mask"]
        fake = normalised(inverse_depth, mask)
        # Where nothing was measured both maps show the prediction: holes must not give the truth away.
        real = torch.where(mask, normalised(batch["target"], mask), fake).detach()
        image, fake, real = (_small(x) for x in (batch["image"], fake[:, None], real[:, None]))
        fake, real = fake[:, 0], real[:, 0]
        critic_loss(self.critic, image, fake.detach(), real).backward()  # type: ignore[no-untyped-call]
        return image, fake

    def state(self) -> dict[str, Any]:
        """For exact resuming."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _share_gradients(self) -> None:
        """All processes do, be it with nothing: who has only ordinal maps in his share must not be waited for."""
        if dist.is_initialized():
            for parameter in self.critic.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()


def _small(x: Tensor) -> Tensor:
    return F.interpolate(x.float(), size=_SIZE, mode="area")
