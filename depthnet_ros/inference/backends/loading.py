"""From a name to a backend that has proven its parity, with errors that say how to install what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends.base import Backend, Request
from depthnet_ros.inference.cache import cache_folder
from depthnet_ros.inference.network_files import NetworkFiles, with_onnx
from depthnet_ros.inference.parity import (
    SUFFIX,
    load_reference,
    parity_batch,
    prove_parity,
    reference_key,
    save_reference,
)

PIP = {
    "torch": "pip install torch",
    "openvino": "pip install openvino",
    "onnxruntime": "pip install onnxruntime",
    "tensorrt": "pip uninstall onnxruntime; pip install onnxruntime-gpu tensorrt",
}


def open_backend(name: str, files: NetworkFiles, request: Request) -> Backend:
    """Load ``files`` into the backend ``name`` and prove parity. With precision ``auto``, float32 where half fails.

    Raises:
        WeightsError: the files cannot be used by it.
        BackendError: not installed, no such device, or the parity check failed.
    """
    backend = _load(name, files, request)
    try:
        found = prove_parity(backend, files.spec.input, reference_of(files))
    except BackendError as error:
        backend.close()
        if request.precision != "auto" or backend.precision == "float32":
            raise
        fallback = open_backend(name, files, replace(request, precision="float32"))
        fallback.choice_reason += f"; fell back from {backend.precision}: {error}"
        return fallback
    backend.choice_reason = f"{name} {backend.precision}, parity {found:.2g}"
    return backend


def reference_of(files: NetworkFiles) -> NDArray[np.float32] | None:
    """Output for the parity image: stored beside the weights, or computed once in float32 and kept in the cache.

    For a checkpoint torch computes it, for an ONNX file of others ONNX Runtime. None where neither is installed.
    """
    if files.reference is not None:
        return load_reference(files.reference, files.digest)
    kept = cache_folder("parity") / (reference_key(files.digest, files.spec) + SUFFIX)
    if kept.is_file():
        return load_reference(kept, files.digest)
    request = Request("cpu", "float32", 1)
    try:
        judge = _load("torch" if files.onnx is None else "onnxruntime", files, request)
    except BackendError:
        return None
    output = judge.infer(parity_batch(files.spec.input))[0]
    judge.close()
    save_reference(kept, output, files.digest)
    return output


def _load(name: str, files: NetworkFiles, request: Request) -> Backend:
    try:
        return OPENERS[name](files, request)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("depthnet_ros"):
            raise
        raise BackendError(f"backend {name} needs {error.name}, which is not installed: {PIP[name]}") from error


def _torch(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.torch_backend import TorchBackend
    from depthnet_ros.models.checkpoint import load_checkpoint

    if files.checkpoint is None:
        raise BackendError(f"torch runs checkpoints, {files.onnx} is an ONNX file: use onnxruntime or openvino")
    network, _ = load_checkpoint(files.checkpoint)
    return TorchBackend(network, request.device, request.precision, request.threads)


def _openvino(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(_graph(files, request), files.spec, request)


def _onnxruntime(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.onnxruntime_backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend(_graph(files, request), files.spec, request)


def _tensorrt(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.onnxruntime_backend import TensorRtBackend

    return TensorRtBackend(_graph(files, request), files.spec, request)


def _graph(files: NetworkFiles, request: Request) -> Path:
    if request.precision == "int8":
        if files.int8_onnx is None:
            raise BackendError(
                "there is no int8 export beside the weights: run `depthnet export WEIGHTS --int8 FOLDER_OF_IMAGES`"
            )
        return files.int8_onnx
    onnx = with_onnx(files).onnx
    assert onnx is not None
    return onnx


OPENERS: dict[str, Callable[[NetworkFiles, Request], Backend]] = {
    "torch": _torch,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "tensorrt": _tensorrt,
}
