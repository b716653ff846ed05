"""Samples of any reader, shrunk and laid end to end in a few large files: nothing to decode, nothing to search.

A shard is ``<n>.bin`` with the pixels of up to 1024 samples one after another (RGB as uint8, then the target as float16
with its largest value scaled to 1000, then the mask a bit a pixel), ``<n>.jsonl`` that says where each begins, and
``<n>.json`` with a fingerprint of what the shard was made of, and what was left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from depthnet_ros.errors import ConfigError
from depthnet_ros.files import written_whole
from depthnet_ros.geometry.camera import PinholeCamera
from training.datasets.base import READ_ERRORS, DatasetError, DepthDataset, Record, Sample, TargetKind
from training.datasets.megadepth_files import Pair, default_val_scenes, of_split

_PER_SHARD = 1024
_NOTES = ".json"
_VAL_NAME = "val_scenes.txt"
# float16 has 11 bits of precision at any size; this keeps the largest value far from its limit of 65 504.
_LARGEST = 1000.0


@dataclass(frozen=True)
class _Item:
    dataset: str
    scene: str
    name: str
    kind: str
    offset: int
    height_px: int
    width_px: int
    unit: float
    intrinsics: tuple[float, float, float, float] | None
    metric: bool = True
    cut: tuple[int, int, int, int] | None = None

    @property
    def target_offset(self) -> int:
        """Of the float16 target, which lies behind the (H, W, 3) uint8 image."""
        return self.offset + 3 * self.height_px * self.width_px

    @property
    def mask_offset(self) -> int:
        """Of the mask, which lies behind the target."""
        return self.target_offset + 2 * self.height_px * self.width_px

    @property
    def end_offset(self) -> int:
        """Of the first byte behind the mask."""
        return self.mask_offset + -(-self.height_px * self.width_px // 8)


@runtime_checkable
class Traceable(Protocol):
    """A data set that can tell, without reading it, whether an item is still the same."""

    def trace(self, index: int) -> str:
        """Name, the files' sizes and times of change, options: all that the sample follows from."""
        ...


