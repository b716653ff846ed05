"""Pinhole camera: intrinsics in pixels, scaled and cropped with the image they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError


@dataclass(frozen=True)
class PinholeCamera:
    """Intrinsics of a rectified camera. Pixel (0, 0) is the *centre* of the top left pixel, as in OpenCV.

    Attributes:
        width_px, height_px: of the image.
        fx_px, fy_px: focal lengths.
        cx_px, cy_px: principal point.

    Raises:
        CameraInfoError: a size or focal length that is not positive, or a number that is not finite.
    """

    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise CameraInfoError(f"camera image size must be positive, got {self.width_px}x{self.height_px}")
        values = (self.fx_px, self.fy_px, self.cx_px, self.cy_px)
        if not np.isfinite(values).all() or self.fx_px <= 0 or self.fy_px <= 0:
            raise CameraInfoError(
                f"focal lengths must be positive and all intrinsics finite, got fx fy cx cy = {values}: "
                "is the camera calibrated?"
            )

    @classmethod
    def from_fov(cls, width_px: int, height_px: int, horizontal_fov_rad: float) -> PinholeCamera:
        """Square pixels, principal point in the middle."""
        focal_px = 0.5 * width_px / float(np.tan(0.5 * horizontal_fov_rad))
        return cls(width_px, height_px, focal_px, focal_px, 0.5 * (width_px - 1), 0.5 * (height_px - 1))

    def largest_shift_px(self, other: PinholeCamera) -> float:
        """How far apart the two see a ray that the other has in a corner of its image; infinite for unlike sizes."""
        if (self.width_px, self.height_px) != (other.width_px, other.height_px):
            return float("inf")
        x = np.array([0.0, self.width_px - 1.0])
        y = np.array([0.0, self.height_px - 1.0])
        across = self.fx_px * (x - other.cx_px) / other.fx_px + self.cx_px - x
        down = self.fy_px * (y - other.cy_px) / other.fy_px + self.cy_px - y
        return float(np.hypot(np.abs(across).max(), np.abs(down).max()))

    def resized(self, width_px: int, height_px: int) -> PinholeCamera:
        """The camera of the same view resampled to another size (pixel centres at half pixels, as ``cv2.resize``)."""
        sx, sy = width_px / self.width_px, height_px / self.height_px
        return PinholeCamera(
            width_px,
            height_px,
            self.fx_px * sx,
            self.fy_px * sy,
            (self.cx_px + 0.5) * sx - 0.5,
            (self.cy_px + 0.5) * sy - 0.5,
        )

    def coarser(self, stride: int) -> PinholeCamera:
        """The camera of the same view on a grid of which one pixel covers ``stride`` x ``stride`` of the image's."""
        return self.resized(-(-self.width_px // stride), -(-self.height_px // stride))

    def strided(self, stride: int) -> PinholeCamera:
        """The camera of ``image[::stride, ::stride]``: every ``stride``-th pixel kept where it was."""
        return PinholeCamera(
            -(-self.width_px // stride),
            -(-self.height_px // stride),
            self.fx_px / stride,
            self.fy_px / stride,
            self.cx_px / stride,
            self.cy_px / stride,
        )

    def cropped(self, x_px: int, y_px: int, width_px: int, height_px: int) -> PinholeCamera:
        """The camera of ``image[y:y + height, x:x + width]``."""
        return PinholeCamera(width_px, height_px, self.fx_px, self.fy_px, self.cx_px - x_px, self.cy_px - y_px)

    @cached_property
    def ray_x(self) -> NDArray[np.float32]:
        """(W,) x / z of each column's rays."""
        return ((np.arange(self.width_px) - self.cx_px) / self.fx_px).astype(np.float32)

    @cached_property
    def ray_y(self) -> NDArray[np.float32]:
        """(H,) y / z of each row's rays."""
        return ((np.arange(self.height_px) - self.cy_px) / self.fy_px).astype(np.float32)

    def contains(self, u_px: NDArray[np.floating], v_px: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) True for pixels (N,) and (N,) within the image, whose edge is half a pixel beyond the centres of its
        outermost pixels; False for NaN.
        """
        with np.errstate(invalid="ignore"):
            across = (u_px >= -0.5) & (u_px <= self.width_px - 0.5)
            return np.asarray(across & (v_px >= -0.5) & (v_px <= self.height_px - 0.5))

    def rays(
        self, u_px: NDArray[np.floating], v_px: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x / z and y / z of the rays through pixels; the shapes are theirs."""
        return np.asarray((u_px - self.cx_px) / self.fx_px), np.asarray((v_px - self.cy_px) / self.fy_px)

    def project(self, points_m: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 3) points in the optical frame (x right, y down, z forward; metres) to (N, 2) pixels (u, v).

        NaN where z <= 0: a point behind the camera has no pixel.
        """
        points = np.asarray(points_m, dtype=np.float64)
        z = np.where(points[:, 2] > 0, points[:, 2], np.nan)
        return np.stack(
            (self.fx_px * points[:, 0] / z + self.cx_px, self.fy_px * points[:, 1] / z + self.cy_px), axis=1
        )

    def unproject(self, depth_m: NDArray[np.floating]) -> NDArray[np.float32]:
        """(H, W) depth along optical Z in metres to (H, W, 3) points in the optical frame; NaN stays NaN.

        Raises:
            CameraInfoError: depth is of another size.
        """
        if depth_m.shape != (self.height_px, self.width_px):
            raise CameraInfoError(
                f"depth is {depth_m.shape[1]}x{depth_m.shape[0]} but the camera {self.width_px}x{self.height_px}"
            )
        points = np.empty((*depth_m.shape, 3), dtype=np.float32)
        np.multiply(depth_m, self.ray_x[None, :], out=points[..., 0], casting="same_kind")
        np.multiply(depth_m, self.ray_y[:, None], out=points[..., 1], casting="same_kind")
        points[..., 2] = depth_m
        return points
