"""Frames, ranges and messages of what planners take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import LaserScan, Range
from std_msgs.msg import Header

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import AnchorError, GroundPlane
from depthnet_ros.metric_scale.ground import GroundView
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.scan import PlanarScan
from depthnet_ros.parameters import CAMERA_IN_NAME

IN_SCAN_FRAME = frozenset({"scan", "obstacle/nearest"})
_LEVEL_RAD = math.radians(2.0)
"""A camera tilted by less counts as level: at 5 m a return is then at most 0.17 m above or below its place."""

_SIDEWAYS = 0.3
"""Of the unit vector down: a camera that looks nearly straight down has no side to lie on."""


@dataclass(frozen=True)
class NamedCamera:
    """A camera's name, empty if it has none; ``several``: the node has others, under the same parameters."""

    name: str
    several: bool = False


@dataclass(frozen=True)
class PlanarTopics:
    """Which topics over the ground can be given.

    Attributes:
        topics: those that can.
        scan_frame: of scan and obstacle/nearest; empty where neither is among them.
        silent: why the others are not given; empty if there are no others.
    """

    topics: frozenset[str]
    scan_frame: str = ""
    silent: str = ""


def ground_out_of_view(ground: GroundPlane, camera: PinholeCamera) -> str:
    """Why an image cannot be of this ground, or heights not be told in it; empty where they can."""
    across, down, _ = ground.down
    if abs(across) > abs(down) and math.hypot(across, down) > _SIDEWAYS:
        turn = math.degrees(math.atan2(-across, down))
        return f"the image lies on its side, turned by {turn:.0f} degrees about the camera's axis: turn it first"
    try:
        GroundView.of(ground, camera)
    except AnchorError as error:
        body_frame = -ground.down[2] > ground.down[1]
        return f"{error}{'; is the frame_id of the image an optical frame (z ahead, REP 103)?' if body_frame else ''}"
    return ""


def planar_topics(
    wanted: frozenset[str],
    image_frame: str,
    config: NavigationConfig,
    ground: GroundPlane | None,
    camera: NamedCamera,
) -> PlanarTopics:
    """Those of ``wanted`` that can be given."""
    if ground is None and wanted:
        silent = "scan, points/clearing(_3d) and obstacle/nearest are silent"
        return PlanarTopics(frozenset(), silent=f"{silent}: set scale.ground_height_m or scale.ground_frame")
    if ground is None or not wanted & IN_SCAN_FRAME:
        return PlanarTopics(wanted)
    try:
        return PlanarTopics(wanted, named_scan_frame(config, camera) or level_frame_of(image_frame, ground))
    except ConfigError as error:
        return PlanarTopics(wanted - IN_SCAN_FRAME, silent=f"scan and obstacle/nearest are silent: {error}")


def named_scan_frame(config: NavigationConfig, camera: NamedCamera) -> str:
    """``nav.scan_frame`` with the camera's name in the place of ``{camera}``; empty where none is set.

    Raises:
        ConfigError: the name is wanted but the camera has none; or several cameras would share the frame of one.
    """
    frame = config.scan_frame
    if CAMERA_IN_NAME in frame and not camera.name:
        raise ConfigError(f"nav.scan_frame {frame!r} wants a name that this camera has not: see the parameter cameras")
    if frame and camera.several and CAMERA_IN_NAME not in frame:
        raise ConfigError(
            f"nav.scan_frame {frame!r} would be the frame of every camera: put {CAMERA_IN_NAME} where its name belongs"
        )
    return frame.replace(CAMERA_IN_NAME, camera.name)


def level_frame_of(optical_frame: str, ground: GroundPlane) -> str:
    """The body frame that belongs to an optical frame by its name (REP 103), where the camera is level.

    Ranges are those of a level scan. Given in a frame that pitches with the camera they would rise or sink with
    distance, and a planner drops what lies outside its heights.

    Raises:
        ConfigError: the name does not tell, or the camera is tilted.
    """
    advice = "set nav.scan_frame to a level frame at the camera (x ahead, z up)"
    if math.acos(min(1.0, max(-1.0, float(ground.down[1])))) > _LEVEL_RAD:  # the image's y axis points down
        raise ConfigError(f"the camera's pitch or roll is more than {math.degrees(_LEVEL_RAD):.0f} degrees: {advice}")
    for suffix, body in (("_optical_frame", "_frame"), ("_optical", "")):
        if optical_frame.endswith(suffix):
            return optical_frame[: -len(suffix)] + body
    raise ConfigError(f"the name of the image's frame {optical_frame!r} does not end in _optical_frame: {advice}")


def scan_message(scan: PlanarScan, config: NavigationConfig, header: Header) -> LaserScan:
    """LaserScan by REP 117: +Inf free, -Inf too near, NaN not known."""
    message = LaserScan(
        header=header,
        angle_min=scan.angle_min_rad,
        angle_max=scan.angle_max_rad,
        angle_increment=scan.angle_increment_rad,
        range_min=config.min_range_m,
        range_max=config.max_range_m,
    )
    message.ranges.frombytes(np.ascontiguousarray(scan.ranges_m, dtype="<f4").tobytes())
    return message


def nearest_message(nearest_m: float, config: NavigationConfig, header: Header) -> Range:
    """Range of the nearest obstacle ahead, for collision monitors; its field of view is the corridor at full range."""
    return Range(
        header=header,
        radiation_type=Range.INFRARED,
        field_of_view=2.0 * float(np.arctan2(0.5 * config.corridor_width_m, config.max_range_m)),
        min_range=config.min_range_m,
        max_range=config.max_range_m,
        range=nearest_m,
    )
