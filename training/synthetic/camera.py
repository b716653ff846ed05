"""Where the virtual camera stands and what it sees with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera

NEAR_M, FAR_M = 0.1, 4000.0


@dataclass(frozen=True)
class Pose:
    """Camera in a world with y up.

    Attributes:
        eye_m: (3,) position.
        yaw_rad: heading in the horizontal plane: 0 looks along +x, pi/2 along +z.
        pitch_rad: above the horizon.
        roll_rad: about the optical axis.
    """

    eye_m: NDArray[np.float64]
    yaw_rad: float
    pitch_rad: float = 0.0
    roll_rad: float = 0.0

    def view_matrix(self) -> NDArray[np.float64]:
        """(4, 4) OpenGL eye-from-world: x right, y up, looking along -z."""
        cos_pitch = np.cos(self.pitch_rad)
        forward = np.array((cos_pitch * np.cos(self.yaw_rad), np.sin(self.pitch_rad), cos_pitch * np.sin(self.yaw_rad)))
        right = np.cross(forward, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        up = np.cross(right, forward)
        c, s = np.cos(self.roll_rad), np.sin(self.roll_rad)
        rotation = np.stack((c * right + s * up, c * up - s * right, -forward))
        out = np.eye(4)
        out[:3, :3] = rotation
        out[:3, 3] = -rotation @ self.eye_m
        return out


def looking_at(eye_m: NDArray[np.floating], target_m: NDArray[np.floating], roll_rad: float = 0.0) -> Pose:
    """The pose at ``eye_m`` (3,) whose optical axis goes through ``target_m`` (3,)."""
    x, y, z = np.asarray(target_m, dtype=np.float64) - eye_m
    yaw, pitch = np.arctan2(z, x), np.arctan2(y, np.hypot(x, z))
    return Pose(np.asarray(eye_m, dtype=np.float64), float(yaw), float(pitch), roll_rad)


def projection_matrix(camera: PinholeCamera) -> NDArray[np.float64]:
    """(4, 4) OpenGL clip-from-eye of the pinhole camera, with pixel (0, 0) at the centre of the top left pixel."""
    width, height = camera.width_px, camera.height_px
    out = np.zeros((4, 4))
    out[0, 0] = 2 * camera.fx_px / width
    out[1, 1] = 2 * camera.fy_px / height
    out[0, 2] = 1 - 2 * (camera.cx_px + 0.5) / width
    out[1, 2] = 2 * (camera.cy_px + 0.5) / height - 1
    out[2, 2] = -(FAR_M + NEAR_M) / (FAR_M - NEAR_M)
    out[2, 3] = -2 * FAR_M * NEAR_M / (FAR_M - NEAR_M)
    out[3, 2] = -1
    return out
