"""Learning curves of runs as a picture: ``python -m training.curves runs/a runs/b --out curves.png``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backend_bases import FigureCanvasBase

from depthnet_ros.errors import ConfigError
from training.command import command
from training.outputs import writing

PANELS = ("loss", "val/abs_rel", "val/delta1", "val/spearman")
_SMOOTH = 5


def read_log(run: Path) -> list[dict[str, float]]:
    """Lines of a run's log.jsonl; after a resume the later line of a step counts, and what is none does not."""
    merged: dict[float, dict[str, float]] = {}
    for text in (run / "log.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # cut short by a kill
        if not isinstance(line, dict) or not isinstance(line.get("step"), (int, float)):
            continue
        merged.setdefault(line["step"], {}).update(line)
    return [merged[step] for step in sorted(merged)]


def series(lines: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    """(steps, values) of one figure; the loss as a running mean."""
    points = [(line["step"], line[name]) for line in lines if name in line]
    steps, values = [step for step, _ in points], [value for _, value in points]
    if name == "loss" and len(values) > _SMOOTH:
        values = np.convolve(values, np.ones(_SMOOTH) / _SMOOTH, mode="valid").tolist()
        steps = steps[_SMOOTH - 1 :]
    return steps, values


def draw(runs: Sequence[Path], out: Path) -> None:
    """One panel per figure, one line per run.

    Raises:
        ConfigError: ``out`` has no ending of a picture.
        OutputError: it cannot be written.
    """
    endings = FigureCanvasBase.get_supported_filetypes()
    if (ending := out.suffix.lstrip(".").lower()) not in endings:
        raise ConfigError(f"--out must end in one of {', '.join(sorted(endings))}, got {ending!r}")
    figure, axes = plt.subplots(1, len(PANELS), figsize=(3.2 * len(PANELS) + 1.6, 2.6), layout="constrained")
    for run in runs:
        lines = read_log(run)
        for axis, name in zip(axes, PANELS, strict=True):
            axis.plot(*series(lines, name), label=run.name, marker="." if "val" in name else "")
    for axis, name in zip(axes, PANELS, strict=True):
        axis.set(title=name, xlabel="step")
        axis.grid(alpha=0.3)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8)
    try:
        with writing(out):
            figure.savefig(out, dpi=90)
    finally:
        plt.close(figure)


@command()
def main(argv: list[str] | None = None) -> int:
    """Command line of the curves."""
    parser = argparse.ArgumentParser(prog="python -m training.curves", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    args = parser.parse_args(argv)
    if missing := [str(run) for run in args.runs if not (run / "log.jsonl").is_file()]:
        raise ConfigError(f"no log.jsonl in {', '.join(missing)}")
    draw(args.runs, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
