"""8-bit networks by post-training quantisation (NNCF), for CPUs without bfloat16."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import nncf
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.files import written_whole
from depthnet_ros.imaging import read_picture
from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.backends.loading import open_backend
from depthnet_ros.inference.cache import file_digest, versions
from depthnet_ros.inference.export import INPUT, write_sidecar
from depthnet_ros.inference.network_files import INT8_SUFFIX, find_network
from depthnet_ros.inference.preprocess import preprocess
from depthnet_ros.models.spec import InputSpec

_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def quantize_export(path: Path, calibration: Path, count: int = 128) -> Path:
    """Write the int8 twin of an exported network beside it and enter it in the network's YAML.

    Args:
        path: the .onnx that ``depthnet export`` wrote.
        calibration: a folder of colour images, or a CSV file with a column ``image``; of ``split`` train alone.
        count: images to calibrate with, evenly spread over those there are.

    Raises:
        WeightsError: no such network, or no images.
        BackendError: the int8 network is too far from the float one.
    """
    files = find_network(path)
    images = calibration_images(calibration, count)
    nncf.set_log_level(logging.ERROR)
    graph = onnx.load(str(path))
    expand_weights(graph)
    dataset = nncf.Dataset([{INPUT: batch} for batch in _batches(images, files.spec.input)])
    quantized = nncf.quantize(
        graph,
        dataset,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(images),
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=kept_in_float(graph, files.spec.log_sigma)),
    )
    target = path.with_suffix(INT8_SUFFIX)
    with written_whole(target) as draft:
        onnx.save(quantized, str(draft))
        draft_files = replace(files, int8_onnx=draft)
        open_backend("onnxruntime", draft_files, Request("cpu", "int8", 1)).close()
    int8 = {"sha256": file_digest(target), "calibration_images": len(images), **versions("nncf")}
    export = {**files.spec.provenance.get("export", {}), "int8": int8}
    write_sidecar(replace(files.spec, provenance={**files.spec.provenance, "export": export}), path)
    return target


def calibration_images(source: Path, count: int) -> list[Path]:
    """At most ``count`` paths of colour images, evenly spread over ``source``, a folder or a CSV file.

    Raises:
        WeightsError: there are none.
    """
    if source.suffix == ".csv" and source.is_file():
        with source.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("split", "train") == "train"]
        paths = [source.parent / row["image"] for row in rows if "image" in row]
    else:
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in _ENDINGS)
    spread = [paths[i] for i in np.linspace(0, len(paths) - 1, min(len(paths), 4 * count)).astype(int)] if paths else []
    images = [path for path in spread if _is_colour(path)]
    if not images:
        raise WeightsError(f"no colour images at {source}: calibration needs a folder of them, or a CSV with `image`")
    return [images[i] for i in np.linspace(0, len(images) - 1, min(len(images), count)).astype(int)]


def kept_in_float(graph: onnx.ModelProto, log_sigma: bool = False) -> list[str]:
    """Names of the convolutions up to the first depthwise one, if there is one; with ``log_sigma`` the last two, too.

    The channels of the first depthwise one come straight from the picture and differ in range by orders of magnitude,
    which one scale for all of them cannot hold: in 8 bits these layers make more than half of the whole network's
    error. With its last layers in 8 bits a network with log sigma has failed the parity check.
    """
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    depthwise = [any(a.name == "group" and a.i > 1 for a in node.attribute) for node in convolutions]
    first = convolutions[: depthwise.index(True) + 1] if any(depthwise) else []
    return [node.name for node in (*first, *(convolutions[-2:] if log_sigma else ()))]


def expand_weights(graph: onnx.ModelProto) -> None:
    """Undo :func:`depthnet_ros.inference.export.store_weights_in_half`, in place: quantisation wants plain weights."""
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in list(graph.graph.node):
        if (
            node.op_type == "Cast"
            and node.input[0] in stored
            and stored[node.input[0]].data_type == TensorProto.FLOAT16
        ):
            tensor = stored[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            graph.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            graph.graph.initializer.remove(tensor)
            graph.graph.node.remove(node)


def _is_colour(path: Path) -> bool:
    image = read_picture(path, cv2.IMREAD_UNCHANGED)
    return image is not None and image.ndim == 3 and image.dtype == np.uint8


def _batches(images: list[Path], spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    for path in images:
        image = read_picture(path, cv2.IMREAD_COLOR)
        if image is None:
            raise BackendError(f"{path} could be read a moment ago and cannot any more")
        yield preprocess(np.ascontiguousarray(image[..., ::-1]), spec)[None]
