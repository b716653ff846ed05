"""``backend: auto``: what can run is timed once on this machine; the result is remembered and said."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.files import written_whole
from depthnet_ros.inference.backends.base import Backend, Request
from depthnet_ros.inference.backends.hardware import (
    PIP_ONNXRUNTIME_GPU,
    cpu_has_bfloat16,
    cpu_name,
    has_nvidia_gpu,
    has_tensorrt,
    nvidia_gpus,
)
from depthnet_ros.inference.backends.loading import PIP, open_backend
from depthnet_ros.inference.cache import cache_folder, key_of, versions
from depthnet_ros.inference.network_files import NetworkFiles

TYPICAL_IMAGE_PX = (480, 640)
_TURNS, _RUNS, _WARM_UP = 4, 6, 3
_MOST_TURN_S = 0.3
_PRECISIONS = {
    "torch": {"auto", "float32", "float16", "bfloat16"},
    "openvino": {"auto", "float32", "bfloat16", "int8"},
    "onnxruntime": {"auto", "float32", "int8"},
    "tensorrt": {"auto", "float32", "float16"},
}
"""What each runs somewhere: what it never does is no failure to try again for."""
_ON_CPU = "on the CPU"
_FASTER = "pip install openvino makes the network faster on a CPU"
_PACKAGES = ("depthnet_ros", "torch", "openvino", "onnxruntime", "onnxruntime-gpu", "tensorrt")


@dataclass(frozen=True)
class Candidate:
    """A backend in a precision."""

    name: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"


def choose(files: NetworkFiles, request: Request) -> Backend:
    """The fastest backend that loads, passes its parity check and runs.

    It is remembered if all that could be tried ran: what failed, a GPU that was full, say, may run at the next start.

    Raises:
        BackendError: none does; says why of each.
    """
    failed = ""
    if remembered := _recall(files, request):
        try:
            backend = open_backend(remembered["name"], files, replace(request, precision=remembered["precision"]))
        except (BackendError, WeightsError) as error:
            failed = f"timed again, since the remembered {remembered['name']} failed: {error}"
        else:
            backend.choice_reason += f"; {remembered['reason']} (remembered)"
            return backend
    backend, best, reason, failures = _fastest(files, request)
    told = "; ".join(part for part in (backend.fell_back, reason) if part)
    forgotten = "to be timed again at the next start" if failures else _remember(files, request, best, told)
    backend.choice_reason += "".join(f"; {part}" for part in (reason, *failures, failed, forgotten) if part)
    return backend


def candidates(files: NetworkFiles, request: Request) -> list[Candidate]:
    """What is installed and fits the request. torch only where a GPU is, or nothing lighter: its import takes long."""
    installed = {name for name in ("torch", "openvino", "onnxruntime") if find_spec(name)}
    on_gpu = request.device != "cpu" and has_nvidia_gpu()
    names = []
    if not request.wants_cuda and "openvino" in installed:
        names.append("openvino")
    if "onnxruntime" in installed:
        names += ["onnxruntime", *(["tensorrt"] if on_gpu and _runs_tensorrt() else [])]
    if files.checkpoint and "torch" in installed and (on_gpu or request.wants_cuda or not names or files.onnx is None):
        names.append("torch")
    int8 = files.int8_onnx is not None and not request.wants_cuda and not cpu_has_bfloat16()
    precisions = ["auto", *(["int8"] if int8 else [])] if request.precision == "auto" else [request.precision]
    found = [Candidate(name, precision) for name in names for precision in precisions if precision in _PRECISIONS[name]]
    return found or [Candidate(name, request.precision) for name in names]  # their errors say what there is


def _runs_tensorrt() -> bool:
    """Whether TensorRT is there and ONNX Runtime built with it. Mostly not, which is no failure to try again for."""
    if not has_tensorrt():
        return False
    try:
        import onnxruntime
    except (ImportError, OSError):  # installed but broken: the candidate onnxruntime will say so
        return False
    return "TensorrtExecutionProvider" in onnxruntime.get_available_providers()


def _fastest(files: NetworkFiles, request: Request) -> tuple[Backend, Candidate, str, list[str]]:
    """The fastest backend, what it is, why, and what failed of the others."""
    opened: dict[Candidate, Backend] = {}
    failures: list[str] = []
    for candidate in candidates(files, request):
        try:
            backend = open_backend(candidate.name, files, replace(request, precision=candidate.precision))
            opened[Candidate(candidate.name, backend.precision)] = backend
            if backend.lost_gpu:
                failures.append(f"{candidate} on a GPU failed: {backend.lost_gpu}")
        except (BackendError, WeightsError) as error:
            failures.append(f"{candidate} failed: {error}")
    shape = (1, 3, *files.spec.input.size_for(*TYPICAL_IMAGE_PX))
    times = _times(opened, shape, failures) if len(opened) > 1 else dict.fromkeys(opened, float("nan"))
    if not opened:
        why = "; ".join(failures) or "none of onnxruntime, openvino and torch is installed: " + PIP["onnxruntime"]
        raise BackendError(f"no backend can run these weights: {why}")
    ranking = sorted(opened, key=times.__getitem__)
    idle = _idle_gpu(request, [opened[candidate] for candidate in ranking])
    for candidate in ranking[1:]:
        opened[candidate].close()
    reason = "the only one that runs here" if find_spec("openvino") else f"the only one that runs here; {_FASTER}"
    if len(ranking) > 1:
        in_words = ", ".join(f"{candidate} {times[candidate] * 1e3:.1f} ms" for candidate in ranking)
        reason = f"fastest of {in_words} at {shape[2]}x{shape[3]}, threads: {request.threads}"
    return opened[ranking[0]], ranking[0], "; ".join(filter(None, (reason, idle))), failures


def _idle_gpu(request: Request, ranking: Sequence[Backend]) -> str:
    """Why the GPU that is there stays idle, where none of these runs on it."""
    if request.device == "cpu" or not has_nvidia_gpu() or any(b.device != "cpu" or b.lost_gpu for b in ranking):
        return ""  # what was lost is told as a failure
    told = [_ON_CPU + after for b in ranking if (after := b.choice_reason.partition(_ON_CPU)[2])]
    return f"the GPU is idle: {told[0] if told else f'nothing that is installed runs on it: {PIP_ONNXRUNTIME_GPU}'}"


def _times(opened: dict[Candidate, Backend], shape: tuple[int, ...], failures: list[str]) -> dict[Candidate, float]:
    """Seconds of one inference: the lower quartile over turns that alternate, since other load only ever adds.

    A candidate that fails is taken out of ``opened``, and what it said goes to ``failures``.
    """
    batch = np.zeros(shape, dtype=np.float32)
    taken: dict[Candidate, list[float]] = {candidate: [] for candidate in opened}
    for turn in range(_TURNS):
        for candidate, backend in list(opened.items()):
            try:
                seconds = _turn(backend, batch)
            except BackendError as error:
                failures.append(f"{candidate} failed: {error}")
                opened.pop(candidate).close()
                continue
            taken[candidate] += seconds[0 if turn else min(_WARM_UP, len(seconds)) :]
    return {candidate: float(np.quantile(taken[candidate], 0.25)) for candidate in opened}


def _turn(backend: Backend, batch: NDArray[np.float32]) -> list[float]:
    """Seconds of each of a few runs in a row; of a large network one will do."""
    seconds: list[float] = []
    while len(seconds) < _RUNS and sum(seconds) <= _MOST_TURN_S:
        start = time.perf_counter()
        backend.infer(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def _place(files: NetworkFiles, request: Request) -> Path:
    return cache_folder("choice") / f"{_key(files, request)}.json"


def _key(files: NetworkFiles, request: Request) -> str:
    has = bool(files.onnx), bool(files.int8_onnx), bool(files.checkpoint)
    return key_of(files.digest, files.spec.to_dict(), has, request, cpu_name(), nvidia_gpus(), versions(*_PACKAGES))


def _remember(files: NetworkFiles, request: Request, best: Candidate, reason: str) -> str:
    """Keep the choice for the next start; returns what to say if that cannot be done."""
    try:
        with written_whole(_place(files, request)) as temporary:
            chosen = {"name": best.name, "precision": best.precision, "reason": reason}
            temporary.write_text(json.dumps(chosen, indent=1))
    except OSError as error:
        return f"could not be remembered: {error}"
    return ""


def _recall(files: NetworkFiles, request: Request) -> dict[str, Any]:
    """What was remembered; empty if there is nothing, or nothing readable."""
    try:
        data = json.loads(_place(files, request).read_text())
        return data if {"name", "precision", "reason"} <= set(data) and data["name"] in PIP else {}
    except (OSError, ValueError, TypeError):
        return {}
