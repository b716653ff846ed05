"""Graphs with a free batch whose images do not leave each other alone go one by one."""

import logging

import numpy as np
import pytest

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.models.spec import InputSpec, ModelSpec

pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper

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


def test_no_image_is_still_computed_when_another_has_failed(write_graph, caplog):
    """A request that still runs reads a batch that its caller may free, and takes no other image."""
    backends = pytest.importorskip("depthnet_ros.inference.backends.openvino_backend")
    blur = numpy_helper.from_array(np.full((8, 8, 9, 9), 1e-3, np.float32))
    spread = numpy_helper.from_array(np.full((8, 3, 1, 1), 1 / 3, np.float32))
    convolved = [f"blurred {i}" for i in range(20)]
    nodes = [
        helper.make_node("ReduceMax", ["pixels"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["images"], to=TensorProto.INT64),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("Reshape", ["images", "one"], ["count"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[3, 256, 256]),
        helper.make_node("Concat", ["count", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["pixels", "shape"], ["image"]),  # fails unless the image's largest value is 1
        helper.make_node("Constant", [], ["blur"], value=blur),
        helper.make_node("Constant", [], ["spread"], value=spread),
        helper.make_node("Conv", ["image", "spread"], ["wide"]),
        *(
            helper.make_node("Conv", [before, "blur"], [after], pads=[4, 4, 4, 4])
            for before, after in zip(["wide", *convolved], convolved, strict=False)
        ),
        helper.make_node("ReduceMean", [convolved[-1]], ["result"], axes=[1], keepdims=1),
    ]
    spec = ModelSpec("user", InputSpec(256, 256))
    backend = backends.OpenVinoBackend(write_graph(spec, nodes=nodes), spec, Request("cpu", "float32", 2))
    good = np.ones((2, 3, 256, 256), np.float32)
    half_bad = good * np.array([7, 1], np.float32)[:, None, None, None]
    want = backend.infer(good)
    with pytest.raises(BackendError, match="conflicts with the reshape pattern"):
        backend.infer(half_bad)
    with caplog.at_level(logging.WARNING, logger="depthnet_ros"):
        np.testing.assert_allclose(backend.infer(good), want)
    assert not caplog.text, "the second image's request was not busy with the one before"
