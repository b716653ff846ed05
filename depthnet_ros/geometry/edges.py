"""Flying pixels: depth that hangs between a near and a far surface where a network smears an edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_MIN_STEP = 0.15
_MARGIN = 0.25


def flying_pixels(inverse: NDArray[np.float32], radius_px: int = 2, min_step: float = _MIN_STEP) -> NDArray[np.bool_]:
    """(h, w) True where depth belongs to neither side of an edge.

    A pixel flies if, within ``radius_px``, inverse depth steps by more than ``min_step`` of the nearer side, and the
    pixel's own is more than a quarter of the step away from both ends. Inverse depth, as a slanted plane is a ramp in
    it at any distance; a slant that steep within five pixels carries no usable points either.

    Args:
        inverse: (h, w) inverse depth in 1/m or any unit that has the same zero; NaN is passed over.
        radius_px: half size of the window.
        min_step: smallest step that is an edge, relative to the nearer side's inverse depth.
    """
    near, far = local_extremes(inverse, radius_px)
    between = inverse > cv2.addWeighted(near, _MARGIN, far, 1.0 - _MARGIN, 0.0)
    between &= inverse < cv2.addWeighted(near, 1.0 - _MARGIN, far, _MARGIN, 0.0)
    between &= far < near * np.float32(1.0 - min_step)
    return between


def local_extremes(inverse: NDArray[np.float32], radius_px: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(h, w) largest and (h, w) smallest within ``radius_px`` of each pixel, whatever is NaN among them passed over."""
    kernel = np.ones((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    lower = upper = inverse
    if np.isnan(inverse.min()):
        unknown = np.isnan(inverse)
        lower, upper = (np.where(unknown, np.float32(fill), inverse) for fill in (-np.inf, np.inf))
    near, far = cv2.dilate(lower, kernel), cv2.erode(upper, kernel)
    return np.asarray(near, dtype=np.float32), np.asarray(far, dtype=np.float32)
