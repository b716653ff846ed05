"""Writes samples of any kind in MegaDepth's layout, so that one path trains on all of them.

``python -m training.datasets.write_megadepth --reader nyu --path nyu_depth_v2_labeled.mat --out DIR``
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import re
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from depthnet_ros.files import written_whole
from depthnet_ros.geometry.camera import PinholeCamera
from training.command import command
from training.datasets.base import READ_ERRORS, READERS, DatasetError, Sample, TargetKind, open_dataset, reader_options
from training.datasets.megadepth import MIN_VALID_SHARE, SPARSE_OPTIONS
from training.datasets.picture_file import write_picture
from training.outputs import OutputError

_JPEG_QUALITY = 95
# A disparity of zero is infinitely far; MegaDepth's 0 means "no depth", so such pixels go to the sky mask.
_SMALLEST_DISPARITY = 1e-6


def write_pair(
    folder: Path,
    stem: str,
    rgb: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera: PinholeCamera | None = None,
) -> None:
    """Writes ``imgs/<stem>.jpg`` and ``depths/<stem>.h5`` below ``folder`` (a ``dense<k>``).

    The h5 has ``/depth`` as MegaDepth's: float32, the image's shape, 0 where there is no depth. Infinite depth is
    additionally kept as ``/sky`` (uint8, 1 = infinitely far) and known intrinsics as the attribute ``intrinsics`` of
    ``/depth`` (fx, fy, cx, cy in pixels); readers of MegaDepth itself pass over both. Each file appears whole or not at
    all, the image last; one of an earlier pair of that name goes first, so that no image has another one's depth.

    Args:
        folder: made where it does not exist.
        stem: file name without its ending.
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32; infinity is sky, NaN and values <= 0 are written as 0.
        camera: of ``rgb``.

    Raises:
        DatasetError: image and depth differ in size, or the image cannot be encoded.
        OSError: a file cannot be written.
    """
    if rgb.shape[:2] != depth.shape:
        raise DatasetError(f"{folder / stem}: image {rgb.shape[:2]} and depth {depth.shape} differ in size")
    sky = np.isposinf(depth)
    _write_files(folder, stem, rgb, np.where(np.isfinite(depth) & (depth > 0), depth, 0), sky, camera)


def _write_files(
    folder: Path,
    stem: str,
    rgb: NDArray[np.uint8],
    values: NDArray[np.float32],
    sky: NDArray[np.bool_],
    camera: PinholeCamera | None,
) -> None:
    target = folder / "imgs" / f"{stem}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    _write_h5(folder / "depths" / f"{stem}.h5", values, sky, camera)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    write_picture(target, bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))


def _write_h5(path: Path, depth: NDArray[np.float32], sky: NDArray[np.bool_], camera: PinholeCamera | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # In memory first: a disk that is full while HDF5 writes to it can end the whole process.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        item = file.create_dataset("depth", data=depth.astype(np.float32), compression="lzf", shuffle=True)
        if camera is not None:
            item.attrs["intrinsics"] = (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px)
        if sky.any():
            file.create_dataset("sky", data=sky.astype(np.uint8), compression="lzf")
        file.flush()
        content = file.id.get_file_image()
    with written_whole(path, durable=False) as unfinished:
        unfinished.write_bytes(content)


def write_sample(out: Path, sample: Sample, written: set[Path] | None = None) -> None:
    """Writes a sample as ``<out>/<dataset>-<scene>/dense0``, its depth in the unit it comes in.

    Where that is no plain name, it is made one, and a mark keeps it apart from others that would be made the same.

    Disparity becomes 1 / disparity (an arbitrary unit, as MegaDepth's own), with a disparity of zero as sky. An ordinal
    map is written with its signs, as MegaDepth keeps them.

    Args:
        out: the root.
        sample: what to write.
        written: pictures that were written before, which this one is added to: of two that would have one name the
            second gets a number.

    Raises:
        DatasetError: the target's zero is arbitrary, so it has no depth (affine disparity, ranks).
        OSError: a file cannot be written.
    """
    folder = out / _scene_folder(sample.dataset, sample.scene) / "dense0"
    stem = _free_stem(folder, _plain(sample.name), set() if written is None else written)
    if sample.kind is TargetKind.ORDINAL:
        signs = np.where(sample.valid_mask, sample.target, 0).astype(np.float32)
        _write_files(folder, stem, sample.rgb, signs, np.zeros(signs.shape, np.bool_), sample.intrinsics)
        return
    if not sample.kind.has_zero:
        raise DatasetError(
            f"{sample.dataset}/{sample.name}: a target of kind {sample.kind.value} has no zero, so it cannot be turned "
            "into the depth that MegaDepth's layout holds; train on it with its own reader"
        )
    depth = sample.target
    if sample.kind is TargetKind.DISPARITY:
        depth = np.where(depth > _SMALLEST_DISPARITY, 1 / np.maximum(depth, _SMALLEST_DISPARITY), np.inf)
    write_pair(folder, stem, sample.rgb, np.where(sample.valid_mask, depth, 0).astype(np.float32), sample.intrinsics)


def _free_stem(folder: Path, wanted: str, written: set[Path]) -> str:
    stem, number = wanted, 1
    while folder / stem in written:
        number += 1
        stem = f"{wanted}_{number}"
    written.add(folder / stem)
    return stem


def _unmarked(out: Path, scenes: set[tuple[str, str]], written: set[Path]) -> list[str]:
    """Folders in ``out`` that an earlier version may have written of ``scenes`` (data set, scene), which have others by
    now; not those of other scenes that were ``written`` by this one.
    """
    now = {picture.relative_to(out).parts[0] for picture in written}
    before = {_plain(f"{dataset}-{scene}") for dataset, scene in scenes} - now
    return sorted(name for name in before if (out / name / "dense0").is_dir())


def _scene_folder(dataset: str, scene: str) -> str:
    """Of each scene another one: two in one folder would be one to what splits by scenes."""
    plain = _plain(f"{dataset}-{scene}")
    if plain == f"{dataset}-{scene}" and "-" not in dataset:
        return plain
    mark = hashlib.sha256("\n".join((dataset, scene)).encode()).hexdigest()[:8]
    return f"{plain}-{mark}"


def _plain(text: str) -> str:
    """A name usable as one path component on any system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "_"


@command()
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write any reader's samples in MegaDepth's layout.")
    parser.add_argument("--reader", choices=sorted(READERS), required=True)
    parser.add_argument("--path", type=Path, required=True, help="where the reader's data are")
    parser.add_argument("--options", default="{}", help="the reader's: {name: rooms}")
    parser.add_argument("--split", choices=("train", "val", "all"), default="all")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    left_out: list[str] = []
    written: set[Path] = set()
    scenes: set[tuple[str, str]] = set()
    sparse = 0
    dataset = open_dataset(args.reader, args.path, args.split, reader_options(args.options))
    for index in tqdm(range(len(dataset)), unit="sample"):
        try:
            sample = dataset[index]
            sample.check()
        except READ_ERRORS as error:
            left_out.append(f"{type(error).__name__}: {error}")
            continue
        try:
            write_sample(args.out, sample, written)
            scenes.add((sample.dataset, sample.scene))
            sparse += sample.kind is not TargetKind.ORDINAL and sample.valid_mask.mean() < MIN_VALID_SHARE
        except DatasetError as error:  # this one cannot be in the layout; a disk that takes nothing ends the work
            left_out.append(f"{type(error).__name__}: {error}")
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                left_out.append(f"{sample.dataset}/{sample.name}: too long a name for a file")
                continue
            raise OutputError(
                f"{sample.dataset}/{sample.name} cannot be written to {args.out} ({error}): {index - len(left_out)} "
                "were written; make room and run the same command again"
            ) from error
    print(f"{len(dataset) - len(left_out)} written, {len(left_out)} left out")
    if sparse:
        print(
            f"{sparse} have a truth for less than {MIN_VALID_SHARE:.0%} of their pixels: to train on them give the "
            f"reader megadepth the options {SPARSE_OPTIONS}"
        )
    if unmarked := _unmarked(args.out, scenes, written):
        some = ", ".join(unmarked[:3]) + " ..." * (len(unmarked) > 3)
        print(
            f"warning: {args.out} has {some}, as earlier versions named {len(unmarked)} of these scenes: remove what "
            "they wrote, or its pictures count twice",
            file=sys.stderr,
        )
    for line in left_out[:20]:
        print(f"  {line}")
    return 0 if len(left_out) < len(dataset) else 1


if __name__ == "__main__":
    sys.exit(main())
