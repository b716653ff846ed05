"""ONNX Runtime: the light default on the CPU; CUDA and TensorRT through its providers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo
from depthnet_ros.inference.cache import cache_folder, key_of
from depthnet_ros.models.spec import ModelSpec

_PIP_GPU = "pip uninstall onnxruntime; pip install onnxruntime-gpu"
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRuntimeBackend:
    """Runs the graph as it is. On the CPU in float32 or int8; on CUDA in float32; TensorRT adds float16."""

    name = "onnxruntime"

    def __init__(self, path: Path, spec: ModelSpec, request: Request) -> None:
        self.choice_reason = ""
        providers = self._providers(request)
        on_cpu = providers[0][0] == "CPUExecutionProvider"
        self.device = "cpu" if on_cpu else f"cuda:{request.cuda_index}"
        self.precision = self._choose_precision(request.precision, on_cpu)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = request.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        # Threads that spin while they wait win little when alone and lose much when others need the core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime raises its own types, which share no base but this
            raise WeightsError(f"{self.name} cannot load {path}: {_first_line(error)}") from error
        active = self._session.get_providers()[0]
        if active != providers[0][0]:  # it falls back to the CPU without an error
            raise BackendError(f"{self.name} could not start {providers[0][0]} and would run on {active}: {_PIP_GPU}")
        self._io = GraphIo(spec, _infos(self._session.get_inputs()), _infos(self._session.get_outputs()), path)

    def _providers(self, request: Request) -> list[tuple[str, dict[str, Any]]]:
        cpu: list[tuple[str, dict[str, Any]]] = [("CPUExecutionProvider", {})]
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
            if re.search("allocat|out of memory", str(error), re.IGNORECASE):
                raise BackendError(
                    f"{self.device} ran out of memory for input shape {feed.shape}: use fewer cameras in a batch, "
                    f"a smaller network or device cpu ({_first_line(error)})"
                ) from error
            raise BackendError(f"{self.name} failed on input shape {feed.shape}: {_first_line(error)}") from error
        return np.asarray(output)

    def close(self) -> None:
        """Drop the session."""
        self.__dict__.pop("_session", None)


class TensorRtBackend(OnnxRuntimeBackend):
    """TensorRT through ONNX Runtime's provider; engines are cached by weights, shape, device and version."""

    name = "tensorrt"

    def _providers(self, request: Request) -> list[tuple[str, dict[str, Any]]]:
        if "TensorrtExecutionProvider" not in ort.get_available_providers():
            raise BackendError(
                f"tensorrt needs an onnxruntime with its provider and the TensorRT libraries: {_PIP_GPU} tensorrt"
            )
        if request.device == "cpu":
            raise BackendError("tensorrt runs on NVIDIA GPUs only: use device cuda, or another backend")
        tensorrt = {
            "device_id": request.cuda_index,
            "trt_fp16_enable": request.precision in ("auto", "float16"),
            "trt_engine_cache_enable": True,  # the provider names engines by graph, shape, device and TensorRT version
            "trt_engine_cache_path": str(cache_folder(f"tensorrt-{key_of(ort.__version__)}")),
            "trt_timing_cache_enable": True,
        }
        cuda = {"device_id": request.cuda_index}
        return [("TensorrtExecutionProvider", tensorrt), ("CUDAExecutionProvider", cuda), ("CPUExecutionProvider", {})]

    def _choose_precision(self, wanted: str, on_cpu: bool) -> str:
        if wanted in ("auto", "float16"):
            return "float16"
        if wanted == "float32":
            return wanted
        raise BackendError(f"tensorrt runs float32 and float16 here, not {wanted}")


def _infos(arguments: list[Any]) -> list[TensorInfo]:
    return [
        TensorInfo(
            argument.name,
            tuple(size if isinstance(size, int) else None for size in argument.shape) if argument.shape else None,
            _TYPES.get(argument.type, argument.type),
        )
        for argument in arguments
    ]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
