"""A trained decoder on another encoder: ``python -m training.transplant --config CONFIG --weights A --out B``.

A larger encoder, fresh from ImageNet, would need a decoder trained anew. All that decoder and encoder share are a few
linear maps: bottleneck, context and skips. These are fitted by ridge regression so that the new encoder's maps give
what the old one's gave on the run's own training images; the rest of the decoder is taken over as it is (cf. model
stitching, 2106.07682).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.checkpoint import load_checkpoint, save_checkpoint
from depthnet_ros.models.depthnet import DepthNet
from training.command import command
from training.config import check_paths, load_config
from training.data import BatchSource
from training.networks import make_network, model_spec, with_provenance
from training.outputs import writing

PIXELS_PER_IMAGE = 400
"""How many places of a map are looked at in an image, at most: neighbours tell the same."""
RIDGE = 1e-4
"""Added to the diagonal, as a share of its mean."""


class Regression:
    """Normal equations of the convolution that turns the new encoder's map into what the old convolution gave."""

    def __init__(self, old: nn.Conv2d, new: nn.Conv2d) -> None:
        self.old, self.new = old, new
        rows = new.weight[0].numel() + 1
        self._gram = torch.zeros(rows, rows, dtype=torch.float64)
        self._moment = torch.zeros(rows, old.out_channels, dtype=torch.float64)

    def add(self, old_map: Tensor, new_map: Tensor, generator: torch.Generator) -> None:
        """Take in (B, old channels, h, w) and (B, new channels, h, w)."""
        wanted = self.old(old_map).flatten(2)
        kernel = self.new.kernel_size[0]
        given = F.unfold(new_map, kernel, padding=kernel // 2)
        count = given.shape[2]
        places = torch.randperm(count, generator=generator)[:PIXELS_PER_IMAGE]
        x = given[:, :, places].transpose(1, 2).flatten(0, 1).double()
        y = wanted[:, :, places].transpose(1, 2).flatten(0, 1).double()
        x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
        self._gram += x.T @ x
        self._moment += x.T @ y

    def solve(self) -> None:
        """Write the fitted weights and bias into the new convolution."""
        assert self.new.bias is not None
        ridge = RIDGE * self._gram.diagonal().mean()
        regular = self._gram + ridge * torch.eye(len(self._gram), dtype=torch.float64)
        solution = torch.linalg.solve(regular, self._moment)
        self.new.weight.copy_(solution[:-1].T.reshape(self.new.weight.shape))
        self.new.bias.copy_(solution[-1])


@torch.no_grad()
def transplant(old: DepthNet, new: DepthNet, images: Iterable[Tensor]) -> None:
    """Give ``new``, in place, the decoder of ``old``; the encoders stay as they are.

    Args:
        old: a trained network.
        new: one whose decoder has the same widths.
        images: batches (B, 3, H, W), normalised, on which the linear maps between encoder and decoder are fitted.

    Raises:
        ConfigError: the decoders differ.
    """
    theirs = {name: value for name, value in old.state_dict().items() if name.startswith(("fuses.", "head."))}
    taken = {name: value for name, value in theirs.items() if ".skip." not in name}
    own = new.state_dict()
    if wrong := sorted(name for name, value in taken.items() if name not in own or own[name].shape != value.shape):
        raise ConfigError(f"the decoder of size {old.size!r} does not fit size {new.size!r}: {wrong[0]} differs")
    new.load_state_dict({**own, **taken})
    old.eval()
    new.eval()
    names = ("bottleneck", "context", *(f"fuses.{level}.skip" for level in range(len(new.fuses))))
    fits = [Regression(_convolution(old, name), _convolution(new, name)) for name in names]
    generator = torch.Generator().manual_seed(0)
    for batch in images:
        old_maps, new_maps = _decoder_inputs(old, batch), _decoder_inputs(new, batch)
        for fit, old_map, new_map in zip(fits, old_maps, new_maps, strict=True):
            fit.add(old_map, new_map, generator)
    for fit in fits:
        fit.solve()


def _convolution(network: DepthNet, name: str) -> nn.Conv2d:
    module = network.get_submodule(name)
    assert isinstance(module, nn.Conv2d)
    return module


def _decoder_inputs(network: DepthNet, images: Tensor) -> list[Tensor]:
    """What bottleneck, context and the skips see, in this order."""
    *skips, deepest = network.encoder(images)
    return [deepest, deepest.mean(dim=(2, 3), keepdim=True), *reversed(skips)]


@command()
def main(argv: list[str] | None = None) -> int:
    """Command line of the transplantation."""
    parser = argparse.ArgumentParser(prog="python -m training.transplant", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the run to come: its network, and images to fit on")
    parser.add_argument("--weights", type=Path, required=True, help="the trained network whose decoder is taken over")
    parser.add_argument("--steps", type=int, default=150, help="how many of the run's batches are looked at")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    config = load_config(args.config)
    if args.steps < 1:
        raise ConfigError(f"--steps must be at least 1, got {args.steps}")
    fresh = replace(config.model, weights="", fresh_decoder=False, offset=0.0, balance=False, pretrained_encoder=True)
    config = replace(config, model=fresh)
    check_paths(config)
    old, _ = load_checkpoint(args.weights)
    new = make_network(config.model)
    if not isinstance(old, DepthNet) or not isinstance(new, DepthNet):
        raise ConfigError("a decoder can be taken over between networks of architecture depthnet alone")
    spec = model_spec(config)
    source = BatchSource(config, spec.input)
    steps = min(args.steps, len(source))
    transplant(old, new, (source[step]["image"] for step in tqdm(range(steps), unit="batch", mininterval=5.0)))
    donor = replace(config, model=replace(config.model, weights=str(args.weights)))
    with writing(args.out):
        args.out.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(args.out, new, with_provenance(spec, donor))
    return 0


if __name__ == "__main__":
    sys.exit(main())
