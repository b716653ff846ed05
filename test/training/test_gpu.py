"""What training does on a CUDA device; ``_limits`` is looked at anywhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.registry import build
from test.training.conftest import written
from training import losses
from training.config import load_config
from training.graphs import GraphedNetwork
from training.networks import make_network
from training.state import load_state
from training.train import train

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_the_limit_of_what_stays_is_that_of_the_loop():
    """Images with all, some, few and no valid pixels; ties; the loop is what a CPU runs."""
    torch.manual_seed(3)
    residual = torch.rand(5, 9, 11)
    residual[1] = residual[1].mul(4).round()
    mask = torch.rand(5, 9, 11) < torch.tensor((1.1, 0.7, 0.4, 0.01, -1.0))[:, None, None]
    for share in (0.0, 0.2, 0.9):
        by_loop = losses._without_largest(residual, mask, share)
        assert torch.equal(mask & (residual <= losses._limits(residual, mask, share)), by_loop)
    assert 0 < by_loop.sum() < mask.sum()


def test_cuda_graphs_without_a_gpu_are_refused(settings: dict[str, Any], tmp_path: Path):
    config = load_config(written(settings, tmp_path), {"run.cuda_graphs": True, "run.device": "cpu"})
    with pytest.raises(ConfigError, match=r"run\.cuda_graphs needs one process on a CUDA device, got 1 on cpu"):
        train(config, tmp_path)


def test_cuda_graphs_do_not_accumulate(settings: dict[str, Any], tmp_path: Path):
    """The gradients of a part lie where the next one's are written."""
    config = load_config(written(settings, tmp_path), {"run.cuda_graphs": True, "run.accumulate": 2})
    with pytest.raises(ConfigError, match=r"run\.cuda_graphs and run\.accumulate do not go together"):
        train(config, tmp_path)


def gradients(network: torch.nn.Module, call: torch.nn.Module, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad(set_to_none=True)
    output = call(image)
    output.float().square().mean().backward()
    return output.detach().float().clone(), {
        name: value.grad.float().clone() for name, value in network.named_parameters() if value.grad is not None
    }


@cuda
def test_graphs_give_what_the_network_gives_and_follow_its_weights():
    torch.manual_seed(0)
    network = build("depthnet", size="small").cuda().to(memory_format=torch.channels_last)
    network.train()
    network.encoder.eval()
    network.encoder.stem.requires_grad_(False)
    graphed = GraphedNetwork(network, "float32")
    for size in ((2, 3, 64, 96), (2, 3, 96, 64), (2, 3, 64, 96)):
        image = torch.randn(size, device="cuda").contiguous(memory_format=torch.channels_last)
        plain, replayed = gradients(network, network, image), gradients(network, graphed, image)
        torch.testing.assert_close(replayed[0], plain[0], rtol=1e-2, atol=1e-3)
        assert replayed[1].keys() == plain[1].keys()
        assert not any(name.startswith("encoder.stem") for name in replayed[1])
        for name, gradient in plain[1].items():
            assert torch.linalg.norm(replayed[1][name] - gradient) <= 0.02 * torch.linalg.norm(gradient) + 1e-6, name
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.01)


@cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_learns_and_is_resumed_on_a_gpu(settings: dict[str, Any], tmp_path: Path, precision: str):
    change = {"run.device": "cuda", "run.precision": precision, "run.cuda_graphs": True}
    config = load_config(written(settings, tmp_path), change)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    train(config, whole)
    train(config, parts, stop_at=3)
    train(config, parts, resume=True)
    torch.manual_seed(config.run.seed)
    start, first, second = (
        torch.cat([value.flatten().double().cpu() for value in state.values() if value.is_floating_point()])
        for state in (make_network(config.model).state_dict(), *(load_state(run)["network"] for run in (whole, parts)))
    )
    assert math.isfinite(float(first.sum()))
    # Kernels add in any order, and RMSprop makes much of little: alike, not the same.
    assert torch.linalg.norm(second - first) < 0.5 * torch.linalg.norm(first - start)
