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
_MOST_SHAPES = 8  # compiled networks kept: image shapes times numbers of streams


class OpenVinoBackend:
    """Compiles the graph once for each shape of image (static shapes run fastest) and keeps what it compiled."""

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
        self._compiled: dict[tuple[tuple[int, ...], int], tuple[ov.CompiledModel, list[ov.InferRequest]]] = {}
        self._threads = request.threads
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
        """Images of a batch each in a stream of its own, as far as threads reach.

        Two threads on one image wait for each other at every layer; with an image each they do not, and two images
        take 1.5 times as long as one, where a batch of two takes 1.8 times (``python -m benchmarks cost``).
        """
        streams = min(len(feed), self._threads)
        images = [feed[i : i + 1] for i in range(len(feed))] if streams > 1 else [feed]
        requests = self._requests_for(images[0].shape, streams, len(images))
        try:
            if streams == 1:
                requests[0].infer({0: feed}, share_inputs=True)
            else:
                for request, image in zip(requests, images, strict=False):
                    request.start_async({0: image}, share_inputs=True)
                for request in requests[: len(images)]:
                    request.wait()
        except RuntimeError as error:
            raise BackendError(f"openvino failed: {str(error).splitlines()[-1]}") from error
        # Copies: the tensors are written again next time.
        outputs = [request.get_output_tensor(self._output).data for request in requests[: len(images)]]
        return np.array(outputs[0]) if streams == 1 else np.concatenate(outputs)

    def _requests_for(self, shape: tuple[int, ...], streams: int, count: int) -> list[ov.InferRequest]:
        compiled, requests = self._compiled.get((shape, streams)) or self._compile(shape, streams)
        while len(requests) < count:
            requests.append(compiled.create_infer_request())
        return requests

    def _compile(self, shape: tuple[int, ...], streams: int) -> tuple[ov.CompiledModel, list[ov.InferRequest]]:
        options = {**self._options, "NUM_STREAMS": streams}
        if streams > 1:
            options["PERFORMANCE_HINT"] = "THROUGHPUT"
        try:
            graph = self._graph.clone()
            graph.reshape(list(shape))
            compiled = self._core.compile_model(graph, "CPU", options)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1]
            raise BackendError(f"openvino cannot compile the network for input shape {shape}: {reason}") from error
        while len(self._compiled) >= _MOST_SHAPES:
            self._compiled.pop(next(iter(self._compiled)))
        self._compiled[shape, streams] = compiled, []
        return self._compiled[shape, streams]

    def close(self) -> None:
        """Drop the compiled networks."""
        self._compiled.clear()


def _infos(ports: list[ov.Output]) -> list[TensorInfo]:
    types = {"f32": "float32", "f16": "float16"}
    infos = []
    for port in ports:
        partial = port.get_partial_shape()
        shape = None if partial.rank.is_dynamic else tuple(None if d.is_dynamic else d.get_length() for d in partial)
        kind = port.get_element_type().get_type_name()
        infos.append(TensorInfo(port.get_any_name(), shape, types.get(kind, kind)))
    return infos
