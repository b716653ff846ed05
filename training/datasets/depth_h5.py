"""One of MegaDepth's ``.h5`` files: a depth map, an ordinal map, or something that must not be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from training.datasets.base import DatasetError, TargetKind

OFFICIAL_PERCENTILES = (1.0, 98.0)
"""Depths beyond these of an image's valid ones are dropped by MegaDepth's authors."""
# Real depth has thousands of values; label maps that lie in the same folders have a handful.
_FEW_VALUES = 8
_MIN_ORDINAL_PX = 100


class DepthFileError(DatasetError):
    """A depth file that cannot be used. ``fault`` is a short reason, the same for all files of one kind of damage."""

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True)
class DepthFile:
    """What a file holds.

    Attributes:
        kind: DEPTH or ORDINAL.
        values: (H, W) float32: depth, 0 where there is none; or the sign of an ordinal map, +1 nearer, -1 farther.
        sky: (H, W) bool, infinitely far; None where the file does not say.
        intrinsics: fx, fy, cx, cy in pixels, or None.
    """

    kind: TargetKind
    values: NDArray[np.float32]
    sky: NDArray[np.bool_] | None
    intrinsics: tuple[float, float, float, float] | None


def read_depth_h5(path: Path) -> DepthFile:
    """Read and judge a file.

    Raises:
        DepthFileError: it is missing or damaged, has no ``depth``, holds NaN, negative depth or an integer mask, an
            ordinal map with fewer than 100 pixels on a side, or intrinsics that are no camera's.
    """
    try:
        with h5py.File(path, "r") as file:
            if "depth" not in file:
                keys = ", ".join(sorted(file)) or "nothing"
                raise DepthFileError("no 'depth' in h5", f"{path}: no data set 'depth' in it, only {keys}")
            item = file["depth"]
            values = np.asarray(item[()]).astype(np.float32)
            intrinsics = tuple(float(v) for v in item.attrs["intrinsics"]) if "intrinsics" in item.attrs else None
            sky = np.asarray(file["sky"][()]).astype(np.bool_) if "sky" in file else None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError) as error:  # by which bytes are damaged
        raise DepthFileError("unreadable h5", f"{path}: cannot be read ({error}); copy it again") from error
    if values.ndim != 2 or values.size == 0:
        raise DepthFileError("not an image", f"{path}: depth must be H x W, got shape {values.shape}")
    if sky is not None and sky.shape != values.shape:
        raise DepthFileError("not an image", f"{path}: sky {sky.shape} and depth {values.shape} differ in size")
    kind = _kind(path, values)
    if kind is TargetKind.ORDINAL:
        values = np.sign(values)
    if intrinsics is None or len(intrinsics) != 4:
        return DepthFile(kind, values, sky, None)
    try:
        PinholeCamera(values.shape[1], values.shape[0], *intrinsics)
    except CameraInfoError as error:
        raise DepthFileError(
            "bad intrinsics", f"{path}: the attribute intrinsics of depth: {error}; mend it or delete it"
        ) from error
    return DepthFile(kind, values, sky, intrinsics)


def _kind(path: Path, values: NDArray[np.float32]) -> TargetKind:
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise DepthFileError("NaN or infinity", f"{path}: {count} values are not finite; 0 should mean no depth")
    if _is_label_map(values):
        return _ordinal(path, values)
    negative = int(np.count_nonzero(values < 0))
    if negative:
        raise DepthFileError(
            "negative depth",
            f"{path}: {negative} negative values among {values.size}, and too many different ones for an ordinal map",
        )
    return TargetKind.DEPTH


def _is_label_map(values: NDArray[np.float32]) -> bool:
    """Whether all values are a few whole numbers. A sample is looked at first: it is enough to tell a depth map."""
    sample = values.ravel()[:: max(1, values.size // 512)]
    if len(np.unique(sample)) > _FEW_VALUES or not np.array_equal(sample, np.round(sample)):
        return False
    unique = np.unique(values)
    return len(unique) <= _FEW_VALUES and np.array_equal(unique, np.round(unique)) and bool(np.any(unique != 0))


def _ordinal(path: Path, values: NDArray[np.float32]) -> TargetKind:
    nearer, farther = int(np.count_nonzero(values > 0)), int(np.count_nonzero(values < 0))
    if farther == 0:
        raise DepthFileError(
            "integer mask", f"{path}: a mask of few whole numbers, none negative: neither depth nor an ordinal map"
        )
    if min(nearer, farther) < _MIN_ORDINAL_PX:
        raise DepthFileError(
            "small ordinal map",
            f"{path}: ordinal map with {nearer} nearer, {farther} farther pixels; {_MIN_ORDINAL_PX} of each are needed",
        )
    return TargetKind.ORDINAL


def without_outliers(depth: NDArray[np.float32], low_percentile: float, high_percentile: float) -> NDArray[np.float32]:
    """MegaDepth's own filter: depths beyond these percentiles of the valid ones become 0 (see OFFICIAL_PERCENTILES)."""
    valid = depth[depth > 0]
    if valid.size == 0:
        return depth
    low, high = np.percentile(valid, (low_percentile, high_percentile))
    return np.where((depth < low) | (depth > high), np.float32(0), depth)
