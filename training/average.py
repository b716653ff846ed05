"""Average checkpoints of one network: ``python -m training.average A B C --out weights/depthnet_small.safetensors``.

Checkpoints of one run's successive parts lie in one valley of the loss; their mean generalises better than the last of
them (model soups, 2203.05482; stochastic weight averaging, 1803.05407).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from depthnet_ros.errors import WeightsError
from depthnet_ros.models.checkpoint import load_checkpoint, save_checkpoint
from depthnet_ros.models.spec import ModelSpec
from training.command import command
from training.networks import CAMERA_PX, check_size, without_sigma
from training.outputs import writing


def average(
    paths: Sequence[Path],
    out: Path,
    size: tuple[int, int] | None = None,
    zero_sigma: float | None = None,
    depth_alone: bool = False,
) -> ModelSpec:
    """Write the mean of the weights in ``paths``.

    Args:
        paths: checkpoints of one network; a single one, to give it what follows.
        out: where to.
        size: (height, width) of the input, else as the last one has it.
        zero_sigma: what ``benchmarks.view_range --own-zero`` finds, of weights trained with loss ``zero``; None: as the
            last one has it.
        depth_alone: leave out the channel for log sigma of those that have one.

    Raises:
        WeightsError: fewer than two and nothing to change, not readable, or of different architectures.
        ConfigError: the network does not take ``size``.
        OutputError: ``out`` cannot be written.
    """
    loaded = [load_checkpoint(path) for path in paths]
    if depth_alone:
        loaded = [without_sigma(network, spec) for network, spec in loaded]
    specs = [spec for _, spec in loaded]
    changes = size is not None or zero_sigma is not None or depth_alone
    if len(loaded) < 2 - changes or len({_kind(spec) for spec in specs}) > 1:
        raise WeightsError(
            "an average needs two or more checkpoints of one architecture, normalisation and kind of output, got "
            f"{[str(p) for p in paths]}"
        )
    states = [network.state_dict() for network, _ in loaded]
    network, spec = loaded[-1]
    means = {}
    for name, value in states[-1].items():
        total = sum(state[name].double() for state in states) / len(states)
        means[name] = total.to(value.dtype) if value.dtype.is_floating_point else value
    network.load_state_dict(means)
    if size is not None:
        spec = replace(spec, input=replace(spec.input, height_px=size[0], width_px=size[1]))
        check_size(network, spec.input.size_for(*CAMERA_PX), "--size")
    if zero_sigma is not None:
        spec = replace(spec, zero_sigma=zero_sigma)
    parts = [{"file": path.parent.name, **dict(spec.provenance)} for path, spec in zip(paths, specs, strict=True)]
    spec = replace(spec, provenance={"licence": "research use", "average_of": parts})
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(out, network, spec)
    return spec


def _kind(spec: ModelSpec) -> tuple[str, ...]:
    """Equal for networks whose weights mean the same."""
    of_input = (spec.input.mean, spec.input.std, spec.input.color_order)
    return (spec.architecture, str(spec.arguments), str(of_input), spec.output_kind.value)


@command()
def main(argv: list[str] | None = None) -> int:
    """Command line of the average."""
    parser = argparse.ArgumentParser(prog="python -m training.average", description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="input size of the result")
    parser.add_argument("--zero-sigma", type=float, help="how well the result's zero is known; 0: not at all")
    parser.add_argument("--depth-alone", action="store_true", help="leave out the channel for log sigma")
    args = parser.parse_args(argv)
    size = tuple(args.size) if args.size else None
    average(args.checkpoints, args.out, size, args.zero_sigma, args.depth_alone)
    return 0


if __name__ == "__main__":
    sys.exit(main())
