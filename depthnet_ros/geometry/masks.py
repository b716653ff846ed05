"""Masks of pixels on other grids."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def resized_mask(mask: NDArray[np.bool_], height_px: int, width_px: int) -> NDArray[np.bool_]:
    """(h, w) mask of a view on another grid, a new (height_px, width_px) array, by the nearest pixel."""
    # EXACT: pixels about the same middle, as other maps are resized, and not about the same corner.
    resized = cv2.resize(mask.view(np.uint8), (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized).view(np.bool_)
