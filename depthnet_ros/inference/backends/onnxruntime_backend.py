"""ONNX Runtime: the light default on the CPU; CUDA through its provider."""

from __future__ import annotations

import sys
import threading
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.base import CAPABILITIES, ChoiceReason, Request
from depthnet_ros.inference.backends.faults import failed_run, first_line
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo, dtype_name
from depthnet_ros.inference.backends.hardware import PIP_ONNXRUNTIME_GPU, has_nvidia_gpu
from depthnet_ros.inference.parity import TOLERANCE
from depthnet_ros.models.spec import ModelSpec

Providers = list[tuple[str, dict[str, Any]]]

if hasattr(ort, "disable_telemetry_events"):  # a robot reports to nobody; at import, before there can be a session
    ort.disable_telemetry_events()

_LOADING = threading.Lock()
CPU_PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeBackend:
    """Runs the graph as it is. On the CPU in float32 or int8; on CUDA in float32.

    Raises:
        BackendError: the device is not there, or does not know the precision.
        WeightsError: the file is no graph, or one that does not fit the specification.
    """

    name = "onnxruntime"
    _may_run_on_cpu = True
    _pip = PIP_ONNXRUNTIME_GPU

    def __init__(self, path: Path, spec: ModelSpec, request: Request) -> None:
        self.choice_reason = ChoiceReason()
        self._path, self._spec, self._request = path, spec, request
        try:
            self._session = self._start(self._providers())
        except BackendError as error:
            if not self._may_run_on_cpu or request.device != "auto":
                raise
            self._session = self._start([(CPU_PROVIDER, {})])
            self.choice_reason = ChoiceReason(lost_gpu=str(error))
        on_cpu = self._session.get_providers()[0] == CPU_PROVIDER
        self.device = "cpu" if on_cpu else f"cuda:{request.cuda_index}"
        self.precision = self._choose_precision(request.precision, on_cpu)
        self._io = GraphIo(
            spec, tensor_infos(self._session.get_inputs()), tensor_infos(self._session.get_outputs()), path
        )
        if self._io.input.dtype == "float16" and not on_cpu:  # which computes such graphs in float32
            self.precision = "float16"

    def _start(self, providers: Providers) -> ort.InferenceSession:
        """A session on the first of the providers and no other: ONNX Runtime's own way is to go on with the next."""
        wanted = providers[0][0]
        if wanted != CPU_PROVIDER:
            load_gpu_libraries()
        options = _session_options(self._request.threads)
        try:
            session = ort.InferenceSession(str(self._path), options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime raises its own types, which share no base but this
            if wanted == CPU_PROVIDER:
                raise WeightsError(f"{self.name} cannot load {self._path}: {first_line(error)}") from error
            self._start([(CPU_PROVIDER, {})])  # raises where it is the file's fault
            what, device = f"{self.name} could not start {wanted}: it", f"cuda:{self._request.cuda_index}"
            raise failed_run(what, device, error, first_line(error)) from error
        active = session.get_providers()[0]
        if active != wanted:  # a library that the provider needs is missing: it is left out without an error
            raise BackendError(f"{self.name} could not start {wanted} and would run on {active}: {self._pip}")
        return session

    def _providers(self) -> Providers:
        request = self._request
        has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        if request.wants_cuda and not has_cuda:
            raise BackendError(f"this onnxruntime was built without CUDA: {PIP_ONNXRUNTIME_GPU}, or use device cpu")
        if request.device == "auto" and not has_cuda and has_nvidia_gpu():
            self.choice_reason = ChoiceReason(
                cpu_only=f"this onnxruntime was built without CUDA: {PIP_ONNXRUNTIME_GPU}"
            )
        if not has_cuda or request.device == "cpu" or (request.precision == "int8" and not request.wants_cuda):
            return [(CPU_PROVIDER, {})]
        # float32 is float32: TF32 keeps ten bits of it, as float16 does.
        cuda = {"device_id": request.cuda_index, "cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": 0}
        return [("CUDAExecutionProvider", cuda), (CPU_PROVIDER, {})]

    def _choose_precision(self, wanted: str, on_cpu: bool) -> str:
        able = CAPABILITIES[self.name].on_cpu if on_cpu else CAPABILITIES[self.name].on_gpu
        if wanted == "auto":
            return able[0]
        if wanted not in able:
            where = "the CPU" if on_cpu else "CUDA"
            raise BackendError(f"{self.name} on {where} runs {', '.join(able)}, not {wanted}: use another backend")
        return wanted

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) to (N, C, h, w); see :meth:`Backend.infer`."""
        output = self._io.run(batch, self._run, TOLERANCE[self.precision])
        if note := self._io.take_note():
            self.choice_reason = self.choice_reason.with_notes(note)
        return output

    def _run(self, feed: NDArray[np.floating]) -> NDArray[np.floating]:
        try:
            (output,) = self._session.run([self._io.output.name], {self._io.input.name: feed})
        except Exception as error:  # as above
            what = f"{self.name}, with input shape {feed.shape},"
            raise failed_run(what, self.device, error, first_line(error)) from error
        return np.asarray(output)

    def close(self) -> None:
        """Drop the session."""
        self.__dict__.pop("_session", None)


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Threads that spin while they wait win little when alone and lose much when others need the core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def load_gpu_libraries() -> None:
    """Load CUDA, cuDNN and TensorRT where pip has put them, which is not where the loader looks. Once in a process."""
    with _LOADING:
        _load_gpu_libraries()


@cache
def _load_gpu_libraries() -> None:
    with suppress(ImportError, OSError):
        import_module("tensorrt_libs")
    if hasattr(ort, "preload_dlls"):  # since 1.21
        # It prints what it does not find; stdout is for results. In two threads at once stdout would stay redirected.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()


def tensor_infos(arguments: list[Any]) -> list[TensorInfo]:
    """What a session's inputs or outputs are."""
    return [
        TensorInfo(
            argument.name,
            tuple(size if isinstance(size, int) else None for size in argument.shape) if argument.shape else None,
            dtype_name(argument.type),
        )
        for argument in arguments
    ]
