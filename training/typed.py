"""Dataclasses from plain YAML, checked key by key and type by type, and ranges of their numbers."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from depthnet_ros.errors import ConfigError

T = TypeVar("T")
Ranges = Mapping[str, tuple[float, float]]
"""Setting to its least and largest value, both allowed."""
_LARGE = 1e300  # as good as no limit
ABOVE_0 = math.ulp(0.0)
"""Least value of what must be above 0: the smallest number there is."""


_MERGE = "tag:yaml.org,2002:merge"  # "<<", which takes another mapping's keys for those that are not given


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error and not the second one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"given twice: {', '.join(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ConfigError: no such file, not UTF-8, not YAML, or a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except FileNotFoundError as error:
        raise ConfigError(f"no configuration at {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error


def read_override(text: str) -> tuple[str, Any]:
    """``run.steps=100`` to key and value; ConfigError where the value is not YAML, or has a key twice."""
    key, _, value = text.partition("=")
    try:
        return key, yaml.load(value, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML: {' '.join(str(error).split())}") from error


def check_limits(section: object, where: str, ranges: Ranges) -> None:
    """Raise ConfigError naming the first setting of ``section`` outside its (least, largest); NaN is outside too."""
    for name, (least, largest) in ranges.items():
        value = getattr(section, name)
        if not least <= value <= largest:
            limits = f"at least {least:g}" if largest > _LARGE else f"in {least:g} to {largest:g}"
            limits = "above 0" if least == ABOVE_0 else "from 0 to below 1" if largest < 1 else limits
            limits += " and finite" if value == math.inf and largest > _LARGE else ""
            raise ConfigError(f"{where}.{name} must be {limits}, got {value}")


def from_dict(cls: type[T], data: Any, where: str) -> T:
    """A dataclass from plain YAML, checked key by key.

    Raises:
        ConfigError: names the place, what was expected and what came.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected a mapping for {cls.__name__}, got {type(data).__name__}")
    hints = get_type_hints(cls)
    known = [item.name for item in fields(cls)]  # type: ignore[arg-type]
    if unknown := sorted(set(map(str, data)) - set(known)):
        raise ConfigError(f"{where}: unknown keys {unknown}; known are {known}")
    required = [i.name for i in fields(cls) if i.default is MISSING and i.default_factory is MISSING]  # type: ignore[arg-type]
    if missing := [name for name in required if name not in data]:
        raise ConfigError(f"{where}: missing keys {missing}")
    return cls(**{key: checked(hints[key], value, f"{where}: {key}") for key, value in data.items()})


def checked(hint: Any, value: Any, where: str) -> Any:
    """``value``, plain YAML, as the annotation ``hint`` has it.

    Raises:
        ConfigError: it is of another type; begins with ``where``, the place that it was read from.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return from_dict(hint, value, where)  # type: ignore[arg-type]
    if hint is Any:
        return value
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where} must be one of {list(arguments)}, got {value!r}")
        return value
    if origin in (list, Sequence) and isinstance(value, list):
        return [checked(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is dict and isinstance(value, Mapping):
        return {str(key): checked(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (Union, types.UnionType):  # of one type and None
        (other,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else checked(other, value, where)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    plain = list if origin is Sequence else origin or hint
    if isinstance(plain, type) and isinstance(value, plain) and not (isinstance(value, bool) and plain is not bool):
        return value
    name = getattr(plain, "__name__", plain)
    hint_text = " (write 1.0e-3, YAML reads 1e-3 as text)" if hint is float and isinstance(value, str) else ""
    if hint is str and isinstance(value, int):
        hint_text = " (put it in quotes: YAML takes 0015 for the number 13, and no for false)"
    raise ConfigError(f"{where} must be {name}, got {value!r}{hint_text}")
