"""The camera of a recording: intrinsics of each image, and lens distortion taken out where that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.rectify import ImageView, ImageViewer

_ASPECT_SLACK = 0.02


class BagCamera:
    """Gives each image its intrinsics: those given by hand, else of camera_info, as the node does."""

    def __init__(self, rectify: bool, intrinsics: tuple[float, float, float, float] | None, topic: str) -> None:
        """``topic``: of the images; one that is called raw gets no intrinsics where the lens bends it much."""
        self._rectify, self._intrinsics = rectify, intrinsics
        self._given: PinholeCamera | None = None
        self._viewer = ImageViewer(topic, rectify)

    def view(self, rgb: NDArray[np.uint8], info: Any) -> ImageView:
        """The (H, W, 3) uint8 picture with its intrinsics, rectified where that is asked for.

        ``info`` is the camera_info of this image, or None.

        Raises:
            ImageError: it is to be rectified, but there is no usable camera_info.
        """
        if self._intrinsics is not None:
            return self._view_of_given(rgb, self._intrinsics)
        if info is None:
            if self._rectify:
                raise ImageError("rectify is set but the image has no camera_info")
            return ImageView(rgb)
        try:
            return self._viewer.view(rgb, info)
        except CameraInfoError as error:
            if self._rectify:
                raise ImageError(f"rectify is set but camera_info cannot be used: {error}") from error
            return ImageView(rgb, note=str(error))

    def _view_of_given(self, rgb: NDArray[np.uint8], intrinsics: tuple[float, float, float, float]) -> ImageView:
        height, width = rgb.shape[:2]
        given = self._given = self._given or PinholeCamera(width, height, *intrinsics)
        if (width, height) == (given.width_px, given.height_px):
            return ImageView(rgb, given)
        first = f"{given.width_px}x{given.height_px}"
        return ImageView(
            rgb, note=f"--intrinsics are of the first image's size, {first}; this image is {width}x{height}"
        )

    def rectified_depth(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) depth, of any size, that is registered to the raw picture, as the last picture was rectified."""
        return self._viewer.rectified_depth(depth_m)


def registration_doubt(depth: Any, image: Any, shape: tuple[int, ...]) -> str:
    """Why a depth message of (h, w) ``shape`` may be that of another camera than the image message; empty if nothing
    speaks for it.
    """
    if depth.header.frame_id.lstrip("/") != image.header.frame_id.lstrip("/"):  # ROS 1 writes both
        return (
            f"the reference is in frame {depth.header.frame_id!r}, the image in {image.header.frame_id!r}: figures "
            "hold only if its pixels are the image's (registered or aligned depth)"
        )
    height, width = getattr(image, "height", 0), getattr(image, "width", 0)
    if height and abs(shape[1] * height - shape[0] * width) > _ASPECT_SLACK * shape[0] * width:
        return (
            f"the reference is {shape[1]}x{shape[0]}, the image {width}x{height}: of another aspect, so of another view"
        )
    return ""
