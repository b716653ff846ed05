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
    Parameter("input", "", f"What to replay: {KINDS}; empty: the rendered room.", dynamic=False),
    Parameter(
        "rate_hz",
        0.0,
        "Pictures per second; 0: as the source has them, 30 where it has no times.",
        0.0,
        1e3,
        dynamic=False,
    ),
    Parameter("loop", True, "Start again at the end; otherwise the node ends with the source.", dynamic=False),
    Parameter("start_delay_s", 0.0, "Wait this long before the first picture.", 0.0, 3600.0, dynamic=False),
    Parameter(
        "wait_for_subscriber", False, "Wait with the first picture until somebody subscribes to it.", dynamic=False
    ),
    Parameter(
        "publish_clock",
        False,
        "Simulated time: publish /clock, stamp with it; each loop starts over.",
        dynamic=False,
    ),
    Parameter("encoding", "rgb8", "Encoding of image.", choices=ENCODINGS, dynamic=False),
    Parameter("frame_id", "camera_optical_frame", "Frame of image, camera_info and depth.", dynamic=False),
    Parameter("camera_info_file", "", "Calibration: a ROS camera_info YAML; empty: the source's own.", dynamic=False),
    Parameter(
        "horizontal_fov_deg",
        0.0,
        "Used where there is no calibration; 0: then no camera_info.",
        0.0,
        175.0,
        dynamic=False,
    ),
    Parameter("width", 0, "Of rendered pictures (0: 640), and what a camera is asked for.", 0, 8192, dynamic=False),
    Parameter("height", 0, "Of rendered pictures (0: 480), and what a camera is asked for.", 0, 8192, dynamic=False),
    Parameter("seed", 0, "Of rendered scenes.", 0, 2**31 - 1, dynamic=False),
    Parameter("topic", "", "Image topic of a recording; empty: the likeliest colour image.", dynamic=False),
    Parameter(
        "sonar_frame_id", "sonar", "Frame of sonar (x forward), at the camera and along its axis.", dynamic=False
    ),
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
