"""Signed disparity and its mask in one 16-bit PNG: small, exact to 1/32 px, quick to read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.datasets.base import DatasetError
from training.datasets.picture_file import read_picture, write_picture

_ZERO, _STEPS_PER_PX = 32768, 32.0
LIMIT_PX = (_ZERO - 1) / _STEPS_PER_PX


def write_disparity(path: Path, disparity_px: NDArray[np.float32], valid_mask: NDArray[np.bool_]) -> None:
    """Write an (H, W) disparity in pixels as 32768 + 32 * disparity, 0 where ``valid_mask`` (H, W) is false or it is
    beyond +-1023 px. The file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    usable = valid_mask & (np.abs(disparity_px) < LIMIT_PX)
    values = np.where(usable, np.round(_ZERO + _STEPS_PER_PX * np.where(usable, disparity_px, 0)), 0)
    write_picture(path, values.astype(np.uint16), (cv2.IMWRITE_PNG_COMPRESSION, 1))


def read_disparity(path: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(H, W) float32 signed disparity in pixels and (H, W) bool mask.

    Raises:
        DatasetError: missing, damaged, or not a 16-bit grey PNG.
    """
    values = read_picture(path, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2 or values.dtype != np.uint16:
        raise DatasetError(
            f"{path}: expected a 16-bit grey PNG written by wsvd_build, got {values.dtype} of shape {values.shape}"
        )
    valid = values > 0
    return np.where(valid, (values.astype(np.float32) - _ZERO) / _STEPS_PER_PX, 0).astype(np.float32), valid
