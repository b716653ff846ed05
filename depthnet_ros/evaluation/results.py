"""The record of an evaluation: JSON of a stable shape, CSV per frame, figures by name for thresholds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from depthnet_ros.errors import ConfigError, DepthNetError
from depthnet_ros.evaluation.bands import BANDS_M
from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.obstacle_view import PLACES
from depthnet_ros.files import written_whole

FORMAT = "depthnet_ros/evaluation"
VERSION = 3
"""Counts up when a key is renamed, removed or changes its meaning; new keys may appear without."""


class ResultsError(DepthNetError):
    """A file that is no record of an evaluation, or one of another version."""


@dataclass(frozen=True)
class Results:
    """Everything that one evaluation found.

    Attributes:
        complete: false if it was cut short, or images could not be used; then ``notes`` say why.
        source: what was evaluated: recording, topics, times.
        model: network, weights, backend, device, precision.
        settings: all that decides the outcome.
        counts: what became of the images.
        figures: as :meth:`EvaluationSession.figures <depthnet_ros.evaluation.session.EvaluationSession.figures>`.
        objects: distances of objects by class, or None without boxes.
        notes: losses and faults, in words.
        frames: one row per evaluated frame.
    """

    complete: bool
    source: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    counts: Mapping[str, int]
    figures: Mapping[str, Any]
    objects: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    frames: Columns = field(default_factory=Columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; numbers that are not finite become None."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "complete": self.complete,
            "source": plain(self.source),
            "model": plain(self.model),
            "settings": plain(self.settings),
            "counts": plain(self.counts),
            "figures": plain(self.figures),
            "objects": plain(self.objects),
            "notes": list(self.notes),
            "frames": self.frames.to_lists(),
        }

    @classmethod
    def from_dict(cls, data: Any, source: str) -> Results:
        """Inverse of :meth:`to_dict`; ``source`` names the file in errors.

        Raises:
            ResultsError: not such a record, of a newer version, or damaged.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ResultsError(f"{source} is no record of an evaluation: expected format {FORMAT!r}")
        if data.get("version") != VERSION:
            raise ResultsError(f"{source} is of version {data.get('version')}, this program reads {VERSION}")
        keys = ("complete", "source", "model", "settings", "counts", "figures", "objects", "notes", "frames")
        if missing := [key for key in keys if key not in data]:
            raise ResultsError(f"{source} lacks {missing}: is it cut short?")
        try:
            frames = Columns.from_lists(data["frames"])
        except (ValueError, TypeError, AttributeError) as error:
            raise ResultsError(f"{source}: the table of frames is damaged: {error}") from error
        return cls(**{key: data[key] for key in keys if key != "frames"}, frames=frames)

    def named_figures(self) -> dict[str, float | None]:
        """Every figure by name, for thresholds: ``aligned.abs_rel``, ``metric.bands.2-5.bias``, ``latency.scale.p95``.

        The bare names of measures (``abs_rel``, ...) are those of metric depth if metres were asked for, else aligned.
        """
        side = "metric" if self.settings.get("scale", {}).get("mode", "none") != "none" else "aligned"
        named: dict[str, float | None] = {}
        for name in ("aligned", "metric"):
            named |= _side_figures(name, self.figures.get(name))
        named |= {name.partition(".")[2]: value for name, value in list(named.items()) if name.startswith(f"{side}.")}
        named |= dict.fromkeys(_OBSTACLES)  # without them they are not measured, but they have names
        for place, rates in (self.figures.get("obstacles") or {}).items():
            named |= {f"{place}.{name}": value for name, value in rates.items()}
        named |= dict.fromkeys(f"latency.{stage}.{name}" for stage in _STAGES for name in ("median", "p95"))
        for stage, times in (self.figures.get("latency_s") or {}).items():
            named |= {f"latency.{stage}.{name}": value for name, value in times.items()}
        named["published_share"] = self.figures.get("published_share")
        named |= dict.fromkeys(f"counts.{name}" for name in COUNTS)
        return {**named, **{f"counts.{name}": float(value) for name, value in self.counts.items()}}


_SIDE = ("abs_rel", "rmse", "delta1", "bias", "silog", "flicker", "coverage")
_OBSTACLES = tuple(
    f"{place}.{rate}" for place in PLACES for rate in ("false_free", "false_obstacle", "unseen", "obstacles")
)
_BAND = ("abs_rel", "bias", "rmse", "delta1", "coverage")
_STAGES = ("decode", "preprocess", "network", "postprocess", "scale", "total")
COUNTS = ("images", "processed", "evaluated", "without_reference", "failed")
"""What :attr:`Results.counts` holds."""


def check_figure_name(name: str) -> None:
    """Before hours of work: whether there can be a figure of that name.

    Raises:
        ConfigError: there cannot; names those that are like it, or all.
    """
    known = Results(True, {}, {}, {}, {}, {}).named_figures()
    if name not in known:
        near = get_close_matches(name, known, n=5, cutoff=0.75)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
        raise ConfigError(f"no figure is named {name!r}; {hint}")


def _side_figures(side: str, figures: Mapping[str, Any] | None) -> dict[str, float | None]:
    figures = figures or {}
    named: dict[str, float | None] = {f"{side}.{name}": figures.get(name) for name in _SIDE}
    named |= {f"{side}.bands.{low:g}-{high:g}.{name}": None for low, high in BANDS_M for name in _BAND}
    for band in figures.get("bands") or []:
        prefix = f"{side}.bands.{band['from_m']:g}-{band['to_m']:g}"
        named |= {f"{prefix}.{name}": band[name] for name in _BAND}
    sigma = figures.get("sigma") or {}
    named[f"{side}.sigma.calibration_error"] = sigma.get("calibration_error")
    named[f"{side}.sigma.median_ratio"] = sigma.get("median_ratio")
    return named


def write_json(results: Results, path: Path) -> None:
    """The file appears whole or not at all.

    Raises:
        ResultsError: it cannot be written (no space, no right).
    """
    text = json.dumps(results.to_dict(), indent=1, allow_nan=False)
    write_whole(path, text)


def read_json(path: Path) -> Results:
    """A record from its file.

    Raises:
        ResultsError: no such file, no JSON, or no record.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ResultsError(f"{path} is no JSON: {error}") from error
    return Results.from_dict(data, str(path))


def write_csv(results: Results, path: Path) -> None:
    """One line per evaluated frame; empty where nothing was measured.

    Raises:
        ResultsError: it cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["frame", *results.frames.names])
            writer.writeheader()
            for index, row in enumerate(results.frames.rows()):
                writer.writerow({"frame": index, **{name: _cell(name, value) for name, value in row.items()}})
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        ResultsError: it cannot be written.
    """
    try:
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name need not be UTF-8
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from error


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.9f}" if name == "stamp_s" else f"{value:.6g}"


def plain(value: Any) -> Any:
    """Nested mappings, lists and numbers as JSON has them: what is not finite is None, an array is a list."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):  # where it lay on one machine says nothing on another
        return value.name
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
