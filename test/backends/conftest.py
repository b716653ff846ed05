"""Small networks and generated ONNX graphs; results of the cache stay in the test's own folder."""

import numpy as np
import pytest
import yaml

from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec

ONNX_BACKENDS = ("onnxruntime", "openvino")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DEPTHNET_CACHE_DIR", str(folder))
    return folder


def settle_norms(network):
    """Batch-norm statistics of data, as training leaves them: fresh ones let activations vanish."""
    import torch

    network.train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 3, 64, 96, generator=generator))
    return network.eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A seeded random network of the default architecture at a small input size."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    normalised = InputSpec(96, 128, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), keep_aspect=True)
    spec = ModelSpec("depthnet", normalised, arguments={"size": "small"})
    save_checkpoint(path, settle_norms(build("depthnet", size="small")), spec)
    return path


@pytest.fixture(scope="session")
def exported(checkpoint):
    """Path of the ONNX export beside the checkpoint."""
    pytest.importorskip("onnx")
    from depthnet_ros.inference.export import export_checkpoint

    target = checkpoint.with_suffix(".onnx")
    export_checkpoint(checkpoint, target)
    return target


@pytest.fixture(scope="session")
def exported_tiny(tiny_weights, tmp_path_factory):
    """Path of an ONNX export that compiles in a moment: the deck's network."""
    pytest.importorskip("onnx")
    from depthnet_ros.inference.export import export_checkpoint

    target = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    export_checkpoint(tiny_weights, target)
    return target


@pytest.fixture
def write_graph(tmp_path):
    """Writes an ONNX graph that weighs the channels of its image, and the YAML of a user's network beside it."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def write(
        spec=None,
        batch="n",
        size=("h", "w"),
        layout="nchw",
        output_axes=4,
        dtype=TensorProto.FLOAT,
        nodes=None,
        extra_inputs=(),
        output_dtype=None,
    ):
        shape = [batch, 3, *size] if layout == "nchw" else [batch, *size, 3]
        axis = 1 if layout == "nchw" else 3
        weigh_shape = [1, 3, 1, 1] if layout == "nchw" else [1, 1, 1, 3]
        kind = helper.tensor_dtype_to_np_dtype(dtype)
        initializers = [
            numpy_helper.from_array(np.array([0.25, 0.5, 0.25], kind).reshape(weigh_shape), "weigh"),
            numpy_helper.from_array(np.array([axis], np.int64), "axis"),
            numpy_helper.from_array(np.array(2.0, kind), "offset"),
        ]
        nodes = nodes or [
            helper.make_node("Mul", ["pixels", "weigh"], ["weighed"]),
            helper.make_node("ReduceSum", ["weighed", "axis"], ["sum"], keepdims=int(output_axes == 4)),
            helper.make_node("Add", ["sum", "offset"], ["result"]),
        ]
        graph = helper.make_graph(
            nodes,
            "generated",
            [helper.make_tensor_value_info("pixels", dtype, shape), *extra_inputs],
            [helper.make_tensor_value_info("result", output_dtype or dtype, None)],
            initializers,
        )
        path = tmp_path / "user.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
        if spec is not None:
            path.with_suffix(".yaml").write_text(yaml.safe_dump(spec.to_dict()))
        return path

    return write


@pytest.fixture
def exact_graph(write_graph):
    """1e5 is added and taken away again: nothing of the image survives that in bfloat16."""
    from onnx import helper, numpy_helper

    eye = np.eye(3, dtype=np.float32)[:, :, None, None]
    constant = lambda name, value: helper.make_node(  # noqa: E731
        "Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, np.float32))
    )
    nodes = [
        constant("eye", eye), constant("up", [1e5] * 3), constant("mean", np.full((1, 3, 1, 1), 1 / 3)),
        constant("down", [-1e5]),
        helper.make_node("Conv", ["pixels", "eye", "up"], ["raised"]),
        helper.make_node("Relu", ["raised"], ["kept"]),
        helper.make_node("Conv", ["kept", "mean", "down"], ["result"]),
    ]  # fmt: skip
    return write_graph(ModelSpec("user", InputSpec(32, 32, std=(0.001, 0.001, 0.001))), nodes=nodes)


@pytest.fixture(scope="session")
def photo():
    """(90, 120, 3) RGB with structure in every channel."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[0:90, 0:120]
    image = np.stack((rows * 2, columns * 2, (rows + columns) % 256), axis=-1)
    return np.clip(image + rng.integers(-9, 9, image.shape), 0, 255).astype(np.uint8)
