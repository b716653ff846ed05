"""Options of the command line that several bag commands share, and what they become."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from depthnet_ros.errors import ConfigError

if TYPE_CHECKING:  # imported where they are used: `depthnet --help` needs none of it
    from depthnet_ros.bags.options import PipelineOptions
    from depthnet_ros.inference.estimator import DepthEstimator
    from depthnet_ros.navigation.config import NavigationConfig

_NODE = "depthnet_node"
_NETWORK = {
    "weights": "checkpoint, exported network or name of a shipped one; empty: depthnet_small",
    "backend": "what runs the network; auto: the fastest installed",
    "device": "auto, cpu, cuda or cuda:N",
    "precision": "arithmetic; auto: 16 bits where there are any and they pass the parity check, else float32",
}


def add_network_options(parser: argparse.ArgumentParser, weights: Mapping[str, Any] | None = None) -> None:
    """What runs, as the node's parameters of the same names; ``weights`` changes what ``--weights`` takes."""
    group = parser.add_argument_group("network, as the node's parameters of these names")
    for name, text in _NETWORK.items():
        changes = weights or {} if name == "weights" else {}
        group.add_argument(f"--{name}", **{"default": None, "help": text, **changes})
    group.add_argument("--threads", type=int, default=None, help="CPU threads; 0: one for each core")


def add_topic_options(parser: argparse.ArgumentParser) -> None:
    """The recording, its topics, and the node's parameters."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument("--image-topic", required=True, metavar="TOPIC", help="Image or CompressedImage")
    parser.add_argument("--info", default="", metavar="TOPIC", help="camera_info; default: beside the image")
    parser.add_argument(
        "--intrinsics", default=None, metavar="FX,FY,CX,CY", help="in pixels, for recordings without camera_info"
    )
    parser.add_argument(
        "--anchor",
        action="append",
        default=[],
        metavar="SOURCE=TOPIC",
        help="sensor that gives metric scale (range, scan, points, depth); sets scale.mode to anchors; repeatable",
    )
    parser.add_argument("--params", type=Path, default=None, metavar="YAML", help="parameter file of the node")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="one parameter of the node; may be repeated"
    )


def node_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """Every parameter of the node: defaults, then the file, then single ones, then what ``--anchor`` implies.

    Raises:
        ConfigError: an unknown name, a wrong type or range, or a file that is no parameter file.
    """
    from depthnet_ros.parameters import check_values

    values: dict[str, Any] = {}
    if args.params is not None:
        values |= {name: _as_ros_reads(name, value) for name, value in _from_file(args.params).items()}
    for text in args.param:
        name, value = _split(text, "--param")
        values[name] = _as_ros_reads(name, _from_text(name, value))
    for name in ("weights", "backend", "device", "precision", "threads"):
        if getattr(args, name) is not None:
            values[name] = getattr(args, name)
    if args.anchor:
        if (mode := values.setdefault("scale.mode", "anchors")) != "anchors":
            raise ConfigError(f"--anchor counts for nothing in scale.mode {mode}: leave one of the two out")
        values["scale.sources"] = sorted(anchor_topics(args))
    return check_values(values)


def anchor_topics(args: argparse.Namespace) -> dict[str, str]:
    """Topic by source of metric scale.

    Raises:
        ConfigError: not SOURCE=TOPIC, or two topics for one source.
    """
    topics: dict[str, str] = {}
    for source, topic in (_split(text, "--anchor") for text in args.anchor):
        if source in topics:
            raise ConfigError(f"--anchor {source} is given twice, {topics[source]} and {topic}: a source has one topic")
        topics[source] = topic
    return topics


def create_estimator(parameters: Mapping[str, Any]) -> DepthEstimator:
    """The network that the node would run with these parameters.

    Raises:
        WeightsError, BackendError: as :meth:`DepthEstimator.from_weights`.
    """
    from depthnet_ros.inference.estimator import DepthEstimator

    return DepthEstimator.from_weights(
        parameters["weights"],
        parameters["backend"],
        parameters["device"],
        parameters["precision"],
        parameters["threads"],
    )


def pipeline_options(args: argparse.Namespace, parameters: Mapping[str, Any]) -> PipelineOptions:
    """How to run the recording.

    Raises:
        BagError, ConfigError: an extrinsic or intrinsics that cannot be read.
    """
    from depthnet_ros.bags.options import PipelineOptions
    from depthnet_ros.bags.transforms import parse_extrinsic
    from depthnet_ros.metric_scale.config import MetricScaleConfig
    from depthnet_ros.settings import from_parameters

    defaults = PipelineOptions()
    check_between("--reference-unit-m", getattr(args, "reference_unit_m", defaults.reference_unit_m), 1e-9, 1e6)
    if args.intrinsics and parameters["camera_info_file"]:
        raise ConfigError("--intrinsics and camera_info_file are of the same camera: leave one of the two out")
    if args.intrinsics and parameters["rectify"]:
        raise ConfigError("rectify takes the lens from camera_info, --intrinsics are of rectified images: not both")
    if parameters["rectify"] and (getattr(args, "labels", None) or getattr(args, "boxes", "")):
        raise ConfigError(
            "--labels and --boxes are of the pictures as they are recorded, rectify judges others: evaluate the "
            "recording's own image_rect, or leave one of the two out"
        )
    extrinsic = getattr(args, "extrinsic", None)
    return PipelineOptions(
        tolerance_s=getattr(args, "tolerance", defaults.tolerance_s),
        extrinsic=parse_extrinsic(extrinsic) if extrinsic else None,
        reference_rectified=getattr(args, "reference_rectified", False),
        reference_unit_m=getattr(args, "reference_unit_m", defaults.reference_unit_m),
        intrinsics=parse_intrinsics(args.intrinsics) if args.intrinsics else None,
        camera_info_file=parameters["camera_info_file"],
        labels=getattr(args, "labels", None),
        rectify=parameters["rectify"],
        base_frame=getattr(args, "base_frame", defaults.base_frame),
        scale=from_parameters(MetricScaleConfig, "scale.", parameters),
    )


def navigation_config(parameters: Mapping[str, Any]) -> NavigationConfig:
    """The parameters ``nav.*``."""
    from depthnet_ros.navigation.config import NavigationConfig
    from depthnet_ros.settings import from_parameters

    return from_parameters(NavigationConfig, "nav.", parameters)


def parse_intrinsics(text: str) -> tuple[float, float, float, float]:
    """``fx,fy,cx,cy`` in pixels.

    Raises:
        ConfigError: not four numbers, or focal lengths that are not positive.
    """
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"intrinsics are FX,FY,CX,CY in pixels, got {text!r}") from None
    if not (fx > 0 and fy > 0 and math.isfinite(fx + fy + cx + cy)):
        raise ConfigError(f"intrinsics are finite, with FX and FY above 0, got {text!r}")
    return fx, fy, cx, cy


def check_between(option: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless ``low`` <= ``value`` <= ``high``; NaN is not."""
    if not low <= value <= high:
        limits = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
        raise ConfigError(f"{option} must be {limits}, got {value:g}")


