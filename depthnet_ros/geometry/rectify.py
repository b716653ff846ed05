"""Images with their intrinsics, lens distortion taken out where that is asked for: one pinhole model holds for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import info_field
from depthnet_ros.geometry.lens import FISHEYE, LensCalibration, camera_matrix

_LEAST_VALID = 0.01  # share of the image that must be left


class Rectifier:
    """Remaps raw images to a rectified pinhole camera; the maps are made once."""

    def __init__(self, lens: LensCalibration) -> None:
        """
        Raises:
            CameraInfoError: an unknown distortion model, a wrong number of coefficients, or nothing left of the image.
        """
        size = (lens.rectified.width_px, lens.rectified.height_px)
        if min(size) < 2:
            raise CameraInfoError(f"an image of {size[0]}x{size[1]} is too small to be rectified")
        function = cv2.fisheye.initUndistortRectifyMap if lens.model in FISHEYE else cv2.initUndistortRectifyMap
        before, after = camera_matrix(lens.raw), camera_matrix(lens.rectified)
        exact = function(before, lens.coefficients, lens.turn, after, size, cv2.CV_32FC1)
        self._maps: tuple[Any, Any] = cv2.convertMaps(*exact, cv2.CV_16SC2)
        # Its own map: OpenCV before 4.12 rounds the fractions of the other one the wrong way.
        self._nearest: Any = cv2.convertMaps(*exact, cv2.CV_16SC2, nninterpolation=True)[0]
        seen = np.full((lens.raw.height_px, lens.raw.width_px), 255, dtype=np.uint8)
        shown = cv2.remap(seen, *self._maps, cv2.INTER_LINEAR) == 255
        self.valid_mask: NDArray[np.bool_] = shown & _unfolded(*exact, lens)
        """(H, W) False where the raw image has no pixel to show: depth there would be an invention."""
        if (share := float(self.valid_mask.mean())) < _LEAST_VALID:
            raise CameraInfoError(f"rectifying leaves {share:.1%} of the image: K, D, R and P do not fit each other")

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) raw to (H, W, 3) rectified uint8; black where the raw image has no pixel."""
        return np.asarray(cv2.remap(image, self._maps[0], self._maps[1], cv2.INTER_LINEAR), dtype=np.uint8)

    def depth(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) depth of the raw image to that of the rectified one, NaN where there is none. It stays depth along the
        raw camera's axis: R turns a stereo camera by degrees.
        """
        moved = cv2.remap(
            depth_m, self._nearest, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=np.nan
        )
        return np.asarray(moved, dtype=np.float32)


@dataclass(frozen=True)
class ImageView:
    """One image as the network gets it.

    Attributes:
        rgb: (H, W, 3) uint8, rectified where that was asked for.
        camera: its intrinsics; None without usable ones.
        valid_mask: (H, W), False where the rectified image has no pixel; None: it has all.
        note: what it may cost that it was taken as rectified, or why it has no intrinsics; empty if nothing.
    """

    rgb: NDArray[np.uint8]
    camera: PinholeCamera | None = None
    valid_mask: NDArray[np.bool_] | None = None
    note: str = ""


class ImageViewer:
    """Gives the images of one camera their intrinsics; what depends on the calibration alone is made once."""

    def __init__(self, topic: str, rectify: bool) -> None:
        """``topic``: of the images; one that is called raw gets no intrinsics where the lens bends it much."""
        self._topic, self._rectify = topic, rectify
        self._key: tuple[Any, ...] = ()
        self._camera: PinholeCamera | None = None
        self._rectifier: Rectifier | None = None
        self._note = ""

    def view(self, rgb: NDArray[np.uint8], info: Any) -> ImageView:
        """``rgb``: (H, W, 3) uint8; ``info``: its CameraInfo-like message.

        Raises:
            CameraInfoError: it cannot be used, or says that the image must be rectified.
        """
        height, width = rgb.shape[:2]
        if (key := _key(info, width, height)) != self._key:
            self._key = ()  # until it is known to be usable
            lens = LensCalibration.of(info, width, height)
            self._rectifier, self._note = None, ""
            if not self._rectify:
                self._note = lens.check_unrectified(self._topic)
            elif not lens.is_rectified:
                self._rectifier = Rectifier(lens)
            self._key, self._camera = key, lens.rectified
        if self._rectifier is None:
            return ImageView(rgb, self._camera, note=self._note)
        return ImageView(self._rectifier(rgb), self._camera, self._rectifier.valid_mask)

    def rectified_depth(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth that is registered to the raw image of the last :meth:`view`, as that was rectified."""
        rectifier, camera = self._rectifier, self._camera  # another thread may be at the next image
        if rectifier is None or camera is None:
            return depth_m
        size = camera.width_px, camera.height_px
        if depth_m.shape != size[::-1]:
            # EXACT: of each block the middle, and not the corner.
            depth_m = np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.float32)
        return rectifier.depth(depth_m)


def _unfolded(column: NDArray[np.float32], row: NDArray[np.float32], lens: LensCalibration) -> NDArray[np.bool_]:
    """(H, W) True where the map, (H, W) raw ``column`` and ``row`` of each rectified pixel, is one to one: about the
    axis. Beyond some radius a distortion polynomial turns back, and shows the raw picture again, mirrored.
    """
    (column_down, column_across), (row_down, row_across) = np.gradient(column), np.gradient(row)
    keeps_sides = np.asarray(column_across * row_down - column_down * row_across > 0.0, dtype=np.uint8)
    _, parts = cv2.connectedComponents(keeps_sides, connectivity=4)
    # Where the lens's axis is in the rectified picture; a folded map shows it elsewhere, too.
    x, y, z = lens.turn[:, 2]
    rectified = lens.rectified
    across = rectified.ray_x[None, :] - x / max(z, 1e-3)
    off_axis = np.where(keeps_sides, np.hypot(across, rectified.ray_y[:, None] - y / max(z, 1e-3)), np.inf)
    return np.asarray((parts == parts.flat[int(off_axis.argmin())]) & (keeps_sides == 1))


def _key(info: Any, width_px: int, height_px: int) -> tuple[Any, ...]:
    """Equal for messages that say the same of an image of this size."""
    roi = info.roi
    return (
        *(width_px, height_px, info.width, info.height, info.binning_x, info.binning_y, info.distortion_model),
        *(roi.x_offset, roi.y_offset, roi.width, roi.height),
        *(np.asarray(info_field(info, name)).tobytes() for name in ("k", "d", "r", "p")),
    )
