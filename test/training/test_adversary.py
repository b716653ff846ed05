"""The Wasserstein critic: its penalty, what it sees, and what it teaches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from training.adversary import Adversary, Critic, critic_loss, gradient_penalty
from training.data import Batch
from training.runtime import tensors
from training.state import non_finite

AFFINE = ("ssimse", "ssimae", "ssitrim", "gradient", "edges", "nmg", "relative")


def test_the_penalty_is_zero_for_a_critic_of_unit_slope_only():
    class Slope(torch.nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.slope = slope

        def forward(self, image: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
            return self.slope * depth.flatten(1).sum(dim=1) / math.sqrt(depth[0].numel())

    image, fake, real = torch.rand(2, 3, 16, 16), torch.rand(2, 16, 16), torch.rand(2, 16, 16)
    share = torch.tensor([0.2, 0.7])
    assert gradient_penalty(Slope(1.0), image, fake, real, share).tolist() == pytest.approx([0.0] * 2, abs=1e-9)
    assert gradient_penalty(Slope(3.0), image, fake, real, share).tolist() == pytest.approx([4.0] * 2, rel=1e-4)


def test_the_critic_learns_to_tell_real_from_fake():
    torch.manual_seed(0)
    critic = Critic(width=8)
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
    image = torch.zeros(8, 3, 32, 32)
    real, fake = torch.linspace(-1, 1, 32).repeat(8, 32, 1), torch.randn(8, 32, 32)
    for _ in range(15):
        optimizer.zero_grad()
        critic_loss(critic, image, fake, real, torch.rand(8)).mean().backward()
        optimizer.step()
    assert critic(image, real).mean() > critic(image, fake).mean() + 0.1


def test_the_critic_looks_at_depth_alone():
    """An ordinal map is no depth; a share of a batch that has nothing else moves no critic, and waits for none."""
    torch.manual_seed(0)
    adversary = Adversary(torch.device("cpu"))
    before = {name: value.clone() for name, value in adversary.critic.state_dict().items()}
    depth = torch.rand(3, 64, 64, requires_grad=True)
    batch = Batch(
        image=torch.rand(3, 3, 64, 64), target=torch.sign(torch.rand(3, 64, 64) - 0.5), mask=torch.ones(3, 64, 64) > 0,
        has_zero=torch.zeros(3) > 0, ordinal=torch.ones(3) > 0, exact_edges=torch.zeros(3) > 0,
        mean_colour=torch.tensor(0.5),
    )  # fmt: skip
    assert float(adversary.term(depth, batch).detach()) == 0.0
    torch.testing.assert_close(adversary.critic.state_dict(), before)
    batch["ordinal"] = torch.tensor([False, True, False])
    batch["target"] = torch.rand(3, 64, 64)
    adversary.term(depth, batch).backward()
    assert depth.grad is not None
    assert [bool(one.any()) for one in depth.grad] == [True, False, True]


def some_batch(count: int = 2) -> Batch:
    some = torch.zeros(count) > 0
    return Batch(
        image=torch.rand(count, 3, 64, 64), target=torch.rand(count, 64, 64), mask=torch.ones(count, 64, 64) > 0,
        has_zero=some, ordinal=some, exact_edges=some, mean_colour=torch.tensor(0.5),
    )  # fmt: skip


def test_two_processes_are_one_where_ordinal_maps_are_among_the_images(monkeypatch: pytest.MonkeyPatch):
    """Each with the same number of images, of which one has fewer depth maps."""
    torch.manual_seed(0)
    batch, depth, between = some_batch(4), torch.rand(4, 64, 64), torch.rand(4)
    batch["ordinal"] = torch.tensor([False, False, False, True])

    def judged(images: slice) -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(1)
        adversary = Adversary(torch.device("cpu"))
        monkeypatch.setattr("training.adversary._own_shares", lambda *_: between[images])
        share: Any = {name: value[images] if value.ndim else value for name, value in tensors(batch).items()}
        term = adversary.term(depth[images], share)
        return term, [parameter.grad for parameter in adversary.critic.parameters() if parameter.grad is not None]

    monkeypatch.setattr("training.adversary._LR", 0.0)  # processes share gradients before they take a step
    whole, halves = judged(slice(0, 4)), [judged(slice(0, 2)), judged(slice(2, 4))]
    torch.testing.assert_close(sum(half[0] for half in halves) / 2, whole[0])
    for of_whole, *of_halves in zip(whole[1], *(half[1] for half in halves), strict=True):
        torch.testing.assert_close(sum(of_halves) / 2, of_whole, rtol=1e-4, atol=1e-6)


def test_a_batch_that_is_not_finite_moves_no_critic():
    torch.manual_seed(0)
    adversary, batch = Adversary(torch.device("cpu")), some_batch()
    before = {name: value.clone() for name, value in adversary.critic.state_dict().items()}
    spoiled = torch.rand(2, 64, 64)
    spoiled[0, 0, 0] = math.nan
    assert not bool(torch.isfinite(adversary.term(spoiled, batch)))  # so the network's step is not taken either
    torch.testing.assert_close(adversary.critic.state_dict(), before, rtol=0, atol=0)
    assert non_finite(adversary.state()) == []
    assert bool(torch.isfinite(adversary.term(torch.rand(2, 64, 64), batch)))
    assert any(bool((value != before[name]).any()) for name, value in adversary.critic.state_dict().items())


def seen_by_a_critic(mask: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, dict[str, Any]]:
    """The term of a critic that likes what is near, and what it was shown: prediction ``fake`` and truth ``real``."""

    class Near(Critic):
        def forward(self, image: torch.Tensor, inverse_depth: torch.Tensor) -> torch.Tensor:
            return inverse_depth.mean(dim=(1, 2)) + 0.0 * super().forward(image, inverse_depth)

    shown: dict[str, Any] = {}

    def noted(
        critic: Critic, image: torch.Tensor, fake: torch.Tensor, real: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        shown.update(fake=fake, real=real)
        return critic_loss(critic, image, fake, real, share)

    torch.manual_seed(1)
    adversary = Adversary(torch.device("cpu"))
    adversary.critic = Near()
    monkeypatch.setattr("training.adversary.critic_loss", noted)
    batch = some_batch()
    batch["mask"] = mask
    return adversary.term(torch.rand(2, 64, 64) ** 4, batch).detach(), shown


def test_the_network_is_to_be_liked_by_the_critic(monkeypatch: pytest.MonkeyPatch):
    term, shown = seen_by_a_critic(torch.ones(2, 64, 64) > 0, monkeypatch)
    assert float(term) == pytest.approx(-float(shown["fake"].mean()), rel=1e-4)
    assert abs(float(term)) > 0.1


def test_where_nothing_was_measured_the_critic_sees_the_prediction(monkeypatch: pytest.MonkeyPatch):
    mask = torch.ones(2, 64, 64) > 0
    mask[:, :, 32:] = False
    _, shown = seen_by_a_critic(mask, monkeypatch)
    half = shown["fake"].shape[2] // 2
    torch.testing.assert_close(shown["real"][:, :, half:], shown["fake"][:, :, half:])
    assert not torch.allclose(shown["real"][:, :, :half], shown["fake"][:, :, :half], atol=0.1)
