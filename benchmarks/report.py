"""Results as JSON, as a table for people and as a chart."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import Part
from depthnet_ros.evaluation.results import plain


def markdown(parts: Sequence[Part], machine: Mapping[str, Any]) -> str:
    """Tables and targets; ``machine`` stands above all, and above a part only what is another there."""
    lines = ["# Benchmarks", "", ", ".join(f"{key}: {_text(value)}" for key, value in machine.items()), ""]
    checks = [(part, check) for part in parts for check in part.checks]
    if checks:
        lines += ["| what | measured | target | |", "|---|---|---|---|"]
        for part, check in checks:
            wanted = f"{'at most' if check.at_most else 'at least'} {check.limit:g}"
            lines.append(
                f"| {part.name}: {check.what} | {check.value:.3g} | {wanted} | {'met' if check.met else 'missed'} |"
            )
        lines.append("")
    for part in parts:
        lines += [f"## {part.name}: {part.title}", ""]
        if other := _other(part.machine, machine):
            lines += [f"Measured elsewhere: {', '.join(f'{key}: {_text(value)}' for key, value in other.items())}", ""]
        columns = list(dict.fromkeys(column for row in part.rows for column in row))
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_text(row.get(column, "")) for column in columns) + " |" for row in part.rows]
        lines += ["", *(f"{note}." for note in part.notes), ""]
    return "\n".join(lines)


def write(parts: Sequence[Part], machine: Mapping[str, Any], folder: Path) -> None:
    """results.json, results.md and chart.png in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"machine": dict(machine), "parts": [_plain(part) for part in parts]}
    (folder / "results.json").write_text(json.dumps(plain(data), indent=1, default=str, allow_nan=False))
    (folder / "results.md").write_text(markdown(parts, machine))
    chart(parts, folder / "chart.png")


def chart(parts: Sequence[Part], path: Path) -> None:
    """One panel of bars per part; whiskers are the quartiles; a logarithmic axis where values differ a thousandfold."""
    try:
        import matplotlib
    except ImportError:
        print(f"no {path.name}: matplotlib is not installed (make .venv/.dev)", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = [part for part in parts if part.rows]
    if not shown:  # all were left out
        return
    heights = [1.0 + 0.32 * len(part.rows) for part in shown]
    figure, axes = plt.subplots(
        len(shown), figsize=(10, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for part, (axis,) in zip(shown, axes, strict=True):
        labels = [str(next(iter(row.values()))) for row in part.rows]
        values = [_number(row.get(part.chart)) for row in part.rows]
        axis.barh(labels, values, color="#4477aa")
        ends = values
        if part.chart == "median ms" and all("q25 ms" in row for row in part.rows):
            low = [v - row["q25 ms"] for v, row in zip(values, part.rows, strict=True)]
            high = [row["q75 ms"] - v for v, row in zip(values, part.rows, strict=True)]
            ends = [row["q75 ms"] for row in part.rows]
            axis.errorbar(values, labels, xerr=[low, high], fmt="none", ecolor="#222222", capsize=2)
        if max(values) > 1000 * max(min(values), 1e-9):
            axis.set_xscale("log")
        for end, label, value in zip(ends, labels, values, strict=True):
            axis.annotate(f"{value:.3g}", (end, label), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axis.margins(x=0.12)
        axis.invert_yaxis()
        axis.set_title(part.title, loc="left", fontsize=10)
        axis.set_xlabel(part.chart)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plain(part: Part) -> dict[str, Any]:
    data = asdict(part)
    for entry, check in zip(data["checks"], part.checks, strict=True):
        entry["met"] = check.met
    return data


def _other(part: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    """What differs where a part was measured; the load does each time."""
    names = dict.fromkeys((*part, *machine)) if part else {}
    return {name: part.get(name) for name in names if name != "load" and part.get(name) != machine.get(name)}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3g}"
    return str(value)
