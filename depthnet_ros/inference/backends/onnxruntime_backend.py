"""ONNX Runtime: the light default on the CPU; CUDA and TensorRT through its providers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.backends.faults import failed_run, first_line
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo
from depthnet_ros.inference.cache import cache_folder, key_of, network_digest, versions
from depthnet_ros.models.spec import ModelSpec

_PIP_GPU = "pip uninstall onnxruntime; pip install onnxruntime-gpu"
_CPU = "CPUExecutionProvider"
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRuntimeBackend:
    """Runs the graph as it is. On the CPU in float32 or int8; on CUDA in float32; TensorRT adds float16."""

    name = "onnxruntime"
    _may_run_on_cpu = True

    def __init__(self, path: Path, spec: ModelSpec, request: Request) -> None:
        self.choice_reason = ""
        try:
            self._session = self._start(path, request)
        except BackendError as error:
            if not self._may_run_on_cpu or request.device != "auto":
                raise
            self._session = self._start(path, replace(request, device="cpu"))
            self.choice_reason = f"on the CPU: {error}"
        on_cpu = self._session.get_providers()[0] == _CPU
        self.device = "cpu" if on_cpu else f"cuda:{request.cuda_index}"
        self.precision = self._choose_precision(request.precision, on_cpu)
        self._io = GraphIo(spec, _infos(self._session.get_inputs()), _infos(self._session.get_outputs()), path)

    def _start(self, path: Path, request: Request) -> ort.InferenceSession:
        providers = self._providers(path, request)
        wanted = providers[0][0]
        try:
            session = ort.InferenceSession(str(path), _session_options(request.threads), providers=providers)
        except Exception as error:  # onnxruntime raises its own types, which share no base but this
            if wanted != _CPU and request.device == "auto":  # the CPU will tell whether it is the file's fault
                raise BackendError(f"{self.name} could not start {wanted}: {first_line(error)}") from error
            raise WeightsError(f"{self.name} cannot load {path}: {first_line(error)}") from error
        active = session.get_providers()[0]
        if active != wanted:  # it falls back to the CPU without an error
            raise BackendError(f"{self.name} could not start {wanted} and would run on {active}: {_PIP_GPU}")
        return session

    def _providers(self, path: Path, request: Request) -> list[tuple[str, dict[str, Any]]]:
        cpu: list[tuple[str, dict[str, Any]]] = [(_CPU, {})]
        has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        if request.wants_cuda and not has_cuda:
            raise BackendError(f"this onnxruntime was built without CUDA: {_PIP_GPU}, or use device cpu")
        if not has_cuda or request.device == "cpu":
            return cpu
        cuda = {"device_id": request.cuda_index, "cudnn_conv_algo_search": "EXHAUSTIVE"}
        return [("CUDAExecutionProvider", cuda), *cpu]

    def _choose_precision(self, wanted: str, on_cpu: bool) -> str:
        allowed = ("float32", "int8") if on_cpu else ("float32",)
        if wanted == "auto":
            return "float32"
        if wanted not in allowed:
            where = "the CPU" if on_cpu else "CUDA"
            raise BackendError(f"onnxruntime on {where} runs {', '.join(allowed)}, not {wanted}: use another backend")
        return wanted

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) to (N, C, h, w)."""
        return self._io.run(batch, self._run)

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


class TensorRtBackend(OnnxRuntimeBackend):
    """TensorRT through ONNX Runtime's provider; engines are cached by weights, precision, shape, device and version."""

    name = "tensorrt"
    _may_run_on_cpu = False

    def _providers(self, path: Path, request: Request) -> list[tuple[str, dict[str, Any]]]:
        if "TensorrtExecutionProvider" not in ort.get_available_providers():
            raise BackendError(
                f"tensorrt needs an onnxruntime with its provider and the TensorRT libraries: {_PIP_GPU} tensorrt"
            )
        if request.device == "cpu":
            raise BackendError("tensorrt runs on NVIDIA GPUs only: use device cuda, or another backend")
        tensorrt = {
            "device_id": request.cuda_index,
            "trt_fp16_enable": request.precision in ("auto", "float16"),
            **_engine_cache(path, request.precision),
        }
        cuda = {"device_id": request.cuda_index}
        return [("TensorrtExecutionProvider", tensorrt), ("CUDAExecutionProvider", cuda), ("CPUExecutionProvider", {})]

    def _choose_precision(self, wanted: str, on_cpu: bool) -> str:
        if wanted in ("auto", "float16"):
            return "float16"
        if wanted == "float32":
            return wanted
        raise BackendError(f"tensorrt runs float32 and float16 here, not {wanted}")


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Threads that spin while they wait win little when alone and lose much when others need the core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _engine_cache(path: Path, precision: str) -> dict[str, Any]:
    """Options for a folder of engines of these very weights.

    The provider names an engine by the file's name, the graph's inputs and nodes, shape and device, but not by what is
    in the weights: in a common folder a network trained further would run as it was before.
    """
    key = key_of(network_digest(path), precision, ort.__version__, versions("onnxruntime-gpu", "tensorrt"))
    try:
        folder = cache_folder(f"tensorrt-{key}")
    except OSError:  # engines are built anew at each start
        return {}
    return {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder), "trt_timing_cache_enable": True}


def _infos(arguments: list[Any]) -> list[TensorInfo]:
    return [
        TensorInfo(
            argument.name,
            tuple(size if isinstance(size, int) else None for size in argument.shape) if argument.shape else None,
            _TYPES.get(argument.type, argument.type),
        )
        for argument in arguments
    ]
