"""``backend: auto``: what can run is timed once on this machine; the result is remembered and said."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.files import written_whole
from depthnet_ros.inference.backends.base import Backend, Request
from depthnet_ros.inference.backends.hardware import cpu_has_bfloat16, cpu_name, has_nvidia_gpu
from depthnet_ros.inference.backends.loading import PIP, open_backend
from depthnet_ros.inference.cache import cache_folder, key_of, versions
from depthnet_ros.inference.network_files import NetworkFiles

TYPICAL_IMAGE_PX = (480, 640)
_TURNS, _RUNS, _WARM_UP = 4, 6, 3
_MOST_TURN_S = 0.3
_PACKAGES = ("depthnet_ros", "torch", "openvino", "onnxruntime", "onnxruntime-gpu", "tensorrt")


@dataclass(frozen=True)
class Candidate:
    """A backend in a precision."""

    name: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"


def choose(files: NetworkFiles, request: Request) -> Backend:
    """The fastest backend that loads and passes its parity check.

    Raises:
        BackendError: none does; says why of each.
    """
    path = cache_folder("choice") / f"{_key(files, request)}.json"
    if remembered := _read(path):
        try:
            backend = open_backend(remembered["name"], files, replace(request, precision=remembered["precision"]))
        except (BackendError, WeightsError) as error:
            failed = f"; timed again, since the remembered {remembered['name']} failed: {error}"
        else:
            backend.choice_reason += f"; {remembered['reason']} (remembered)"
            return backend
    else:
        failed = ""
    backend, best, reason = _fastest(files, request)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps({"name": best.name, "precision": best.precision, "reason": reason}, indent=1))
    backend.choice_reason += f"; {reason}{failed}"
    return backend


def candidates(files: NetworkFiles, request: Request) -> list[Candidate]:
    """What is installed and fits the request. torch only where a GPU is, or nothing lighter: its import takes long."""
    installed = {name for name in ("torch", "openvino", "onnxruntime") if find_spec(name)}
    on_gpu = request.device != "cpu" and has_nvidia_gpu()
    names = []
    if not request.wants_cuda and "openvino" in installed:
        names.append("openvino")
    if "onnxruntime" in installed:
        names += ["onnxruntime", *(["tensorrt"] if on_gpu else [])]
    if files.checkpoint and "torch" in installed and (on_gpu or request.wants_cuda or not names or files.onnx is None):
        names.append("torch")
    found = []
    for name in names:
        if request.precision != "auto":
            found.append(Candidate(name, request.precision))
            continue
        found.append(Candidate(name, "auto"))
        if files.int8_onnx and not cpu_has_bfloat16() and name in ("openvino", "onnxruntime"):
            found.append(Candidate(name, "int8"))
    return found


def _fastest(files: NetworkFiles, request: Request) -> tuple[Backend, Candidate, str]:
    opened: dict[Candidate, Backend] = {}
    failures: list[str] = []
    for candidate in candidates(files, request):
        try:
            backend = open_backend(candidate.name, files, replace(request, precision=candidate.precision))
            opened[Candidate(candidate.name, backend.precision)] = backend
        except (BackendError, WeightsError) as error:
            failures.append(f"{candidate} failed: {error}")
    if not opened:
        why = "; ".join(failures) or "none of onnxruntime, openvino and torch is installed: " + PIP["onnxruntime"]
        raise BackendError(f"no backend can run these weights: {why}")
    shape = (1, 3, *files.spec.input.size_for(*TYPICAL_IMAGE_PX))
    times = _times(opened, shape) if len(opened) > 1 else dict.fromkeys(opened, float("nan"))
    best = min(opened, key=times.__getitem__)
    for candidate, backend in opened.items():
        if candidate is not best:
            backend.close()
    if len(opened) == 1:
        return opened[best], best, "; ".join(("the only one that runs here", *failures))
    ranking = ", ".join(f"{c} {times[c] * 1e3:.1f} ms" for c in sorted(times, key=times.__getitem__))
    reason = f"fastest of {ranking} at {shape[2]}x{shape[3]}, threads: {request.threads}"
    return opened[best], best, "; ".join((reason, *failures))


def _times(opened: Mapping[Candidate, Backend], shape: tuple[int, ...]) -> dict[Candidate, float]:
    """Seconds of one inference: the lower quartile over turns that alternate, since other load only ever adds."""
    batch = np.zeros(shape, dtype=np.float32)
    taken: dict[Candidate, list[float]] = {candidate: [] for candidate in opened}
    for turn in range(_TURNS):
        for candidate, backend in opened.items():
            end = time.perf_counter() + _MOST_TURN_S
            for run in range(_RUNS):
                start = time.perf_counter()
                backend.infer(batch)
                if turn or run >= _WARM_UP:
                    taken[candidate].append(time.perf_counter() - start)
                if time.perf_counter() > end:  # a large network: one run a turn will do
                    break
    return {candidate: float(np.quantile(seconds, 0.25)) for candidate, seconds in taken.items()}


def _key(files: NetworkFiles, request: Request) -> str:
    has = bool(files.onnx), bool(files.int8_onnx), bool(files.checkpoint)
    return key_of(files.digest, files.spec.to_dict(), has, request, cpu_name(), versions(*_PACKAGES))


def _read(path: Path) -> dict[str, Any]:
    """What was remembered; empty if there is nothing, or nothing readable."""
    try:
        data = json.loads(path.read_text())
        return data if {"name", "precision", "reason"} <= set(data) and data["name"] in PIP else {}
    except (OSError, ValueError, TypeError):
        return {}
