"""Bringing the decoder of trained weights back to moderate activations without changing what the network computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.depthnet import DepthNet, Fuse

STREAM_STD = 2.0
"""Standard deviation that the map handed from one level to the next is brought to, and the head's hidden map."""


@torch.no_grad()
def balance(network: DepthNet, images: Tensor) -> float:
    """Rescale the decoder in place; the output becomes the old one times the returned factor, its spread about one.

    Losses that know no scale let the decoder's activations grow without end, by a factor at every level. The skip
    connections, which come from the encoder at a scale of their own, are then a hundredth of what they are added to,
    and no optimiser brings them back: edges stay blurred. ReLU is positively homogeneous, so a level's scale can be
    taken out of its weights and given back in the next one's.

    Args:
        network: with one output channel.
        images: (B, 3, H, W) normalised, on which the present scales are measured.

    Raises:
        ConfigError: the network has a channel for log sigma, whose scale means something.
    """
    first, last = network.head[0], network.head[-1]
    if not isinstance(last, nn.Conv2d) or last.out_channels != 1:
        raise ConfigError("balance takes a network with one output channel, this one also has log_sigma")
    stds: dict[nn.Module, float] = {}
    handles = [
        module.register_forward_hook(lambda module, _, out: stds.update({module: float(out.std())}))
        for module in (network.bottleneck, *network.fuses, first, network)
    ]
    network(images)
    for handle in handles:
        handle.remove()

    factor = STREAM_STD / stds[network.bottleneck]
    for start in (network.bottleneck, network.context):
        _scale(start, factor, factor)
    for fuse in network.fuses:
        assert isinstance(fuse, Fuse)
        after = STREAM_STD / stds[fuse]
        _scale(fuse.reduce, after / factor, after)
        _scale(fuse.skip, after, after)
        for bias_only in (fuse.refine.first, fuse.refine.second):
            _scale(bias_only, 1.0, after)
        factor = after
    hidden, output = STREAM_STD / stds[first], 1.0 / stds[network]
    _scale(first, hidden / factor, hidden)
    _scale(last, output / hidden, output)
    return output


def _scale(convolution: Any, weight: float, bias: float) -> None:
    convolution.weight.mul_(weight)
    convolution.bias.mul_(bias)
