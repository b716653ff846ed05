"""``depthnet bag make``: a recording from RGB-D files, from stereo files with disparity, or from a rendered scene."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from depthnet_ros.cli.bag_options import check_between, parse_intrinsics
from depthnet_ros.errors import ConfigError

if TYPE_CHECKING:
    from depthnet_ros.bags.frame_sources import FolderFrames, SceneFrames
    from depthnet_ros.geometry.camera import PinholeCamera

_ASSUMED_FOV_DEG = 70.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, metavar="DIR", help="images with depth or disparity")
    source.add_argument("--scene", help="a rendered scene: room or street")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="NEW", help=".mcap, .db3 or a folder; must not exist"
    )
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="at most so many (scenes: 300)")
    parser.add_argument("--rate", type=float, default=30.0, metavar="HZ", help="images a second (30)")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="of a rendered camera (640x480)")
    parser.add_argument(
        "--fov-deg", type=float, help=f"horizontal, where no intrinsics are given ({_ASSUMED_FOV_DEG:g})"
    )
    parser.add_argument("--intrinsics", metavar="FX,FY,CX,CY", help="in pixels")
    parser.add_argument("--images", default="*.color.*", metavar="GLOB", help="in --folder (*.color.*)")
    parser.add_argument("--depths", default="*.depth.png", metavar="GLOB", help="in --folder (*.depth.png)")
    parser.add_argument("--poses", default="*.pose.txt", metavar="GLOB", help="4 x 4 camera poses (*.pose.txt)")
    parser.add_argument("--unit", type=float, default=0.001, help="metres (or pixels of disparity) per count (0.001)")
    parser.add_argument("--baseline-m", type=float, help="depth files are disparity of such a stereo pair")
    parser.add_argument("--invalid", default="0,65535", metavar="N,N", help="counts without meaning (0,65535)")
    parser.add_argument("--image-format", default="raw", help="raw, jpeg or both (raw)")
    parser.add_argument("--depth-format", default="32FC1", help="32FC1, 16UC1 or compressed (32FC1)")
    parser.add_argument("--extras", default="points,scan,range", help="further topics (points,scan,range)")
    parser.add_argument(
        "--camera-height-m",
        type=float,
        help="of --folder above the ground, for /tf_static (0.5); scenes have their own",
    )
    parser.add_argument("--storage", default="mcap", help="of a folder: mcap or sqlite3 (mcap)")
    parser.add_argument("--compression", default="zstd", help="zstd or none (zstd)")


def make(args: argparse.Namespace) -> str:
    """Write the recording; a line that says what is in it.

    Raises:
        BagError: files that do not match, a name that is not known, a full disk.
        ConfigError: an option that cannot be read.
    """
    from depthnet_ros.bags.make import MakeOptions, make_bag
    from depthnet_ros.bags.writer import BagWriter

    check_between("--rate", args.rate, 1e-3, 1e4)
    guessed = args.folder is not None and not args.intrinsics and args.fov_deg is None
    if args.baseline_m is not None:
        check_between("--baseline-m", args.baseline_m, 1e-6, 1e6)
    if guessed and args.baseline_m is not None:
        raise ConfigError("disparity is turned into depth by the focal length: give --intrinsics, or --fov-deg")
    args.fov_deg = _ASSUMED_FOV_DEG if args.fov_deg is None else args.fov_deg
    check_between("--fov-deg", args.fov_deg, 1.0, 179.0)
    if args.camera_height_m is not None:
        check_between("--camera-height-m", args.camera_height_m, 0.0, 1e4)
        if args.scene is not None:
            raise ConfigError("--camera-height-m is for --folder: a rendered scene's camera has its own height")
    check_between("--unit", args.unit, 1e-9, 1e6)
    check_between("--frames", args.frames, 0, math.inf)
    frames: FolderFrames | SceneFrames
    if args.folder is not None:
        frames, mounting = _folder_frames(args), (0.5 if args.camera_height_m is None else args.camera_height_m, 0.0)
    else:
        frames = _scene_frames(args)
        mounting = frames.camera_height_m, frames.camera_pitch_rad
    extras = tuple(name for name in args.extras.split(",") if name)
    options = MakeOptions(args.image_format, args.depth_format, extras, *mounting)
    with BagWriter(args.out, args.storage, args.compression) as writer:
        count = make_bag(frames, frames.camera, writer, options)
    camera = frames.camera
    height_guessed = args.folder is not None and args.camera_height_m is None
    made = f"{args.out}: {count} frames of {camera.width_px}x{camera.height_px} at {args.rate:g} Hz"
    if guessed:
        made += f"; camera_info is a guess, {_ASSUMED_FOV_DEG:g} degrees across: --intrinsics knows better"
    if height_guessed:
        made += f"; base_link, {mounting[0]:g} m below a level camera, is a guess: --camera-height-m knows better"
    return made


def _folder_frames(args: argparse.Namespace) -> FolderFrames:
    from depthnet_ros.bags.frame_sources import DepthFiles, FolderFrames

    try:
        invalid = tuple(int(part) for part in args.invalid.split(",") if part)
    except ValueError:
        raise ConfigError(f"--invalid takes whole numbers, got {args.invalid!r}") from None
    files = DepthFiles(args.unit, args.baseline_m or 0.0, invalid)
    intrinsics = parse_intrinsics(args.intrinsics) if args.intrinsics else None
    return FolderFrames(
        args.folder,
        args.images,
        args.depths,
        args.poses,
        files,
        args.rate,
        intrinsics,
        math.radians(args.fov_deg),
        args.frames,
    )


def _scene_frames(args: argparse.Namespace) -> SceneFrames:
    from depthnet_ros.bags.frame_sources import SceneFrames

    return SceneFrames(args.scene, _camera(args), args.frames or 300, args.rate)


def _camera(args: argparse.Namespace) -> PinholeCamera:
    from depthnet_ros.geometry.camera import PinholeCamera

    try:
        width, height = (int(part) for part in args.size.lower().split("x"))
    except ValueError:
        raise ConfigError(f"--size takes WxH such as 640x480, got {args.size!r}") from None
    for side in (width, height):
        check_between("--size: each side", side, 16, 1 << 14)
    if args.intrinsics:
        return PinholeCamera(width, height, *parse_intrinsics(args.intrinsics))
    return PinholeCamera.from_fov(width, height, math.radians(args.fov_deg))
