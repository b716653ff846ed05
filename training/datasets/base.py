"""What every reader of training data returns, and how readers are found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, get_type_hints, runtime_checkable

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError, ConfigError, DepthNetError
from depthnet_ros.files import from_user
from depthnet_ros.geometry.camera import PinholeCamera
from training.typed import checked

_SMALLEST_DEPTH = 1e-6


class DatasetError(DepthNetError):
    """Training data that is missing, damaged or not what its format says."""


READ_ERRORS = (
    DatasetError, CameraInfoError, OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError, cv2.error,
)  # fmt: skip
"""What reading a damaged file raises: h5py has RuntimeError, KeyError, IndexError or TypeError for some bytes, OSError
for others, MemoryError for a size that no picture has; intrinsics that are no camera's are a CameraInfoError."""


class TargetKind(str, Enum):
    """What the numbers of a target mean, and so which losses and metrics may use them."""

    DEPTH = "depth"
    """Depth along optical Z, in metres or in one unknown unit per scene (structure from motion)."""
    DISPARITY = "disparity"
    """True disparity in pixels: inverse depth up to a positive scale."""
    DISPARITY_AFFINE = "disparity_affine"
    """Disparity whose zero is arbitrary: inverse depth up to a positive scale and a shift."""
    RANK = "rank"
    """Grows towards the camera; only the order is trusted (and, loosely, the affine shape)."""
    ORDINAL = "ordinal"
    """+1 for a nearer region, -1 for a farther one, 0 elsewhere (MegaDepth's ordinal maps)."""

    @property
    def has_zero(self) -> bool:
        """The target's zero is real, so ratios of depth mean something."""
        return self in (TargetKind.DEPTH, TargetKind.DISPARITY)


@dataclass
class Sample:
    """One image with its truth.

    Attributes:
        rgb: (H, W, 3) uint8.
        target: (H, W) float32 as ``kind`` says; its value where ``valid_mask`` is false is never read.
        valid_mask: (H, W) bool.
        kind: what ``target`` means.
        intrinsics: the camera of ``rgb``, or None where unknown.
        dataset, scene, name: where it comes from; ``scene`` is unique within ``dataset``.
        metric: depth is in metres, not in a unit of the scene's own.
        cut: (top, left, height, width) of this picture's first pixel in the one that the data set has, and that one's
            size, where the reader cuts its border off; None: all of it. Benchmarks' windows are of the whole.
    """

    rgb: NDArray[np.uint8]
    target: NDArray[np.float32]
    valid_mask: NDArray[np.bool_]
    kind: TargetKind
    intrinsics: PinholeCamera | None
    dataset: str
    scene: str
    name: str
    metric: bool = True
    cut: tuple[int, int, int, int] | None = None

    def check(self) -> None:
        """Raise DatasetError unless the arrays fit each other and what they claim to be."""
        where = f"{self.dataset}/{self.name}"
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise DatasetError(f"{where}: rgb must be H x W x 3 uint8, got {self.rgb.shape} of {self.rgb.dtype}")
        size = self.rgb.shape[:2]
        if self.target.shape != size or self.valid_mask.shape != size:
            shapes = f"target {self.target.shape}, valid_mask {self.valid_mask.shape}"
            raise DatasetError(f"{where}: image and depth differ in size: image {size}, {shapes}")
        if self.target.dtype != np.float32 or self.valid_mask.dtype != np.bool_:
            raise DatasetError(f"{where}: target must be float32 and valid_mask bool")
        valid = self.target[self.valid_mask]
        if not np.isfinite(valid).all():
            raise DatasetError(f"{where}: {np.count_nonzero(~np.isfinite(valid))} valid pixels are not finite")
        if self.kind is TargetKind.DEPTH and valid.size and float(valid.min()) <= 0:
            raise DatasetError(
                f"{where}: valid depth must be positive, smallest is {float(valid.min())}; mark what means no "
                "measurement as invalid (index.csv: column invalid, such as 0)"
            )

    def inverse_depth(self) -> NDArray[np.float32]:
        """(H, W) float32 that grows towards the camera: 1 / depth, or the disparity as it is; 0 where invalid."""
        is_depth = self.kind is TargetKind.DEPTH
        values = 1.0 / np.maximum(self.target, _SMALLEST_DEPTH) if is_depth else self.target
        return np.where(self.valid_mask, values, 0.0).astype(np.float32)


@dataclass(frozen=True)
class Record:
    """Which data set and scene an item belongs to, known without reading it: what balanced sampling needs."""

    dataset: str
    scene: str


@runtime_checkable
class DepthDataset(Protocol):
    """A reader. ``records[i]`` describes item ``i``; ``dataset[i]`` reads it.

    ``__getitem__`` raises DatasetError for an item that cannot be used.
    """

    @property
    def records(self) -> Sequence[Record]:
        """One entry per item."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


# Name in a configuration -> module:class. The class takes (path, split, **options); split is train, val or all.
READERS: dict[str, str] = {
    "index_csv": "training.datasets.index_csv:IndexCsvDataset",
    "megadepth": "training.datasets.megadepth:MegaDepthDataset",
    "wsvd": "training.datasets.wsvd:WsvdDataset",
    "nyu": "training.datasets.nyu:NyuDataset",
    "kitti": "training.datasets.kitti:KittiDataset",
    "shards": "training.datasets.shards:ShardDataset",
}


def reader_options(text: str) -> dict[str, Any]:
    """A reader's options as a command line has them: a mapping in YAML, as ``{val_list: my_scenes.txt}``.

    Raises:
        ConfigError: it is none.
    """
    try:
        options = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--options is no YAML: {text!r}") from error
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise ConfigError(f"--options must be a mapping such as {{val_list: my_scenes.txt}}, got {text!r}")
    return options


def open_dataset(reader: str, path: str | Path, split: str, options: Mapping[str, Any] | None = None) -> DepthDataset:
    """Open a data set by the name of its reader.

    Raises:
        ConfigError: no such reader, it does not take one of these options, or takes it as another type.
        DatasetError: nothing usable at ``path``.
    """
    if reader not in READERS:
        raise ConfigError(f"no reader named {reader!r}; there are {', '.join(sorted(READERS))}")
    if split not in ("train", "val", "all"):
        raise ConfigError(f"split must be train, val or all, got {split!r}")
    path = from_user(path)
    if not path.exists():
        raise DatasetError(f"no data at {path}: give the folder or index of a {reader} data set")
    dataset = _factory(reader)(path, split=split, **checked_options(reader, options or {}))
    if len(dataset) == 0:
        raise DatasetError(f"{path}: a {reader} data set with nothing in it for split {split!r}")
    return dataset


def checked_options(reader: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a reader as it annotates them.

    Raises:
        ConfigError: it does not take one of them, or takes it as another type.
    """
    hints = get_type_hints(_factory(reader).__init__)
    taken = sorted(set(hints) - {"path", "split", "return"})
    if unknown := sorted(set(options) - set(taken)):
        raise ConfigError(f"reader {reader!r} does not take {unknown}; it takes {', '.join(taken) or 'none'}")
    return {name: checked(hints[name], value, f"reader {reader!r}: {name}") for name, value in options.items()}


def _factory(reader: str) -> Callable[..., DepthDataset]:
    module, name = READERS[reader].split(":")
    factory: Callable[..., DepthDataset] = getattr(import_module(module), name)
    return factory
