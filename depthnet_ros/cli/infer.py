"""``depthnet infer``: relative inverse depth of pictures, as arrays, colours or point clouds."""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthnet_ros.cli.bag_options import add_network_options, create_estimator
from depthnet_ros.errors import BackendError, CameraInfoError, ConfigError, ImageError
from depthnet_ros.files import written_whole
from depthnet_ros.inference.weights import DEFAULT_NAME, ENSEMBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from depthnet_ros.geometry.camera import PinholeCamera
    from depthnet_ros.inference.ensemble import DepthEnsemble
    from depthnet_ros.inference.estimator import DepthEstimator
    from depthnet_ros.inference.postprocess import DepthPrediction
    from depthnet_ros.sources import SourceFrame

_INPUT = "IMAGE|FOLDER|VIDEO"
_ASSUMED_FOV_DEG = 60.0
_GIVE_UP_AFTER = 3  # pictures on which the network failed, if it worked on none
_COUNT_SLACK = 2
_ENDINGS, _LONGEST_NAME = (".npy", ".depth.png", ".ply"), 255


def add_parser(subparsers: Any) -> None:
    """Add ``infer``."""
    parser = subparsers.add_parser(
        "infer",
        help="depth of pictures, folders and videos",
        description="Without --npy, --color or --ply, colours are written. Pictures are turned as EXIF says, but not "
        "for --ply where a camera_info.yaml lies beside them.",
    )
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument("input", nargs="?", metavar=_INPUT, help="also a recording, a pattern, or scene:room")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--npy",
        action="store_true",
        help="NAME.npy: float32 of the picture's size, relative inverse depth, larger is nearer, known up to scale and "
        "shift; of a network that claims metres 1/m, and NaN where it claims none",
    )
    parser.add_argument("--color", action="store_true", help="NAME.depth.png: the same in colours, near is bright")
    parser.add_argument("--ply", action="store_true", help="NAME.ply: point cloud, in arbitrary units unless metric")
    parser.add_argument(
        "--fov",
        type=float,
        metavar="DEG",
        help=f"horizontal field of view for --ply, in the place of a calibration ({_ASSUMED_FOV_DEG:g})",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="as the node does it, with one network; else the mean of several networks' depth of the picture and of "
        "its mirror image is written, in float32, which is more accurate and takes many times as long",
    )
    parser.add_argument("--topic", default="", help="image topic of a recording")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N pictures")
    several = f"checkpoints, exported networks or names of shipped ones; default: {' '.join(ENSEMBLE)}"
    add_network_options(parser, weights={"nargs": "+", "metavar": "WEIGHTS", "help": several})


def run(args: argparse.Namespace) -> int:
    """Write what was asked for; 1 if any picture could not be read, or there are fewer than the source says."""
    from tqdm import tqdm

    from depthnet_ros.sources import SourceOptions, open_source

    if args.fov is not None and not 0.0 < args.fov < 180.0:
        raise ConfigError(f"--fov must lie between 0 and 180 degrees, got {args.fov:g}")
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit must be 1 picture or more, got {args.limit}; without it all are taken")
    _find_input(args)
    options = SourceOptions(
        horizontal_fov_rad=math.radians(args.fov or 0.0),
        topic=args.topic,
        calibrated=args.ply and not args.fov,
        upright=True,
    )
    source = open_source(args.input, options)
    if source.endless and not args.limit:
        raise ConfigError(f"{source.description} has no end: say how many pictures with --limit")
    print(source.description, file=sys.stderr)
    estimator = _estimator(args)
    _make_folder(args.out)
    total = min(source.count or sys.maxsize, args.limit or sys.maxsize)
    shown = {"total": total if total < sys.maxsize else None, "unit": "picture", "desc": args.input, "disable": None}
    with tqdm(islice(source, args.limit or None), **shown) as frames:
        done, failed = _infer_all(args, frames, estimator, lambda line: tqdm.write(line, file=sys.stderr))
    estimator.close()
    source.close()
    print(f"{done} of {done + failed} pictures written to {args.out}" + (f", {failed} left out" if failed else ""))
    for loss in source.losses:
        print(loss, file=sys.stderr)
    missing = total - done - failed if source.count else 0
    if missing > 0 and not source.losses:  # which say it of a video
        print(f"{args.input} says that it has {missing} more: it is damaged or ends early", file=sys.stderr)
    ends_early = missing > max(_COUNT_SLACK, 0.02 * total)  # containers miscount a little
    return 0 if done and not (failed or ends_early or source.losses) else 1


