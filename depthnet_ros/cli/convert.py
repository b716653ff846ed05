"""``depthnet convert``: a .pt state dict and a specification to a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "convert",
        help="make a checkpoint of a .pt state dict",
        description="Reads a .pt file with weights_only=True, so that it cannot run code; checks every weight's name "
        "and shape against the architecture; writes safetensors with the specification in the header. Needs torch. For "
        "networks of this project's architectures, depthnet and depthnet_deck; all others run as ONNX files with a "
        "YAML beside them (docs/networks.md).",
    )
    parser.add_argument("weights", type=Path, help="the .pt file: a state dict, alone or under the key state_dict")
    parser.add_argument(
        "spec",
        type=Path,
        help="YAML: architecture, arguments, input, output_kind, ...: as weights/depthnet_small.yaml of the repository "
        "(installed: share/depthnet_ros/weights/), or for the deck's network {architecture: depthnet_deck, arguments: "
        "{out_channels: 3}, input: {height_px: 128, width_px: 128}}",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors to write")


def run(args: argparse.Namespace) -> int:
    """Convert; 0 if it worked."""
    import yaml

    from depthnet_ros.errors import ConfigError, WeightsError
    from depthnet_ros.inference.parity import parity_batch
    from depthnet_ros.models.checkpoint import load_weights, output_of, read_pickle, save_checkpoint
    from depthnet_ros.models.registry import ARCHITECTURES, build
    from depthnet_ros.models.spec import ModelSpec

    if args.output.suffix != ".safetensors":
        raise ConfigError(f"--output must end in .safetensors, got {args.output}; `depthnet export` makes an ONNX file")
    try:
        given = yaml.safe_load(args.spec.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WeightsError(f"cannot read the specification {args.spec}: {error}") from error
    spec = ModelSpec.from_dict(given, str(args.spec))
    if spec.architecture not in ARCHITECTURES:
        raise WeightsError(
            f"{args.spec}: expected architecture {' or '.join(ARCHITECTURES)}, got {spec.architecture!r}: "
            "export that network to ONNX with its own code and put this YAML beside it (docs/networks.md)"
        )
    network = build(spec.architecture, **spec.arguments)
    load_weights(network, read_pickle(args.weights), str(args.weights))
    channels = len(output_of(network, parity_batch(spec.input)))
    if spec.log_sigma and channels < 2:
        raise WeightsError(f"{args.spec}: log_sigma needs two output channels, the network gives {channels}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(args.output, network, spec)
    print(f"{args.output}: {spec.architecture}, {sum(p.numel() for p in network.parameters())} parameters")
    return 0
