"""What is refused of a user's graph, or taken from it, by its types, arguments and channels."""

import numpy as np
import pytest

from depthnet_ros.errors import WeightsError
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo, dtype_name
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.preprocess import preprocess
from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec

from .conftest import ONNX_BACKENDS

pytest.importorskip("onnx")
from onnx import TensorProto, helper

INPUT = InputSpec(32, 32)


def load(path, backend):
    pytest.importorskip(backend)
    return DepthEstimator.from_weights(path, backend=backend, precision="float32", threads=1)


def cast(kind):
    return [
        helper.make_node("Mul", ["pixels", "weigh"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["result"], to=kind),
    ]


def typed(write_graph, kind):
    """A graph whose output is of that type."""
    return write_graph(ModelSpec("user", InputSpec(32, 32, std=(0.01,) * 3)), nodes=cast(kind), output_dtype=kind)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.UINT8])
def test_types_of_outputs_that_numpy_has(write_graph, photo, backend, kind):
    got = load(typed(write_graph, kind), backend).infer(photo).inverse_depth
    want = load(typed(write_graph, TensorProto.FLOAT), backend).infer(photo).inverse_depth
    np.testing.assert_allclose(got, want, atol=1.0)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_bfloat16_is_not_read_as_float16(write_graph, backend):
    with pytest.raises(WeightsError, match=r"returns result .*bfloat16|returns result .*bf16"):
        load(typed(write_graph, TensorProto.BFLOAT16), backend)


def test_types_by_the_names_that_runtimes_give_them():
    names = {"f32": "float32", "tensor(float)": "float32", "tensor(double)": "float64", "f16": "float16"}
    names |= {"u8": "uint8", "tensor(uint8)": "uint8", "i64": "int64", "tensor(int64)": "int64", "bf16": "bf16"}
    assert {written: dtype_name(written) for written in names} == names


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_arguments_that_are_none_are_refused(write_graph, backend):
    with pytest.raises(WeightsError, match=r"unknown arguments \['outptu'\].*output"):
        load(write_graph(ModelSpec("user", INPUT, arguments={"outptu": "result"})), backend)


def test_a_network_of_grey_images_is_told_so():
    grey = [TensorInfo("image", (1, 1, 32, 32), "float32")]
    with pytest.raises(WeightsError, match="takes grey images, image"):
        GraphIo(ModelSpec("user", INPUT), grey, [TensorInfo("depth", None, "float32")], "grey.onnx")


def channels(write_graph, **more):
    """A graph that returns the picture's three colours."""
    nodes = [helper.make_node("Identity", ["pixels"], ["result"])]
    return write_graph(ModelSpec("user", INPUT, **more), nodes=nodes)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
@pytest.mark.parametrize("channel", [0, 2])
def test_one_of_several_channels_is_depth(write_graph, photo, backend, channel):
    prediction = load(channels(write_graph, arguments={"channel": channel}), backend).infer(photo)
    np.testing.assert_allclose(prediction.inverse_depth, preprocess(photo, INPUT)[channel], atol=1e-5)
    assert prediction.log_sigma is None


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_log_sigma_is_the_last_channel_whichever_is_depth(write_graph, photo, backend):
    path = channels(write_graph, arguments={"channel": 1}, log_sigma=True)
    prediction = load(path, backend).infer(photo)
    np.testing.assert_allclose(prediction.inverse_depth, preprocess(photo, INPUT)[1], atol=1e-5)
    np.testing.assert_allclose(prediction.log_sigma, preprocess(photo, INPUT)[2], atol=1e-5)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, r"has 3 channels.*channel: 0\}`, 0 to 2"),
        ({"log_sigma": True}, r"has 2 channels.*0 to 1"),
        ({"arguments": {"channel": 3}}, "channel must be 0 to 2, got 3"),
        ({"arguments": {"channel": -1}}, "channel must be an integer, 0 for the first, got -1"),
        ({"arguments": {"channel": True}}, "channel must be an integer"),
    ],
)
def test_channels_that_would_be_mixed_are_asked_about(write_graph, backend, more, message):
    with pytest.raises(WeightsError, match=message):
        load(channels(write_graph, **more), backend)


@pytest.mark.parametrize("backend", ["torch", *ONNX_BACKENDS])
def test_the_decks_three_channels_stay_three(tmp_path, photo, backend):
    torch = pytest.importorskip("torch")
    from depthnet_ros.inference.export import export_checkpoint

    torch.manual_seed(0)
    network = build("depthnet_deck", out_channels=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4.0)
    path = tmp_path / "deck.safetensors"
    save_checkpoint(path, network, ModelSpec("depthnet_deck", InputSpec(128, 128), arguments={"out_channels": 3}))
    depths = []
    for weights in (path, path.with_suffix(".onnx")):
        estimator = load(weights, backend)
        assert estimator.backend.infer(np.zeros((1, 3, 128, 128), np.float32)).shape == (1, 3, 128, 128)
        depths.append(estimator.infer(photo).inverse_depth)
        export_checkpoint(path, path.with_suffix(".onnx"))
    np.testing.assert_allclose(depths[0], depths[1], rtol=0.02)
