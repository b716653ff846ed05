"""Where a sensor sits: rigid transforms from a sensor's frame into the camera's optical frame (REP 103)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError

OPTICAL_FROM_BODY: NDArray[np.float64] = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""(4, 4) body frame (x forward, y left, z up) to optical frame (x right, y down, z forward) of the same origin."""


def rotation_from_rpy(roll_rad: float, pitch_rad: float, yaw_rad: float) -> NDArray[np.float64]:
    """(3, 3) rotation about fixed x, then y, then z (URDF's and tf2's roll, pitch, yaw)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll_rad, pitch_rad, yaw_rad]), np.sin([roll_rad, pitch_rad, yaw_rad])
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def optical_from_sensor(xyz_rpy: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) transform of points of a sensor mounted at x y z roll pitch yaw in the camera's *body* frame.

    Raises:
        ConfigError: not six finite numbers.
    """
    values = np.asarray(xyz_rpy, dtype=np.float64)
    if values.shape != (6,) or not np.isfinite(values).all():
        raise ConfigError(f"a sensor pose needs six finite numbers (x y z roll pitch yaw), got {list(xyz_rpy)}")
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_rpy(*values[3:])
    pose[:3, 3] = values[:3]
    return OPTICAL_FROM_BODY @ pose


def mounted(source: str, xyz_rpy: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) from the frame that readings of ``source`` are in to the camera's optical frame: ``scale.<source>_pose``.

    The parameter tells how the sensor is mounted: its body frame (x forward) in the camera's. Ranges, scans and clouds
    are in that frame; a depth image is in the sensor's *optical* frame.

    Raises:
        ConfigError: not six finite numbers.
    """
    pose = optical_from_sensor(xyz_rpy)
    return pose @ OPTICAL_FROM_BODY.T if source == "depth" else pose


def pose_from_quaternion(translation: Sequence[float], quaternion_xyzw: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) transform from a translation in metres and a quaternion, as geometry_msgs/Transform has them.

    Raises:
        ConfigError: the quaternion has no length or a number is not finite.
    """
    q = np.asarray(quaternion_xyzw, dtype=np.float64)
    t = np.asarray(translation, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if not (np.isfinite(q).all() and np.isfinite(t).all()) or norm < 1e-6:
        raise ConfigError(f"not a rigid transform: translation {t.tolist()}, quaternion {q.tolist()}")
    x, y, z, w = q / norm
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = t
    return pose


def transform(pose: NDArray[np.float64], points_m: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 3) points through a (4, 4) transform."""
    return np.asarray(points_m, dtype=np.float64) @ pose[:3, :3].T + pose[:3, 3]
