"""Flying pixels: depth that hangs between a near and a far surface where a network smears an edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_RADIUS_PX = 2  # half size of the window in which an edge is looked for
_MIN_STEP = 0.15  # least step that is an edge, as a share of the nearer side's inverse depth
_MARGIN = 0.25  # share of the step within which a pixel belongs to one of its ends


def flying_pixels(inverse: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(h, w) True where depth belongs to neither side of an edge.

    A pixel flies if inverse depth steps, within two pixels of it, by more than 15 % of the nearer side's, and its own
    is more than a quarter of the step away from both ends. It is told by inverse depth because a slanted plane is a
    ramp in that at any distance; a slant that steep within five pixels carries no usable points either.

    Args:
        inverse: (h, w) inverse depth in 1/m or any unit that has the same zero; NaN is passed over.
    """
    near, far = local_extremes(inverse, _RADIUS_PX)
    between = inverse > cv2.addWeighted(near, _MARGIN, far, 1.0 - _MARGIN, 0.0)
    between &= inverse < cv2.addWeighted(near, 1.0 - _MARGIN, far, _MARGIN, 0.0)
    between &= far < near * np.float32(1.0 - _MIN_STEP)
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
