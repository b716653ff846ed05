"""``backend: auto``: what can run is timed once on this machine; the result is remembered and said."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.files import written_whole
from depthnet_ros.inference.backends.base import CAPABILITIES, TYPICAL_IMAGE_PX, Backend, Request
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

_TURNS = 4  # of each candidate: what disturbs one turn does not disturb all
_RUNS = 6  # of a turn at most
_WARM_UP = 3  # runs of the first turn that do not count: memory is allocated, clocks rise
_MOST_TURN_S = 0.3  # of a network that takes longer a turn is one run: a start waits for all turns of all candidates
_FASTER = "pip install openvino makes the network faster on a CPU"
_PACKAGES = ("depthnet_ros", "torch", "openvino", "onnxruntime", "onnxruntime-gpu", "tensorrt")


@dataclass(frozen=True)
class Candidate:
    """A backend in a precision."""

    name: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"

    @property
    def may_run(self) -> bool:
        """The backend runs the precision somewhere: what it never does is no failure to try again for."""
        able = CAPABILITIES[self.name]
        return self.precision in ("auto", *able.on_cpu, *able.on_gpu)


@dataclass(frozen=True)
class _Remembered:
    """A choice of an earlier start, and in words why it was the one."""

    name: str
    precision: str
    reason: str


def choose(files: NetworkFiles, request: Request) -> Backend:
    """The fastest backend that loads, passes its parity check and runs.

    It is remembered if all that could be tried ran: what failed, a GPU that was full, say, may run at the next start.
    A GPU that is not there won't be.

    Raises:
        BackendError: none does; says why of each.
    """
    failed = ""
    if remembered := _recall(files, request):
        try:
            backend = open_backend(remembered.name, files, replace(request, precision=remembered.precision))
        except (BackendError, WeightsError) as error:
            failed = f"timed again, since the remembered {remembered.name} failed: {error}"
        else:
            backend.choice_reason = replace(backend.choice_reason, ranking=f"{remembered.reason} (remembered)")
            return backend
    backend, best, failures = _fastest(files, request)
    reason = backend.choice_reason
    if failures or (reason.lost_gpu and has_nvidia_gpu()):
        unkept = "to be timed again at the next start"
    else:
        unkept = _remember(files, request, _Remembered(best.name, best.precision, reason.describe_comparison()))
    backend.choice_reason = reason.with_notes(*failures, failed, unkept)
    return backend


def candidates(files: NetworkFiles, request: Request) -> list[Candidate]:
    """What is installed and fits the request."""
    installed = {name for name in ("torch", "openvino", "onnxruntime") if find_spec(name)}
    may_use_gpu = request.device != "cpu" and has_nvidia_gpu()
    names = []
    if "openvino" in installed and not request.wants_cuda:
        names.append("openvino")
    if "onnxruntime" in installed:
        names.append("onnxruntime")
        if may_use_gpu and _runs_tensorrt():
            names.append("tensorrt")
    if "torch" in installed and files.checkpoint:
        # Its import takes long: only for a GPU, or where nothing lighter runs this network.
        runs_lighter = names and files.onnx
        if may_use_gpu or request.wants_cuda or not runs_lighter:
            names.append("torch")
    precisions = _precisions(files, request)
    found = [Candidate(name, precision) for name in names for precision in precisions]
    return [candidate for candidate in found if candidate.may_run] or [
        Candidate(name, request.precision) for name in names
    ]  # their errors say what there is


def _precisions(files: NetworkFiles, request: Request) -> list[str]:
    """What each backend is to try. 8 bits are for a CPU without bfloat16, which is as fast where there is any."""
    if request.precision != "auto":
        return [request.precision]
    tries_int8 = files.int8_onnx is not None and not request.wants_cuda and not cpu_has_bfloat16()
    return ["auto", "int8"] if tries_int8 else ["auto"]


def _runs_tensorrt() -> bool:
    """Whether TensorRT is there and ONNX Runtime built with it. Mostly not, which is no failure to try again for."""
    if not has_tensorrt():
        return False
    try:
        import onnxruntime
    except (ImportError, OSError):  # installed but broken: the candidate onnxruntime will say so
        return False
    return "TensorrtExecutionProvider" in onnxruntime.get_available_providers()


def _fastest(files: NetworkFiles, request: Request) -> tuple[Backend, Candidate, list[str]]:
    """The fastest backend, which says why, what it is, and what failed of the others."""
    opened: dict[Candidate, Backend] = {}
    failures: list[str] = []
    for candidate in candidates(files, request):
        try:
            backend = open_backend(candidate.name, files, replace(request, precision=candidate.precision))
            opened[Candidate(candidate.name, backend.precision)] = backend
        except (BackendError, WeightsError) as error:
            failures.append(f"{candidate} failed: {error}")
    shape = (1, 3, *files.spec.input.size_for(*TYPICAL_IMAGE_PX))
    times = _times(opened, shape, failures) if len(opened) > 1 else dict.fromkeys(opened, float("nan"))
    if not opened:
        why = "; ".join(failures) or "none of onnxruntime, openvino and torch is installed: " + PIP["onnxruntime"]
        raise BackendError(f"no backend can run these weights: {why}")
    best, *others = sorted(opened, key=times.__getitem__)
    idle = _idle_gpu(request, [opened[candidate] for candidate in (best, *others)])
    for candidate in others:
        opened[candidate].close()
        if (lost := opened[candidate].choice_reason.lost_gpu) and has_nvidia_gpu():
            failures.append(f"{candidate} on a GPU failed: {lost}")
    ranking = "the only one that runs here" if find_spec("openvino") else f"the only one that runs here; {_FASTER}"
    if others:
        in_words = ", ".join(f"{candidate} {times[candidate] * 1e3:.1f} ms" for candidate in (best, *others))
        ranking = f"fastest of {in_words} at {shape[2]}x{shape[3]}, threads: {request.threads}"
    backend = opened[best]
    backend.choice_reason = replace(backend.choice_reason, ranking=ranking, idle_gpu=idle)
    return backend, best, failures


def _idle_gpu(request: Request, ranking: Sequence[Backend]) -> str:
    """Why the GPU that is there stays idle, where none of these runs on it."""
    if request.device == "cpu" or not has_nvidia_gpu():
        return ""
    if any(backend.device != "cpu" or backend.choice_reason.lost_gpu for backend in ranking):
        return ""  # what was lost is said as a failure
    for backend in ranking:
        if backend.choice_reason.cpu_only:
            return f"on the CPU, as {backend.choice_reason.cpu_only}"
    return f"nothing that is installed runs on it: {PIP_ONNXRUNTIME_GPU}"


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


def _remember(files: NetworkFiles, request: Request, chosen: _Remembered) -> str:
    """Keep the choice for the next start; returns what to say if that cannot be done."""
    try:
        with written_whole(_place(files, request)) as temporary:
            temporary.write_text(json.dumps(asdict(chosen), indent=1))
    except OSError as error:
        return f"could not be remembered: {error}"
    return ""


def _recall(files: NetworkFiles, request: Request) -> _Remembered | None:
    """What was remembered; None if there is nothing, or nothing readable."""
    try:
        data = json.loads(_place(files, request).read_text())
        found = _Remembered(data["name"], data["precision"], data["reason"])
        return found if found.name in PIP else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
