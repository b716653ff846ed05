"""``depthnet export``: a checkpoint becomes an ONNX file that runs without torch."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="write a checkpoint as ONNX, with its specification and parity reference",
        description="Writes NAME.onnx, NAME.yaml and NAME.parity.npz, after proving that ONNX Runtime computes what "
        "torch does; with --int8 also NAME.int8.onnx. Needs torch and onnx; --int8 needs nncf.",
    )
    parser.add_argument("weights", nargs="?", type=Path, help="checkpoint (.safetensors); default: the shipped one")
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
    from depthnet_ros.errors import BackendError
    from depthnet_ros.inference.weights import default_weights

    try:
        from depthnet_ros.inference.export import export_checkpoint
    except ModuleNotFoundError as error:
        raise BackendError(f"export needs {error.name}, which is not installed: pip install torch onnx") from error
    weights = args.weights or default_weights()
    target = args.output or weights.with_suffix(".onnx")
    export_checkpoint(weights, target, half_storage=not args.float32_storage)
    written = [target]
    if args.int8:
        try:
            from depthnet_ros.inference.quantize import quantize_export
        except ModuleNotFoundError as error:
            raise BackendError(f"--int8 needs {error.name}, which is not installed: pip install nncf") from error
        written.append(quantize_export(target, args.int8, args.calibration_images))
    for path in written:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB), parity with torch proven")
    return 0
