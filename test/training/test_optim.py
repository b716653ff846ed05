"""Muon against what it promises: orthogonal steps for matrices, AdamW's own for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.optim import Muon, make_optimizer, orthogonalised
from training.sections import OptimConfig


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (32, 32)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalised(matrix)
    values = torch.diagonal(u.T @ result @ vh.T)
    assert values.min() > 0.3 and values.max() < 1.4
    across = u.T @ result @ vh.T - torch.diag(values)
    assert across.abs().max() < 0.1, "singular directions are kept"


def test_what_is_no_matrix_moves_as_with_adamw():
    start = torch.randn(7, generator=torch.Generator().manual_seed(1))
    mine, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    ours = Muon([{"params": [mine], "lr": 1e-2, "weight_decay": 0.1, "orthogonal": False}])
    adamw = torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1)
    for _ in range(5):
        for parameter, optimizer in ((mine, ours), (theirs, adamw)):
            optimizer.zero_grad()
            (parameter**3).sum().backward()
            optimizer.step()
    torch.testing.assert_close(mine, theirs)


def test_only_true_matrices_are_made_orthogonal():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 1, 1))
    groups = make_optimizer(network, OptimConfig(name="muon", lr=1e-3, matrix_lr=0.02)).param_groups
    orthogonal = [group for group in groups if group["orthogonal"]]
    assert [tuple(p.shape) for group in orthogonal for p in group["params"]] == [(8, 3, 3, 3)]
    assert [group["lr"] for group in orthogonal] == [0.02]
    rest = {
        tuple(p.shape): group["weight_decay"] for group in groups if group not in orthogonal for p in group["params"]
    }
    assert rest[8, 1, 3, 3] == rest[1, 8, 1, 1] == OptimConfig().weight_decay and rest[8,] == 0.0


def test_a_step_does_not_depend_on_the_gradients_size():
    def moved(size: float) -> torch.Tensor:
        conv = nn.Conv2d(4, 6, 3, bias=False)
        with torch.no_grad():
            conv.weight.zero_()
        conv.weight.grad = size * torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(2))
        make_optimizer(conv, OptimConfig(name="muon")).step()
        return conv.weight.detach()

    torch.testing.assert_close(moved(1e-3), moved(1e3), rtol=0.0, atol=1e-3)
