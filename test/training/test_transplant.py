"""A decoder under another encoder: the same function where the encoder is the same, near it where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.checkpoint import load_checkpoint, save_checkpoint
from depthnet_ros.models.depthnet import DepthNet
from depthnet_ros.models.spec import InputSpec, ModelSpec
from test.training.conftest import written
from training import transplant as command
from training.transplant import transplant


def images(count: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    coarse = [torch.randn(2, 3, 8, 10, generator=generator) for _ in range(count)]
    return [torch.nn.functional.interpolate(image, size=(64, 96), mode="bilinear") for image in coarse]


def trained(seed: int = 0, size: str = "small") -> DepthNet:
    """Weights that are not what a new network starts with."""
    torch.manual_seed(seed)
    return DepthNet(size).eval()


def test_the_same_encoder_gives_the_same_network():
    old, new = trained(0), trained(1)
    new.encoder.load_state_dict(old.encoder.state_dict())
    batch = images()
    with torch.no_grad():
        before = (old(batch[0]) - new(batch[0])).abs().mean() / old(batch[0]).std()
        transplant(old, new, batch)
        after = (old(batch[0]) - new(batch[0])).abs().mean() / old(batch[0]).std()
    assert after < 0.02 < before


def test_another_encoder_is_fitted_to_what_the_old_one_gave():
    old, new = trained(0), trained(1, "base")
    encoder = {name: value.clone() for name, value in new.encoder.state_dict().items()}
    batch = images()
    transplant(old, new, batch)
    assert all(torch.equal(value, encoder[name]) for name, value in new.encoder.state_dict().items())
    with torch.no_grad():
        wanted = torch.cat([old(image) for image in batch]).flatten()
        found = torch.cat([new(image) for image in batch]).flatten()
    assert torch.corrcoef(torch.stack((wanted, found)))[0, 1] > 0.8


def test_a_decoder_of_another_width_is_refused():
    old, new = trained(0), trained(1)
    new.head[0] = torch.nn.Conv2d(24, 24, 3, padding=1)
    with pytest.raises(ConfigError, match=r"does not fit size 'small': head\.0\.bias differs"):
        transplant(old, new, images(1))


def test_command_line(
    tmp_path: Path,
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    weights = tmp_path / "old.safetensors"
    save_checkpoint(weights, trained(), ModelSpec("depthnet", InputSpec(64, 96), arguments={"size": "small"}))
    out = tmp_path / "new" / "weights.safetensors"
    monkeypatch.setattr("training.networks.pretrained_encoder", lambda size: DepthNet(size).encoder.state_dict())
    settings["model"] |= {"architecture": "depthnet", "arguments": {"size": "base"}}
    path = written(settings, tmp_path)
    arguments = ["--config", str(path), "--weights", str(weights), "--steps", "2", "--out", str(out)]
    assert command.main(arguments) == 0, capsys.readouterr().err
    network, spec = load_checkpoint(out)
    assert isinstance(network, DepthNet)
    assert network.size == "base" and spec.provenance["step"] == 0
    assert spec.provenance["recipe"]["weights"] == "old.safetensors"
    assert command.main([*arguments[:5], "0", *arguments[6:]]) == 1
    assert "--steps must be at least 1" in capsys.readouterr().err
    assert command.main([*arguments[:3], str(tmp_path / "none.safetensors"), *arguments[4:]]) == 1
    assert "error:" in capsys.readouterr().err
