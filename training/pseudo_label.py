"""Depth for pictures that have none: ``python -m training.pseudo_label --images DIR --dataset NAME --out photos``.

The mean of several networks, and of each one's depth of the mirror image, errs less than any of them. Written beside
the pictures it is a truth to train on: a network that has to give, for a crop in other colours, blurred and turned,
what the mean gave for the whole clean picture learns what no labelled data set shows (noisy student, 1911.04252; Depth
Anything, 2401.10891). So a robot's own recordings can be trained on, without any depth sensor.

Where the networks disagree with each other nothing is written, and a picture on most of which they do is left out. The
result is an ``index.csv`` of kind ``disparity_pseudo`` (inverse depth, scale and zero arbitrary). An interrupted run
goes on where it stopped; further folders are added to the same index.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from depthnet_ros.errors import BackendError
from depthnet_ros.files import written_whole
from depthnet_ros.inference.backends import BACKENDS
from depthnet_ros.inference.ensemble import consensus
from depthnet_ros.inference.estimator import DepthEstimator
from training.command import command
from training.datasets.base import DatasetError
from training.datasets.folders import folders_below
from training.datasets.index_csv import COLUMNS, SPLITS, read_rows
from training.datasets.picture_file import read_picture, write_picture

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(H, W, 3) RGB image to (H, W) relative inverse depth, NaN where unknown."""
_FOLDERS = ("img", "depth")  # of pictures and depth maps, beside the index
_LARGEST = 65_534  # of 16 bits; 0 is "nothing known"


