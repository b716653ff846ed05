"""From a checkpoint to an ONNX file that runs without torch, with its specification and its parity reference."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from depthnet_ros.errors import WeightsError
from depthnet_ros.files import written_whole
from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.backends.loading import open_backend
from depthnet_ros.inference.cache import file_digest, versions
from depthnet_ros.inference.network_files import METADATA_KEY, find_network
from depthnet_ros.inference.parity import SUFFIX, parity_batch, save_reference
from depthnet_ros.models.checkpoint import load_checkpoint, output_of
from depthnet_ros.models.spec import InputSpec, ModelSpec

OPSET = 17
INPUT, OUTPUT = "image", "output"
_FIRST_LINE = "# Written by `depthnet export`.\n"
_LARGEST_HALF = 65504.0
_SMALL = 4000
"""Weights of fewer values stay in float32. They are a fiftieth of the file and nine tenths of what rounding costs:
the first convolutions, depthwise kernels and biases, which everything goes through."""


def export_checkpoint(checkpoint: Path, target: Path, half_storage: bool = True) -> ModelSpec:
    """Write ``target`` (.onnx), its YAML and its parity reference; all three appear only if parity is proven.

    The batch is free, and so are height and width where the specification keeps the image's aspect.

    Args:
        checkpoint: weights of any registered architecture.
        target: path of the ONNX file.
        half_storage: keep weights in float16, half the file. Arithmetic stays float32.

    Returns:
        The specification as it stands in the YAML: the checkpoint's, with how the export was made in its provenance.

    Raises:
        WeightsError: the checkpoint cannot be used, or the YAML's place is taken by a file of another kind.
        BackendError: the exported network does not compute the same.
    """
    if target.suffix != ".onnx":
        raise WeightsError(f"expected a target that ends in .onnx, got {target}")
    if checkpoint.suffix == ".onnx":
        raise WeightsError(f"{checkpoint} is exported already: give the checkpoint, a .safetensors file")
    _refuse_foreign(target.with_suffix(".yaml"))
    network, spec = load_checkpoint(checkpoint)
    digest = file_digest(checkpoint)
    export = {
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": digest,
        "opset": OPSET,
        "weights_stored_as": "float16" if half_storage else "float32",
        **versions("torch", "onnx"),
        **_kept_int8(target, digest),
    }
    spec = replace(spec, provenance={**spec.provenance, "export": export})
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        draft = Path(folder) / target.name
        reference = output_of(network, parity_batch(spec.input))
        trace(network, spec.input, draft)
        graph = onnx.load(str(draft))
        if half_storage:
            store_weights_in_half(graph)
        save_with_spec(graph, spec, draft)
        save_reference(draft.with_suffix(SUFFIX), reference, digest)
        open_backend("onnxruntime", find_network(draft), Request("cpu", "float32", 1)).close()
        for suffix in (SUFFIX, ".onnx", ".yaml"):  # the YAML last: an export without it is not taken for one
            shutil.move(draft.with_suffix(suffix), target.with_suffix(suffix))
    return spec


def _kept_int8(target: Path, digest: str) -> dict[str, Any]:
    """What the YAML of an earlier export of the same weights says of their int8 twin, which lies there still."""
    try:
        old = yaml.safe_load(target.with_suffix(".yaml").read_text())["provenance"]["export"]
        return {"int8": old["int8"]} if old["checkpoint_sha256"] == digest else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return {}


def save_with_spec(graph: onnx.ModelProto, spec: ModelSpec, path: Path) -> None:
    """Write the ONNX file with ``spec`` in its metadata, and the YAML beside it."""
    del graph.metadata_props[:]
    helper.set_model_props(graph, {METADATA_KEY: json.dumps(spec.to_dict())})
    onnx.save(graph, str(path))
    write_sidecar(spec, path)


def write_sidecar(spec: ModelSpec, path: Path) -> None:
    """Write ``spec`` to the YAML file beside the ONNX file ``path``."""
    plain = json.loads(json.dumps(spec.to_dict()))
    text = yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)
    with written_whole(path.with_suffix(".yaml")) as temporary:
        temporary.write_text(_FIRST_LINE + text)


def _refuse_foreign(sidecar: Path) -> None:
    """Raise WeightsError where ``sidecar`` is a file that somebody else wrote, such as a node's parameters."""
    if sidecar.exists() and not sidecar.read_text(errors="replace").startswith(_FIRST_LINE):
        raise WeightsError(
            f"{sidecar} is not of an export and would be overwritten by the network's specification: "
            "move it, or give the export another name (--output)"
        )


def trace(network: nn.Module, spec: InputSpec, path: Path) -> None:
    """Write ``network`` as plain ONNX; free are the batch and, if ``spec`` keeps the aspect, height and width."""
    free = {0: "batch", 2: "height", 3: "width"} if spec.keep_aspect else {0: "batch"}
    with warnings.catch_warnings():
        # The exporter by tracing is the one that every torch since 2.5 has, needs no further package and takes a
        # second; it warns of its age, and of shape checks in networks that are done with once they have passed.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.from_numpy(parity_batch(spec)),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: free},
        )


def store_weights_in_half(graph: onnx.ModelProto) -> None:
    """Turn float32 weights, in place, into float16 ones that a Cast node brings back; runtimes fold it when loading.

    A tensor with values beyond float16 stays as it is.
    """
    casts = []
    for tensor in list(graph.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _SMALL or np.abs(values).max() > _LARGEST_HALF:
            continue
        stored = f"{tensor.name}.float16"
        graph.graph.initializer.remove(tensor)
        graph.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.graph.node.insert(0, node)
