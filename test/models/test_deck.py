"""The deck's network, figure by figure."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn

from depthnet_ros.models.deck import DeckDepthNet


def _of(module: nn.Module, kind: type) -> list:
    return [m for m in module.modules() if isinstance(m, kind)]


def test_encoder_has_eleven_convolutions_with_relu_and_seven_halvings():
    encoder = DeckDepthNet().encoder
    assert len(_of(encoder, nn.Conv2d)) == len(_of(encoder, nn.ReLU)) == 11
    assert len(_of(encoder, nn.AvgPool2d)) == 7


def test_decoder_has_seven_deconvolutions_with_leaky_relu_and_seven_upsamplings():
    decoder = DeckDepthNet().decoder
    assert len(_of(decoder, nn.ConvTranspose2d)) == len(_of(decoder, nn.Upsample)) == 7
    assert len(_of(decoder, nn.LeakyReLU)) == 7


@pytest.mark.parametrize("out_channels", [1, 3])
def test_every_stated_shape(out_channels):
    network = DeckDepthNet(out_channels).eval()
    x = torch.rand(2, 3, 128, 128)
    sizes = []
    for layer in network.encoder:
        x = layer(x)
        sizes.append(x.shape[-1])
    assert sizes == [64, 64, 32, 32, 16, 16, 8, 8, 4, 2, 1]
    assert x.shape == (2, 64, 1, 1)
    sizes = []
    for layer in network.decoder:
        x = layer(x)
        sizes.append(x.shape[-1])
    assert sizes == [2, 4, 8, 16, 32, 64, 128]
    assert x.shape == (2, out_channels, 128, 128)


def test_weights_are_drawn_from_a_normal_distribution_of_0_02():
    torch.manual_seed(1)
    network = DeckDepthNet(3)
    weights = torch.cat(
        [m.weight.flatten() for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    )
    count = weights.numel()
    assert abs(weights.mean()) < 5 * 0.02 / count**0.5
    assert abs(weights.std() / 0.02 - 1) < 5 / (2 * count) ** 0.5
    share = (weights.abs() < 0.02).float().mean()
    assert abs(share - 0.6827) < 0.01  # as a normal distribution has it, not a uniform one
    for norm in _of(network, nn.InstanceNorm2d):
        assert (norm.bias == 0).all() and norm.weight.std() < 0.1


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="128x128"):
        DeckDepthNet()(torch.zeros(1, 3, 64, 64))


def test_every_weight_gets_a_gradient():
    network = DeckDepthNet()
    network(torch.rand(2, 3, 128, 128)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
