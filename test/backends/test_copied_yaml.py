"""A YAML copied from another network's gives nobody that network's identity: what is kept belongs to the file."""

import logging
import shutil

import numpy as np
import pytest
import yaml

from depthnet_ros.errors import WeightsError
from depthnet_ros.inference.backends import create_backend
from depthnet_ros.inference.cache import file_digest, network_digest
from depthnet_ros.inference.network_files import find_network, made_from

from .conftest import ONNX_BACKENDS

onnx = pytest.importorskip("onnx")
from onnx import numpy_helper


@pytest.fixture
def copied(write_graph, exported):
    """A user's graph beside the YAML of an export."""
    path = write_graph(None)
    shutil.copy(exported.with_suffix(".yaml"), path.with_suffix(".yaml"))
    return path


def change(path):
    """The same graph with other weights, as after training on."""
    graph = onnx.load(str(path))
    weights = graph.graph.initializer[0]
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(np.roll(values, 1, axis=0) * np.float32(3) + 1, weights.name))
    onnx.save(graph, str(path))


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_a_network_trained_on_has_a_reference_of_its_own(copied, backend, caplog):
    pytest.importorskip(backend)
    with caplog.at_level(logging.WARNING, logger="depthnet_ros"):
        create_backend(copied, backend, "cpu", "float32", threads=1)[0].close()
    assert "was that copied?" in caplog.text
    change(copied)
    create_backend(copied, backend, "cpu", "float32", threads=1)[0].close()  # raises on another's reference


def test_it_is_timed_anew(copied):
    create_backend(copied, threads=1)[0].close()
    assert "remembered" in create_backend(copied, threads=1)[0].choice_reason.describe()
    change(copied)
    assert "remembered" not in create_backend(copied, threads=1)[0].choice_reason.describe()


def test_it_is_no_export_of_ours(copied):
    files = find_network(copied)
    assert files.digest == network_digest(copied)
    assert made_from(files.spec) == ""
    whole = yaml.safe_load(copied.with_suffix(".yaml").read_text())
    named = {**whole, "arguments": {"size": "small", "output": "nowhere"}}
    copied.with_suffix(".yaml").write_text(yaml.safe_dump(named))
    with pytest.raises(WeightsError, match="no output named 'nowhere'"):
        create_backend(copied, "onnxruntime", threads=1)
    copied.with_suffix(".yaml").write_text(yaml.safe_dump({**named, "architecture": "mine"}))
    with pytest.raises(WeightsError, match=r"unknown arguments \['size'\]"):
        create_backend(copied, "onnxruntime", threads=1)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_an_export_whose_metadata_a_tool_has_removed_still_loads(exported, tmp_path, backend):
    """As quantisers and simplifiers do: its architecture's arguments are none of the graph's."""
    pytest.importorskip(backend)
    graph = onnx.load(str(exported))
    del graph.metadata_props[:]
    onnx.save(graph, str(tmp_path / "bare.onnx"))
    shutil.copy(exported.with_suffix(".yaml"), tmp_path / "bare.yaml")
    assert yaml.safe_load((tmp_path / "bare.yaml").read_text())["arguments"] == {"size": "small"}
    bare, _ = create_backend(tmp_path / "bare.onnx", backend, "cpu", "float32", threads=1)
    ours, _ = create_backend(exported, backend, "cpu", "float32", threads=1)
    image = np.random.default_rng(0).normal(size=(1, 3, 96, 128)).astype(np.float32)
    np.testing.assert_allclose(bare.infer(image), ours.infer(image), rtol=1e-4, atol=1e-4)


def test_an_export_keeps_its_checkpoints_identity_where_that_is_proven(exported, checkpoint, tmp_path):
    digest = file_digest(checkpoint)
    for suffix in (".onnx", ".yaml"):
        shutil.copy(exported.with_suffix(suffix), tmp_path / f"net{suffix}")
    alone = find_network(tmp_path / "net.onnx")
    assert (made_from(alone.spec), alone.digest) == (digest, network_digest(tmp_path / "net.onnx"))
    shutil.copy(exported.with_suffix(".parity.npz"), tmp_path / "net.parity.npz")
    assert find_network(tmp_path / "net.onnx").digest == find_network(checkpoint).digest == digest
