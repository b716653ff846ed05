"""A lens as sensor_msgs/CameraInfo describes it, and what it costs to take a raw image for a rectified one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import camera_from_info, info_field

FISHEYE = ("equidistant", "fisheye")
LARGEST_SHIFT = 0.05
"""Share of the image's width that rectifying may move pixels by, before a raw image is no longer given metres."""
WORTH_SAYING_PX = 2.0
"""Shift that rectifying would cause, above which a raw image that is taken for a rectified one is reported."""
_PLACES = 9  # of rows and columns, at which it is asked how far rectifying moves a pixel
_WIDEST_DEG = 125.0  # of an image that somebody rectified
_NO_ROTATION = 0.05  # by which an element of R times its transpose may differ from the identity's
_BROWN = ("plumb_bob", "rational_polynomial", "")


@dataclass(frozen=True)
class LensCalibration:
    """The lens of images of one size.

    Distortion models are those of sensor_msgs/CameraInfo (REP 104): ``plumb_bob`` and ``rational_polynomial`` as
    OpenCV's ``initUndistortRectifyMap``, ``equidistant`` as its fisheye model.

    Attributes:
        raw: intrinsics of the image as the lens makes it (CameraInfo's K).
        rectified: of the image without distortion (P).
        distortion: coefficients (D).
        model: of distortion.
        rotation: 3 x 3, raw to rectified (R), row by row; empty: none.
    """

    raw: PinholeCamera
    rectified: PinholeCamera
    distortion: tuple[float, ...] = ()
    model: str = "plumb_bob"
    rotation: tuple[float, ...] = ()

    @classmethod
    def of(cls, info: Any, width_px: int, height_px: int) -> LensCalibration:
        """From a CameraInfo-like message, for an image of this size.

        Raises:
            CameraInfoError: not calibrated, not finite, of another image size, or R is no rotation.
        """
        rectified, raw = (camera_from_info(info, width_px, height_px, rectified=is_p) for is_p in (True, False))
        distortion, rotation = (tuple(float(n) for n in np.ravel(info_field(info, name))) for name in ("d", "r"))
        lens = cls(raw, rectified, distortion, info.distortion_model, rotation)
        if not np.isfinite(lens.turn).all() or not (
            np.abs(lens.turn @ lens.turn.T - np.eye(3)).max() < _NO_ROTATION and np.linalg.det(lens.turn) > 0
        ):
            raise CameraInfoError(f"R must be a rotation, got {list(rotation)}")
        return lens

    @property
    def turn(self) -> NDArray[np.float64]:
        """(3, 3) rotation; the identity where none is given."""
        return np.reshape(self.rotation, (3, 3)) if any(self.rotation) else np.eye(3)

    @property
    def bends(self) -> bool:
        """It moves pixels; a fisheye without coefficients does."""
        return self.model in FISHEYE or any(self.distortion)

    @property
    def is_rectified(self) -> bool:
        """Rectifying would leave every pixel where it is, as with simulated cameras."""
        return not self.bends and np.array_equal(self.turn, np.eye(3)) and self.raw == self.rectified

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """Distortion as OpenCV takes it.

        Raises:
            CameraInfoError: an unknown model or a wrong number of coefficients.
        """
        counts = (4,) if self.model in FISHEYE else (0, 4, 5, 8, 12, 14)
        if self.model not in (*FISHEYE, *_BROWN):
            known = ", ".join(_BROWN[:2] + FISHEYE)
            raise CameraInfoError(f"distortion model {self.model!r} is unknown; known are {known}")
        coefficients = np.asarray(self.distortion, dtype=np.float64)
        if coefficients.size not in counts or not np.isfinite(coefficients).all():
            wanted = " or ".join(map(str, counts))
            raise CameraInfoError(
                f"distortion model {self.model!r} needs {wanted} finite coefficients, got {coefficients.tolist()}"
            )
        return coefficients

    def largest_shift_px(self) -> float:
        """How far from a pixel of the rectified image its place in the raw one is, at most: what it costs to take the
        raw image for the rectified one.

        By the model itself and not its inverse, which OpenCV finds by an iteration that gives up without a word where
        a lens bends strongly.

        Raises:
            CameraInfoError: as :attr:`coefficients`; or R turns the image behind the camera.
        """
        if self.is_rectified:
            return 0.0
        coefficients, before, after = self.coefficients, camera_matrix(self.raw), camera_matrix(self.rectified)
        ends = (np.linspace(0.0, side - 1.0, _PLACES) for side in (self.rectified.width_px, self.rectified.height_px))
        pixels = np.stack([places.ravel() for places in np.meshgrid(*ends)], axis=1)
        rays = np.concatenate(((pixels - after[:2, 2]) / after[[0, 1], [0, 1]], np.ones((len(pixels), 1))), axis=1)
        rays = rays @ self.turn  # R takes raw to rectified, its transpose back
        ahead = rays[:, 2] > 0.0
        if not ahead.any():
            raise CameraInfoError(f"R turns the whole image behind the camera: {list(self.rotation)}")
        project = cv2.fisheye.projectPoints if self.model in FISHEYE else cv2.projectPoints
        nowhere = np.zeros(3)
        moved, _ = project(rays[ahead].reshape(-1, 1, 3), nowhere, nowhere, before, coefficients)
        return float(np.abs(moved.reshape(-1, 2) - pixels[ahead]).max(initial=0.0))

    def check_unrectified(self, topic: str) -> str:
        """What it may cost that images of ``topic`` are taken as rectified; empty where it costs nothing.

        Raises:
            CameraInfoError: the topic is called raw, and rectifying would move pixels by more than
                :data:`LARGEST_SHIFT` of the width: clouds would be bent, or lie elsewhere.
        """
        try:
            shift_px = self.largest_shift_px()
        except CameraInfoError as error:  # of no consequence for an image that is rectified
            return f"taken as rectified; if it is not, it cannot be rectified here: {error}"
        if is_called_raw(topic) and shift_px > LARGEST_SHIFT * self.raw.width_px:
            raise CameraInfoError(
                f"rectifying would move pixels by up to {shift_px:.0f} of {self.raw.width_px}, and the image's topic "
                "is called raw: set rectify, or take an image_rect"
            )
        wide = math.degrees(2.0 * math.atan(0.5 * self.raw.width_px / self.raw.fx_px))
        if wide > _WIDEST_DEG and not self.bends:
            return (
                f"taken as an undistorted {wide:.0f}-degree pinhole camera, which hardly any lens is: "
                "calibrate it (model equidistant), and set rectify, or clouds are warped"
            )
        if shift_px <= WORTH_SAYING_PX:
            return ""
        return f"taken as rectified, which would move pixels by up to {shift_px:.0f} px: set rectify if raw"


def is_called_raw(topic: str) -> bool:
    """Whether an image topic's own name (image_raw, raw/image), not its namespace, calls it raw."""
    *above, name = topic.removesuffix("/compressed").split("/")
    return "raw" in name or above[-1:] == ["raw"]


def camera_matrix(camera: PinholeCamera) -> NDArray[np.float64]:
    """(3, 3) K of a camera."""
    return np.array([[camera.fx_px, 0.0, camera.cx_px], [0.0, camera.fy_px, camera.cy_px], [0.0, 0.0, 1.0]])
