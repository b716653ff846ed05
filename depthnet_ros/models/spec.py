"""What a network expects and what it returns: the part of a checkpoint that every user of it needs.

No torch here: the light runtime reads these from an exported network or from YAML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any

from depthnet_ros.errors import WeightsError

ZERO_SIGMAS = 0.05, 2.0
"""Least and largest ``zero_sigma``; above, nothing is known."""
_MOST_NORM = 4.0
MOST_PX = 8192
"""Longest side of a network's input: 800 MB of floats in a square."""


class OutputKind(str, Enum):
    """What the numbers of a network mean."""

    INVERSE_DEPTH = "inverse_depth"
    """Relative inverse depth, known up to a positive scale and a shift; grows towards the camera; or disparity."""
    DEPTH = "depth"
    """Relative depth, known up to a positive scale; grows away from the camera."""
    METRIC_DEPTH = "metric_depth"
    """Depth along optical Z in metres."""

    @classmethod
    def _missing_(cls, value: object) -> OutputKind | None:
        """Disparity is what inverse depth is called where stereo pairs were the truth."""
        return cls.INVERSE_DEPTH if value == "disparity" else None


@dataclass(frozen=True)
class InputSpec:
    """How an image becomes the network's input: resized, scaled to 0..1, ``(x - mean) / std``.

    ``height_px`` x ``width_px`` is the exact input size if ``keep_aspect`` is false. If it is true the two give the
    *area* to aim at: an image keeps its aspect ratio, each side rounded to ``multiple_of`` (:meth:`size_for`). One so
    narrow that a side would be under ``multiple_of`` is stretched rather than that the area grows.
    """

    height_px: int
    width_px: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    color_order: str = "rgb"
    layout: str = "nchw"
    keep_aspect: bool = False
    multiple_of: int = 32

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px", "multiple_of"):
            if type(getattr(self, name)) is not int:
                raise WeightsError(f"{name} must be an integer, got {getattr(self, name)!r}")
        if type(self.keep_aspect) is not bool:
            raise WeightsError(f"keep_aspect must be true or false, got {self.keep_aspect!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        if not all(1 <= size <= MOST_PX for size in (self.height_px, self.width_px, self.multiple_of)):
            raise WeightsError(
                f"height_px, width_px and multiple_of must be positive and at most {MOST_PX}, got "
                f"{self.height_px}x{self.width_px} and {self.multiple_of}"
            )
        if self.color_order not in ("rgb", "bgr"):
            raise WeightsError(f"color_order must be 'rgb' or 'bgr', got {self.color_order!r}")
        if self.layout not in ("nchw", "nhwc"):
            raise WeightsError(f"layout must be 'nchw' or 'nhwc', got {self.layout!r}")
        if min(self.std) <= 0:
            raise WeightsError(f"std must be positive, got {self.std}")
        if max(*map(abs, self.mean), *self.std) > _MOST_NORM:
            raise WeightsError(
                f"mean and std count in pixels of 0..1, got {self.mean} and {self.std}: divide both by 255, or for a "
                "network that takes 0..255 set mean to 0 and std to 0.00392157"
            )

    def size_for(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Network input size (height, width) for a source image of ``height_px`` x ``width_px``."""
        if not self.keep_aspect:
            return self.height_px, self.width_px
        area, step = self.height_px * self.width_px, self.multiple_of
        factor = math.sqrt(area / (height_px * width_px))
        most = area // step**2  # multiples of a side, beside one that is as short as can be
        return (
            max(1, min(most, round(height_px * factor / step))) * step,
            max(1, min(most, round(width_px * factor / step))) * step,
        )


@dataclass(frozen=True)
class ModelSpec:
    """Architecture, input, meaning of the output and where the weights come from.

    ``log_sigma``: the last output channel is the log of the predicted standard deviation of the relative inverse
    depth, in the same unit. The other channels are depth; several (the deck has three) are averaged, but of an ONNX
    file of others' one is named (``arguments``, docs/networks.md).

    ``zero_sigma``: the network's inverse depth is zero where depth is infinite, but for an error that gives the log of
    a view's depth spread (:mod:`depthnet_ros.metric_scale.view_depth`) this standard deviation; 0: its zero
    means nothing, as that of most networks of relative inverse depth.
    """

    architecture: str
    input: InputSpec
    output_kind: OutputKind = OutputKind.INVERSE_DEPTH
    log_sigma: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    zero_sigma: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.architecture, str) or type(self.log_sigma) is not bool:
            raise WeightsError(
                f"architecture must be text and log_sigma true or false, got {self.architecture!r}, {self.log_sigma!r}"
            )
        number = isinstance(self.zero_sigma, (int, float)) and type(self.zero_sigma) is not bool
        low, high = ZERO_SIGMAS
        if not number or not (self.zero_sigma == 0 or low <= self.zero_sigma <= high):
            raise WeightsError(f"zero_sigma must be 0 (not known) or lie in {low} .. {high}, got {self.zero_sigma!r}")
        for name in ("arguments", "provenance"):
            if not isinstance(getattr(self, name), Mapping):
                raise WeightsError(f"{name} must be a mapping, got {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON and YAML."""
        data = asdict(self)
        data["output_kind"] = self.output_kind.value
        data["input"]["mean"], data["input"]["std"] = list(self.input.mean), list(self.input.std)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "model specification") -> ModelSpec:
        """Inverse of :meth:`to_dict`; ``source`` names the file in errors.

        Raises:
            WeightsError: a key is missing or unknown, or a value is out of its range.
        """
        _check_keys(data, cls, source)
        _check_keys(data["input"], InputSpec, f"{source}, input")
        try:
            kind = OutputKind(data.get("output_kind", OutputKind.INVERSE_DEPTH.value))
        except ValueError:
            kinds = ", ".join(k.value for k in OutputKind)
            raise WeightsError(
                f"{source}: output_kind must be one of {kinds} (or disparity, for inverse_depth), "
                f"got {data['output_kind']!r}"
            ) from None
        values = {key: value for key, value in data.items() if key not in ("input", "output_kind")}
        try:
            return cls(input=InputSpec(**data["input"]), output_kind=kind, **values)
        except WeightsError as error:
            raise WeightsError(f"{source}: {error}") from None


def _three_numbers(name: str, values: Any) -> tuple[float, float, float]:
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise WeightsError(f"{name} must be three numbers, got {values!r}")
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise WeightsError(f"{name} must be three finite numbers, got {values!r}{_hint(values)}")
    return float(values[0]), float(values[1]), float(values[2])


def _hint(values: Sequence[Any]) -> str:
    """Numbers with an exponent need a point and the exponent's sign in YAML 1.1, which PyYAML reads."""
    for value in values:
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", value):
            mantissa, _, exponent = value.lower().partition("e")
            point = "" if "." in mantissa else ".0"
            return f": YAML takes {value} for text, write {mantissa}{point}e{int(exponent):+d}"
    return ""


def _check_keys(data: Any, cls: type, source: str) -> None:
    if not isinstance(data, Mapping):
        raise WeightsError(f"{source}: expected a mapping, got {type(data).__name__}")
    known = {item.name for item in fields(cls)}
    required = {"architecture", "input"} if cls is ModelSpec else {"height_px", "width_px"}
    if unknown := sorted(set(data) - known):
        raise WeightsError(f"{source}: unknown keys {unknown}; known are {sorted(known)}")
    if missing := sorted(required - set(data)):
        raise WeightsError(f"{source}: missing keys {missing}")
