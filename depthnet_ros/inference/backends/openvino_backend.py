"""OpenVINO on the CPU: the fastest there, in float32, bfloat16 or int8."""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as opset

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.base import CAPABILITIES, ChoiceReason, Request
from depthnet_ros.inference.backends.faults import failed_run, last_line
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo, dtype_name
from depthnet_ros.inference.backends.hardware import cpu_has_int8_tiles
from depthnet_ros.inference.cache import cache_folder, is_sealed, key_of, network_digest, seal
from depthnet_ros.inference.parity import TOLERANCE
from depthnet_ros.models.spec import ModelSpec

_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
_ISA, _NO_TILES = "ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI"
_loaded_with: dict[str, bool] = {}
"""``tiles``: whether the CPU plugin was loaded with AMX's tiles. A process has one plugin, which looks at the
environment once, so this is kept for the process and not for one backend.
"""
_MOST_SHAPES = 24  # compiled networks kept: image shapes times numbers of streams. Folders of photographs have a dozen
_MOST_CACHED_BYTES = 1 << 30  # two shapes of the largest networks, hundreds of the shipped one's
_SEAL = "sha256"
_LOG = logging.getLogger(__name__)


@dataclass
class _Compiled:
    """A network for one shape of image; ``factors`` (down, across) are left to enlarge its output by."""

    network: ov.CompiledModel
    factors: tuple[int, int]
    requests: list[ov.InferRequest] = field(default_factory=list)

    def requests_for(self, count: int) -> list[ov.InferRequest]:
        """At least ``count`` requests, made when they are first needed."""
        while len(self.requests) < count:
            self.requests.append(self.network.create_infer_request())
        return self.requests