def _infer_all(
    args: argparse.Namespace,
    frames: Iterable[SourceFrame],
    estimator: DepthEstimator | DepthEnsemble,
    say: Callable[[str], None],
) -> tuple[int, int]:
    """Write the results of each picture; returns how many were written and how many left out.

    Raises:
        BackendError: the network failed on the first few pictures.
    """
    noted = ""
    failed = network_failed = done = 0
    for frame in frames:
        try:
            _check_name(frame.name)
            rgb = frame.rgb()
            prediction = estimator.infer(rgb)
            camera = _cloud_camera(frame, rgb, args.fov) if args.ply else None
            note = _cloud_note(frame) if args.ply and not args.fov else ""
        except (ImageError, BackendError, CameraInfoError) as error:
            failed += 1
            network_failed += isinstance(error, BackendError)  # on a black picture, say; on all: it is the network
            if network_failed >= _GIVE_UP_AFTER and not done:
                raise
            say(f"left out: {frame.name}: {error}")
            _remove_older(args, frame.name)
            continue
        if note not in ("", noted):
            noted = note
            say(note)
        for doubt in _doubts(rgb, prediction):
            say(f"{frame.name}: {doubt}")
        _write(args, frame.name, camera, rgb, prediction)
        done += 1
    return done, failed


def _doubts(rgb: NDArray[np.uint8], prediction: DepthPrediction) -> Iterator[str]:
    """What people should know of one picture's depth."""
    from depthnet_ros.imaging import few_greys

    if prediction.misses_much:
        yield f"the network gives no depth for {prediction.unknown_share:.0%} of it: NaN"
    if greys := few_greys(rgb):
        yield f"it has {greys}: there is little to see; sensors of 10 or 12 bits come out so in files of 16"


def _find_input(args: argparse.Namespace) -> None:
    """``--weights`` takes all words that follow: the last of several is the input where that is missing."""
    if args.input is None and len(args.weights or ()) > 1:
        *args.weights, args.input = args.weights
    if args.input is None:
        args.wrong_usage(f"{_INPUT} is required; --weights takes all words that follow it, so put it before")


def _check_name(name: str) -> None:
    """Raises ImageError if results cannot have that name."""
    longest = os.fsencode(max((Path(name).name + ending for ending in _ENDINGS), key=len))
    if len(longest) > _LONGEST_NAME:
        raise ImageError(f"its results' names would have {len(longest)} bytes, of at most {_LONGEST_NAME}")


def _remove_older(args: argparse.Namespace, name: str) -> None:
    """What this run would have written over: an earlier run's result would be taken for this one's."""
    for ending, asked in zip(_ENDINGS, (args.npy, _wants_colours(args), args.ply), strict=True):
        if asked:
            with suppress(OSError):
                (args.out / (name + ending)).unlink(missing_ok=True)


def _wants_colours(args: argparse.Namespace) -> bool:
    return bool(args.color or not (args.npy or args.ply))


def _estimator(args: argparse.Namespace) -> DepthEstimator | DepthEnsemble:
    """What computes depth: one network as the node does, else the mean of those given, or of the shipped ones.

    Raises:
        ConfigError: several networks, but ``--once``, or one of them claims metres.
        WeightsError, BackendError: as :meth:`DepthEstimator.from_weights`.
    """
    from depthnet_ros.inference.ensemble import DepthEnsemble
    from depthnet_ros.parameters import check_values

    weights = args.weights or (("",) if args.once else ENSEMBLE)
    if args.once and len(weights) > 1:
        raise ConfigError("--once computes what the node does, with one network: give --weights one")
    names = ("backend", "device", "precision", "threads")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if not args.once:  # there is time
        given.setdefault("precision", "float32")
    first, *others = (check_values({**given, "weights": one}) for one in weights)
    estimators = [create_estimator(first)]
    try:
        estimators += [create_estimator(parameters) for parameters in others]
    except BackendError as error:
        if args.weights:
            raise
        raise BackendError(f"{error}; --once runs {DEFAULT_NAME} alone") from error
    for estimator in estimators:
        backend = estimator.backend
        why = backend.choice_reason.describe()
        what = f"{estimator.name}: {backend.name} in {backend.precision} on {backend.device}"
        print(what + (f" ({why})" if why else ""), file=sys.stderr)
    return estimators[0] if args.once else DepthEnsemble(estimators)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {path}: {error}") from error


