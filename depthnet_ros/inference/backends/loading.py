"""From a name to a backend that has proven its parity, with errors that say how to install what is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.base import Backend, Request
from depthnet_ros.inference.backends.faults import last_line
from depthnet_ros.inference.backends.hardware import PIP_TENSORRT
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
from depthnet_ros.models.spec import ModelSpec

PIP = {
    "torch": "pip install torch",
    "openvino": "pip install openvino",
    "onnxruntime": "pip install onnxruntime",
    "tensorrt": PIP_TENSORRT,
}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParityReference:
    """What a network computes for the parity image.

    Attributes:
        output: (C, h, w) float32; None where nothing could compute it.
        judge: the backend that computed it here, in float32 on the CPU; empty if it was stored beside the weights.
        note: what people should know of it.
    """

    output: NDArray[np.float32] | None
    judge: str = ""
    note: str = ""


def open_backend(name: str, files: NetworkFiles, request: Request) -> Backend:
    """Load ``files`` into the backend ``name`` and prove parity. With precision ``auto``, float32 where half fails;
    with device ``auto``, the CPU where a GPU does, for want of memory say.

    Raises:
        WeightsError: the files cannot be used by it.
        BackendError: not installed, no such device, or the parity check failed.
    """
    backend = _load(name, files, request)
    try:
        reference = reference_of(files, request.threads)
        found = prove_parity(backend, files.spec.input, reference.output)
    except WeightsError:
        backend.close()
        raise
    except BackendError as error:
        backend.close()
        return _second_try(name, files, request, backend, error)
    parity = _in_words(backend, found, reference)
    backend.choice_reason = replace(backend.choice_reason, parity=parity, reference=reference.note)
    return backend


def _second_try(name: str, files: NetworkFiles, request: Request, failed: Backend, error: BackendError) -> Backend:
    """In float32, then on the CPU, as far as the request leaves that open."""
    if request.precision == "auto" and failed.precision != "float32":
        fallback = open_backend(name, files, replace(request, precision="float32"))
        fallback.choice_reason = replace(
            fallback.choice_reason, fell_back_from=failed.precision, fell_back_why=str(error)
        )
        return fallback
    if request.device == "auto" and failed.device != "cpu" and name != "tensorrt":
        try:
            fallback = open_backend(name, files, replace(request, device="cpu"))
        except BackendError:  # the precision is not the CPU's, say: the first reason is what there is to know
            raise error from None
        fallback.choice_reason = replace(fallback.choice_reason, lost_gpu=str(error))
        return fallback
    raise error


def _in_words(backend: Backend, found: float | None, reference: ParityReference) -> str:
    if found is None:
        return "parity not proven"
    if (backend.name, backend.precision, backend.device) == (reference.judge, "float32", "cpu"):
        return "parity not proven: its own output is the reference"
    return f"parity {found:.2g}"


def reference_of(files: NetworkFiles, threads: int = 1) -> ParityReference:
    """Output for the parity image: stored beside the weights, or computed once in float32 and kept in the cache.

    For a checkpoint torch computes it, for an ONNX file of others ONNX Runtime, or OpenVINO where that cannot.
    """
    if files.reference is not None:
        return ParityReference(load_reference(files.reference, files.digest))
    judges = ("torch",) if files.onnx is None else ("onnxruntime", "openvino")
    for judge in judges:
        if (output := _remembered(judge, files)) is not None:
            return ParityReference(output, judge)
    failures = []
    for judge in judges:
        try:
            return _judged(judge, files, threads)
        except (BackendError, WeightsError) as error:
            failures.append(f"{judge}: {error}")
    return ParityReference(None, note=f"no reference ({'; '.join(failures)})")


def _remembered(judge: str, files: NetworkFiles) -> NDArray[np.float32] | None:
    try:
        path = _reference_path(judge, files)
        return load_reference(path, files.digest) if path.is_file() else None
    except OSError:  # there is no cache; said when the reference is to be kept
        return None
    except WeightsError:
        _LOG.warning("the parity reference %s in the cache was damaged and is made again", path)
        return None


def _judged(judge: str, files: NetworkFiles, threads: int) -> ParityReference:
    backend = _load(judge, files, Request("cpu", "float32", threads))
    try:
        output = backend.infer(parity_batch(files.spec.input))[0]
    finally:
        backend.close()
    if not np.isfinite(output).all():
        raise BackendError("NaN or infinity for the parity image")
    try:
        save_reference(_reference_path(judge, files), output, files.digest)
    except OSError as error:
        return ParityReference(output, judge, f"the parity reference could not be remembered: {error}")
    return ParityReference(output, judge)


def _reference_path(judge: str, files: NetworkFiles) -> Path:
    return cache_folder("parity") / f"{reference_key(files.digest, files.spec)}.{judge}{SUFFIX}"


def _load(name: str, files: NetworkFiles, request: Request) -> Backend:
    try:
        return OPENERS[name](files, request)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("depthnet_ros"):
            raise
        raise BackendError(f"backend {name} needs {error.name}, which is not installed: {PIP[name]}") from error
    except (ImportError, OSError) as error:  # a library that it needs is missing, or is of another version
        raise BackendError(
            f"backend {name} is installed but cannot start ({type(error).__name__}: {last_line(error)}): install it "
            f"again, or what it misses: {PIP[name]}"
        ) from error


def _torch(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.torch_backend import TorchBackend
    from depthnet_ros.models.checkpoint import load_checkpoint

    if files.checkpoint is None:
        raise BackendError(f"torch runs checkpoints, {files.onnx} is an ONNX file: use onnxruntime or openvino")
    network, _ = load_checkpoint(files.checkpoint)
    return TorchBackend(network, request)


def _openvino(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(_graph(files, request), _spec_of_graph(files), request)


def _onnxruntime(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.onnxruntime_backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend(_graph(files, request), _spec_of_graph(files), request)


def _tensorrt(files: NetworkFiles, request: Request) -> Backend:
    from depthnet_ros.inference.backends.tensorrt_backend import TensorRtBackend

    return TensorRtBackend(_graph(files, request), _spec_of_graph(files), request)


def _graph(files: NetworkFiles, request: Request) -> Path:
    if request.precision == "int8":
        if files.int8_onnx is None:
            raise BackendError(
                f"there is no int8 export beside {files.checkpoint or files.onnx}: run `depthnet export WEIGHTS --int8 "
                "FOLDER_OF_IMAGES` on the checkpoint"
            )
        return files.int8_onnx
    onnx = with_onnx(files).onnx
    assert onnx is not None
    return onnx


def _spec_of_graph(files: NetworkFiles) -> ModelSpec:
    """Says whose the graph is, which a checkpoint's own specification does not."""
    if files.checkpoint is None:
        return files.spec
    export = {"checkpoint_sha256": files.digest}
    return replace(files.spec, provenance={**files.spec.provenance, "export": export})


OPENERS: dict[str, Callable[[NetworkFiles, Request], Backend]] = {
    "torch": _torch,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "tensorrt": _tensorrt,
}
