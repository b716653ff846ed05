"""OpenVINO on the CPU: the fastest there, in float32, bfloat16 or int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo
from depthnet_ros.inference.cache import cache_folder, key_of
from depthnet_ros.models.spec import ModelSpec

_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
_MOST_SHAPES = 8  # compiled networks kept: cameras times batch sizes times degraded sizes


class OpenVinoBackend:
    """Compiles the graph once for each input shape (static shapes run fastest) and keeps what it compiled."""

    name = "openvino"

    def __init__(self, path: Path, spec: ModelSpec, request: Request) -> None:
        if request.wants_cuda:
            raise BackendError("openvino runs on the CPU here: use device cpu or auto, or backend onnxruntime or torch")
        self._core = ov.Core()
        self.precision = self._choose_precision(request.precision)
        self.device = "cpu"
        self.choice_reason = ""
        try:
            self._graph = self._core.read_model(str(path))
        except RuntimeError as error:
            raise WeightsError(f"{path} is no readable ONNX file: {str(error).splitlines()[0]}") from error
        self._io = GraphIo(spec, _infos(self._graph.inputs), _infos(self._graph.outputs), path)
        names = [output.get_any_name() for output in self._graph.outputs]
        self._output = names.index(self._io.output.name)
        self._requests: dict[tuple[int, ...], ov.InferRequest] = {}
        self._options = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": request.threads,
            # Pinned threads are faster alone, but every pinning process takes the same cores: bad company on a robot.
            "ENABLE_CPU_PINNING": False,
            "CPU_DENORMALS_OPTIMIZATION": True,
            "CACHE_DIR": str(cache_folder(f"openvino-{key_of(ov.__version__)}")),
        }

    def _choose_precision(self, wanted: str) -> str:
        has_bfloat16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if wanted == "auto":
            return "bfloat16" if has_bfloat16 else "float32"
        if wanted == "bfloat16" and not has_bfloat16:
            raise BackendError("this CPU has no bfloat16 arithmetic: use precision float32, int8 or auto")
        if wanted not in _HINTS:
            raise BackendError(f"openvino on the CPU runs {', '.join(_HINTS)}, not {wanted}")
        return wanted

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) to (N, C, h, w)."""
        return self._io.run(batch, self._run)

    def _run(self, feed: NDArray[np.floating]) -> NDArray[np.floating]:
        request = self._requests.get(feed.shape)
        if request is None:
            request = self._compile(feed.shape)
        try:
            request.infer({0: feed}, share_inputs=True)
        except RuntimeError as error:
            raise BackendError(f"openvino failed: {str(error).splitlines()[-1]}") from error
        return np.array(request.get_output_tensor(self._output).data)  # a copy: the tensor is written again next time

    def _compile(self, shape: tuple[int, ...]) -> ov.InferRequest:
        try:
            graph = self._graph.clone()
            graph.reshape(list(shape))
            compiled = self._core.compile_model(graph, "CPU", self._options)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1]
            raise BackendError(f"openvino cannot compile the network for input shape {shape}: {reason}") from error
        while len(self._requests) >= _MOST_SHAPES:
            self._requests.pop(next(iter(self._requests)))
        self._requests[shape] = compiled.create_infer_request()
        return self._requests[shape]

    def close(self) -> None:
        """Drop the compiled networks."""
        self._requests.clear()


def _infos(ports: list[ov.Output]) -> list[TensorInfo]:
    types = {"f32": "float32", "f16": "float16"}
    infos = []
    for port in ports:
        partial = port.get_partial_shape()
        shape = None if partial.rank.is_dynamic else tuple(None if d.is_dynamic else d.get_length() for d in partial)
        kind = port.get_element_type().get_type_name()
        infos.append(TensorInfo(port.get_any_name(), shape, types.get(kind, kind)))
    return infos
