"""Camera height as a metric measurement: on a flat ground the inverse depth of every pixel is known.

With n the unit vector from the camera down to the ground, in the optical frame, and h the height, a point z * ray of
the ground has ``n . (z * ray) = h``, so ``1 / z = n . ray / h``: affine in the pixel, as inverse depth of any plane is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.anchors import AnchorError
from depthnet_ros.metric_scale.config import MetricScaleConfig

_ROWS, _COLUMNS = 10, 12  # of the grid, over the whole image, that the ground is looked at on
# Nearer to the horizon than this, a small tilt error moves the ground by metres, and walls stand there more often
# than not.
_MIN_SLOPE = math.tan(math.radians(8.0))
_STRAIGHT_DOWN = 0.3  # sine of 17 degrees from straight down, within which the optical axis tells no heading
_MIN_VISIBLE = 12  # places of that grid that must show the ground


@dataclass(frozen=True)
class GroundPlane:
    """A flat ground below the camera.

    Attributes:
        down: (3,) unit vector towards the ground, in the optical frame.
        height_m: of the camera above it.
        height_sigma: standard deviation of the height, as a share of it.
        tilt_sigma_rad: standard deviation of pitch and roll.
    """

    down: NDArray[np.float64]
    height_m: float
    height_sigma: float = MetricScaleConfig.ground_height_sigma
    tilt_sigma_rad: float = MetricScaleConfig.ground_tilt_sigma_rad

    @classmethod
    def from_height(
        cls,
        height_m: float,
        pitch_rad: float = 0.0,
        roll_rad: float = 0.0,
        height_sigma: float = MetricScaleConfig.ground_height_sigma,
        tilt_sigma_rad: float = MetricScaleConfig.ground_tilt_sigma_rad,
    ) -> GroundPlane:
        """From a height, a pitch (positive looks down) and a roll (positive lowers the right side).

        Raises:
            ConfigError: not finite, or a height that is not positive.
        """
        if not all(math.isfinite(value) for value in (height_m, pitch_rad, roll_rad)) or height_m <= 0:
            raise ConfigError(
                f"camera height must be positive and the angles finite, got {height_m} m, {pitch_rad} and "
                f"{roll_rad} rad"
            )
        down = np.array([0.0, math.cos(pitch_rad), math.sin(pitch_rad)])
        cosine, sine = math.cos(roll_rad), math.sin(roll_rad)
        turn = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return cls(turn @ down, height_m, height_sigma, tilt_sigma_rad)

    @classmethod
    def from_pose(
        cls,
        ground_from_camera: NDArray[np.float64],
        height_sigma: float = MetricScaleConfig.ground_height_sigma,
        tilt_sigma_rad: float = MetricScaleConfig.ground_tilt_sigma_rad,
    ) -> GroundPlane:
        """From the (4, 4) transform of the camera's optical frame into a frame whose z axis points up from the ground.

        Raises:
            ConfigError: the camera is not above the ground.
        """
        height = float(ground_from_camera[2, 3])
        if not height > 0:
            raise ConfigError(f"the camera lies {height:.3f} m above the ground frame; it must be above it")
        return cls(-ground_from_camera[2, :3], height, height_sigma, tilt_sigma_rad)

    def same_as(self, other: GroundPlane | None) -> bool:
        """Whether the two differ by less than a millirad and half a percent of the height."""
        if other is None or abs(self.height_m - other.height_m) > 0.005 * self.height_m:
            return False
        return float(np.abs(self.down - other.down).max()) < 1e-3

    @property
    def levelled_from_optical(self) -> NDArray[np.float64]:
        """(4, 4) into the levelled frame: x where the camera looks, along the ground, or within 17 degrees of straight
        down where the image's top is; z up; origin on the ground below.
        """
        up = -self.down
        forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
        if np.linalg.norm(forward) < _STRAIGHT_DOWN:  # then a sway would turn it about: the image's top is ahead
            forward = np.array([0.0, -math.copysign(1.0, self.down[2]), 0.0])  # of a camera that looks up its bottom
            forward -= (forward @ up) * up
        forward /= np.linalg.norm(forward)
        pose = np.eye(4)
        pose[:3, :3] = np.stack((forward, np.cross(up, forward), up))
        pose[2, 3] = self.height_m
        return pose

    def inverse_depth(
        self, u_px: NDArray[np.floating], v_px: NDArray[np.floating], camera: PinholeCamera
    ) -> NDArray[np.float64]:
        """Of the ground at pixels, in 1/m and of their shape; zero at the horizon, negative above it."""
        x, y = camera.rays(u_px, v_px)
        return np.asarray((self.down[0] * x + self.down[1] * y + self.down[2]) / self.height_m)


@dataclass(frozen=True)
class GroundView:
    """The part of an image in which a plane can be seen, computed once per plane and camera.

    Attributes:
        u_px, v_px: (N,) pixels of a coarse grid below the horizon.
        inverse_depth: (N,) 1/m of the plane there.
        plane: of which this is the view.
    """

    u_px: NDArray[np.float64]
    v_px: NDArray[np.float64]
    inverse_depth: NDArray[np.float64]
    plane: GroundPlane

    @classmethod
    def of(cls, plane: GroundPlane, camera: PinholeCamera) -> GroundView:
        """Where ``camera`` sees ``plane``.

        Raises:
            AnchorError: (almost) no ground is in the image.
        """
        u = (np.arange(_COLUMNS) + 0.5) * camera.width_px / _COLUMNS - 0.5
        v = (np.arange(_ROWS) + 0.5) * camera.height_px / _ROWS - 0.5
        u, v = (grid.ravel() for grid in np.meshgrid(u, v))
        inverse = plane.inverse_depth(u, v, camera)
        below = inverse * plane.height_m > _MIN_SLOPE
        if below.sum() < _MIN_VISIBLE:
            pitch = math.degrees(math.asin(float(np.clip(plane.down[2], -1.0, 1.0))))
            where = "hardly any" if (inverse > 0).any() else "the horizon lies below the image and no"
            raise AnchorError(
                f"ground: with a pitch of {pitch:.1f} degrees {where} ground is in view: check ground_pitch_rad "
                "(positive looks down) or the camera's transform"
            )
        return cls(u[below], v[below], inverse[below], plane)
