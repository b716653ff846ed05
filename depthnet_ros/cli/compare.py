"""``depthnet compare A.json B.json``: two evaluations side by side."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

WORSE = 4
"""Exit status, that of a threshold which `depthnet bag evaluate` found broken."""


def add_parser(subparsers: Any) -> None:
    """Add ``compare``."""
    parser = subparsers.add_parser("compare", help="two evaluations side by side: is the difference more than noise?")
    parser.add_argument("a", type=Path, help="results.json of `depthnet bag evaluate`")
    parser.add_argument("b", type=Path, help="another one, best of the same recording")
    parser.add_argument("--confidence", type=float, default=0.95, help="of the intervals (0.95)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison there too")
    parser.add_argument(
        "--fail-if-worse", action="append", default=[], metavar="MEASURE", help=f"exit with {WORSE} if B is worse in it"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table; :data:`WORSE` if B is worse, beyond noise, in a measure named by ``--fail-if-worse``."""
    from depthnet_ros.errors import ConfigError
    from depthnet_ros.evaluation.compare import compare, to_table
    from depthnet_ros.evaluation.results import read_json, write_whole

    if not 0.5 <= args.confidence < 1.0:
        raise ConfigError(f"--confidence must lie in 0.5 .. 1, got {args.confidence}")
    found = compare(read_json(args.a), read_json(args.b), args.confidence)
    by_name = {item.name: item for item in found.differences}
    if unknown := [name for name in args.fail_if_worse if name not in by_name]:
        raise ConfigError(f"the two have no measure {unknown}; there are {', '.join(by_name)}")
    print(to_table(found))
    if args.json is not None:
        data = {
            "paired": found.paired,
            "frames": found.frames,
            "confidence": args.confidence,
            "differences": [item.to_dict() for item in found.differences],
            "notes": list(found.notes),
        }
        write_whole(args.json, json.dumps(data, indent=1))
    worse = [name for name in args.fail_if_worse if by_name[name].verdict == "worse"]
    for name in worse:
        print(f"FAILED: B is worse in {name}", file=sys.stderr)
    return WORSE if worse else 0
