"""``python -m benchmarks [PART ...]``: measure, and write results.json, results.md and chart.png."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.measure import Check, Part, Settings, machine
from depthnet_ros.errors import DepthNetError
from depthnet_ros.signals import ended_in_order

PARTS = {
    "backends": "benchmarks.network",
    "peers": "benchmarks.network",
    "cost": "benchmarks.network",
    "startup": "benchmarks.network",
    "accuracy": "benchmarks.network",
    "gpu": "benchmarks.gpu",
    "packing": "benchmarks.packing",
    "node": "benchmarks.node",
    "robot": "benchmarks.node",
    "overload": "benchmarks.node",
    "cameras": "benchmarks.node",
    "memory": "benchmarks.node",
    "bag_reading": "benchmarks.bag_reading",
    "bag_memory": "benchmarks.bag_reading",
    "simulation": "benchmarks.simulation",
    "data_path": "benchmarks.data_path",
}
"""Name of each part, a function, and its module."""


def main() -> int:
    """Command line; the status is 0 also where a target is missed: a benchmark tells, tests judge. 1: a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the project costs.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for results (default: out/bench)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real images, with index.csv")
    parser.add_argument("--quick", action="store_true", help="one short round: to try it out, not for figures")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.parts) - set(PARTS)):
        parser.error(f"no part named {', '.join(unknown)}; there are {', '.join(PARTS)}")
    try:
        with ended_in_order():  # the nodes that it has started, too
            return _measure(arguments.parts or list(PARTS), Settings(arguments.data, arguments.quick), arguments.out)
    except KeyboardInterrupt:
        print("benchmarks: stopped; the parts that were done are written", file=sys.stderr)
        return 130


def _measure(names: Sequence[str], settings: Settings, out: Path) -> int:
    about = machine()
    failed: list[str] = []
    for name in names:
        start = time.monotonic()
        function: Callable[[Settings], Part] = getattr(import_module(PARTS[name]), name)
        try:
            part = function(settings)
        except ModuleNotFoundError as error:
            part = Part(name, f"left out: {error.name} is not installed")
        except DepthNetError as error:  # its data is not there, say: no reason to lose the other parts
            part = Part(name, f"left out: {error}")
        except RuntimeError as error:
            failed.append(name)
            part = Part(name, f"failed: {str(error).splitlines()[-1]}")
            print(f"{name} failed: {error}", file=sys.stderr)
        part.machine = about
        merged = _merged(part, out)
        report.write(merged, about, out)
        print(report.markdown([part], about), f"({time.monotonic() - start:.0f} s)\n", flush=True)
    print(f"written to {out}: results.json, results.md, chart.png")
    return 1 if failed else 0


def _merged(part: Part, folder: Path) -> list[Part]:
    """The parts measured before, with this one in its place: parts can be run one by one, and on several machines."""
    parts = {part.name: part}
    path = folder / "results.json"
    if path.is_file():
        before = json.loads(path.read_text())
        for entry in before["parts"]:
            checks = [_check(found) for found in entry.pop("checks")]
            parts.setdefault(entry["name"], Part(**{"machine": before["machine"], **entry}, checks=checks))
    return [parts[name] for name in PARTS if name in parts]


def _check(found: Mapping[str, Any]) -> Check:
    value = float("nan") if found["value"] is None else found["value"]
    return Check(found["what"], value, found["limit"], found["at_most"])


if __name__ == "__main__":
    sys.exit(main())
