"""Lens distortion taken out of an image, so that one pinhole model holds for all of it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera

FISHEYE = ("equidistant", "fisheye")
LARGEST_SHIFT = 0.05
"""Share of the image's width that the lens may move pixels by, before a raw image is no longer given metres."""
_PLACES = 9
_WORTH_SAYING_PX = 2.0
_BROWN = ("plumb_bob", "rational_polynomial", "")


class Rectifier:
    """Remaps raw images to a rectified pinhole camera; the maps are made once.

    Distortion models are those of sensor_msgs/CameraInfo (REP 104): ``plumb_bob`` and ``rational_polynomial`` as
    OpenCV's ``initUndistortRectifyMap``, ``equidistant`` as its fisheye model.
    """

    def __init__(
        self,
        raw: PinholeCamera,
        distortion: Sequence[float],
        model: str,
        rectified: PinholeCamera,
        rotation: NDArray[np.float64] | None = None,
    ) -> None:
        """``rotation``: 3 x 3, raw to rectified (CameraInfo's R); None is the identity.

        Raises:
            CameraInfoError: an unknown distortion model or a wrong number of coefficients.
        """
        self.camera = rectified
        size = (rectified.width_px, rectified.height_px)
        coefficients = checked_distortion(distortion, model)
        turn = np.eye(3) if rotation is None or not rotation.any() else rotation
        function = cv2.fisheye.initUndistortRectifyMap if model in FISHEYE else cv2.initUndistortRectifyMap
        self._maps = function(_matrix(raw), coefficients, turn, _matrix(rectified), size, cv2.CV_16SC2)
        seen = np.full((raw.height_px, raw.width_px), 255, dtype=np.uint8)
        self.valid_mask: NDArray[np.bool_] = cv2.remap(seen, *self._maps, cv2.INTER_LINEAR) == 255
        """(H, W) False where the raw image has no pixel to show: depth there would be an invention."""

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) raw to (H, W, 3) rectified uint8; black where the raw image has no pixel."""
        return np.asarray(cv2.remap(image, self._maps[0], self._maps[1], cv2.INTER_LINEAR), dtype=np.uint8)


def is_rectified(
    raw: PinholeCamera,
    distortion: Sequence[float],
    model: str,
    rectified: PinholeCamera,
    rotation: NDArray[np.float64] | None = None,
) -> bool:
    """Whether a :class:`Rectifier` of these would leave every pixel where it is, as with simulated cameras."""
    straight = model not in FISHEYE and not any(distortion)  # a fisheye without coefficients still bends
    upright = rotation is None or not rotation.any() or np.array_equal(rotation, np.eye(3))
    return straight and upright and raw == rectified


def checked_distortion(distortion: Sequence[float], model: str) -> NDArray[np.float64]:
    """Coefficients as OpenCV takes them for this model of sensor_msgs/CameraInfo.

    Raises:
        CameraInfoError: an unknown model or a wrong number of coefficients.
    """
    counts = (4,) if model in FISHEYE else (0, 4, 5, 8, 12, 14)
    if model not in (*FISHEYE, *_BROWN):
        raise CameraInfoError(f"distortion model {model!r} is unknown; known are {', '.join(_BROWN[:2] + FISHEYE)}")
    coefficients = np.asarray(distortion, dtype=np.float64)
    if coefficients.size not in counts or not np.isfinite(coefficients).all():
        wanted = " or ".join(map(str, counts))
        raise CameraInfoError(
            f"distortion model {model!r} needs {wanted} finite coefficients, got {list(coefficients)}"
        )
    return coefficients


def largest_shift_px(camera: PinholeCamera, distortion: Sequence[float], model: str) -> float:
    """How far the lens puts what a pinhole would show at a pixel from there, at most: what ignoring it would cost.

    0 without distortion; a fisheye without coefficients still bends. By the model itself and not its inverse, which
    OpenCV finds by an iteration that gives up without a word where a lens bends strongly.

    Raises:
        CameraInfoError: as :func:`checked_distortion`.
    """
    if model not in FISHEYE and not any(distortion):
        return 0.0
    coefficients = checked_distortion(distortion, model)
    across, down = np.meshgrid(
        np.linspace(0.0, camera.width_px - 1.0, _PLACES), np.linspace(0.0, camera.height_px - 1.0, _PLACES)
    )
    pixels = np.stack((across.ravel(), down.ravel()), axis=1)
    matrix = _matrix(camera)
    rays = (pixels - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]
    if model in FISHEYE:
        moved = cv2.fisheye.distortPoints(rays[:, None], matrix, coefficients)
    else:
        points = np.concatenate((rays, np.ones((len(rays), 1))), axis=1)
        moved, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, coefficients)
    return float(np.abs(moved[:, 0] - pixels).max())


def is_called_raw(topic: str) -> bool:
    """Whether an image topic's own name (image_raw, raw/image), not its namespace, calls it raw."""
    *above, name = topic.removesuffix("/compressed").split("/")
    return "raw" in name or above[-1:] == ["raw"]


def check_unrectified(camera: PinholeCamera, distortion: Sequence[float], model: str, topic: str) -> str:
    """What it may cost that images of ``topic`` are taken as rectified; empty where it costs nothing.

    ``camera``: the intrinsics K, ``distortion`` and ``model`` as in sensor_msgs/CameraInfo.

    Raises:
        CameraInfoError: the topic is called raw, and the lens moves pixels by more than :data:`LARGEST_SHIFT` of the
            width: clouds would be bent.
    """
    try:
        shift_px = largest_shift_px(camera, distortion, model)
    except CameraInfoError as error:  # of no consequence for an image that is rectified
        return f"taken as rectified; if it is not, nothing here can: {error}"
    if is_called_raw(topic) and shift_px > LARGEST_SHIFT * camera.width_px:
        raise CameraInfoError(
            f"the lens moves pixels by up to {shift_px:.0f} of {camera.width_px}, and the image's topic is called "
            "raw: set rectify, or take an image_rect"
        )
    if shift_px <= _WORTH_SAYING_PX:
        return ""
    return f"taken as rectified; the lens moves pixels by up to {shift_px:.0f} px: set rectify if raw"


def _matrix(camera: PinholeCamera) -> NDArray[np.float64]:
    return np.array([[camera.fx_px, 0.0, camera.cx_px], [0.0, camera.fy_px, camera.cy_px], [0.0, 0.0, 1.0]])
