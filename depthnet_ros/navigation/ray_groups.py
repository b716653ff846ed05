"""Pixels of an image by the ray of a planar scan that they belong to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import DepthNetError

_LEAST_SPAN_RAD = 0.01  # of the rays together: about half a degree


class ViewError(DepthNetError):
    """A camera mounted so that no scan can be made of its image."""


class RayGroups:
    """Which pixels belong to which ray, told by their azimuth; what is computed per pixel becomes a number per ray.

    Attributes:
        count: of rays, at equal angles that grow to the left (REP 103).
        angle_min_rad, angle_increment_rad: of the first ray and from ray to ray.
        pixels: (count,) how many each has.
    """

    def __init__(self, azimuth_rad: NDArray[np.floating], count: int) -> None:
        """``azimuth_rad``: (H, W), 0 ahead and growing to the left; ``count``: of rays.

        Raises:
            ViewError: the rows of the image's middle half share no directions: it is too narrow, or rolled too far.
        """
        height = len(azimuth_rad)
        self._shape = azimuth_rad.shape
        # Rows far from the middle reach farther to the side; the rays cover what every row of the middle half sees.
        middle = azimuth_rad[height // 4 : max(3 * height // 4, height // 4 + 1)]
        left, right = middle[:, 0], middle[:, -1]
        if left.mean() < right.mean():  # the camera hangs upside down
            left, right = right, left
        low, high = float(right.max()), float(left.min())
        if not high - low >= _LEAST_SPAN_RAD:
            raise ViewError(
                f"no scan can be made of {azimuth_rad.shape[1]}x{height} points whose rows share "
                f"{max(0.0, math.degrees(high - low)):.1f} degrees of directions: the image must be wider, or upright"
            )
        self.count = count
        self.angle_increment_rad = (high - low) / count
        self.angle_min_rad = low + 0.5 * self.angle_increment_rad
        index = np.floor((azimuth_rad - low) / max(self.angle_increment_rad, 1e-9))
        index[(index < 0) | (index >= count)] = count
        # A stable sort of 16 bits takes a fifth of one of 64; a camera that sways needs one in every frame.
        index = index.ravel().astype(np.uint16 if count < 1 << 16 else np.intp)
        order = np.argsort(index, kind="stable")
        starts = np.concatenate(([0], np.cumsum(np.bincount(index, minlength=count + 1)[:count])))
        self.pixels: NDArray[np.intp] = np.diff(starts)
        self._seen = np.flatnonzero(self.pixels)
        self._starts = starts[self._seen]
        self._order = order[: starts[-1]]

    def reduce(self, combine: np.ufunc, values: NDArray[Any], empty: Any) -> NDArray[Any]:
        """(count,) what ``combine`` makes of each ray's pixels, of the type of ``values``, (H, W); ``empty`` where a
        ray has none.
        """
        result = np.full(self.count, empty, dtype=values.dtype)
        if len(self._seen):
            result[self._seen] = combine.reduceat(values.ravel()[self._order], self._starts)
        return result

    def any(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(count,) True for rays with a pixel in the mask, (H, W)."""
        if not mask.any():  # as mostly
            return np.zeros(self.count, dtype=np.bool_)
        return self.reduce(np.logical_or, mask, False)

    def spread(self, values: NDArray[Any], outside: Any) -> NDArray[Any]:
        """(H, W) each ray's own of ``values``, (count,), at its pixels; ``outside`` at pixels of no ray."""
        result = np.full(self._shape, outside, dtype=values.dtype)
        result.ravel()[self._order] = np.repeat(values, self.pixels)
        return result

    def sum(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(count,) number of each ray's pixels in the mask, (H, W)."""
        return self.reduce(np.add, mask.astype(np.float32), 0.0)
