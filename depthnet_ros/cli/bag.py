"""``depthnet bag``: evaluate a recording, add depth to it, or make one."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depthnet_ros.bags.evaluate import Progress

OK, INCOMPLETE, THRESHOLD = 0, 3, 4
_EPILOG = f"exit status: {OK} done, 1 error, 2 wrong usage, {INCOMPLETE} incomplete, {THRESHOLD} a --fail-if holds"


def add_parser(subparsers: Any) -> None:
    """Add ``bag`` with its commands."""
    parser = subparsers.add_parser("bag", help="evaluate recordings, add depth to them, or make them")
    commands = parser.add_subparsers(dest="bag_command", required=True, metavar="COMMAND")
    _add_evaluate(commands)
    _add_annotate(commands)
    _add_make(commands)


def run(args: argparse.Namespace) -> int:
    """Run the chosen command; its exit status."""
    from depthnet_ros.memory import keep_freed_memory

    keep_freed_memory()
    command: dict[str, Any] = {"evaluate": _evaluate, "annotate": _annotate, "make": _make}
    before = _unfinished(args)
    try:
        return int(command[args.bag_command](args))
    except BaseException as error:
        left = _unfinished(args)
        if left is not None and before is None and str(left) not in str(error):
            print(f"what was written stays in {left}", file=sys.stderr)
        raise


def _unfinished(args: argparse.Namespace) -> Path | None:
    """The folder that a recording which failed has left, if there is one."""
    from depthnet_ros.bags.writer import unfinished
    from depthnet_ros.files import from_user

    if args.bag_command == "evaluate":
        return None
    folder = unfinished(from_user(args.out))
    return folder if folder.is_dir() else None


def _add_evaluate(commands: Any) -> None:
    from depthnet_ros.cli.bag_options import add_network_options, add_topic_options

    parser = commands.add_parser("evaluate", help="how good is depth on this recording?", epilog=_EPILOG)
    add_topic_options(parser)
    parser.add_argument(
        "--reference", required=True, metavar="TOPIC", help="depth image, PointCloud2 or LaserScan to compare with"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for results.json, frames.csv, report.html"
    )
    parser.add_argument("--tolerance", type=float, default=0.02, metavar="S", help="stamps may differ by this (0.02)")
    parser.add_argument(
        "--extrinsic", metavar="POSE", help="reference sensor in the optical frame: 'x y z roll pitch yaw' (m, rad)"
    )
    parser.add_argument("--reference-unit-m", type=float, default=0.001, metavar="M", help="unit of 16UC1 (0.001)")
    parser.add_argument(
        "--reference-rectified",
        action="store_true",
        help="with rectify: a depth image fits the rectified picture already, not the raw one",
    )
    parser.add_argument("--base-frame", default="base_link", help="of TF, its z = 0 is the ground (base_link)")
    parser.add_argument("--min-depth", type=float, default=0.1, metavar="M", help="nearest reference that counts (0.1)")
    parser.add_argument(
        "--max-depth", type=float, metavar="M", help="farthest (80; where metres are asked for, scale.max_depth_m)"
    )
    parser.add_argument("--boxes", default="", metavar="TOPIC", help="vision_msgs/Detection2DArray of objects")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="KITTI labels: one .txt per image, in their order")
    parser.add_argument(
        "--fail-if", action="append", default=[], metavar="COND", help="such as 'abs_rel>0.2 or scan.false_free>0.05'"
    )
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="picture strips of each kind (6)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_network_options(parser)


def _add_annotate(commands: Any) -> None:
    from depthnet_ros.cli.bag_options import add_network_options, add_topic_options

    parser = commands.add_parser("annotate", help="a new recording with the depth topics added")
    add_topic_options(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="NEW", help=".mcap, .db3 or a folder; must not exist"
    )
    parser.add_argument("--prefix", default="/depthnet", help="put before the names of the added topics (/depthnet)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_network_options(parser)


def _add_make(commands: Any) -> None:
    from depthnet_ros.cli.bag_make import add_options

    add_options(commands.add_parser("make", help="a recording from RGB-D files, stereo files or a rendered scene"))


def _evaluate(args: argparse.Namespace) -> int:
    from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
    from depthnet_ros.bags.reader import BagReader
    from depthnet_ros.bags.topics import resolve_topics
    from depthnet_ros.cli.bag_options import (
        anchor_topics,
        check_between,
        create_estimator,
        navigation_config,
        node_parameters,
        pipeline_options,
    )
    from depthnet_ros.evaluation.report import write_report
    from depthnet_ros.evaluation.results import check_figure_name, write_csv, write_json
    from depthnet_ros.evaluation.session import SessionOptions
    from depthnet_ros.evaluation.thresholds import parse_condition

    conditions = [parse_condition(text) for text in args.fail_if]
    for name in (name for condition in conditions for name in condition.names):
        check_figure_name(name)
    check_between("--tolerance", args.tolerance, 0.0, 3600.0)
    check_between("--min-depth", args.min_depth, 0.0, 1e6)
    check_between("--pictures", args.pictures, 0, 10_000)
    parameters = node_parameters(args)
    if args.max_depth is None:  # what is beyond what is told in metres would be judged in the aligned figures alone
        args.max_depth = 80.0 if parameters["scale.mode"] == "none" else min(80.0, parameters["scale.max_depth_m"])
    check_between("--max-depth", args.max_depth, math.nextafter(args.min_depth, math.inf), 1e6)
    navigation = navigation_config(parameters)
    session = SessionOptions(args.min_depth, args.max_depth, navigation, parameters["points.stride"])
    options = EvaluateOptions(pipeline_options(args, parameters), session, args.pictures)
    folder = _folder(args.out)
    with BagReader(args.bag) as bag:
        topics = resolve_topics(bag, args.image_topic, args.reference, args.info, anchor_topics(args), args.boxes)
        estimator = create_estimator(parameters)
        with _progress(args.quiet) as progress:
            results, album = evaluate_bag(bag, topics, estimator, options, progress)
    write_json(results, folder / "results.json")
    write_csv(results, folder / "frames.csv")
    write_report(results, album, folder / "report.html")
    print(_summary(results, folder))
    figures = results.named_figures()
    failed = [condition for condition in conditions if condition.holds(figures)]
    for condition in failed:
        print(f"FAILED: {condition.explain(figures)}", file=sys.stderr)
    if failed:
        return THRESHOLD
    return OK if results.complete else INCOMPLETE


def _annotate(args: argparse.Namespace) -> int:
    from depthnet_ros.bags.annotate import annotate_bag
    from depthnet_ros.bags.reader import BagReader
    from depthnet_ros.bags.topics import resolve_topics
    from depthnet_ros.cli.bag_options import anchor_topics, create_estimator, node_parameters, pipeline_options

    parameters = node_parameters(args)
    options = pipeline_options(args, parameters)
    with BagReader(args.bag) as bag:
        topics = resolve_topics(bag, args.image_topic, info=args.info, anchors=anchor_topics(args))
        estimator = create_estimator(parameters)
        with _progress(args.quiet) as progress:
            made = annotate_bag(
                bag, topics, estimator, args.out, options, args.prefix, parameters["depth.encoding"], progress
            )
    for topic, count in made.added.items():
        print(f"{topic}  {count}")
    for loss in made.losses:
        print(f"lost: {loss}", file=sys.stderr)
    for reason in made.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    tally = made.tally
    for fault in tally.told():
        print(f"note: {fault}", file=sys.stderr)
    if tally.failed:
        print(f"{tally.failed} of {tally.images} images got no depth", file=sys.stderr)
    return INCOMPLETE if made.losses or made.left_out or tally.failed else OK


def _make(args: argparse.Namespace) -> int:
    from depthnet_ros.cli.bag_make import make

    print(make(args))
    return OK


class _progress:  # noqa: N801  (a context manager used as a function)
    """A progress bar on standard error; nothing where that is no terminal or ``quiet`` is set."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Progress | None:
        if self._quiet:
            return None
        from tqdm import tqdm

        self._bar = tqdm(unit="image", dynamic_ncols=True)
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)


def _folder(path: Path) -> Path:
    from depthnet_ros.errors import BagError

    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass  # before hours of work, not after
    except OSError as error:
        raise BagError(f"cannot write into the folder {path}: {error.strerror or error}") from error
    return path


def _summary(results: Any, folder: Path) -> str:
    counts, figures = results.counts, results.figures
    lines = [f"{counts['evaluated']} of {counts['images']} images compared"]
    for side, title in (("aligned", "aligned"), ("metric", "metric")):
        found = figures[side]
        if found:
            lines.append(
                f"{title:8}  AbsRel {found['abs_rel']:.4f}  delta1 {found['delta1']:.4f}  RMSE {found['rmse']:.3f} m  "
                f"bias {found['bias']:+.4f}"
            )
    if counts["failed"]:
        lines.append(f"{counts['failed']} of {counts['images']} images got no depth")
    if counts["without_reference"]:
        lines.append(f"{counts['without_reference']} of {counts['images']} images had no reference")
    lines += [f"note: {note}" for note in results.notes]
    lines.append(f"{folder / 'report.html'}")
    return "\n".join(lines)
