"""How things are measured: warm-up, medians and quartiles, alternatives in turn so that a slow moment hits all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from depthnet_ros.inference.backends.hardware import cpu_has_bfloat16, cpu_name, usable_cores
from depthnet_ros.inference.cache import versions

ROOT = Path(__file__).resolve().parents[1]
IMAGE_PX = (480, 640)
"""Camera image (height, width) of every measurement that does not vary it."""


@dataclass(frozen=True)
class Timing:
    """Median and quartiles in milliseconds."""

    median_ms: float
    q25_ms: float
    q75_ms: float
    runs: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """From single times in seconds."""
        q25, median, q75 = np.quantile(np.array(seconds) * 1e3, (0.25, 0.5, 0.75))
        return cls(float(median), float(q25), float(q75), len(seconds))

    def row(self) -> dict[str, float]:
        """Columns of a table."""
        return {"median ms": self.median_ms, "q25 ms": self.q25_ms, "q75 ms": self.q75_ms, "runs": self.runs}


@dataclass(frozen=True)
class Check:
    """A figure against its target."""

    what: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass
class Part:
    """Results of one part of the benchmark. The chart shows ``chart`` of each row, labelled by the first column.

    ``machine``: what its figures hold for, as :func:`machine` gives it; empty: that of the whole report.
    """

    name: str
    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    chart: str = "median ms"
    notes: list[str] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """``data``: folder of real images with ``index.csv``, beside it ``models``; ``quick``: to try out, not to cite."""

    data: Path
    quick: bool = False

    @property
    def rounds(self) -> int:
        """How often alternatives take turns."""
        return 1 if self.quick else 3


def timed(
    function: Callable[[], Any], runs: int = 100, most_s: float = 2.0, warm_up: int = 5, pause_s: float = 0.0
) -> list[float]:
    """Seconds of single calls, back to back or with a pause before each."""
    for _ in range(warm_up):
        function()
    taken: list[float] = []
    end = time.perf_counter() + most_s
    while len(taken) < runs and (not taken or time.perf_counter() < end):
        time.sleep(pause_s)
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return taken


def in_turn(functions: Mapping[str, Callable[[], Any]], rounds: int, **how: Any) -> dict[str, Timing]:
    """Time several functions alternately."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            taken[name] += timed(function, **how)
    return {name: Timing.of(seconds) for name, seconds in taken.items()}


def processes_in_turn(jobs: Mapping[str, Mapping[str, Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Run :mod:`benchmarks.worker` on each job alternately, each time in a process of its own: thread pools that spin,
    and memory, do not leak from one to the next. The last round's answer, with ``seconds`` of all rounds.
    """
    answers: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for name, job in jobs.items():
            answer = run_worker(job)
            answer["seconds"] = answers.get(name, {}).get("seconds", []) + answer["seconds"]
            answers[name] = answer
            time.sleep(0.2)
    return answers


def run_worker(job: Mapping[str, Any]) -> dict[str, Any]:
    """One job of :mod:`benchmarks.worker` in a fresh process; raises RuntimeError as :func:`run_module`."""
    return run_module("benchmarks.worker", json.dumps(job))


def run_module(module: str, *arguments: str) -> dict[str, Any]:
    """What a module prints last, a JSON object, as a program; raises RuntimeError with what it wrote if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "bfloat16": cpu_has_bfloat16(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **versions("numpy", "opencv-python-headless", "torch", "openvino", "onnxruntime", "ai-edge-litert"),
    }
