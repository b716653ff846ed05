"""The camera of a recording: intrinsics of each image, and lens distortion taken out where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import camera_from_info, info_field
from depthnet_ros.geometry.rectify import Rectifier, check_unrectified, is_rectified

_ASPECT_SLACK = 0.02


@dataclass(frozen=True)
class View:
    """One image as the network gets it.

    ``camera``: None without usable intrinsics; ``note`` then says why. ``valid_mask``: (H, W), False where the
    rectified image has no pixel; None: it has all.
    """

    rgb: NDArray[np.uint8]
    camera: PinholeCamera | None = None
    valid_mask: NDArray[np.bool_] | None = None
    note: str = ""


class BagCamera:
    """Gives each image its intrinsics: those given by hand, else of camera_info, as the node does."""

    def __init__(self, rectify: bool, intrinsics: tuple[float, float, float, float] | None, topic: str) -> None:
        """``topic``: of the images; one that is called raw gets no intrinsics where the lens bends it much."""
        self._rectify, self._intrinsics, self._topic = rectify, intrinsics, topic
        self._rectifier: tuple[bytes, Rectifier | None] | None = None
        self._lens: tuple[Any, str] | None = None

    def view(self, rgb: NDArray[np.uint8], info: Any) -> View:
        """``info``: the camera_info of this image, or None.

        Raises:
            ImageError: it is to be rectified, but there is no usable camera_info.
        """
        height, width = rgb.shape[:2]
        if self._intrinsics is not None:
            return View(rgb, PinholeCamera(width, height, *self._intrinsics))
        if info is None:
            if self._rectify:
                raise ImageError("rectify is set but the image has no camera_info")
            return View(rgb)
        try:
            camera = camera_from_info(info, width, height)
            if not self._rectify:
                return View(rgb, camera, note=self._lens_note(info, camera))
            rectifier = self._rectifier_for(info, camera)
        except CameraInfoError as error:
            if self._rectify:
                raise ImageError(f"rectify is set but camera_info cannot be used: {error}") from error
            return View(rgb, note=str(error))
        return View(rgb, camera) if rectifier is None else View(rectifier(rgb), camera, rectifier.valid_mask)

    def _lens_note(self, info: Any, camera: PinholeCamera) -> str:
        """What it may cost that the images are taken as rectified; CameraInfoError where that would bend depth."""
        raw = camera_from_info(info, camera.width_px, camera.height_px, rectified=False)
        key = (raw, tuple(info_field(info, "d")), info.distortion_model)
        if self._lens is None or self._lens[0] != key:
            self._lens = key, check_unrectified(*key, self._topic)
        return self._lens[1]

    def _rectifier_for(self, info: Any, camera: PinholeCamera) -> Rectifier | None:
        """None where there is nothing to rectify."""
        lens = [np.asarray(info_field(info, name), dtype=np.float64).ravel() for name in ("k", "d", "r", "p")]
        key = np.concatenate((*lens, (camera.width_px, camera.height_px))).tobytes()
        if self._rectifier is None or self._rectifier[0] != key:
            raw = camera_from_info(info, camera.width_px, camera.height_px, rectified=False)
            known = (raw, lens[1].tolist(), info.distortion_model, camera, lens[2].reshape(3, 3))
            self._rectifier = key, None if is_rectified(*known) else Rectifier(*known)
        return self._rectifier[1]


def registration_doubt(depth: Any, image: Any, shape: tuple[int, ...]) -> str:
    """Why a depth message of (h, w) ``shape`` may be that of another camera than the image message; empty if nothing
    speaks for it.
    """
    if depth.header.frame_id != image.header.frame_id:
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
