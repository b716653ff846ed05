"""The demo as a program: two nodes in processes of their own, this one listens and writes the report."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from depthnet_ros.demo.record import Record
from depthnet_ros.demo.report import progress_line, remove_report, write_report
from depthnet_ros.demo.scaling import SONAR_REMAP, scale_parameters
from depthnet_ros.demo.session import GraphDomain, NodeProcess
from depthnet_ros.errors import ConfigError, DepthNetError
from depthnet_ros.signals import ended_in_order
from depthnet_ros.sources import Source, open_source
from depthnet_ros.sources.files import ImageFiles
from depthnet_ros.sources.scene import RenderedScene
from depthnet_ros.visualization.table import format_table

_FIRST_DEPTH_WITHIN_S = 90.0
_RATE_HZ = 15.0
# A planner's cloud holds obstacles only; people want to see floor and ceiling too.
_WHOLE_CLOUD = {
    "nav.min_height_m": -5.0,
    "nav.max_height_m": 20.0,
    "nav.max_range_m": 20.0,
    "nav.min_confidence": 0.0,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if depth arrived, else 1 with the reason."""
    parser = argparse.ArgumentParser("python -m depthnet_ros.demo", description=__doc__)
    parser.add_argument("--input", default="", help="what camera_replay takes; default: the rendered room")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to record, from the first depth on")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results")
    parser.add_argument("--rate", type=float, default=0.0, help="pictures per second; default: the source's own, or 15")
    parser.add_argument("--pictures", type=int, default=5, help="rows of side_by_side.png, spread over the time")
    parser.add_argument("--weights", default="", help="as the node's parameter")
    parser.add_argument("--backend", default="auto", help="as the node's parameter")
    parser.add_argument("--device", default="auto", help="as the node's parameter")
    parser.add_argument("--threads", type=int, default=0, help="as the node's parameter")
    args = parser.parse_args(arguments)
    try:
        with ended_in_order():  # the nodes that it has started, too
            return _run(args)
    except DepthNetError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(args: argparse.Namespace) -> int:
    numbers = math.isfinite(args.seconds) and math.isfinite(args.rate)
    if not numbers or args.seconds <= 0 or args.rate < 0 or args.pictures < 1:
        raise ConfigError(
            "--seconds and --pictures must be positive numbers and --rate one that is not negative, "
            f"got {args.seconds}, {args.pictures} and {args.rate}"
        )
    source = open_source(args.input)  # a wrong input is told before anything starts
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {args.out}: {error}") from error
    remove_report(args.out)
    source.close()
    with ExitStack() as stack:
        domain = stack.enter_context(GraphDomain())
        print(
            f"ROS graph of its own, domain {domain.id}: camera_replay ({source.description}) -> depthnet_node",
            flush=True,
        )
        return _record(args, source, stack)


def _record(args: argparse.Namespace, source: Source, stack: ExitStack) -> int:
    try:
        from depthnet_ros.demo.recorder import DemoRecorder
    except ImportError as error:
        raise ConfigError(
            f"no ROS here ({error}): source a ROS 2 installation or pip install -r requirements/ros.txt"
        ) from error
    recorder = DemoRecorder(args.pictures, args.seconds)
    stack.callback(recorder.close)
    network = {name: getattr(args, name) for name in ("weights", "backend", "device", "threads")}
    parameters = {**network, **scale_parameters(source), **_WHOLE_CLOUD, "diagnostics_period_s": 0.5}
    nodes = [
        NodeProcess("depthnet_node", parameters, args.out / "depthnet_node.log", [SONAR_REMAP]),
        NodeProcess("camera_replay", _replay(args, source), args.out / "camera_replay.log"),
    ]
    for node in nodes:
        stack.enter_context(node)  # starts it

    def problem() -> str:
        return next((f"{node.name} ended with status {node.ended}" for node in nodes if node.ended is not None), "")

    reason = recorder.run(_FIRST_DEPTH_WITHIN_S, problem, _tell)
    if reason:
        print(f"demo: {reason}", file=sys.stderr)
        for node in nodes:
            print(f"  {node.name} said last:\n{node.last_lines()}", file=sys.stderr)
        print(f"  diagnostics: {recorder.record.camera.get('message', 'none received')}", file=sys.stderr)
        return 1
    rows = write_report(recorder.record, source.description, args.out)
    print(format_table(("", "this run"), rows))
    print(f"pictures, cloud and table are in {args.out}/")
    return 0


def _tell(record: Record) -> None:
    print(progress_line(record), flush=True)


def _replay(args: argparse.Namespace, source: Source) -> dict[str, Any]:
    own_times = not isinstance(source, (RenderedScene, ImageFiles))
    rate = args.rate or (0.0 if own_times else _RATE_HZ)
    return {"input": args.input, "wait_for_subscriber": True, "rate_hz": rate}


if __name__ == "__main__":
    sys.exit(main())
