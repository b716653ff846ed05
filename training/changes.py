"""What of a configuration was changed since a state was written, or since a search began."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from training.config import TrainConfig

_WITHOUT_EFFECT = frozenset({
    "run.device", "run.threads", "run.timeout_min", "run.checkpoint_every", "run.keep_at", "run.evaluate_every",
    "run.picture_every", "run.cuda_graphs", "data.workers", "data.cache_gib",
})  # fmt: skip
"""Settings that another machine may want otherwise: what is trained stays the same, but for rounding."""


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """Dotted keys to plain JSON values: everything that what is trained follows from, and what is searched over."""
    plain = json.loads(json.dumps(asdict(config), default=str))
    return {key: value for key, value in _flat(plain, "") if key not in _WITHOUT_EFFECT}


def _flat(section: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and not where.startswith("search."):  # a range is one value
            yield from _flat(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def changed(was: Mapping[str, Any], now: Mapping[str, Any], but: Collection[str] = ()) -> dict[str, list[Any]]:
    """Dotted key to its value before and its value now (None: not given), of all that differ and begin with none of
    ``but``; from mappings as :func:`settings_of` gives them.
    """
    keys = sorted(key for key in {*was, *now} if not key.startswith(tuple(but)))
    return {key: [was.get(key), now.get(key)] for key in keys if was.get(key) != now.get(key)}


def told(changes: Mapping[str, list[Any]]) -> str:
    """One line: each key with both values."""
    return "; ".join(f"{key} was {before}, now {after}" for key, (before, after) in changes.items())
