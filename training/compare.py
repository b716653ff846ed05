"""TFLite networks to compare with: of their own specification, or of none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo
from depthnet_ros.inference.network_files import read_sidecar
from depthnet_ros.inference.postprocess import decode
from depthnet_ros.inference.preprocess import preprocess
from depthnet_ros.models.spec import ModelSpec
from training.validation import Predictor

_LOG = logging.getLogger(__name__)
_SMALL = 1e-6
_THREADS = 2


def tflite_predictor(path: Path, notes: list[str] | None = None) -> Predictor:
    """A TFLite network as the specification beside it (``<name>.yaml``, as an ONNX file's: docs/networks.md) says.

    One without is taken as mobilePydnet is, with a warning, which ``notes`` gets, too: a 1 x H x W x 3 input of RGB in
    0..1, and depth up to scale as its first output.

    Raises:
        BackendError: ai-edge-litert is not installed.
        WeightsError: no such file, a damaged one, or one that does not fit its specification.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise BackendError("a .tflite network needs: pip install ai-edge-litert") from error
    if not path.is_file():
        raise WeightsError(f"no network at {path}")
    try:
        interpreter: Any = Interpreter(str(path), num_threads=_THREADS)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:  # of the interpreter's two steps
        raise WeightsError(f"{path} is no TFLite network that can be read: {error}") from error
    sidecar = path.with_suffix(".yaml")
    if sidecar.is_file():
        return _specified(interpreter, read_sidecar(sidecar), path)
    taken_for = "it is taken for one that makes depth of RGB in 0..1"
    assumed = f"{path}: no {sidecar.name} beside it (docs/networks.md), so {taken_for}"
    _LOG.warning("%s", assumed)
    if notes is not None:
        notes.append(assumed)
    return _as_pydnet(interpreter, path)


def _specified(interpreter: Any, spec: ModelSpec, path: Path) -> Predictor:
    graph = GraphIo(spec, _tensors(interpreter.get_input_details()), _tensors(interpreter.get_output_details()), path)
    run = _runner(interpreter, graph.output.name)

    def predict(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        raw = graph.run(preprocess(image, spec.input)[None], run)
        return decode(raw[0], spec, (image.shape[0], image.shape[1])).at_source()

    return predict


def _as_pydnet(interpreter: Any, path: Path) -> Predictor:
    entry, *others = _tensors(interpreter.get_input_details())
    if others or entry.shape is None or len(entry.shape) != 4 or entry.shape[3] != 3 or entry.dtype != "float32":
        raise WeightsError(f"{path}: without a specification one input of 1 x H x W x 3 float32 is taken, got {entry}")
    _, height, width, _ = entry.shape
    run = _runner(interpreter, interpreter.get_output_details()[0]["name"])

    def predict(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = cv2.resize(image, (int(width or 0), int(height or 0)), interpolation=cv2.INTER_AREA)
        raw = np.squeeze(run((resized.astype(np.float32) / 255.0)[None])).astype(np.float32)
        inverse = 1.0 / np.maximum(raw, _SMALL)
        return np.asarray(cv2.resize(inverse, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)

    return predict


def _tensors(details: Sequence[dict[str, Any]]) -> list[TensorInfo]:
    return [
        TensorInfo(str(one["name"]), tuple(int(side) for side in one["shape"]), np.dtype(one["dtype"]).name)
        for one in details
    ]


def _runner(interpreter: Any, output: str) -> Callable[[NDArray[np.floating]], NDArray[np.floating]]:
    entry = interpreter.get_input_details()[0]["index"]
    result = next(one["index"] for one in interpreter.get_output_details() if one["name"] == output)

    def run(feed: NDArray[np.floating]) -> NDArray[np.floating]:
        interpreter.set_tensor(entry, feed)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(result))

    return run
