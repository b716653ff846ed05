"""Parameters of the node ``camera_replay``, declared once; no ROS here, so that documents are made from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from depthnet_ros.parameter import Parameter
from depthnet_ros.sources.base import SourceOptions
from depthnet_ros.sources.opening import KINDS

ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")

REPLAY_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("input", "", f"What to replay: {KINDS}; empty: the rendered room.", True),
    Parameter(
        "rate_hz", 0.0, "Pictures per second; 0: as the source has them, 30 where it has no times.", True, 0.0, 1e3
    ),
    Parameter("loop", True, "Start again at the end; otherwise the node ends with the source.", True),
    Parameter("start_delay_s", 0.0, "Wait this long before the first picture.", True, 0.0, 3600.0),
    Parameter("wait_for_subscriber", False, "Wait with the first picture until somebody subscribes to it.", True),
    Parameter("publish_clock", False, "Simulated time: publish /clock and stamp with it; a loop starts anew.", True),
    Parameter("encoding", "rgb8", "Encoding of image.", True, choices=ENCODINGS),
    Parameter("frame_id", "camera_optical_frame", "Frame of image, camera_info and depth.", True),
    Parameter("camera_info_file", "", "Calibration: a ROS camera_info YAML; empty: the source's own.", True),
    Parameter(
        "horizontal_fov_deg", 0.0, "Stands in where no calibration is known; 0: no camera_info then.", True, 0.0, 175.0
    ),
    Parameter("width", 0, "Of rendered pictures (0: 640), and what a camera is asked for.", True, 0, 8192),
    Parameter("height", 0, "Of rendered pictures (0: 480), and what a camera is asked for.", True, 0, 8192),
    Parameter("seed", 0, "Of rendered scenes.", True, 0, 2**31 - 1),
    Parameter("topic", "", "Image topic of a recording; empty: the likeliest colour image.", True),
    Parameter("sonar_frame_id", "sonar", "Frame of sonar (x forward), at the camera and along its axis.", True),
)


def source_options(values: Mapping[str, Any]) -> SourceOptions:
    """The part of the parameters that concerns the source."""
    return SourceOptions(
        width_px=values["width"],
        height_px=values["height"],
        horizontal_fov_rad=math.radians(values["horizontal_fov_deg"]),
        rate_hz=values["rate_hz"] or SourceOptions.rate_hz,
        seed=values["seed"],
        topic=values["topic"],
    )
