"""Every parameter of the node, declared once: node, YAML, launch file and README are made or tested from here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from depthnet_ros.errors import ConfigError

Value = bool | int | float | str | list[str]


@dataclass(frozen=True)
class Parameter:
    """One parameter: ``read_only`` is fixed at start; ``minimum`` and ``maximum`` are included in the range."""

    name: str
    default: Value
    description: str
    read_only: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Value:
        """``value`` as this parameter's type.

        Raises:
            ConfigError: another type, out of range or not one of the choices.
        """
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if kind is list and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            value = list(value)
        if type(value) is not kind:
            raise ConfigError(f"{self.name} must be of type {kind.__name__}, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{self.name} must be finite, got {value}")
        if isinstance(value, (int, float)):
            below = self.minimum is not None and value < self.minimum
            if below or (self.maximum is not None and value > self.maximum):
                raise ConfigError(f"{self.name} must lie in {self.range_text()}, got {value}")
        if self.choices and value not in self.choices:
            raise ConfigError(f"{self.name} must be one of {', '.join(self.choices)}, got {value!r}")
        return value

    def range_text(self) -> str:
        """The allowed values for people: ``1..16``, ``0..``, ``raw, compressed`` or nothing."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is None and self.maximum is None:
            return ""
        low, high = ("" if bound is None else f"{bound:g}" for bound in (self.minimum, self.maximum))
        return f"{low}..{high}"


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("autostart", True, "Configure and activate at start; false leaves it to a lifecycle manager.", True),
    Parameter(
        "cameras",
        [""],
        "Name prefixes of the cameras' topics, one network for all; an empty name is the node's own namespace.",
        True,
    ),
    Parameter("weights", "", "Checkpoint (.safetensors) or network (.onnx); empty: the shipped default.", True),
    Parameter(
        "backend",
        "auto",
        "What runs the network; auto times those installed once and remembers.",
        True,
        choices=("auto", "torch", "openvino", "onnxruntime", "tensorrt"),
    ),
    Parameter("device", "auto", "auto, cpu, cuda or cuda:N. Asking for a device that is not there is an error.", True),
    Parameter(
        "precision",
        "auto",
        "Arithmetic of the network; auto takes the fastest that passes the parity check.",
        True,
        choices=("auto", "float32", "float16", "bfloat16", "int8"),
    ),
    Parameter("threads", 0, "CPU threads of the network; 0: one for each core this process may use.", True, 0, 1024),
    Parameter(
        "image_transport", "raw", "Subscribe to image or to image/compressed.", True, choices=("raw", "compressed")
    ),
    Parameter(
        "rectify",
        False,
        "Undistort the image with camera_info's K and D first; set it where image is remapped to image_raw.",
        True,
    ),
    Parameter(
        "camera_info_wait_s",
        0.1,
        "How long an image waits for the camera_info of its stamp before it goes on without.",
        False,
        0.0,
        5.0,
    ),
    Parameter("max_rate_hz", 0.0, "Upper limit of the rate per camera; 0: none.", False, 0.0, 1000.0),
    Parameter("max_age_s", 0.0, "Frames older than this when their turn comes are dropped; 0: none.", False, 0.0, 60.0),
    Parameter("depth.encoding", "32FC1", "32FC1: metres; 16UC1: millimetres.", False, choices=("32FC1", "16UC1")),
    Parameter("depth.min_m", 0.2, "Nearer depth is published as invalid.", False, 0.0, 1000.0),
    Parameter("depth.max_m", 20.0, "Farther depth is published as invalid.", False, 0.01, 1000.0),
    Parameter("points.stride", 2, "Every n-th pixel of each row and column becomes a point.", False, 1, 64),
    Parameter(
        "preview.colormap",
        "turbo",
        "Colours of depth/color.",
        False,
        choices=("turbo", "viridis", "magma", "inferno", "plasma", "gray"),
    ),
    Parameter(
        "scale.mode",
        "none",
        "How metres are found; none: metric topics stay silent, fixed: scale.fixed_scale and scale.fixed_shift.",
        True,
        choices=("none", "fixed"),
    ),
    Parameter(
        "scale.fixed_scale",
        1.0,
        "Mode fixed: 1/depth_m = scale * relative inverse depth + shift. 1/m per unit of the network's output.",
        False,
        1e-6,
        1e6,
    ),
    Parameter("scale.fixed_shift", 0.0, "Mode fixed: shift in 1/m.", False, -1e6, 1e6),
    Parameter("diagnostics_period_s", 1.0, "Period of /diagnostics.", True, 0.05, 60.0),
)


def by_name(parameters: Iterable[Parameter] = PARAMETERS) -> dict[str, Parameter]:
    """The declaration as a dictionary."""
    return {parameter.name: parameter for parameter in parameters}


def check_values(values: Mapping[str, Any], parameters: Iterable[Parameter] = PARAMETERS) -> dict[str, Value]:
    """All values, with defaults where none is given.

    Raises:
        ConfigError: an unknown name, a wrong type, out of range, or limits that cross.
    """
    known = by_name(parameters)
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"unknown parameters {unknown}; known are {', '.join(known)}")
    checked = {name: parameter.check(values.get(name, parameter.default)) for name, parameter in known.items()}
    low, high = checked.get("depth.min_m"), checked.get("depth.max_m")
    if isinstance(low, float) and isinstance(high, float) and low >= high:
        raise ConfigError(f"depth.min_m must be below depth.max_m, got {low} and {high}")
    return checked


def to_yaml(node_name: str, parameters: Iterable[Parameter] = PARAMETERS) -> str:
    """The parameter file with every default and its description, as shipped in config/."""
    lines = [
        "# Every parameter with its default. Written by `python -m depthnet_ros.parameters yaml`; a test keeps it so.",
        "/**:",
        f"  {node_name}:",
        "    ros__parameters:",
    ]
    for parameter in parameters:
        allowed = parameter.range_text()
        fixed = "fixed at start" if parameter.read_only else ""
        notes = "; ".join(note for note in (allowed, fixed) if note)
        lines.append(f"      # {parameter.description}" + (f" [{notes}]" if notes else ""))
        lines.append(f"      {parameter.name}: {_yaml_value(parameter.default)}")
    return "\n".join(lines) + "\n"


def to_markdown(parameters: Iterable[Parameter] = PARAMETERS) -> str:
    """The README's table."""
    lines = ["| parameter | default | range | at run time | |", "|---|---|---|---|---|"]
    for p in parameters:
        run_time = "no" if p.read_only else "yes"
        lines.append(f"| `{p.name}` | `{_yaml_value(p.default)}` | {p.range_text()} | {run_time} | {p.description} |")
    return "\n".join(lines) + "\n"


def _yaml_value(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return str(value)


if __name__ == "__main__":
    import sys

    print({"yaml": to_yaml("depthnet_node"), "markdown": to_markdown()}[sys.argv[1]], end="")
