"""MegaDepth v1 as it lies on disk, and everything written in its layout (rendered worlds, other data sets)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from training.datasets.base import DatasetError, Record, Sample, TargetKind
from training.datasets.depth_h5 import OFFICIAL_PERCENTILES, DepthFile, DepthFileError, read_depth_h5, without_outliers
from training.datasets.megadepth_files import Pair, data_root, default_val_scenes, find_pairs, of_split
from training.datasets.megadepth_index import INDEX_NAME, Entry, read_index
from training.datasets.picture_file import read_rgb

_LOGGER = logging.getLogger(__name__)
MIN_VALID_SHARE = 0.3
"""Smallest share of an image's pixels with depth that MegaDepth's authors train on."""
SPARSE_OPTIONS = "{min_valid_share: 0.0, percentiles: null}"
"""The reader's options for sparse depth, such as LiDAR's, of which every point was measured."""
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class MegaDepthDataset:
    """Pairs of ``<scene>/dense<k>/imgs/*.jpg`` and ``depths/*.h5``; depth in the scene's unit, or an ordinal map.

    Where ``python -m training.prepare`` has left an index, pairs with a fault are not in the data set at all. Otherwise
    faults are found when a pair is read: ``__getitem__`` raises DatasetError.

    Args:
        path: the folder with the scenes, or one above ``MegaDepth_v1``.
        split: ``train``, ``val`` or ``all``. Without a list, every twentieth scene is ``val``; with the other split's
            list alone, all scenes that it has no image of.
        name: data set name in records and reports.
        train_list: official ``imgs_MD.p`` (or a folder with them) or a text list of scenes; relative to ``path``.
        val_list: the same for ``val``.
        ordinal: also return ordinal maps; else they are left out (without an index: refused when read).
        percentiles: depths outside these percentiles of the valid ones are dropped, as in the official preparation
            (here after shrinking, which is faster and picks the same but for sampling); None keeps all.
        min_valid_share: smallest share of pixels with depth, the sky not counted (0.3 as in the MegaDepth paper);
            pairs that an index knows to have less are left out, and their number is logged.
        sky: ``ignore``, or ``far``: where files have a sky mask, the target becomes inverse depth (kind DISPARITY) that
            is 0 in the sky.
        short_side_px: images and depth whose short side is longer are shrunk to it when read (depth by nearest
            neighbour); None keeps the size on disk.

    Raises:
        DatasetError: no data of this layout at ``path``, a list that cannot be read, or no pair of the split that has
            ``min_valid_share``.
        ConfigError: an option out of range.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        *,
        name: str = "megadepth",
        train_list: str | None = None,
        val_list: str | None = None,
        ordinal: bool = False,
        percentiles: Sequence[float] | None = OFFICIAL_PERCENTILES,
        min_valid_share: float = MIN_VALID_SHARE,
        sky: Literal["ignore", "far"] = "ignore",
        short_side_px: int | None = 480,
    ) -> None:
        check_options(percentiles, sky, min_valid_share, short_side_px)
        self._root = data_root(path)
        self._name, self._ordinal, self._sky_far = name, ordinal, sky == "far"
        self._percentiles = None if percentiles is None else (float(percentiles[0]), float(percentiles[1]))
        self._min_valid_share, self._short_side_px = min_valid_share, short_side_px
        lists = {"train": train_list, "val": val_list}
        pairs = list(find_pairs(self._root))
        # Of all scenes, not of those that options and an index leave: else another run's training is this one's `val`.
        self.val_scenes = default_val_scenes(pair.scene for pair in pairs)
        """Scenes of ``val`` where no list says otherwise."""
        self._pairs = self._usable(of_split(pairs, split, lists, path, self.val_scenes), split)

    def _usable(self, pairs: list[Pair], split: str) -> list[Pair]:
        """All pairs but those that an index found unfit for these options.

        Told are pairs that came after it, unchecked, and those with too little depth.
        """
        index = self._root / INDEX_NAME
        if not index.is_file():
            return pairs
        kinds = {TargetKind.DEPTH.value, TargetKind.ORDINAL.value} if self._ordinal else {TargetKind.DEPTH.value}
        entries = {entry.image: entry for entry in read_index(index)}
        if unchecked := sum(pair.image not in entries for pair in pairs):
            _LOGGER.warning(
                "%d of %d pairs below %s are not in its index and were never checked: run training.prepare again",
                *(unchecked, len(pairs), self._root),
            )
        fit = [pair for pair in pairs if pair.image not in entries or entries[pair.image].kind in kinds]
        left = [pair for pair in fit if pair.image not in entries or self._dense(entries[pair.image])]
        if sparse := len(fit) - len(left):
            told = (
                f"{sparse} of {len(pairs)} pairs of split {split!r} below {self._root} are left out, having depth "
                f"on less than min_valid_share {self._min_valid_share:g} of their pixels"
            )
            if not left:
                raise DatasetError(f"{told}, and no other can be used: give sparse depth {SPARSE_OPTIONS}")
            _LOGGER.warning("%s", told)
        return left

    def _dense(self, entry: Entry) -> bool:
        return entry.kind != TargetKind.DEPTH.value or entry.share_within(self._percentiles) >= self._min_valid_share

    @property
    def records(self) -> Sequence[Record]:
        """One entry per pair; all models of one scene are one scene."""
        return [Record(self._name, pair.scene) for pair in self._pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    def trace(self, index: int) -> str:
        """Name, both files' sizes in bytes and times of change in ns (-1: not there), options: all it follows from."""
        pair = self._pairs[index]
        options = (self._name, self._ordinal, self._sky_far, self._percentiles)
        return f"{pair.key} {pair.files(self._root)} {options} {self._min_valid_share} {self._short_side_px}"

    def __getitem__(self, index: int) -> Sample:
        pair = self._pairs[index]
        file = read_depth_h5(self._root / pair.depth)
        if file.kind is TargetKind.ORDINAL and not self._ordinal:
            raise DepthFileError("ordinal map", f"{pair.depth}: an ordinal map; set the option ordinal to use it")
        rgb = read_image(self._root / pair.image, file.values.shape, self._short_side_px)
        size = (rgb.shape[0], rgb.shape[1])
        values, sky = nearest(file.values, size), None if file.sky is None else nearest(file.sky, size)
        target, valid, kind = self._target(file.kind, values, sky, pair)
        camera = _camera(file, size)
        return Sample(rgb, target, valid, kind, camera, self._name, pair.scene, pair.key, metric=False)

    def _target(
        self, kind: TargetKind, values: NDArray[np.float32], sky: NDArray[np.bool_] | None, pair: Pair
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], TargetKind]:
        if kind is TargetKind.ORDINAL:
            return values, values != 0, kind
        depth = values if self._percentiles is None else without_outliers(values, *self._percentiles)
        valid = depth > 0
        share = valid_share(valid, sky)
        if share < self._min_valid_share:
            raise DepthFileError(
                "too little depth",
                f"{pair.depth}: {share:.1%} valid pixels, fewer than {self._min_valid_share:.0%} (min_valid_share)",
            )
        if self._sky_far and sky is not None:
            inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
            return inverse, valid | sky, TargetKind.DISPARITY
        return depth, valid, kind


def check_options(
    percentiles: Sequence[float] | None = OFFICIAL_PERCENTILES,
    sky: str = "ignore",
    min_valid_share: float = MIN_VALID_SHARE,
    short_side_px: int | None = None,
    **_: object,
) -> None:
    """Raise ConfigError if one of :class:`MegaDepthDataset`'s options is out of its range."""
    if percentiles is not None and not (len(percentiles) == 2 and 0 <= percentiles[0] < percentiles[1] <= 100):
        raise ConfigError(f"percentiles must be two growing numbers in 0..100, or null; got {percentiles}")
    if sky not in ("ignore", "far"):
        raise ConfigError(f"sky must be 'ignore' or 'far', got {sky!r}")
    if not 0 <= min_valid_share < 1 or (short_side_px is not None and short_side_px < 32):
        raise ConfigError(
            "min_valid_share must be from 0 to below 1 and short_side_px at least 32, got "
            f"{min_valid_share} and {short_side_px}"
        )


def valid_share(valid: NDArray[np.bool_], sky: NDArray[np.bool_] | None) -> float:
    """Share of the pixels that are not ``sky`` (H, W) that are ``valid`` (H, W); 0 for an image of sky alone."""
    ground = valid.size if sky is None else int(np.count_nonzero(~sky))
    return float(np.count_nonzero(valid)) / ground if ground else 0.0


def read_image(path: Path, depth_size: tuple[int, ...], short_side_px: int | None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 image that belongs to a depth map of (height, width) ``depth_size``.

    Shrunk so that its short side is at most ``short_side_px``; a large image is decoded at a fraction of its size.

    Raises:
        DepthFileError: the image is damaged or cut short, or of another size than the depth.
    """
    height, width = depth_size
    scale = 1.0 if short_side_px is None else min(1.0, short_side_px / min(height, width))
    reduction = next((step for step in (8, 4, 2) if step * scale <= 1.0), 1)
    try:
        rgb = read_rgb(path, _REDUCED.get(reduction, cv2.IMREAD_COLOR))
    except DatasetError as error:
        raise DepthFileError("unreadable image", str(error)) from error
    # A JPEG decoded at a fraction of its size is rounded up, a PNG down.
    if any(
        got not in (side // reduction, -(-side // reduction)) for got, side in zip(rgb.shape, depth_size, strict=False)
    ):
        found = f"{rgb.shape[0] * reduction} x {rgb.shape[1] * reduction}"
        raise DepthFileError(
            "image and depth differ in size",
            f"{path}: image (about {found}) and depth ({height} x {width}) differ in size",
        )
    if scale < 1.0:
        size = (round(width * scale), round(height * scale))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return rgb


_Scalar = TypeVar("_Scalar", np.float32, np.bool_)


def nearest(values: NDArray[_Scalar], size: tuple[int, int]) -> NDArray[_Scalar]:
    """(H, W) map on a grid of (height, width) ``size``: each pixel the nearest one, nothing in between."""
    if values.shape == size:
        return values
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.intp) for new, old in zip(size, values.shape, strict=True)
    )
    return np.ascontiguousarray(values[rows[:, None], columns])


def _camera(file: DepthFile, size: tuple[int, int]) -> PinholeCamera | None:
    if file.intrinsics is None:
        return None
    height, width = file.values.shape
    return PinholeCamera(width, height, *file.intrinsics).resized(size[1], size[0])
