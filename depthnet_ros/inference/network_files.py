"""The files of one network: checkpoint, export, int8 export and parity reference, found from any of the first two."""

from __future__ import annotations

import json
import logging
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.files import from_user
from depthnet_ros.inference.cache import cache_folder, file_digest, is_sealed, network_digest, seal
from depthnet_ros.inference.parity import SUFFIX as PARITY_SUFFIX
from depthnet_ros.inference.parity import reference_key
from depthnet_ros.inference.weights import shipped_weights
from depthnet_ros.models.checkpoint import read_spec
from depthnet_ros.models.registry import ARCHITECTURES
from depthnet_ros.models.spec import ModelSpec

INT8_SUFFIX = ".int8.onnx"
GRAPH_ARGUMENTS = {"channel", "output"}
"""What ``arguments`` of a user's ONNX network may hold."""
METADATA_KEY = "depthnet_ros.spec"
"""Metadata entry of an exported ONNX file that holds its specification as JSON."""
_SEAL_SUFFIX = ".sha256"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkFiles:
    """Paths of one network; None for what there is not.

    Attributes:
        digest: SHA-256 of the checkpoint that all was made from, where that lies here or a reference that proves it;
            else of the ONNX file, with its external data.
        reference: output of torch for the parity image, see :mod:`depthnet_ros.inference.parity`.
    """

    spec: ModelSpec
    digest: str
    checkpoint: Path | None = None
    onnx: Path | None = None
    int8_onnx: Path | None = None
    reference: Path | None = None


def find_network(weights: str | Path = "") -> NetworkFiles:
    """Everything that belongs to ``weights``: a .safetensors checkpoint, an .onnx file, or the name of a shipped
    network; empty: the shipped default.

    An export beside a checkpoint counts only if it was made from these very weights (their SHA-256 is in its
    provenance); one that was not is left aside.

    Raises:
        WeightsError: no such file, of another kind, or without a specification.
    """
    path = weights_path(weights)
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}: give the path of a .safetensors or .onnx file")
    if path.suffix == ".safetensors":
        return _of_checkpoint(path)
    if path.suffix == ".onnx":
        return _of_onnx(path)
    raise WeightsError(f"{path}: expected a .safetensors checkpoint or an .onnx network, got {path.suffix!r}")


def weights_path(weights: str | Path = "") -> Path:
    """The file that ``weights`` names: its path, or that of a shipped network by its name; empty: the shipped default.

    Raises:
        WeightsError: no shipped network of that name.
    """
    path = from_user(weights)
    if str(weights) in ("", ".") or (path.name == str(weights) and not path.suffix):
        return shipped_weights(path.name) if path.name else shipped_weights()
    return path


def with_onnx(files: NetworkFiles) -> NetworkFiles:
    """``files`` with an ONNX export. One is made from the checkpoint, and kept in the cache, where there is none.

    Raises:
        WeightsError: it cannot be made, since torch is not installed.
        BackendError: it cannot be kept.
    """
    if files.onnx or files.checkpoint is None:
        return files
    try:
        made = cache_folder(f"export-{reference_key(files.digest, files.spec)}") / f"{files.checkpoint.stem}.onnx"
        _export_unless_whole(files.checkpoint, made)
        found = _of_onnx(made)
    except OSError as error:
        raise BackendError(
            f"{files.checkpoint} has no ONNX export of these weights beside it, and none can be kept ({error}): make "
            "room there, or run `depthnet export` to have one beside it"
        ) from error
    return replace(files, onnx=found.onnx, reference=found.reference)


def _export_unless_whole(checkpoint: Path, made: Path) -> None:
    """The export of ``checkpoint`` at ``made``, in the cache, made again if any of its files is not as it was."""
    seal_path, parts = made.with_suffix(_SEAL_SUFFIX), [made.with_suffix(s) for s in (".onnx", ".yaml", PARITY_SUFFIX)]
    if is_sealed(seal_path, *parts):
        return
    try:
        from depthnet_ros.inference.export import export_checkpoint
    except ImportError as error:
        raise WeightsError(
            f"{checkpoint} has no ONNX export of these weights beside it, and {error.name or error} is not installed "
            "to make one: copy the .onnx, .yaml and .parity.npz too, or `pip install torch onnx`"
        ) from error
    if seal_path.is_file():
        _LOG.warning("%s in the cache was damaged and is made again", made)
    export_checkpoint(checkpoint, made)
    seal(seal_path, *parts)