def to_png(mean: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """(H, W) 16-bit picture of inverse depth over its whole range where known, 0 elsewhere."""
    png = np.zeros(mean.shape, dtype=np.uint16)
    values = mean[known]
    if values.size:
        low, span = float(values.min()), max(float(np.ptp(values)), 1e-6)
        png[known] = (1 + np.round((values - low) / span * (_LARGEST - 1))).astype(np.uint16)
    return png


def pictures(folder: Path, out: Path) -> list[Path]:
    """Every picture below ``folder``, in order, but for those that the index in ``out`` is made of.

    Raises:
        DatasetError: there is none.
    """
    written = [(out / name).resolve() for name in _FOLDERS]  # without this a second run would label the first one's
    found = sorted(
        path
        for below in folders_below(folder)
        for path in below.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(path.resolve().is_relative_to(own) for own in written)
    )
    if not found:
        own = " and ".join(str(out / name) for name in _FOLDERS)
        raise DatasetError(
            f"no picture ({', '.join(IMAGE_SUFFIXES)}) below {folder}, where those in {own} do not count: name another "
            "folder with --images or --out"
        )
    return found


def read_shrunk(path: Path, largest_area_px: int) -> NDArray[np.uint8] | None:
    """(H, W, 3) BGR picture of no more than this area; None where it cannot be read whole or is too narrow."""
    try:
        bgr = read_picture(path, cv2.IMREAD_COLOR)
    except DatasetError:
        return None
    if min(bgr.shape[:2]) < 64:
        return None
    factor = (largest_area_px / (bgr.shape[0] * bgr.shape[1])) ** 0.5
    if factor < 1:
        bgr = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(bgr, dtype=np.uint8)


class PseudoIndex:
    """An ``index.csv`` with its pictures that is added to row by row; a row is there once both its files are.

    A last row that is cut short (power was lost) is dropped on opening: its picture is done again.

    Raises:
        DatasetError: the index cannot be read or written, is of other columns, or has a row cut short in its middle.
    """

    def __init__(self, out: Path) -> None:
        self.out, self._index = out, out / "index.csv"
        try:
            for name in _FOLDERS:
                (out / name).mkdir(parents=True, exist_ok=True)
            if not self._index.exists() or not self._index.stat().st_size:
                self._replace((",".join(COLUMNS) + "\n").encode())
            content = self._index.read_bytes()
            try:
                self._columns, rows = read_rows(self._index)
            except DatasetError as error:
                raise DatasetError(f"{error}; mend it or name another folder with --out") from error
            whole = content.endswith(b"\n")
            if rows and _is_cut(rows[-1][1], whole):
                rows.pop()
                self._replace(content[: content.rstrip(b"\r\n").rfind(b"\n") + 1])
            elif not whole:
                self._replace(content + b"\n")
        except OSError as error:
            raise DatasetError(f"cannot write {self._index}: {error}") from error
        if cut := [line for line, row in rows if _is_cut(row, whole=True)]:
            raise DatasetError(
                f"{self._index}, line {cut[0]} is cut short: delete that line, its picture is done again"
            )
        self._there = {row["image"] for _, row in rows}

    def _replace(self, content: bytes) -> None:
        with written_whole(self._index) as unfinished:
            unfinished.write_bytes(content)

    def has(self, name: str) -> bool:
        """Whether the picture of that name is in the index already."""
        return f"img/{name}.jpg" in self._there

    def add(self, dataset: str, name: str, scene: str, bgr: NDArray[np.uint8], depth: NDArray[np.uint16]) -> None:
        """Write one picture, (H, W, 3) BGR, with its inverse depth (H, W), scaled to 16 bits.

        Raises:
            DatasetError: a file cannot be written.
        """
        image, gt = f"img/{name}.jpg", f"depth/{name}.png"
        _write(self.out / image, bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
        _write(self.out / gt, depth, [])
        values = (dataset, image, gt, "disparity_pseudo", 1.0 / _LARGEST, 0, scene, "train")
        try:
            size = self._index.stat().st_size
            try:
                with self._index.open("a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self._columns, restval="").writerow(dict(zip(COLUMNS, values, strict=True)))
            except OSError:  # a full disk may have had room for half of the row
                os.truncate(self._index, size)
                raise
        except OSError as error:
            raise DatasetError(f"cannot write {self._index}: {error}") from error
        self._there.add(image)


def _is_cut(row: Mapping[str, str], whole: bool) -> bool:
    """Whether a row lacks columns; one without an end of line may also have half of its last one."""
    return any(name not in row for name in COLUMNS) or (not whole and row["split"] not in SPLITS)


def _write(path: Path, picture: NDArray[np.uint8] | NDArray[np.uint16], options: list[int]) -> None:
    try:
        write_picture(path, picture, options)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error}") from error


def names_of(path: Path, images: Path, dataset: str) -> tuple[str, str]:
    """Name in the index and scene of a picture below ``images``: readable, and no two alike wherever they come from."""

    def readable(what: Path) -> str:
        return re.sub(r"[^A-Za-z0-9_-]+", "-", str(what)).strip("-")

    mark = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    relative = path.relative_to(images)
    folder = relative.parent if relative.parent != Path() else Path(images.resolve().name)
    scene_mark = hashlib.sha256(str(path.parent.resolve()).encode()).hexdigest()[:8]
    return f"{dataset}-{readable(relative.with_suffix(''))}-{mark}", f"{readable(folder)}-{scene_mark}"


def label(
    images: Path,
    index: PseudoIndex,
    dataset: str,
    members: Sequence[Predictor],
    disagreement: float = 0.25,
    smallest_share: float = 0.6,
    area_px: int = 200_000,
    every: int = 1,
    scene_per_picture: bool = False,
) -> Iterator[tuple[Path, str]]:
    """Label every so-many-th picture below ``images``; what the index itself wrote there is none.

    Yields each with what became of it: ``labelled``, ``there`` (by an earlier run), or why it was left out. A folder is
    a scene, as training draws them: thousand frames of one recording count as one. With ``scene_per_picture``, for
    photographs of different places, each is one.
    """
    for path in pictures(images, index.out)[::every]:
        name, scene = names_of(path, images, dataset)
        if index.has(name):
            yield path, "there"
            continue
        bgr = read_shrunk(path, area_px)
        if bgr is None:
            yield path, "cannot be read, or is narrower than 64 pixels"
            continue
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        try:
            mean, spread = consensus([predict(rgb) for predict in members])
        except BackendError as error:
            yield path, str(error)
            continue
        known = spread <= disagreement  # NaN is not
        if known.mean() < smallest_share:
            yield path, f"the networks agree on {known.mean():.0%} of it"
            continue
        index.add(dataset, name, name if scene_per_picture else scene, bgr, to_png(mean, known))
        yield path, "labelled"


@command(continues=True)
def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.pseudo_label", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures, searched to its depths")
    parser.add_argument("--dataset", required=True, help="name of the data set in the index: letters, digits, _")
    parser.add_argument(
        "--weights", nargs="+", default=[""], help="networks to take the mean of; default: the shipped one"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the index")
    parser.add_argument("--disagreement", type=float, default=0.25, help="a pixel is known up to this; see the README")
    parser.add_argument("--smallest-share", type=float, default=0.6, help="of known pixels that a picture needs")
    parser.add_argument("--every", type=int, default=1, help="every so-many-th picture, for recordings")
    parser.add_argument("--scene-per-picture", action="store_true", help="photographs; else a folder is one scene")
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    args = parser.parse_args(argv)
    if not re.fullmatch(r"\w+", args.dataset):
        raise DatasetError(f"--dataset must be letters, digits and _, got {args.dataset!r}")
    if args.every < 1 or args.disagreement <= 0 or not 0 <= args.smallest_share <= 1:
        raise DatasetError("expected --every of 1 or more, --disagreement above 0 and --smallest-share of 0 to 1")
    found = pictures(args.images, args.out)[:: args.every]
    members = members_of([DepthEstimator.from_weights(path, backend=args.backend) for path in args.weights])
    left_out: list[str] = []
    counts = {"labelled": 0, "there": 0}
    work = label(
        args.images, PseudoIndex(args.out), args.dataset, members, args.disagreement, args.smallest_share,
        every=args.every, scene_per_picture=args.scene_per_picture,
    )  # fmt: skip
    for path, what in tqdm(work, total=len(found), unit="image", desc=args.dataset):
        if what in counts:
            counts[what] += 1
        else:
            left_out.append(f"{path}: {what}")
    print(f"{counts['labelled']} labelled, {counts['there']} were there, {len(left_out)} left out")
    print("\n".join(left_out))
    return 0 if counts["labelled"] + counts["there"] else 1


def members_of(estimators: Sequence[DepthEstimator]) -> list[Predictor]:
    """What is compared, on the picture's own grid: each network together with the mirror image; of a single network the
    picture and the mirror image, since one alone agrees with itself everywhere.
    """

    def flip_averaged(estimator: DepthEstimator) -> Predictor:
        return lambda image: estimator.infer_with_mirror(image).at_source()

    def mirrored(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        flipped = estimators[0].infer(np.ascontiguousarray(image[:, ::-1])).at_source()
        return np.ascontiguousarray(flipped[:, ::-1])

    if len(estimators) == 1:
        return [lambda image: estimators[0].infer(image).at_source(), mirrored]
    return [flip_averaged(estimator) for estimator in estimators]


if __name__ == "__main__":
    sys.exit(main())
