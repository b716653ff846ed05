"""Intrinsics from CameraInfo-like messages, by their fields alone: of ROS 2, of ROS 1 and of a bag reader. No ROS."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera


def camera_from_info(info: Any, width_px: int, height_px: int, rectified: bool = True) -> PinholeCamera:
    """Intrinsics for an image of ``width_px`` x ``height_px``: P if it is rectified, else K; ROI and binning honoured.

    Raises:
        CameraInfoError: uncalibrated (all zero), not finite, or of another image size.
    """
    matrix = np.array(info_field(info, "p"), dtype=np.float64).reshape(3, 4)[:, :3]
    if not rectified or not matrix.any():
        matrix = np.array(info_field(info, "k"), dtype=np.float64).reshape(3, 3)
    if not matrix.any():
        raise CameraInfoError("camera_info is all zero: the camera is not calibrated (see camera_calibration)")
    binning_x, binning_y = max(1, info.binning_x), max(1, info.binning_y)
    roi = info.roi
    has_roi = roi.width > 0 and roi.height > 0
    full_width, full_height = (roi.width, roi.height) if has_roi else (info.width, info.height)
    expected = full_width // binning_x, full_height // binning_y
    if expected != (width_px, height_px):
        raise CameraInfoError(
            f"camera_info describes {expected[0]}x{expected[1]} pixels but the image has {width_px}x{height_px}: "
            "is it of the same camera and mode?"
        )
    offset_x, offset_y = (roi.x_offset, roi.y_offset) if has_roi else (0, 0)
    return PinholeCamera(
        width_px,
        height_px,
        float(matrix[0, 0]) / binning_x,
        float(matrix[1, 1]) / binning_y,
        (float(matrix[0, 2]) - offset_x) / binning_x,
        (float(matrix[1, 2]) - offset_y) / binning_y,
    )


def info_field(info: Any, name: str) -> Any:
    """A matrix of camera_info: d, k, r, p are lower case in ROS 2, upper case in ROS 1."""
    return getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