def _cloud_camera(frame: SourceFrame, rgb: NDArray[np.uint8], fov_deg: float | None) -> PinholeCamera:
    """The camera of a picture: of this field of view, else of its calibration, else of an assumed field of view.

    Raises:
        CameraInfoError: the calibration cannot be used, or is for pictures of another size.
    """
    from depthnet_ros.geometry.camera import PinholeCamera

    size = (rgb.shape[1], rgb.shape[0])
    known = frame.calibration
    if fov_deg or known is None:
        return PinholeCamera.from_fov(*size, math.radians(fov_deg or _ASSUMED_FOV_DEG))
    if (known.width_px, known.height_px) != size:
        calibrated = f"{known.width_px}x{known.height_px}"
        raise CameraInfoError(f"it is {size[0]}x{size[1]}, its calibration for {calibrated}: give --fov in its place")
    return known.camera


def _cloud_note(frame: SourceFrame) -> str:
    """What a cloud lacks: a calibration, or a picture without lens distortion; empty where it lacks nothing."""
    from depthnet_ros.geometry.lens import WORTH_SAYING_PX

    if (known := frame.calibration) is None:
        return (
            f"no calibration: clouds are made with a horizontal field of view of {_ASSUMED_FOV_DEG:g} degrees (--fov)"
        )
    try:
        shift_px = known.lens.largest_shift_px()
    except CameraInfoError as error:
        return f"the lens is not known, clouds of raw pictures may come out bent: {error}"
    if shift_px <= WORTH_SAYING_PX:
        return ""
    return (
        f"by its calibration rectifying would move pixels by up to {shift_px:.0f} px: clouds of raw pictures come out "
        "bent; rectify them first"
    )


def _write(
    args: argparse.Namespace,
    name: str,
    camera: PinholeCamera | None,
    rgb: NDArray[np.uint8],
    prediction: DepthPrediction,
) -> None:
    import numpy as np

    from depthnet_ros.visualization.color import colorize
    from depthnet_ros.visualization.picture import write_picture

    inverse_depth = prediction.at_source()
    if Path(name).parent != Path():
        _make_folder((args.out / name).parent)
    if args.npy:
        path = args.out / f"{name}.npy"
        try:
            with written_whole(path, durable=False) as unfinished, unfinished.open("wb") as file:
                np.save(file, inverse_depth)
        except OSError as error:  # numpy's own says neither file nor reason
            full = ": is the disk full?" if error.errno in (None, errno.ENOSPC) else ""
            raise ImageError(f"cannot write {path}: {error.strerror or error}{full}") from error
    if _wants_colours(args):
        write_picture(args.out / f"{name}.depth.png", colorize(inverse_depth))
    if camera is not None:
        _write_cloud(args.out / f"{name}.ply", camera, rgb, inverse_depth, prediction.metric)


def _write_cloud(
    path: Path, camera: PinholeCamera, rgb: NDArray[np.uint8], inverse_depth: NDArray[np.float32], metric: bool
) -> None:
    import numpy as np

    from depthnet_ros.visualization.cloud import relative_cloud_depth, write_ply

    if metric:
        with np.errstate(divide="ignore"):
            depth = np.where(inverse_depth > 0, 1.0 / inverse_depth, np.nan)
    else:
        depth = relative_cloud_depth(inverse_depth)
    write_ply(path, camera.unproject(depth.astype(np.float32)), rgb, "metres" if metric else "arbitrary")
