"""Every parameter of the nodes, declared once: node, YAML, launch file and README are made or tested from here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from depthnet_ros.errors import ConfigError
from depthnet_ros.inference.backends.base import BACKENDS, PRECISIONS
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.parameter import Parameter, Value, by_name, check_each
from depthnet_ros.settings import from_parameters, parameters_of

TOPIC_PREFIX = re.compile(r"(/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*)?")
"""What may stand before a topic's name; also nothing."""
CAMERA_IN_NAME = "{camera}"
"""Stands for the camera's name in ``nav.scan_frame`` and ``camera_info_file``."""
PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "autostart", True, "Configure and activate at start; false leaves it to a lifecycle manager.", dynamic=False
    ),
    Parameter(
        "cameras",
        [""],
        "Name prefixes of the cameras' topics, one network for all; an empty name is the node's own namespace.",
        dynamic=False,
    ),
    Parameter(
        "weights",
        "",
        "Checkpoint (.safetensors), network (.onnx) or name of a shipped one (depthnet_base); empty: depthnet_small.",
        dynamic=False,
    ),
    Parameter(
        "backend",
        "auto",
        "What runs the network; auto times the installed ones and remembers the fastest, unless one failed.",
        choices=BACKENDS,
        dynamic=False,
    ),
    Parameter(
        "device", "auto", "auto, cpu, cuda or cuda:N. Asking for a device that is not there is an error.", dynamic=False
    ),
    Parameter(
        "precision",
        "auto",
        "Arithmetic of the network; auto: 16 bits where backend and processor have them, float32 where not or where "
        "those fail the parity check; backend auto also times an int8 export on CPUs without bfloat16.",
        choices=PRECISIONS,
        dynamic=False,
    ),
    Parameter(
        "threads",
        0,
        "CPU threads of the network; 0: one for each physical core this process may use.",
        0,
        1024,
        dynamic=False,
    ),
    Parameter(
        "image_transport",
        "raw",
        "Subscribe to image or to image/compressed.",
        choices=("raw", "compressed"),
        dynamic=False,
    ),
    Parameter(
        "rectify",
        False,
        "Undistort the image with camera_info's K and D first; set it where image is remapped to image_raw.",
        dynamic=False,
    ),
    Parameter(
        "camera_info_file",
        "",
        "Calibration (a ROS camera_info YAML) of images whose driver publishes no camera_info of their stamp; with "
        f"several cameras {CAMERA_IN_NAME} in it stands for each one's name. Empty: topic camera_info.",
        dynamic=False,
    ),
    Parameter(
        "camera_info_wait_s",
        0.1,
        "How long an image waits for its camera_info (same stamp) before it is used without.",
        0.0,
        5.0,
    ),
    Parameter(
        "batch_wait_s",
        0.0,
        "With several cameras: how long a frame waits for those of the others, to share one pass of the network.",
        0.0,
        0.1,
        dynamic=False,
    ),
    Parameter("max_rate_hz", 0.0, "Upper limit of the rate per camera; 0: none.", 0.0, 1000.0),
    Parameter("max_age_s", 0.0, "Drop frames that are older than this when their turn comes; 0: never.", 0.0, 60.0),
    Parameter(
        "latency_limit_s",
        0.0,
        "Shrink the network's input while the 90th percentile from receiving to publishing is above this; 0: never. "
        "For networks that take any size.",
        0.0,
        60.0,
    ),
    Parameter("depth.encoding", "32FC1", "32FC1: metres; 16UC1: millimetres.", choices=("32FC1", "16UC1")),
    Parameter(
        "points.stride",
        2,
        "Clouds, scan, clearing and obstacle/nearest use every n x n block of pixels as one point: larger strides lose "
        "thin obstacles.",
        1,
        64,
    ),
    Parameter("preview.side_by_side", False, "depth/preview shows the camera's image on its left."),
    Parameter("diagnostics_period_s", 1.0, "Period of /diagnostics.", 0.05, 60.0, dynamic=False),
    *parameters_of(MetricScaleConfig, "scale."),
    *parameters_of(NavigationConfig, "nav."),
)

