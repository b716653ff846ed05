"""A CUDA device: what a frame's way there and back costs beside its kernels, and four cameras beside one."""

from __future__ import annotations

from itertools import product
from typing import Any

from benchmarks.measure import Check, Part, Settings, Timing, run_worker
from depthnet_ros.inference.backends.hardware import has_nvidia_gpu, nvidia_gpus
from depthnet_ros.inference.weights import default_weights

_TORCH = tuple(("torch", precision) for precision in ("float16", "bfloat16", "float32"))
RUNS = (*_TORCH, ("onnxruntime", "float32"), ("tensorrt", "float16"))
BATCHES = (1, 4)
_Key = tuple[str, str, int]


def gpu(settings: Settings) -> Part:
    """The default network on the GPU, by backend, precision and cameras; left out where there is none."""
    if not has_nvidia_gpu():
        return Part("gpu", "left out: no NVIDIA GPU here")
    part = Part("gpu", f"Network on a GPU, copies included: {nvidia_gpus()}")
    answers, left_out = _answers(settings.rounds)
    part.notes += [f"{name} {precision} left out: {reason}" for (name, precision), reason in left_out.items()]
    medians: dict[_Key, float] = {}
    for key, answer in answers.items():
        _add(part, medians, key, answer)
    part.checks += _checks(medians)
    return part


def _answers(rounds: int) -> tuple[dict[_Key, dict[str, Any]], dict[tuple[str, str], str]]:
    """Of each run with each batch, in turn: the last round's answer with the times of all rounds; and why some of
    :data:`RUNS` have none.
    """
    weights = str(default_weights())
    answers: dict[_Key, dict[str, Any]] = {}
    left_out: dict[tuple[str, str], str] = {}
    for _ in range(rounds):
        for (name, precision), batch in product(RUNS, BATCHES):
            if (name, precision) in left_out:
                continue
            job = {"job": "on_gpu", "weights": weights, "name": name, "precision": precision, "batch": batch}
            try:
                answer = run_worker(job)
            except RuntimeError as error:  # what is not installed is left out, by name
                left_out[name, precision] = str(error).splitlines()[-1]
                continue
            before = answers.get((name, precision, batch), {})
            for times in ("seconds", "kernel_seconds"):
                answer[times] = before.get(times, []) + answer[times]
            answers[name, precision, batch] = answer
    return answers, left_out


def _add(part: Part, medians: dict[_Key, float], key: _Key, answer: dict[str, Any]) -> None:
    timing = Timing.of(answer["seconds"])
    medians[key] = timing.median_ms
    name, precision, batch = key
    what = f"{name} {precision}, {batch} camera{'s' * (batch > 1)}"
    row: dict[str, Any] = {"network": what, **timing.row(), "device": answer["device"]}
    if answer["kernel_seconds"]:
        kernels_ms = Timing.of(answer["kernel_seconds"]).median_ms
        row["kernels ms"] = medians["kernels", precision, batch] = kernels_ms
    part.rows.append(row)


def _checks(medians: dict[_Key, float]) -> list[Check]:
    checks = []
    if ("kernels", "float16", 1) in medians:
        ratio = medians["torch", "float16", 1] / medians["kernels", "float16", 1]
        checks.append(Check("network and copies, in times of its kernels", ratio, 1.3, True))
    for name, precision in RUNS:
        one, four = (medians.get((name, precision, batch)) for batch in BATCHES)
        if one and four:
            checks.append(Check(f"{name} {precision}: four cameras against one", four / one, 1.5, True))
    return checks