def _split(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise ConfigError(f"{option} takes NAME=VALUE, got {text!r}")
    return name.strip(), value.strip()


def _from_text(name: str, text: str) -> Any:
    if isinstance(_default_of(name), str):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: cannot read the value {text!r}") from error


def _as_ros_reads(name: str, value: Any) -> Any:
    """``1e-1`` is text by YAML 1.1, which PyYAML reads, and a number to ROS."""
    if isinstance(value, str) and isinstance(_default_of(name), float):
        with suppress(ValueError):
            return float(value)
    return value


def _default_of(name: str) -> Any:
    """The default of a parameter, None of a name that is none."""
    from depthnet_ros.parameters import PARAMETERS

    return next((parameter.default for parameter in PARAMETERS if parameter.name == name), None)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the parameter file {path}: {error}") from error
    blocks = dict(_blocks(data))
    ours = {name: values for name, values in blocks.items() if _is_ours(name)}
    if not ours:
        others = f", only those of {', '.join(sorted(blocks))}" if blocks else ""
        raise ConfigError(f"{path} holds no ros__parameters of {_NODE} or of /**{others}: expected a file of the node")
    named = [name for name in ours if name.rpartition("/")[2] == _NODE]
    if len(named) > 1:
        raise ConfigError(f"{path} has parameters of several nodes: {', '.join(sorted(named))}; give one that has one")
    found: dict[str, Any] = {}
    for name in sorted(ours, key=lambda name: name in named):  # those of the node itself count last, as in ROS
        found |= ours[name]
    return found


def _is_ours(node: str) -> bool:
    return node.rpartition("/")[2] in (_NODE, "**", "*")


def _blocks(data: Any, node: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each node's full name with its parameters, nested names joined by dots as ROS does."""
    if not isinstance(data, dict):
        return
    for key, value in data.items():
        if key != "ros__parameters":
            yield from _blocks(value, f"{node}/{str(key).strip('/')}")
        elif isinstance(value, dict):
            yield node, dict(_parameters(value))


def _parameters(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _parameters(value, f"{name}.")
        elif name != "use_sim_time" and not name.startswith("qos_overrides."):
            yield name, value
