"""Graphs with a free batch whose images do not leave each other alone go one by one."""

import logging

import numpy as np
import pytest
from onnx import helper

from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.models.spec import InputSpec, ModelSpec

SPEC = ModelSpec("user", InputSpec(32, 48))


def grey(*last):
    return [
        helper.make_node("Mul", ["pixels", "weigh"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axis"], ["sum"], keepdims=1),
        *last,
    ]


def over_the_largest(axes):
    """Depth over the largest of ``axes``, as of an image, or, where that was forgotten, of all images."""
    return grey(
        helper.make_node("ReduceMax", ["sum"], ["largest"], keepdims=1, **({"axes": axes} if axes else {})),
        helper.make_node("Div", ["sum", "largest"], ["result"]),
    )


def load(path, backend, threads=1):
    pytest.importorskip(backend)
    return DepthEstimator.from_weights(path, backend=backend, device="cpu", precision="float32", threads=threads)


@pytest.fixture
def runs(monkeypatch):
    """Counts the images of each run of ONNX Runtime's."""
    from depthnet_ros.inference.backends.onnxruntime_backend import OnnxRuntimeBackend

    counted, real = [], OnnxRuntimeBackend._run
    monkeypatch.setattr(OnnxRuntimeBackend, "_run", lambda self, feed: (counted.append(len(feed)), real(self, feed))[1])
    return counted


@pytest.mark.parametrize(("backend", "threads"), [("onnxruntime", 1), ("openvino", 1), ("openvino", 2)])
def test_one_cameras_depth_does_not_depend_on_anothers_picture(write_graph, photo, backend, threads, caplog):
    estimator = load(write_graph(SPEC, nodes=over_the_largest([])), backend, threads)
    dark = (photo // 4).astype(np.uint8)
    alone = estimator.infer(dark).inverse_depth
    with caplog.at_level(logging.WARNING, logger="depthnet_ros"):
        for _ in range(2):
            _, together = estimator.infer_batch([photo, dark])
            np.testing.assert_allclose(together.inverse_depth, alone, rtol=1e-4)
    mixes = threads == 1  # with more OpenVINO runs a batch's images beside each other, not as one batch
    assert caplog.text.count("one's depth depends on the others'") == mixes
    assert estimator.backend.choice_reason.describe().count("images go one by one, as in a batch") == mixes


def test_a_batch_that_mixes_nothing_stays_one(write_graph, photo, runs):
    estimator = load(write_graph(SPEC, nodes=over_the_largest([1, 2, 3])), "onnxruntime")
    loaded = len(runs)
    assert set(runs) == {1}, "a start with one camera costs nothing more"
    for _ in range(3):
        estimator.infer_batch([photo, photo // 2])
    assert runs[loaded:] == [2, 1, 1, 2, 2, 2], "proven once, on two images of its own"
    assert "one by one" not in estimator.backend.choice_reason.describe()


def test_an_export_of_ours_needs_no_proof(exported_tiny, photo, runs):
    estimator = load(exported_tiny, "onnxruntime")
    loaded = len(runs)
    estimator.infer_batch([photo, photo // 2])
    assert runs[loaded:] == [2]


def test_a_batch_that_fails_is_said_too(write_graph, photo):
    nodes = grey(
        helper.make_node("Constant", [], ["one"], value_ints=[1, 1, 32, 48]),
        helper.make_node("Reshape", ["sum", "one"], ["result"]),
    )
    estimator = load(write_graph(SPEC, nodes=nodes), "onnxruntime")
    estimator.infer_batch([photo, photo])
    assert "images go one by one, as a batch of 2 failed" in estimator.backend.choice_reason.describe()