def read_sidecar(path: Path) -> ModelSpec:
    """The specification in a YAML file.

    Raises:
        WeightsError: not YAML, or a key is missing or unknown.
    """
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is not YAML: {error}") from error
    return ModelSpec.from_dict(data, str(path))


def made_from(spec: ModelSpec) -> str:
    """SHA-256 of the checkpoint that an export was made from; empty if it was not made by this project."""
    return str(_export_record(spec).get("checkpoint_sha256", ""))


def _export_record(spec: ModelSpec) -> Mapping[str, Any]:
    record = spec.provenance.get("export", {})
    return record if isinstance(record, Mapping) else {}


def _of_checkpoint(path: Path) -> NetworkFiles:
    files = NetworkFiles(read_spec(path), file_digest(path), checkpoint=path)
    exported = path.with_suffix(".onnx")
    if not exported.is_file() or not exported.with_suffix(".yaml").is_file():
        return files
    if made_from(read_sidecar(exported.with_suffix(".yaml"))) != files.digest:
        return files
    beside = _of_onnx(exported)
    return replace(files, onnx=exported, int8_onnx=beside.int8_onnx, reference=beside.reference)


def _of_onnx(path: Path) -> NetworkFiles:
    spec = _without_foreign_record(_onnx_spec(path), path)
    origin = made_from(spec)
    checkpoint, int8_onnx, reference = (
        path.with_suffix(suffix) for suffix in (".safetensors", INT8_SUFFIX, PARITY_SUFFIX)
    )
    has_checkpoint = bool(origin) and checkpoint.is_file() and file_digest(checkpoint) == origin
    int8 = _export_record(spec).get("int8")
    int8_digest = int8.get("sha256") if isinstance(int8, Mapping) else None
    has_int8 = int8_digest is not None and int8_onnx.is_file() and file_digest(int8_onnx) == int8_digest
    has_origin = has_checkpoint or (bool(origin) and reference.is_file())
    return NetworkFiles(
        spec,
        origin if has_origin else network_digest(path),
        checkpoint if has_checkpoint else None,
        path,
        int8_onnx if has_int8 else None,
        reference if reference.is_file() else None,
    )


def _without_foreign_record(spec: ModelSpec, path: Path) -> ModelSpec:
    """``spec`` without the export's record, where that is of another file: a YAML copied from another network's has
    that one's. An export carries the digest of its checkpoint in its own metadata, too, at its end.

    With the record go the arguments of an architecture of ours: a graph has none, and an export that a tool has taken
    the metadata from still loads.
    """
    if not (origin := made_from(spec)):
        return spec
    if _holds(path, origin.encode()):
        return spec
    _LOG.warning("%s was not exported from the checkpoint that its specification names: was that copied?", path)
    arguments = spec.arguments
    if spec.architecture in ARCHITECTURES:
        arguments = {key: value for key, value in arguments.items() if key in GRAPH_ARGUMENTS}
    provenance = {key: value for key, value in spec.provenance.items() if key != "export"}
    return replace(spec, arguments=arguments, provenance=provenance)


def _holds(path: Path, text: bytes) -> bool:
    if path.stat().st_size == 0:  # nothing to map
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.rfind(text) >= 0


def _onnx_spec(path: Path) -> ModelSpec:
    sidecar = path.with_suffix(".yaml")
    if sidecar.is_file():
        return read_sidecar(sidecar)
    metadata = _metadata(path)
    if METADATA_KEY not in metadata:
        raise WeightsError(
            f"{path} needs {sidecar.name} beside it: the network's input size, mean, std, layout and output kind; "
            "config/models/ has those of well-known networks to copy"
        )
    try:
        return ModelSpec.from_dict(json.loads(metadata[METADATA_KEY]), str(path))
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path}: its metadata holds no readable specification: {error}") from error


def _metadata(path: Path) -> Mapping[str, str]:
    """What is written in an ONNX file about it; nothing where there is no ONNX Runtime to read it."""
    try:
        import onnxruntime
    except (ImportError, OSError):  # OSError: it is installed, but not what it needs
        return {}
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return dict(session.get_modelmeta().custom_metadata_map)
    except Exception as error:  # onnxruntime raises its own types, which share no base but this
        raise WeightsError(f"{path} is no readable ONNX file: {error}") from error
