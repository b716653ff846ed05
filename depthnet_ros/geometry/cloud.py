"""Organised clouds: the bytes of a ``sensor_msgs/PointCloud2``, packed into memory that is used again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError, ImageError
from depthnet_ros.geometry.camera import PinholeCamera

POINT_STEP = 16
"""Bytes of one point."""
FIELD_OFFSETS = {"x": 0, "y": 4, "z": 8, "rgb": 12}
"""Byte offset of each field, all of them FLOAT32; ``rgb`` holds the bytes B, G, R, 0 (0x00RRGGBB, so never a NaN)."""

_BAND_PX = 80_000  # the working planes of a band stay in the cache, and OpenCV does not wake its threads for so few
_LOWEST, _HIGHEST = np.float32(1.1754944e-38), np.float32(3.4028235e38)  # finite, positive and not denormal
_COLOUR_BITS = np.uint32(0x00FFFFFF)

WHOLE_POINTS = 16
"""Memory whose address is a multiple of this is better not packed into: OpenCV then writes past the caches, and whoever
reads the points next has to fetch them from memory. Packing itself takes a sixth longer."""


class CloudPacker:
    """Packs depth into x, y, z, rgb points of :data:`POINT_STEP` bytes, row by row, as REP 103 has the optical frame.

    A point is NaN in x, y and z where depth is NaN, infinite, not positive, or too far. One packer serves one camera:
    its working memory is used again as long as the size stays the same.
    """

    def __init__(self) -> None:
        self._camera: PinholeCamera | None = None
        self._z = np.empty((0, 0), dtype=np.float32)

    def pack(
        self,
        depth_m: NDArray[np.floating],
        camera: PinholeCamera,
        out: NDArray[np.float32],
        *,
        rgb: NDArray[np.uint8] | None = None,
        drop: NDArray[np.bool_] | None = None,
        max_depth_m: float = float("inf"),
    ) -> None:
        """Fill ``out`` with the points of one frame.

        Args:
            depth_m: (H, W) along optical Z in metres.
            camera: of that depth.
            out: (H, W, 4) contiguous; the last of the four is the colour, 0 without ``rgb``.
            rgb: (H, W, 3).
            drop: (H, W) True where there is to be no point.
            max_depth_m: farthest depth that gives a point.

        Raises:
            CameraInfoError: the camera's size is not that of the depth.
            ImageError: the image's size is not that of the depth.
            ValueError: those of ``out`` and ``drop``, which the caller has made itself, are not.
        """
        if depth_m.shape != (camera.height_px, camera.width_px):
            raise CameraInfoError(
                f"depth has shape {depth_m.shape}, the camera is {camera.width_px}x{camera.height_px}"
            )
        if rgb is not None and (rgb.shape != (*depth_m.shape, 3) or rgb.dtype != np.uint8):
            raise ImageError(f"expected {(*depth_m.shape, 3)} uint8 RGB beside the depth, got {rgb.shape} {rgb.dtype}")
        if out.shape != (*depth_m.shape, 4) or (drop is not None and drop.shape != depth_m.shape):
            dropped = "" if drop is None else f", drop {drop.shape}"
            raise ValueError(f"depth has shape {depth_m.shape}, out {out.shape}{dropped}")
        depth = np.ascontiguousarray(depth_m, dtype=np.float32)
        if camera != self._camera:
            self._reserve(camera)
        for top in range(0, len(depth), len(self._z)):
            band = slice(top, top + len(self._z))
            z = self._masked(depth[band], None if drop is None else drop[band], np.float32(max_depth_m))
            self._pack_band(z, self._ray_y[band], None if rgb is None else rgb[band], out[band])

    def _reserve(self, camera: PinholeCamera) -> None:
        height, width = camera.height_px, camera.width_px
        bands = -(-height * width // _BAND_PX)
        rows = -(-height // bands)  # of equal height, as far as that goes
        # Whole planes, not broadcast rows: OpenCV's product of two planes is faster than numpy's of a plane and a row.
        self._ray_x = np.repeat(camera.ray_x[None, :], rows, axis=0)
        self._ray_y = np.repeat(camera.ray_y[:, None], width, axis=1)
        self._camera = camera
        if self._z.shape == (rows, width):
            return
        self._x, self._y, self._z = (np.empty((rows, width), dtype=np.float32) for _ in range(3))
        self._bgr0 = np.zeros((rows, width, 4), dtype=np.uint8)
        self._valid, self._near_enough = (np.empty((rows, width), dtype=np.bool_) for _ in range(2))

    def _pack_band(
        self,
        z: NDArray[np.float32],
        ray_y: NDArray[np.float32],
        rgb: NDArray[np.uint8] | None,
        out: NDArray[np.float32],
    ) -> None:
        rows = len(z)  # the last band may be lower
        x, y, bgr0 = self._x[:rows], self._y[:rows], self._bgr0[:rows]
        cv2.multiply(z, self._ray_x[:rows], dst=x)
        cv2.multiply(z, ray_y, dst=y)
        colour = bgr0.view(np.uint32)
        if rgb is None:
            colour.fill(0)
        else:
            cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA, dst=bgr0)
            np.bitwise_and(colour, _COLOUR_BITS, out=colour)
        cv2.merge((x, y, z, colour.view(np.float32)[..., 0]), dst=out)

    def _masked(
        self, depth: NDArray[np.float32], drop: NDArray[np.bool_] | None, max_depth_m: np.float32
    ) -> NDArray[np.float32]:
        """Depth with NaN wherever there is no point; the array itself when it is so already, as it mostly is."""
        low, high = _LOWEST, min(max_depth_m, _HIGHEST)
        flat, rows = depth.ravel(), len(depth)
        if drop is None and np.fmin.reduce(flat) >= low and np.fmax.reduce(flat) <= high:
            return depth
        valid, near_enough, z = self._valid[:rows], self._near_enough[:rows], self._z[:rows]
        np.greater_equal(depth, low, out=valid)
        np.less_equal(depth, high, out=near_enough)
        np.logical_and(valid, near_enough, out=valid)
        if drop is not None:
            np.greater(valid, drop, out=valid)  # valid and not dropped
        z.fill(np.nan)
        cv2.copyTo(depth, valid.view(np.uint8), z)
        return z