class OpenVinoBackend:
    """Compiles the graph once for each shape of image (static shapes run fastest) and keeps what it compiled.

    Raises:
        BackendError: a CUDA device was asked for, or a precision that it does not run.
        WeightsError: the file is no graph, or one that does not fit the specification.
    """

    name = "openvino"

    def __init__(self, path: Path, spec: ModelSpec, request: Request) -> None:
        if request.wants_cuda:
            raise BackendError("openvino runs on the CPU here: use device cpu or auto, or backend onnxruntime or torch")
        with _without_int8_tiles(request.precision):
            self._core = _core()
            self.precision = self._choose_precision(request.precision)
        self.device = "cpu"
        self.choice_reason = ChoiceReason(setup=_about_tiles() if self.precision == "int8" else "")
        try:
            self._graph = self._core.read_model(str(path))
        except RuntimeError as error:
            raise WeightsError(f"{path} is no readable ONNX file: {last_line(error)}") from error
        infos = _infos(self._graph.inputs), _infos(self._graph.outputs)
        self._io = GraphIo(spec, *infos, path, splits_batches=request.threads > 1)
        names = [output.get_any_name() for output in self._graph.outputs]
        self._output = names.index(self._io.output.name)
        self._compiled: dict[tuple[tuple[int, ...], int], _Compiled] = {}
        self._threads = request.threads
        self._path = path
        self._options = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": request.threads,
            # Pinned threads are faster alone, but every pinning process takes the same cores: bad company on a robot.
            "ENABLE_CPU_PINNING": False,
            "CPU_DENORMALS_OPTIMIZATION": True,
        }

    def _choose_precision(self, wanted: str) -> str:
        has_bfloat16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if wanted == "auto":
            return "bfloat16" if has_bfloat16 else "float32"
        if wanted == "bfloat16" and not has_bfloat16:
            raise BackendError("this CPU has no bfloat16 arithmetic: use precision float32, int8 or auto")
        if wanted not in (able := CAPABILITIES[self.name].on_cpu):
            raise BackendError(f"openvino on the CPU runs {', '.join(able)}, not {wanted}")
        return wanted

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) to (N, C, h, w); see :meth:`Backend.infer`."""
        try:
            output = self._io.run(batch, self._run, TOLERANCE[self.precision])
        except (RuntimeError, MemoryError) as error:
            what = f"{self.name}, with a batch of shape {batch.shape},"
            raise failed_run(what, self.device, error, last_line(error)) from error
        if note := self._io.take_note():
            self.choice_reason = self.choice_reason.with_notes(note)
        return output

    def _run(self, feed: NDArray[np.floating]) -> NDArray[np.floating]:
        """Images of a batch each in a stream of its own, as far as threads reach.

        Two threads on one image wait for each other at every layer; with an image each they do not, and two images
        take 1.5 times as long as one, where a batch of two takes 1.8 times (``python -m benchmarks cost``).
        """
        streams = min(len(feed), self._threads)
        images = [feed[i : i + 1] for i in range(len(feed))] if streams > 1 else [feed]
        compiled = self._compiled_for(images[0].shape, streams)
        requests = compiled.requests_for(len(images))
        if streams == 1:
            requests[0].infer({0: feed}, share_inputs=True)
        else:
            with ExitStack() as waiting:  # for all, even where one fails: the others read images that are freed then
                for request, image in zip(requests, images, strict=False):
                    request.start_async({0: image}, share_inputs=True)
                    waiting.callback(request.wait)
        outputs = [request.get_output_tensor(0).data for request in requests[: len(images)]]
        return _enlarged(outputs, compiled.factors)

    def _compiled_for(self, shape: tuple[int, ...], streams: int) -> _Compiled:
        compiled = self._compiled.pop((shape, streams), None) or self._compile(shape, streams)
        while len(self._compiled) >= _MOST_SHAPES:
            self._compiled.pop(next(iter(self._compiled)))  # the one that was not used for longest
        self._compiled[shape, streams] = compiled
        return compiled

    def _compile(self, shape: tuple[int, ...], streams: int) -> _Compiled:
        options = {**self._options, "NUM_STREAMS": streams}
        if streams > 1:
            options["PERFORMANCE_HINT"] = "THROUGHPUT"
        try:
            graph = self._graph.clone()
            graph.reshape(list(shape))
            graph, factors = _without_last_upsampling(graph, self._output)
            return _Compiled(self._compile_cached(graph, options, shape), factors)
        except (RuntimeError, MemoryError) as error:
            what = f"{self.name}, compiling the network for input shape {shape},"
            raise failed_run(what, self.device, error, last_line(error)) from error

    def _compile_cached(self, graph: ov.Model, options: Mapping[str, Any], shape: tuple[int, ...]) -> ov.CompiledModel:
        """What was compiled before, if that lies in the cache as it was written: OpenVINO takes a damaged one."""
        cache = _cache_of(self._path, sorted(options.items()), shape, os.environ.get(_ISA), _loaded_with.get("tiles"))
        if cache is None:
            return self._core.compile_model(graph, "CPU", options)
        try:
            compiled = self._core.compile_model(graph, "CPU", {**options, "CACHE_DIR": str(cache)})
        except RuntimeError as error:  # what another user has put there, say
            _LOG.warning("compiled without the cache %s: %s", cache, last_line(error))
            return self._core.compile_model(graph, "CPU", options)
        _seal_cache(cache)
        return compiled

    def close(self) -> None:
        """Drop the compiled networks."""
        self._compiled.clear()


@functools.cache
def _core() -> ov.Core:
    """One for the process, never freed. For AMX its CPU plugin gives the thread that loads it a separate signal stack,
    and takes that back only in the thread that frees it. Freed in another one, as by a lifecycle manager's cleanup in
    the executor's thread, it would leave the main thread a stack that is unmapped: the next signal kills the process.
    """
    return ov.Core()


@contextmanager
def _without_int8_tiles(precision: str) -> Iterator[None]:
    """While OpenVINO's CPU plugin is loaded for 8 bits: keep it from AMX, unless the environment says what to use.

    OpenVINO 2026.4 takes 1.5 times as long for an 8-bit depthnet with AMX as with AVX-512's 8-bit instructions, and
    gets some networks wrong by their whole spread. The plugin looks once: a process that has loaded it keeps what it
    has.
    """
    if precision != "int8" or _ISA in os.environ or not cpu_has_int8_tiles():
        _loaded_with.setdefault("tiles", cpu_has_int8_tiles())
        yield
        return
    _loaded_with.setdefault("tiles", False)
    os.environ[_ISA] = _NO_TILES
    try:
        yield
    finally:
        os.environ.pop(_ISA, None)


def _about_tiles() -> str:
    if not cpu_has_int8_tiles() or _ISA in os.environ:
        return ""
    if _loaded_with["tiles"]:
        return "8 bits with AMX, since this process loaded OpenVINO for something else before: slower than without"
    return "without AMX, which 8 bits are slower with"


def _cache_of(path: Path, *how: object) -> Path | None:
    """The folder for what one network compiled so becomes; None where nothing can be kept, and it is compiled anew at
    each start. What lies there and is not as it was written, after a loss of power say, is removed.
    """
    try:
        cache = cache_folder(f"openvino-{key_of(ov.__version__)}/{key_of(network_digest(path), *how)}")
        if (kept := _kept(cache)) and not is_sealed(cache / _SEAL, *kept):
            shutil.rmtree(cache)
            cache.mkdir()
        os.utime(cache)  # used now: what was not for longest goes first
    except OSError:
        return None
    return cache


def _seal_cache(cache: Path) -> None:
    try:
        if (kept := _kept(cache)) and not is_sealed(cache / _SEAL, *kept):
            seal(cache / _SEAL, *kept)
            with suppress(FileNotFoundError):  # another process does the same
                _prune(cache.parent.parent)
    except OSError as error:  # it is compiled anew the next time
        _LOG.warning("nothing is kept in %s: %s", cache, error)


def _prune(root: Path) -> None:
    """Remove what was not used for longest, of other versions too, beyond :data:`_MOST_CACHED_BYTES`; never the last.

    A folder of photographs of many shapes leaves some megabytes for each.
    """
    folders = sorted(root.glob("openvino-*/*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    total = 0
    for index, folder in enumerate(folders):
        total += sum(path.stat().st_size for path in folder.iterdir())
        if index and total > _MOST_CACHED_BYTES:
            shutil.rmtree(folder, ignore_errors=True)


def _kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.suffix == ".blob")


def _without_last_upsampling(graph: ov.Model, output: int) -> tuple[ov.Model, tuple[int, int]]:
    """The graph, of static shape, up to the last bilinear upsampling of one output, and its factors (down, across).

    OpenVINO takes a twelfth of the shipped network's time to double the size of its one channel, since it computes
    many channels at once, and rounds to bfloat16 where it computes in that. OpenCV does the same in 0.02 ms. Factors
    are (1, 1) where the output comes of anything else. The graph's other outputs are left out.
    """
    end, factors = graph.outputs[output].get_node().input_value(0), (1, 1)
    node = end.get_node()
    if node.get_type_name() == "Interpolate" and end.get_element_type() == ov.Type.f32:
        small, large = node.input(0).get_partial_shape(), end.get_partial_shape()
        if small.is_static and len(small) == 4 and _is_plain_bilinear(node.get_attributes()):
            (*kept, height, width), (*wanted, to_height, to_width) = small.to_shape(), large.to_shape()
            if kept == wanted and to_height % height == 0 and to_width % width == 0:
                end, factors = node.input_value(0), (to_height // height, to_width // width)
    return ov.Model([opset.result(end)], graph.get_parameters(), graph.get_friendly_name()), factors


def _is_plain_bilinear(attributes: Mapping[str, Any]) -> bool:
    """What ``cv2.INTER_LINEAR`` computes when it enlarges by whole factors."""
    return (
        attributes["mode"] in ("linear", "linear_onnx")
        and attributes["coordinate_transformation_mode"] == "half_pixel"
        and not any((*attributes["pads_begin"], *attributes["pads_end"]))
    )


def _enlarged(tensors: list[NDArray[np.floating]], factors: tuple[int, int]) -> NDArray[np.floating]:
    """One output tensor per request to one array in memory of its own: the tensors are written again next time."""
    if factors == (1, 1):
        return np.array(tensors[0]) if len(tensors) == 1 else np.concatenate(tensors)
    planes = [plane for tensor in tensors for image in tensor for plane in image]
    height, width = planes[0].shape[0] * factors[0], planes[0].shape[1] * factors[1]
    enlarged = np.empty((len(planes), height, width), dtype=np.float32)
    for plane, target in zip(planes, enlarged, strict=True):
        cv2.resize(plane, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    return enlarged.reshape(-1, tensors[0].shape[1], height, width)


def _infos(ports: list[ov.Output]) -> list[TensorInfo]:
    infos = []
    for port in ports:
        partial = port.get_partial_shape()
        shape = None if partial.rank.is_dynamic else tuple(None if d.is_dynamic else d.get_length() for d in partial)
        infos.append(TensorInfo(port.get_any_name(), shape, dtype_name(port.get_element_type().get_type_name())))
    return infos
