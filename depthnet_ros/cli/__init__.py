"""The command ``depthnet``: depth from files, without ROS."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from depthnet_ros import __version__
from depthnet_ros.errors import DepthNetError, missing_package
from depthnet_ros.signals import ended_in_order

COMMANDS = ("infer", "bag", "compare", "export", "convert")
"""Modules of this package with ``add_parser(subparsers)`` and ``run(args) -> int``; heavy imports happen in ``run``."""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 all well, 1 something failed, 2 wrong usage."""
    parser = argparse.ArgumentParser("depthnet", description="Depth from one camera, on files.")
    parser.add_argument("--version", action="version", version=f"depthnet_ros {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: import_module(f"depthnet_ros.cli.{name}") for name in COMMANDS}
    for module in modules.values():
        module.add_parser(subparsers)
    args = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        with ended_in_order():
            return int(modules[args.command].run(args))
    except DepthNetError as error:
        print(f"depthnet {args.command}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"depthnet {args.command}: {missing_package(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"depthnet {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder where a file should be: what was tried is in the message
        print(f"depthnet {args.command}: {error}", file=sys.stderr)
        return 1
