"""A user's own ONNX file with a YAML beside it: every layout, output kind and shape that people export."""

import logging
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.base import TYPICAL_IMAGE_PX
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.network_files import read_sidecar
from depthnet_ros.inference.preprocess import preprocess
from depthnet_ros.models.spec import InputSpec, ModelSpec, OutputKind

pytest.importorskip("onnx")
from onnx import TensorProto, helper

BACKENDS = ("onnxruntime", "openvino")
WEIGHTS = np.array([0.25, 0.5, 0.25], np.float32)[:, None, None]


def load(path, backend, precision="float32"):
    pytest.importorskip(backend)
    return DepthEstimator.from_weights(path, backend=backend, precision=precision, threads=1)


def expected(photo, spec):
    """What the generated graph computes, in numpy."""
    value = (preprocess(photo, spec.input) * WEIGHTS).sum(axis=0) + 2
    return value if spec.output_kind is OutputKind.INVERSE_DEPTH else 1 / value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", OutputKind)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("output_axes", [3, 4])
def test_output_kinds_and_layouts(write_graph, photo, backend, kind, layout, output_axes):
    spec = ModelSpec("user", InputSpec(30, 42, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "bgr", layout), kind)
    path = write_graph(spec, layout=layout, output_axes=output_axes)
    prediction = load(path, backend).infer(photo)
    np.testing.assert_allclose(prediction.inverse_depth, expected(photo, spec), rtol=1e-4)
    assert prediction.metric == (kind is OutputKind.METRIC_DEPTH)
    assert prediction.at_source().shape == photo.shape[:2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_graphs_of_one_image_take_batches_too(write_graph, photo, backend, batch):
    spec = ModelSpec("user", InputSpec(33, 57))  # odd sides
    estimator = load(write_graph(spec, batch=1 if batch == 1 else "n", size=(33, 57)), backend)
    images = [photo, photo[::-1].copy()]
    for prediction, image in zip(estimator.infer_batch(images), images, strict=True):
        np.testing.assert_allclose(prediction.inverse_depth, expected(image, spec), rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_that_is_free_by_name_alone_goes_one_by_one(write_graph, photo, backend, caplog):
    """As of graphs that were traced with one image and reshape to it."""
    spec = ModelSpec("user", InputSpec(33, 57))
    nodes = [
        helper.make_node("Mul", ["pixels", "weigh"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axis"], ["sum"], keepdims=1),
        helper.make_node("Constant", [], ["one"], value_ints=[1, 1, 33, 57]),
        helper.make_node("Reshape", ["sum", "one"], ["reshaped"]),
        helper.make_node("Add", ["reshaped", "offset"], ["result"]),
    ]
    estimator = load(write_graph(spec, nodes=nodes), backend)
    images = [photo, photo[::-1].copy()]
    with caplog.at_level(logging.WARNING, logger="depthnet_ros"):
        for _ in range(2):
            for prediction, image in zip(estimator.infer_batch(images), images, strict=True):
                np.testing.assert_allclose(prediction.inverse_depth, expected(image, spec), rtol=1e-4)
    assert caplog.text.count("images go one by one, as a batch of 2 failed") == 1


@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 3, 4), (1, 1, 0.5, 0.5), (1, 1, 1.5, 2)])
@pytest.mark.parametrize("mode", ["half_pixel", "align_corners", "asymmetric", "nearest"])
@pytest.mark.parametrize("images", [1, 2])
def test_a_last_resize_is_computed_as_the_graph_says(write_graph, photo, scales, mode, images):
    """Openvino leaves some of them to OpenCV."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    kind, coordinates = ("nearest", "half_pixel") if mode == "nearest" else ("linear", mode)
    nodes = [
        helper.make_node("Constant", [], ["scales"], value_floats=[float(scale) for scale in scales]),
        helper.make_node("Mul", ["pixels", "weigh"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axis"], ["sum"], keepdims=1),
        helper.make_node(
            "Resize", ["sum", "", "scales"], ["result"], mode=kind, coordinate_transformation_mode=coordinates
        ),
    ]
    path = write_graph(ModelSpec("user", InputSpec(22, 36)), nodes=nodes)
    pictures = [photo, photo[::-1].copy()][:images]
    want, got = (load(path, backend).infer_batch(pictures) for backend in BACKENDS)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.inverse_depth.shape == (int(22 * scales[2]), int(36 * scales[3]))
        np.testing.assert_allclose(ours.inverse_depth, theirs.inverse_depth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_free_sizes_follow_the_camera(write_graph, photo, backend):
    spec = ModelSpec("depth_anything_like", InputSpec(70, 70, keep_aspect=True, multiple_of=14))
    estimator = load(write_graph(spec), backend)
    for image in (photo, photo[:, :50].copy(), photo[:40].copy()):
        prediction = estimator.infer(image)
        assert prediction.inverse_depth.shape == spec.input.size_for(*image.shape[:2])
        np.testing.assert_allclose(prediction.inverse_depth, expected(image, spec), rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_graph(write_graph, photo, backend):
    spec = ModelSpec("user", InputSpec(32, 32))
    prediction = load(write_graph(spec, dtype=TensorProto.FLOAT16), backend).infer(photo)
    np.testing.assert_allclose(prediction.inverse_depth, expected(photo, spec), rtol=5e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_output_by_name(write_graph, photo, backend):
    spec = ModelSpec("user", InputSpec(32, 32), arguments={"output": "result"})
    assert load(write_graph(spec), backend).infer(photo).inverse_depth.shape == (32, 32)
    wrong = ModelSpec("user", InputSpec(32, 32), arguments={"output": "disparity"})
    with pytest.raises(WeightsError, match=r"'disparity'; there are result"):
        load(write_graph(wrong), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("spec", "graph", "message"),
    [
        (InputSpec(32, 32), {"size": (64, 64)}, "fixed size"),
        (InputSpec(64, 64, keep_aspect=True), {"size": (64, 64)}, "fixed size"),
        (InputSpec(32, 32, layout="nhwc"), {"size": (32, 32)}, "is it layout nchw"),
        (InputSpec(32, 32), {"size": (32, 32), "layout": "nhwc"}, "is it layout nhwc"),
        (InputSpec(32, 32, layout="nhwc"), {}, "is it layout nchw"),
        (InputSpec(32, 32), {"layout": "nhwc"}, "is it layout nhwc"),
        (InputSpec(32, 32), {"batch": 2}, "takes 2 images at a time"),
    ],
)
def test_graphs_that_do_not_fit_their_yaml(write_graph, backend, spec, graph, message):
    with pytest.raises(WeightsError, match=message):
        load(write_graph(ModelSpec("user", spec), **graph), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_graphs_that_are_no_image_network(write_graph, backend):
    second = helper.make_tensor_value_info("intrinsics", TensorProto.FLOAT, [3, 3])
    nodes = [
        helper.make_node("ReduceSum", ["intrinsics"], ["k"], keepdims=0),
        helper.make_node("Mul", ["pixels", "k"], ["result"]),
    ]
    spec = ModelSpec("user", InputSpec(32, 32))
    with pytest.raises(WeightsError, match=r"takes 2: .*intrinsics"):
        load(write_graph(spec, nodes=nodes, extra_inputs=[second]), backend)
    flat = [helper.make_node("Flatten", ["pixels"], ["result"])]
    with pytest.raises(BackendError, match=r"output result has shape \(1, 3072\)"):
        load(write_graph(spec, nodes=flat), backend)
    sigma = ModelSpec("user", InputSpec(32, 32), log_sigma=True)
    with pytest.raises(BackendError, match="log_sigma needs two"):
        load(write_graph(sigma), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_not_a_number_is_refused_when_loading(write_graph, backend):
    nodes = [
        helper.make_node("Exp", ["pixels"], ["e1"]),
        helper.make_node("Exp", ["e1"], ["e2"]),
        helper.make_node("Exp", ["e2"], ["result"]),
    ]
    spec = ModelSpec("user", InputSpec(32, 32, std=(0.1, 0.1, 0.1)), arguments={"channel": 0})
    with pytest.raises(BackendError, match="NaN or infinity"):
        load(write_graph(spec, nodes=nodes), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_damaged_file(write_graph, backend):
    path = write_graph(ModelSpec("user", InputSpec(32, 32)))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(WeightsError, match=r"user\.onnx"):
        load(path, backend)


def test_missing_yaml_names_where_to_find_one(write_graph):
    with pytest.raises(WeightsError, match=r"needs user\.yaml beside it.*config/models"):
        DepthEstimator.from_weights(write_graph(None))


@pytest.mark.parametrize("record", [{"int8": 3}, {"int8": {"sha256": 3}}, 5])
def test_provenance_is_anything(write_graph, photo, record):
    path = write_graph(ModelSpec("user", InputSpec(32, 32), provenance={"export": record}))
    assert load(path, "onnxruntime").infer(photo).inverse_depth.shape == (32, 32)


def test_yaml_that_is_none(write_graph):
    path = write_graph(None)
    path.with_suffix(".yaml").write_text("architecture: [")
    with pytest.raises(WeightsError, match="not YAML"):
        DepthEstimator.from_weights(path)
    path.with_suffix(".yaml").write_text("architecture: user\ninput: {height_px: 8, width_px: 8, means: [0, 0, 0]}")
    with pytest.raises(WeightsError, match="unknown keys"):
        DepthEstimator.from_weights(path)


def test_every_key_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    explained = set(re.findall(r"`([a-z_.]+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    keys = {field.name for field in fields(ModelSpec)} - {"input"} | {f"input.{f.name}" for f in fields(InputSpec)}
    assert explained == keys
    example = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    assert ModelSpec.from_dict(example).input.keep_aspect


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("config/models/*.yaml")), ids=lambda p: p.stem)
def test_shipped_specifications_of_well_known_networks(write_graph, photo, path):
    spec = read_sidecar(path)
    assert yaml.safe_load(path.read_text()).keys() <= spec.to_dict().keys()
    size = ("h", "w") if spec.input.keep_aspect else (spec.input.height_px, spec.input.width_px)
    network = write_graph(None, batch=1, size=size, output_axes=3)
    network.with_suffix(".yaml").write_bytes(path.read_bytes())
    prediction = load(network, "onnxruntime").infer(photo)
    assert prediction.inverse_depth.shape == spec.input.size_for(*photo.shape[:2])
    assert all(side % spec.input.multiple_of == 0 for side in spec.input.size_for(*TYPICAL_IMAGE_PX))
