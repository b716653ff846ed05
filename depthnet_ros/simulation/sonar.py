"""An ultrasonic range finder beside the camera: it hears the nearest surface inside its cone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera


@dataclass(frozen=True)
class Sonar:
    """A sonar at the camera's optical centre, looking along its optical axis.

    Attributes:
        field_of_view_rad: full opening angle of the cone.
        min_range_m: surfaces closer than this are reported as -Inf.
        max_range_m: surfaces farther than this give no echo: +Inf.
        noise: standard deviation as a share of the range.
        noise_m: standard deviation that does not depend on the range.
        drop_out: probability that an echo is missed: +Inf.
    """

    field_of_view_rad: float = 0.26
    min_range_m: float = 0.1
    max_range_m: float = 6.0
    noise: float = 0.01
    noise_m: float = 0.01
    drop_out: float = 0.03

    def cone(self, camera: PinholeCamera) -> Cone:
        """The cone on a camera's pixel grid, as far as the picture shows it.

        Raises:
            ConfigError: no pixel's centre lies inside.
        """
        squared = camera.ray_x[None, :] ** 2 + camera.ray_y[:, None] ** 2
        inside = squared <= math.tan(0.5 * self.field_of_view_rad) ** 2
        if not inside.any():
            size = f"{camera.width_px}x{camera.height_px}"
            raise ConfigError(
                f"no pixel of {size} lies in the sonar's cone of {math.degrees(self.field_of_view_rad):.0f} degrees "
                "about the optical axis: take larger pictures or a narrower field of view, or leave the sonar out"
            )
        return Cone(np.flatnonzero(inside), np.sqrt(1 + squared[inside]))

    def measure(self, true_m: float, rng: np.random.Generator) -> float:
        """A reading of a surface at ``true_m`` metres: with noise, drop-outs and limits, as REP 117 writes them."""
        noisy = true_m + float(rng.normal()) * (self.noise * min(true_m, self.max_range_m) + self.noise_m)
        if rng.random() < self.drop_out or noisy > self.max_range_m:
            return math.inf
        return -math.inf if noisy < self.min_range_m else noisy


@dataclass(frozen=True)
class Cone:
    """Pixels inside a sonar's cone: flat indices and the length of each ray per metre along Z."""

    pixels: NDArray[np.intp]
    stretch: NDArray[np.float32]

    def nearest(self, depth_m: NDArray[np.float32]) -> float:
        """Distance in metres along the ray to the nearest surface in (H, W) depth, sampled at the cone's pixels; +Inf
        where none has a surface.
        """
        return float(np.min(depth_m.ravel()[self.pixels] * self.stretch))
