"""The average of checkpoints is their mean, with the provenance of all of them; others are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from depthnet_ros.errors import ConfigError, WeightsError
from depthnet_ros.models.checkpoint import load_checkpoint, save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from training.average import average


def test_mean_of_weights_and_provenance(tmp_path: Path):
    paths = []
    for index in range(3):
        torch.manual_seed(index)
        paths.append(tmp_path / f"{index}.safetensors")
        spec = ModelSpec("depthnet", InputSpec(64, 64), provenance={"step": index})
        save_checkpoint(paths[-1], build("depthnet"), spec)
    average(paths, tmp_path / "mean.safetensors", size=(64, 96), zero_sigma=0.3)
    network, spec = load_checkpoint(tmp_path / "mean.safetensors")
    states = [load_checkpoint(path)[0].state_dict() for path in paths]
    for name, value in network.state_dict().items():
        parts = torch.stack([state[name] for state in states])
        torch.testing.assert_close(value, parts.double().mean(dim=0).to(value.dtype))
    assert (spec.input.height_px, spec.input.width_px) == (64, 96)
    assert spec.zero_sigma == 0.3
    assert [part["step"] for part in spec.provenance["average_of"]] == [0, 1, 2]


def test_one_or_different_networks_are_refused(tmp_path: Path):
    for channels in (1, 3):
        arguments = {"out_channels": channels}
        spec = ModelSpec("depthnet_deck", InputSpec(128, 128), arguments=arguments)
        save_checkpoint(tmp_path / f"{channels}.safetensors", build("depthnet_deck", **arguments), spec)
    paths = [tmp_path / "1.safetensors", tmp_path / "3.safetensors"]
    for wrong in (paths, paths[:1]):
        with pytest.raises(WeightsError, match="two or more checkpoints of one architecture"):
            average(wrong, tmp_path / "mean.safetensors")


def test_one_network_is_given_its_zero(tmp_path: Path):
    path = tmp_path / "one.safetensors"
    save_checkpoint(path, build("depthnet_deck"), ModelSpec("depthnet_deck", InputSpec(128, 128)))
    average([path], tmp_path / "out.safetensors", zero_sigma=0.3)
    network, spec = load_checkpoint(tmp_path / "out.safetensors")
    torch.testing.assert_close(network.state_dict(), load_checkpoint(path)[0].state_dict(), rtol=0, atol=0)
    assert spec.zero_sigma == 0.3


def test_networks_of_another_normalisation_are_not_averaged(tmp_path: Path):
    for name, mean in (("a", (0.5, 0.5, 0.5)), ("b", (0.485, 0.456, 0.406))):
        spec = ModelSpec("depthnet_deck", InputSpec(128, 128, mean=mean))
        save_checkpoint(tmp_path / f"{name}.safetensors", build("depthnet_deck"), spec)
    with pytest.raises(WeightsError, match="of one architecture, normalisation"):
        average([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "mean.safetensors")


def test_a_size_that_the_network_does_not_take_is_named(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, build("depthnet_deck"), ModelSpec("depthnet_deck", InputSpec(128, 128, keep_aspect=False)))
    with pytest.raises(ConfigError, match="--size: 64x128: depthnet_deck takes 128x128 images"):
        average([path], tmp_path / "out.safetensors", size=(64, 128))
    assert not (tmp_path / "out.safetensors").exists()


def test_the_channel_for_log_sigma_can_be_left_out(tmp_path: Path):
    """Of a run that learnt it beside depth: depth stays the same, and averages with networks that never had it."""
    for name, arguments in (("sigma", {"log_sigma": True}), ("plain", {})):
        spec = ModelSpec("depthnet", InputSpec(64, 96), log_sigma=bool(arguments), arguments=arguments)
        save_checkpoint(tmp_path / f"{name}.safetensors", build("depthnet", **arguments), spec)
    average([tmp_path / "sigma.safetensors"], tmp_path / "depth.safetensors", depth_alone=True)
    (network, _), (depth, spec) = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("sigma", "depth"))
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(depth.eval()(image), network.eval()(image)[:, :1])
    assert not spec.log_sigma
    paths = [tmp_path / "plain.safetensors", tmp_path / "sigma.safetensors"]
    with pytest.raises(WeightsError, match="kind of output"):
        average(paths, tmp_path / "mean.safetensors")
    average(paths, tmp_path / "mean.safetensors", depth_alone=True)
    assert not load_checkpoint(tmp_path / "mean.safetensors")[1].log_sigma
