"""Three by three pixels at a time: the nearest of a hundred noisy pixels is always noise, that of nine alike is not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_PATCH = np.ones((3, 3), np.uint8)
_POST = np.ones((5, 1), np.uint8)
_RAIL = np.ones((1, 5), np.uint8)


def largest_where_filled(
    values: NDArray[np.float32], mask: NDArray[np.bool_], posts: bool = False, rails: bool = False
) -> NDArray[np.float32]:
    """(H, W) the largest of each three by three pixels where all of them are in the mask; +Inf elsewhere.

    ``posts``: of five pixels above each other, too, which is less sure, but sees what is narrow; ``rails``: of five
    beside each other, which sees what is flat.
    """
    hidden = np.full(values.shape, np.inf, np.float32)
    cv2.copyTo(values, mask.view(np.uint8), hidden)  # several times faster than np.where
    largest = cv2.dilate(hidden, _PATCH)
    for wanted, thin in ((posts, _POST), (rails, _RAIL)):
        if wanted:
            cv2.min(largest, cv2.dilate(hidden, thin), dst=largest)
    return np.asarray(largest, dtype=np.float32)


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) True where all of three by three pixels are in the mask."""
    return np.asarray(cv2.erode(mask.view(np.uint8), _PATCH)).view(np.bool_)


def smallest(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) the smallest of each three by three pixels; no NaN among them."""
    return np.asarray(cv2.erode(values, _PATCH), dtype=np.float32)
