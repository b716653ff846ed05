"""What one parameter is: name, default, range and meaning. Nodes, metric scale and documents are made of these."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from depthnet_ros.errors import ConfigError

Value = bool | int | float | str | list[str] | list[float]


@dataclass(frozen=True)
class Parameter:
    """One parameter: ``dynamic`` can be changed while the node runs; ``minimum`` and ``maximum`` are in the range."""

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    _: KW_ONLY
    choices: tuple[str, ...] = ()
    dynamic: bool = True

    def check(self, value: Any) -> Value:
        """``value`` as this parameter's type.

        Raises:
            ConfigError: another type, out of range or not one of the choices.
        """
        if not isinstance(self.default, list):
            return self._check_one(value, type(self.default))
        items = value.tolist() if hasattr(value, "tolist") else value  # array.array, numpy
        if not isinstance(items, (list, tuple)):
            raise ConfigError(f"{self.name} must be a list, got {value!r}")
        kind = type(self.default[0]) if self.default else str
        return [self._check_one(item, kind) for item in items]

    def _check_one(self, value: Any, kind: type) -> Any:
        if kind is float and type(value) is int:
            value = float(value)
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


def by_name(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """A declaration as a dictionary."""
    return {parameter.name: parameter for parameter in parameters}


def check_each(values: Mapping[str, Any], parameters: Iterable[Parameter]) -> dict[str, Value]:
    """All values, with defaults where none is given; each is checked by itself.

    Raises:
        ConfigError: an unknown name, a wrong type or out of range.
    """
    known = by_name(parameters)
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"unknown parameters {unknown}; known are {', '.join(known)}")
    return {name: parameter.check(values.get(name, parameter.default)) for name, parameter in known.items()}
