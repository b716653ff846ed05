"""A textured room that a camera moves in: true inverse depth, and the picture, from any pose."""

from __future__ import annotations

import cv2
import numpy as np

from .world import CAMERA

_WALL_M, _FLOOR_M = 4.0, 1.0
_TEXELS_PER_M = 40.0
BLOCK = np.s_[45:75, 62:98]
"""Pixels on the block, when it is 1.5 to 3 m ahead of a camera that looks along z."""


class Room:
    """A wall 4 m ahead, a floor 1 m below (y is down), and on demand a block before the wall."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(3, 512, 512)).astype(np.float32)
        blurred = [cv2.GaussianBlur(texture, (0, 0), 2.0) for texture in noise]
        self._textures = [cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX) for texture in blurred]
        x, y = np.meshgrid(CAMERA.ray_x, CAMERA.ray_y)
        self._rays = np.stack((x, y, np.ones_like(x)), axis=-1).astype(np.float64)

    def view(
        self, place_m: np.ndarray, turn_rad: np.ndarray, block_m: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inverse depth (120, 160) and grey picture from ``place_m``, turned by a rotation vector; a block of a metre
        at ``z = block_m``."""
        rays = self._rays @ cv2.Rodrigues(np.asarray(turn_rad, dtype=np.float64))[0].T
        x, y, z = np.moveaxis(rays, -1, 0)
        wall, floor = z / (_WALL_M - place_m[2]), np.maximum(y, 1e-6) / (_FLOOR_M - place_m[1])
        inverse, picture = wall, self._picture(0, x / wall + place_m[0], y / wall + place_m[1])
        on_floor = floor > wall
        grey = self._picture(1, x / floor + place_m[0], z / floor + place_m[2])
        inverse, picture = np.where(on_floor, floor, inverse), np.where(on_floor, grey, picture)
        if block_m is not None:
            block = z / (block_m - place_m[2])
            across, down = x / block + place_m[0], y / block + place_m[1]
            on_block = (np.abs(across) < 0.5) & (np.abs(down) < 0.5)
            inverse = np.where(on_block, block, inverse)
            picture = np.where(on_block, self._picture(2, across, down), picture)
        return inverse.astype(np.float32), np.clip(picture, 0, 255).astype(np.uint8)

    def _picture(self, which: int, first_m: np.ndarray, second_m: np.ndarray) -> np.ndarray:
        place = [(np.clip(m, -1e3, 1e3) * _TEXELS_PER_M).astype(np.float32) for m in (first_m, second_m)]
        return cv2.remap(self._textures[which], *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
