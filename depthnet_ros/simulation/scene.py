"""What a scene is: still things, moving things, a sky and the path of the camera through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.simulation.solids import Footprint, Solid
from depthnet_ros.simulation.textures import Picture

Planar = tuple[float, float, float]
"""x, y in metres and yaw in radians on the ground plane."""
DETAILED_COPIES = 2
"""Copies of a repeating world that are drawn in full."""


@dataclass(frozen=True)
class Mover:
    """A solid, given about its own origin, and where it is at a time in seconds."""

    solid: Solid
    pose: Callable[[float], Planar]


@dataclass(frozen=True)
class Scene:
    """A world to drive a camera through.

    Attributes:
        name: as in ``SCENES``.
        still: what does not move.
        movers: what does.
        path: planar pose of the camera at a time in seconds, for ever.
        camera_height_m: of the optical centre above the ground z = 0.
        camera_pitch_rad: of the optical axis below the horizon.
        light: (3,) unit vector towards the light; faces turned to it are brightest, shadows fall away from it.
        ambient: brightness of a face that is turned away from the light, 0..1.
        sky: panorama (see :func:`~depthnet_ros.simulation.textures.sky`), or None where walls close the view.
        period_m: the still world repeats along x with this period: a street without an end. None: it does not.
        copies: how many periods are in reach, the one that the camera is in first.
        distant: what stands for ``still`` from the third copy on, with fewer faces; None: ``still`` itself.
    """

    name: str
    still: Solid
    movers: tuple[Mover, ...]
    path: Callable[[float], Planar]
    camera_height_m: float
    camera_pitch_rad: float
    light: NDArray[np.float64]
    ambient: float
    sky: Picture | None = None
    period_m: float | None = None
    copies: int = 1
    distant: Solid | None = None

    def camera_pose(self, time_s: float) -> NDArray[np.float64]:
        """(4, 4) world from optical frame (x right, y down, z forward)."""
        x, y, yaw = self.path(time_s)
        cos, sin = np.cos(self.camera_pitch_rad), np.sin(self.camera_pitch_rad)
        forward = np.array((cos * np.cos(yaw), cos * np.sin(yaw), -sin))
        right = np.array((np.sin(yaw), -np.cos(yaw), 0.0))
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(forward, right), forward
        pose[:3, 3] = x, y, self.camera_height_m
        return pose

    def offsets(self, time_s: float) -> list[float]:
        """Shifts along x in metres of the copies of the still world that are in reach of the camera."""
        if self.period_m is None:
            return [0.0]
        here = np.floor(self.path(time_s)[0] / self.period_m)
        return [float((here + copy) * self.period_m) for copy in range(self.copies)]

    def moving_footprints(self, time_s: float) -> list[Footprint]:
        """What the movers cover of the ground at a time."""
        return [part.moved(*mover.pose(time_s)) for mover in self.movers for part in mover.solid.footprints]

    def footprints(self, time_s: float) -> list[Footprint]:
        """Everything that stands on the ground at a time, moving things last."""
        still = [part.moved(shift, 0.0, 0.0) for shift in self.offsets(time_s) for part in self.still.footprints]
        return still + self.moving_footprints(time_s)
