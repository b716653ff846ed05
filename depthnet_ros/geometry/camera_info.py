"""Intrinsics from CameraInfo-like messages, by their fields alone: of ROS 2, of ROS 1 and of a bag reader. No ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera

_LEAST_FOCAL = 0.05
"""Focal length by the picture's longer side: 168 degrees, more than any picture without distortion has."""
_MOST_FOCAL, _MOST_OFF_CENTRE = 1e4, 1e3
"""The same of the longest focal length, and of the farthest principal point (of a region of interest): beyond, squares
of rays overflow float32.
"""


def camera_from_info(info: Any, width_px: int, height_px: int, rectified: bool = True) -> PinholeCamera:
    """Intrinsics for an image of ``width_px`` x ``height_px``: P if it is rectified, else K; ROI and binning honoured.

    Raises:
        CameraInfoError: uncalibrated (all zero), not finite, of another image size, or no pinhole camera's.
    """
    matrix = np.array(info_field(info, "p"), dtype=np.float64).reshape(3, 4)[:, :3]
    if not rectified or not matrix.any():
        matrix = np.array(info_field(info, "k"), dtype=np.float64).reshape(3, 3)
    if not matrix.any():
        raise CameraInfoError("camera_info is all zero: the camera is not calibrated (see camera_calibration)")
    window = image_window(info)
    if window.size != (width_px, height_px):
        raise CameraInfoError(
            f"camera_info describes {window.size[0]}x{window.size[1]} pixels but the image has {width_px}x{height_px}: "
            "is it of the same camera and mode?"
        )
    seen = window.intrinsics(matrix)
    camera = PinholeCamera(
        width_px, height_px, float(seen[0, 0]), float(seen[1, 1]), float(seen[0, 2]), float(seen[1, 2])
    )
    if min(camera.fx_px, camera.fy_px) < _LEAST_FOCAL * max(width_px, height_px):
        raise CameraInfoError(
            f"focal lengths of {camera.fx_px:g} and {camera.fy_px:g} px are no pinhole camera's of "
            f"{width_px}x{height_px} pixels: it would see more than 168 degrees. Are they in pixels?"
        )
    longer = max(width_px, height_px)
    if max(camera.fx_px, camera.fy_px) > _MOST_FOCAL * longer or max(abs(camera.cx_px), abs(camera.cy_px)) > (
        _MOST_OFF_CENTRE * longer
    ):
        raise CameraInfoError(
            f"intrinsics fx fy cx cy = {camera.fx_px:g} {camera.fy_px:g} {camera.cx_px:g} {camera.cy_px:g} are no "
            f"camera's of {width_px}x{height_px} pixels. Are they in pixels?"
        )
    return camera


@dataclass(frozen=True)
class ImageWindow:
    """Which part of the full picture an image is, and how many of its pixels make one: ROI and binning."""

    size: tuple[int, int]
    """(width, height) of the image."""
    offset: tuple[int, int]
    binning: tuple[int, int]

    def intrinsics(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, 3) K or (3, 4) P of the full picture to that of the image."""
        seen = matrix.copy()
        for row in (0, 1):
            seen[row, 2] -= self.offset[row]
            seen[row] /= self.binning[row]
        return seen


def image_window(info: Any) -> ImageWindow:
    """ROI and binning of a CameraInfo-like message."""
    roi, binning = info.roi, (max(1, info.binning_x), max(1, info.binning_y))
    has_roi = roi.width > 0 and roi.height > 0
    width, height = (roi.width, roi.height) if has_roi else (info.width, info.height)
    offset = (int(roi.x_offset), int(roi.y_offset)) if has_roi else (0, 0)
    return ImageWindow((int(width) // binning[0], int(height) // binning[1]), offset, binning)


def info_field(info: Any, name: str) -> Any:
    """A matrix of camera_info: d, k, r, p are lower case in ROS 2, upper case in ROS 1."""
    return getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
