"""What is known of one frame when its outputs are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.masks import resized_mask
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale.result import MetricDepth


@dataclass(frozen=True)
class FrameResult:
    """All that is known of one frame when it is published.

    ``rgb``: (H, W, 3) uint8, rectified where that was asked for. ``camera`` is None without usable camera_info.
    ``valid_mask``: (H, W), False where the image has no pixel; None: it has all.
    """

    header: Header
    rgb: NDArray[np.uint8]
    camera: PinholeCamera | None
    prediction: DepthPrediction
    metric: MetricDepth
    valid_mask: NDArray[np.bool_] | None = None

    def masked(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) depth or the like on any grid of this image, NaN where the image has no pixel."""
        return pixels if self.valid_mask is None else self.mask(pixels.copy())

    def mask(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """:meth:`masked` in place: changes and returns ``pixels``, (h, w)."""
        mask = self.valid_at(*pixels.shape[:2])
        if mask is not None:
            np.copyto(pixels, np.float32(np.nan), where=~mask)
        return pixels

    def valid_at(self, height_px: int, width_px: int) -> NDArray[np.bool_] | None:
        """:attr:`valid_mask` on another grid, (height_px, width_px); None if there is none."""
        if self.valid_mask is None or self.valid_mask.shape == (height_px, width_px):
            return self.valid_mask
        return resized_mask(self.valid_mask, height_px, width_px)
