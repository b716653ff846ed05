"""Disparity from the two eyes of a stereo photograph or film, without calibration or rectification.

The rules are WSVD's (Wang et al., "Web Stereo Video Supervision for Depth Prediction from Dynamic Scenes", 3DV 2019):
the horizontal flow from the left to the right eye is a signed disparity. Its zero is arbitrary, for films are shot and
edited with the eyes converged: both scale and shift are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.datasets.base import DatasetError
from training.datasets.flow import Flow

MAX_INCONSISTENCY_PX = 2.0
MAX_VERTICAL_PX = 2.0
MAX_VERTICAL_SHARE = 0.10
MIN_RANGE_PX = 10.0
MIN_CONSISTENT_SHARE = 0.70
# The range is taken between these percentiles: one wrong pixel must not make a flat frame look deep.
_RANGE_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True)
class StereoTruth:
    """Disparity of the left eye's image, and what it was judged by.

    Attributes:
        disparity_px: (H, W) float32, x in the left image minus x in the right: grows towards the camera; either sign.
        valid_mask: (H, W) bool, the pixels where both directions of flow agree within 2 px.
        vertical_share: share of pixels with more than 2 px of vertical flow.
        range_px: spread of the disparity over valid pixels.
        consistent_share: share of valid pixels.
    """

    disparity_px: NDArray[np.float32]
    valid_mask: NDArray[np.bool_]
    vertical_share: float
    range_px: float
    consistent_share: float

    @property
    def fault(self) -> str | None:
        """Why the frame is rejected, or None."""
        if self.vertical_share > MAX_VERTICAL_SHARE:
            return "vertical disparity"
        if self.consistent_share < MIN_CONSISTENT_SHARE:
            return "eyes disagree"
        if self.range_px < MIN_RANGE_PX:
            return "flat"
        return None


def split_side_by_side(frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Left and right eye, each (H, W, 3), of an (H, W, 3) side-by-side frame that has both at half their width.

    It is cut at W // 2, and each half is stretched to twice its width.

    Raises:
        DatasetError: the frame is too small to hold two eyes.
    """
    half = frame.shape[1] // 2
    if half < 16 or frame.shape[0] < 16:
        raise DatasetError(f"a frame of {frame.shape[0]} x {frame.shape[1]} pixels is too small for two eyes")
    size = (2 * half, frame.shape[0])
    eyes = (frame[:, :half], frame[:, half : 2 * half])
    left, right = (cv2.resize(eye, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8) for eye in eyes)
    return left, right


def stereo_truth(left: NDArray[np.uint8], right: NDArray[np.uint8], flow: Flow) -> StereoTruth:
    """Disparity of ``left`` from flow in both directions.

    Args:
        left: (H, W, 3) uint8 RGB.
        right: as ``left``.
        flow: estimator.

    Raises:
        DatasetError: the eyes differ in size.
    """
    if left.shape != right.shape:
        raise DatasetError(f"the eyes differ in size: left {left.shape}, right {right.shape}")
    there, back = flow(left, right), flow(right, left)
    height, width = left.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    map_x, map_y = columns + there[..., 0], rows + there[..., 1]
    returned = cv2.remap(back, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1e6, 1e6))
    inconsistency = np.linalg.norm(there + returned, axis=2)
    valid = inconsistency <= MAX_INCONSISTENCY_PX
    disparity = -there[..., 0]
    spread = 0.0
    if valid.any():
        low, high = np.percentile(disparity[valid], _RANGE_PERCENTILES)
        spread = float(high - low)
    vertical_share = float((np.abs(there[..., 1]) > MAX_VERTICAL_PX).mean())
    return StereoTruth(np.ascontiguousarray(disparity), valid, vertical_share, spread, float(valid.mean()))
