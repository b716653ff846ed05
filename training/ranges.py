"""Ranges that a search tries settings of: ``{low, high, log}``, or ``{choices}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from depthnet_ros.errors import ConfigError
from training.sections import ANY

_KEYS = {"low", "high", "log", "choices"}


def check_range(key: str, span: Mapping[str, Any]) -> None:
    """Raise ConfigError, which names ``key``, unless ``span`` is a range with something in it."""
    if set(span) - _KEYS or ("choices" in span) == ("low" in span and "high" in span):
        raise ConfigError(f"search.{key}: expected {{low, high, log}} or {{choices}}, got {span}")
    if "choices" in span:
        if not isinstance(span["choices"], list) or not span["choices"]:
            raise ConfigError(f"search.{key}: choices must be a list of at least one, got {span['choices']}")
        return
    numbers = all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and -ANY <= value <= ANY for value in ends(span)
    )
    if not numbers or not span["low"] < span["high"] or (span.get("log") and span["low"] <= 0):
        raise ConfigError(
            f"search.{key}: expected finite numbers, low below high, and above 0 with log, got {span} (YAML takes 1e-4 "
            "for text: write 1.0e-4)"
        )


def ends(span: Mapping[str, Any]) -> list[Any]:
    """What is tried of a range at its ends, or all of its choices."""
    return list(span["choices"]) if "choices" in span else [span["low"], span["high"]]
