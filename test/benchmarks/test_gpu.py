"""The GPU part as it would run where there is one, with a worker whose times are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.measure import Settings

ROUNDS = (0.5, 1.0, 3.0)
"""What each round's times are in times of the middle one's."""


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Played: kernels of 1 ms, 1.2 ms with their copies, four cameras 1.4 times one; no TensorRT, and no bfloat16
    beyond the first round.
    """
    done: list[dict[str, Any]] = []

    def play(job: dict[str, Any]) -> dict[str, Any]:
        done.append(job)
        pace = ROUNDS[sum(job == other for other in done) - 1]
        if job["name"] == "tensorrt" or (job["precision"] == "bfloat16" and pace != ROUNDS[0]):
            raise RuntimeError("benchmark failed:\nno TensorRT libraries")
        pace *= 1.0 if job["batch"] == 1 else 1.4
        kernels = [0.001 * pace] if job["name"] == "torch" else []
        return {"seconds": [0.0012 * pace], "kernel_seconds": kernels, "device": "cuda:0"}

    monkeypatch.setattr(gpu, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(gpu, "run_worker", play)
    return done


@pytest.mark.parametrize("quick", [True, False])
def test_a_gpu_is_measured_by_what_is_installed(jobs: list[dict[str, Any]], quick: bool) -> None:
    part = gpu.gpu(Settings(Path(), quick))
    assert len(part.rows) == 8, "one a run and batch, whatever the rounds"
    assert part.notes.count("tensorrt float16 left out: no TensorRT libraries") == 1
    values = {check.what: check.value for check in part.checks}
    assert values["network and copies, in times of its kernels"] == pytest.approx(1.2)
    assert values["torch float16: four cameras against one"] == pytest.approx(1.4)
    assert sum(job["name"] == "tensorrt" for job in jobs) == 1


def test_a_figure_is_the_median_of_all_rounds(jobs: list[dict[str, Any]]) -> None:
    rows = {row["network"]: row for row in gpu.gpu(Settings(Path())).rows}
    one = rows["torch float16, 1 camera"]
    assert (one["runs"], one["median ms"], one["kernels ms"]) == (3, pytest.approx(1.2), pytest.approx(1.0))


def test_without_a_gpu_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "has_nvidia_gpu", lambda: False)
    assert gpu.gpu(Settings(Path())).title == "left out: no NVIDIA GPU here"
