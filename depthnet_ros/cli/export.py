"""``depthnet export``: a checkpoint becomes an ONNX file that runs without torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="write a checkpoint as ONNX, with its specification and parity reference",
        description="Writes NAME.onnx, NAME.yaml and NAME.parity.npz, after proving that ONNX Runtime computes what "
        "torch does; with --int8 also NAME.int8.onnx. Needs torch and onnx; --int8 needs nncf.",
    )
    parser.add_argument("weights", nargs="?", type=Path, help="checkpoint (.safetensors) or name of a shipped one")
    parser.add_argument("-o", "--output", type=Path, help="the .onnx to write; default: beside the checkpoint")
    parser.add_argument(
        "--int8",
        type=Path,
        metavar="IMAGES",
        help="also quantise to 8 bits; a folder of colour images to calibrate with, or a CSV with a column `image`",
    )
    parser.add_argument("--calibration-images", type=int, default=128, metavar="N", help="how many (default: 128)")
    parser.add_argument("--float32-storage", action="store_true", help="keep weights in float32: twice the file")


def run(args: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    from depthnet_ros.errors import BackendError, ConfigError
    from depthnet_ros.inference.network_files import INT8_SUFFIX, find_network, weights_path
    from depthnet_ros.inference.weights import default_weights

    try:
        from depthnet_ros.inference.export import export_checkpoint
    except ModuleNotFoundError as error:
        raise BackendError(f"export needs {error.name}, which is not installed: pip install torch onnx") from error
    if args.calibration_images < 1:
        raise ConfigError(f"--calibration-images must be 1 or more, got {args.calibration_images}")
    weights = weights_path(args.weights) if args.weights else default_weights()
    target = args.output or weights.with_suffix(".onnx")
    export_checkpoint(weights, target, half_storage=not args.float32_storage)
    written = [target]
    int8 = target.with_suffix(INT8_SUFFIX)
    if int8.is_file() and not args.int8 and find_network(target).int8_onnx is None:
        print(f"{int8} is of other weights and not used any more: give --int8 to make it anew", file=sys.stderr)
    if args.int8:
        try:
            from depthnet_ros.inference.quantize import quantize_export
        except ModuleNotFoundError as error:
            raise BackendError(f"--int8 needs {error.name}, which is not installed: pip install nncf") from error
        written.append(quantize_export(target, args.int8, args.calibration_images))
    for path in written:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB), parity with torch proven")
    return 0