FLIGHT_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "yaw_rad",
        0.0,
        "Where the scan's x axis points, from the vehicle's nose to the left.",
        -3.15,
        3.15,
        dynamic=False,
    ),
    Parameter(
        "sector_deg",
        10.0,
        "Width of the sectors that go out, from the nose on; at least that of the autopilot's bins (PX4: 10 or 5).",
        5.0,
        90.0,
        dynamic=False,
    ),
)
"""Those of the node ``flight_scan``."""


ESSENTIAL = (
    "image_transport",
    "rectify",
    "weights",
    "backend",
    "scale.mode",
    "scale.sources",
    "scale.range_pose",
    "scale.ground_height_m",
    "scale.ground_pitch_rad",
    "scale.max_depth_m",
    "nav.scan_frame",
    "nav.min_height_m",
    "nav.max_height_m",
    "nav.max_range_m",
    "nav.corridor_width_m",
)
"""Names of those that a robot needs most: the README's table."""


def check_values(values: Mapping[str, Any]) -> dict[str, Value]:
    """All values of ``depthnet_node``, with defaults where none is given.

    Raises:
        ConfigError: an unknown name, a wrong type, out of range, or values that do not fit together.
    """
    checked = check_each(values, PARAMETERS)
    check_together(checked)
    return checked


def check_together(values: Mapping[str, Value]) -> None:
    """What must fit together among the checked values of ``depthnet_node``.

    Raises:
        ConfigError: the cameras' names are no prefixes of topics or the same twice, or limits cross each other.
    """
    _check_cameras(values["cameras"])
    from_parameters(MetricScaleConfig, "scale.", values)
    from_parameters(NavigationConfig, "nav.", values)


def shared_mounting(values: Mapping[str, Any]) -> str:
    """What to warn of where several cameras share what is declared of one's mounting; empty if they do not."""
    declared = [name for name in ("scale.ground_height_m", "nav.corridor_offset_m") if values[name]]
    if len(values["cameras"]) < 2 or not declared:
        return ""
    return (
        f"{' and '.join(declared)}, with all that goes with it, holds for every camera: where they are mounted "
        "differently, set scale.ground_frame instead, and leave the offset at 0"
    )


def _check_cameras(names: Value) -> None:
    if not isinstance(names, list) or not names or len(set(names)) != len(names):
        raise ConfigError(f"cameras must be a list of different names, got {names!r}")
    for name in names:
        if not isinstance(name, str) or not TOPIC_PREFIX.fullmatch(name):
            raise ConfigError(
                f"cameras: {name!r} cannot begin a topic's name (letters, digits, _ and /, a letter first)"
            )


def to_yaml(parameters: Iterable[Parameter] = PARAMETERS) -> str:
    """The parameter file with every default and its description, as shipped in config/."""
    lines = [
        "# Every parameter with its default. Written by `python -m depthnet_ros.parameters yaml`; a test keeps it so.",
        "/**:",
        "  ros__parameters:",
    ]
    for parameter in parameters:
        allowed = parameter.range_text()
        fixed = "" if parameter.dynamic else "fixed at start"
        notes = "; ".join(note for note in (allowed, fixed) if note)
        lines.append(f"    # {parameter.description}" + (f" [{notes}]" if notes else ""))
        lines.append(f"    {parameter.name}: {_yaml_value(parameter.default)}")
    return "\n".join(lines) + "\n"


def to_markdown(parameters: Iterable[Parameter] = PARAMETERS) -> str:
    """The table of the documents."""
    lines = ["| parameter | default | range | at run time | |", "|---|---|---|---|---|"]
    for p in parameters:
        run_time = "yes" if p.dynamic else "no"
        lines.append(f"| `{p.name}` | `{_yaml_value(p.default)}` | {p.range_text()} | {run_time} | {p.description} |")
    return "\n".join(lines) + "\n"


def _yaml_value(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(_yaml_value(item) for item in value) + "]"
    return str(value)


if __name__ == "__main__":
    import sys

    essential = [by_name(PARAMETERS)[name] for name in ESSENTIAL]
    print({"yaml": to_yaml(), "markdown": to_markdown(), "readme": to_markdown(essential)}[sys.argv[1]], end="")
