"""The weights that ship with the package: the exports belong to the checkpoint in the tree and compute the same."""

from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.errors import WeightsError
from depthnet_ros.inference.backends import create_backend
from depthnet_ros.inference.backends.hardware import cpu_has_bfloat16
from depthnet_ros.inference.cache import file_digest
from depthnet_ros.inference.network_files import find_network, made_from, read_sidecar
from depthnet_ros.inference.parity import TOLERANCE, difference, load_reference, parity_batch
from depthnet_ros.inference.weights import DEFAULT_NAME
from depthnet_ros.models.checkpoint import load_checkpoint, read_spec

WEIGHTS = Path(__file__).parents[2] / "weights"
CHECKPOINT = WEIGHTS / f"{DEFAULT_NAME}.safetensors"
BASE = WEIGHTS / "depthnet_base.safetensors"
AGAIN = "run `depthnet export --int8 IMAGES` and commit weights/"


def test_a_shipped_network_is_found_by_its_name():
    assert find_network().checkpoint == find_network(DEFAULT_NAME).checkpoint == CHECKPOINT
    assert find_network("depthnet_base").checkpoint == BASE
    with pytest.raises(WeightsError, match=r"no weights file or shipped network 'depthnet_huge'.*depthnet_base"):
        find_network("depthnet_huge")


@pytest.mark.parametrize("checkpoint", [CHECKPOINT, BASE], ids=lambda path: path.stem)
def test_exports_belong_to_the_checkpoint(checkpoint):
    spec = read_sidecar(checkpoint.with_suffix(".yaml"))
    assert made_from(spec) == file_digest(checkpoint), f"the checkpoint has changed: {AGAIN}"
    files = find_network(checkpoint)
    assert files.onnx == checkpoint.with_suffix(".onnx")
    assert files.int8_onnx is not None or checkpoint is BASE, f"no int8 export of this checkpoint: {AGAIN}"
    own = read_spec(checkpoint)
    provenance = {key: value for key, value in spec.provenance.items() if key != "export"}
    assert provenance == own.provenance
    for name in ("architecture", "arguments", "input", "output_kind", "log_sigma", "zero_sigma"):
        assert getattr(spec, name) == getattr(own, name), name


@pytest.mark.parametrize("checkpoint", [CHECKPOINT, BASE], ids=lambda path: path.stem)
def test_reference_is_what_torch_computes(checkpoint):
    torch = pytest.importorskip("torch")
    network, spec = load_checkpoint(checkpoint)
    with torch.inference_mode():
        output = network(torch.from_numpy(parity_batch(spec.input)))[0].numpy()
    reference = load_reference(checkpoint.with_suffix(".parity.npz"), file_digest(checkpoint))
    assert difference(output, reference) < 1e-3


@pytest.mark.parametrize(
    ("checkpoint", "name", "precision"),
    [
        (CHECKPOINT, "onnxruntime", "float32"),
        (CHECKPOINT, "onnxruntime", "int8"),
        (CHECKPOINT, "openvino", "float32"),
        (CHECKPOINT, "openvino", "bfloat16"),
        (CHECKPOINT, "openvino", "int8"),
        (CHECKPOINT, "torch", "bfloat16"),
        (BASE, "onnxruntime", "float32"),
        (BASE, "openvino", "bfloat16"),
        (BASE, "torch", "bfloat16"),
    ],
)
def test_parity(checkpoint, name, precision, tmp_path, monkeypatch):
    pytest.importorskip(name)
    if precision == "bfloat16" and not cpu_has_bfloat16():
        pytest.skip("this CPU has no bfloat16 arithmetic")
    monkeypatch.setenv("DEPTHNET_CACHE_DIR", str(tmp_path))
    backend, spec = create_backend(checkpoint, name, "cpu", precision, threads=1)  # proves parity, or raises
    reference = load_reference(checkpoint.with_suffix(".parity.npz"), file_digest(checkpoint))
    assert difference(backend.infer(parity_batch(spec.input))[0], reference) <= TOLERANCE[precision]
    assert np.corrcoef(backend.infer(parity_batch(spec.input)).ravel(), reference.ravel())[0, 1] > 0.98


def test_files_stay_small():
    assert all(path.stat().st_size < 25e6 for path in WEIGHTS.iterdir())
