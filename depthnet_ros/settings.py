"""Dataclasses whose fields are ROS parameters: default, range and meaning stand with the field, and nowhere else.

The node declares its parameters from :func:`parameters_of`; bag evaluation and benchmarks build the dataclasses
themselves, and get the same checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from depthnet_ros.errors import ConfigError
from depthnet_ros.parameter import Parameter

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigT = TypeVar("ConfigT", bound="DataclassInstance")


def setting(
    default: Any,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    choices: tuple[str, ...] = (),
    dynamic: bool = True,
) -> Any:
    """A field of such a dataclass; the arguments are those of a :class:`Parameter`."""
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata={"description": description, "dynamic": dynamic, **limits})


def parameters_of(config: type[DataclassInstance], prefix: str) -> Iterator[Parameter]:
    """The ROS parameters of a dataclass made of settings, in the order of declaration."""
    for item in fields(config):
        yield _parameter(item, prefix)


def _parameter(item: Field[Any], prefix: str) -> Parameter:
    assert item.default is not MISSING
    default = list(item.default) if isinstance(item.default, tuple) else item.default
    description = item.metadata["description"]
    sentence = f"{description[0].upper()}{description[1:]}."
    return Parameter(prefix + item.name, default, **{**item.metadata, "description": sentence})


def check_settings(config: DataclassInstance, prefix: str) -> None:
    """Types, ranges and choices of a dataclass made of settings; integers become floats and lists tuples where due.

    Raises:
        ConfigError: names the parameter, what it must be and what came.
    """
    for item in fields(config):
        value = _parameter(item, prefix).check(getattr(config, item.name))
        object.__setattr__(config, item.name, tuple(value) if isinstance(value, list) else value)


def from_parameters(config: type[ConfigT], prefix: str, values: Mapping[str, Any]) -> ConfigT:
    """A configuration from a flat mapping of ROS names (``scale.mode``) to values; names of other prefixes are left
    alone.

    Raises:
        ConfigError: an unknown name under ``prefix``, or a value out of its range.
    """
    own = {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}
    known = [item.name for item in fields(config)]
    if unknown := sorted(set(own) - set(known)):
        raise ConfigError(f"unknown parameters {[prefix + name for name in unknown]}; known are {known}")
    return config(**own)