def write_shards(dataset: DepthDataset, folder: Path, per_shard: int = _PER_SHARD) -> list[str]:
    """Writes all samples that can be read; returns the messages of those that could not.

    An interrupted run continues behind the last finished shard. One that was made of other items or with other options
    is written anew, and so is every one of a data set that cannot tell (:class:`Traceable`); what is left over of a
    longer data set is deleted. Two at once in one folder destroy each other's work: see
    :func:`training.outputs.alone_in`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left_out: list[str] = []
    shares = [range(start, min(start + per_shard, len(dataset))) for start in range(0, len(dataset), per_shard)]
    for number, share in enumerate(tqdm(shares, desc="shards", unit="shard")):
        listing, source = folder / f"{number:05d}.jsonl", _fingerprint(dataset, share)
        known = _finished(listing, source)
        left_out += _write(listing, dataset, share, source) if known is None else known
    for listing in folder.glob("*.jsonl"):
        if listing.stem.isdigit() and int(listing.stem) >= len(shares):
            _delete(listing)
    if (val_scenes := getattr(dataset, "val_scenes", None)) is not None:
        with written_whole(folder / _VAL_NAME) as unfinished:
            unfinished.write_text("".join(f"{scene}\n" for scene in sorted(val_scenes)), encoding="utf-8")
    _mapped.cache_clear()  # files that were mapped may have been replaced
    return left_out


def _fingerprint(dataset: DepthDataset, share: range) -> str:
    """Of what a shard is made of; empty if the data set cannot tell."""
    if not isinstance(dataset, Traceable):
        return ""
    return hashlib.sha256("\n".join(dataset.trace(index) for index in share).encode()).hexdigest()


def _finished(listing: Path, source: str) -> list[str] | None:
    """What was left out of a finished shard made of ``source``; None if there is none, or its pixels are not whole."""
    try:
        notes = json.loads(listing.with_suffix(_NOTES).read_text(encoding="utf-8"))
        size = max((item.end_offset for _, item in _read_listing(listing)), default=0)
        whole = listing.with_suffix(".bin").stat().st_size == size
        return (
            [str(line) for line in notes["left_out"]] if whole and source != "" and notes["source"] == source else None
        )
    except (DatasetError, OSError, ValueError, KeyError, TypeError):
        return None


def _write(listing: Path, dataset: DepthDataset, share: range, source: str) -> list[str]:
    """Write one shard; returns what was left out. The listing goes first and comes last: it says that all is there."""
    left_out: list[str] = []
    pixels = listing.with_suffix(".bin.part")
    with pixels.open("wb") as file:
        items = [item for index in share if (item := _append(file, dataset, index, left_out)) is not None]
        file.flush()
        os.fsync(file.fileno())  # before the listing says that they are there
    _delete(listing)
    pixels.replace(listing.with_suffix(".bin"))
    notes = json.dumps({"source": source, "left_out": left_out})
    listing.with_suffix(_NOTES).write_text(notes, encoding="utf-8")
    with written_whole(listing) as unfinished:
        unfinished.write_text("".join(json.dumps(asdict(item)) + "\n" for item in items), encoding="utf-8")
    return left_out


def _delete(listing: Path) -> None:
    for suffix in (".jsonl", _NOTES, ".bin"):
        listing.with_suffix(suffix).unlink(missing_ok=True)


def _append(file: BinaryIO, dataset: DepthDataset, index: int, left_out: list[str]) -> _Item | None:
    try:
        sample = dataset[index]
        sample.check()
    except READ_ERRORS as error:
        left_out.append(f"{type(error).__name__}: {error}")
        return None
    values = np.where(sample.valid_mask, sample.target, 0)
    largest = float(np.abs(values).max())
    if largest == 0:
        left_out.append(f"{sample.dataset}/{sample.name}: no valid pixel")
        return None
    unit = 1.0 if sample.kind is TargetKind.ORDINAL else largest / _LARGEST
    offset = file.tell()
    file.write(np.ascontiguousarray(sample.rgb).tobytes())
    file.write((values / unit).astype(np.float16).tobytes())
    file.write(np.packbits(sample.valid_mask).tobytes())
    camera = sample.intrinsics
    intrinsics = None if camera is None else (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px)
    height, width = sample.target.shape
    where = (sample.dataset, sample.scene, sample.name)
    return _Item(*where, sample.kind.value, offset, height, width, unit, intrinsics, sample.metric, sample.cut)


@lru_cache(maxsize=64)
def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.memmap(path, dtype=np.uint8, mode="r")


class ShardDataset:
    """Reads what :func:`write_shards` has written.

    Args:
        path: the folder of the shards.
        split: ``train``, ``val`` or ``all``. Without any of the following it is that of the data set that the shards
            were written of, or every twentieth scene is ``val``.
        val_scenes: names of the scenes of ``val``.
        train_list: of shards of the reader ``megadepth``: as it has it, but relative to this ``path``.
        val_list: the same for ``val``.

    Raises:
        DatasetError: no finished shard, a damaged listing, or a list that cannot be read or leaves nothing.
        ConfigError: ``val_scenes`` names a scene that the shards do not have, or is given beside a list.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        *,
        val_scenes: Sequence[str] | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
    ) -> None:
        items = [entry for listing in sorted(path.glob("*.jsonl")) for entry in _read_listing(listing)]
        if not items:
            raise DatasetError(f"{path}: no finished shards; write them with python -m training.prepare --shards")
        if val_scenes is not None:
            if train_list or val_list:
                raise ConfigError("give either val_scenes or lists, not both")
            _check_val_scenes(val_scenes, {item.scene for _, item in items})
        elif (path / _VAL_NAME).is_file():
            val_scenes = (path / _VAL_NAME).read_text(encoding="utf-8").splitlines()
        val = default_val_scenes(item.scene for _, item in items) if val_scenes is None else frozenset(val_scenes)
        pairs = [_pair(item) for _, item in items]
        chosen = set(of_split(pairs, split, {"train": train_list, "val": val_list}, path, val))
        self._items = [entry for entry, pair in zip(items, pairs, strict=True) if pair in chosen]

    @property
    def records(self) -> Sequence[Record]:
        """One entry per sample."""
        return [Record(item.dataset, item.scene) for _, item in self._items]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        path, item = self._items[index]
        pixels = _mapped(path)
        height, width = item.height_px, item.width_px
        end = item.end_offset
        if end > len(pixels):
            raise DatasetError(f"{path} is shorter than its listing says: delete both and write the shards again")
        rgb = np.array(pixels[item.offset : item.target_offset]).reshape(height, width, 3)
        stored = pixels[item.target_offset : item.mask_offset].view(np.float16)
        target = stored.reshape(height, width).astype(np.float32) * np.float32(item.unit)
        mask = np.unpackbits(pixels[item.mask_offset : end], count=height * width).reshape(height, width)
        camera = None if item.intrinsics is None else PinholeCamera(width, height, *item.intrinsics)
        kind = TargetKind(item.kind)
        where = (item.dataset, item.scene, item.name)
        valid = mask.astype(np.bool_)
        return Sample(rgb, target, valid, kind, camera, *where, metric=item.metric, cut=item.cut)


def _pair(item: _Item) -> Pair:
    """What a list speaks of; of other data sets than MegaDepth's, whose names are other ones, scenes alone."""
    scene, *rest = item.name.split("/")
    dense, stem = rest if scene == item.scene and len(rest) == 2 else ("", item.name)
    return Pair(item.scene, dense, stem, "")


def _check_val_scenes(names: Sequence[str], known: set[str]) -> None:
    """Raises ConfigError unless every name is a known scene's: any other leaves a scene of ``val`` in ``train``."""
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(sorted(known)[:10]) + (", ..." if len(known) > 10 else "")
        raise ConfigError(f"val_scenes must be a list of scenes that the shards have ({there}), got {unknown}")


def _read_listing(listing: Path) -> Iterator[tuple[Path, _Item]]:
    pixels = listing.with_suffix(".bin")
    for line in listing.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            if (cut := values.get("cut")) is not None:  # JSON has no tuples; shards made before it was kept have none
                top, left, height, width = cut
                values["cut"] = (top, left, height, width)
            yield pixels, _Item(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise DatasetError(f"{listing} is damaged ({error}): delete it and write the shards again") from error
