"""`depthnet export`: the files it writes, and that they belong together."""

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from depthnet_ros.cli import export as command
from depthnet_ros.cli import main
from depthnet_ros.errors import WeightsError
from depthnet_ros.inference.cache import file_digest
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.network_files import METADATA_KEY, find_network, made_from, read_sidecar
from depthnet_ros.inference.parity import parity_image
from depthnet_ros.models.checkpoint import load_checkpoint, read_spec, save_checkpoint

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
from depthnet_ros.inference.export import export_checkpoint


def export(*arguments):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return command.run(parser.parse_args(["export", *map(str, arguments)]))


def test_files_belong_together(exported, checkpoint):
    spec = read_sidecar(exported.with_suffix(".yaml"))
    assert made_from(spec) == file_digest(checkpoint)
    own = read_spec(checkpoint)
    assert (spec.architecture, spec.input, spec.output_kind) == (own.architecture, own.input, own.output_kind)
    for start in (checkpoint, exported):
        files = find_network(start)
        assert (files.checkpoint, files.onnx) == (checkpoint, exported)
        assert files.digest == file_digest(checkpoint)
        assert files.reference == checkpoint.with_suffix(".parity.npz")
    assert exported.stat().st_size < 0.6 * checkpoint.stat().st_size, "weights are stored in half precision"


def test_an_export_of_other_weights_is_left_aside(exported, checkpoint, tmp_path):
    for path in checkpoint.parent.glob("net.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    network, spec = load_checkpoint(checkpoint)
    for parameter in network.parameters():
        parameter.data.mul_(1.01)
    save_checkpoint(tmp_path / "net.safetensors", network, spec)
    assert find_network(tmp_path / "net.safetensors").onnx is None
    assert find_network(tmp_path / "net.onnx").checkpoint is None


def test_specification_travels_in_the_file_too(exported, tmp_path):
    pytest.importorskip("onnxruntime")
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(exported.read_bytes())
    assert find_network(alone).spec == find_network(exported).spec
    graph = onnx.load(str(exported))
    onnx.checker.check_model(graph)


@pytest.mark.parametrize("text", ["", '{"architecture": "depthnet", "input"', "[]", "{}"])
def test_a_damaged_specification_in_the_file_is_bad_input(write_graph, text):
    pytest.importorskip("onnxruntime")
    path = write_graph(None)
    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, {METADATA_KEY: text})
    onnx.save(graph, str(path))
    with pytest.raises(WeightsError, match=r"user\.onnx"):
        find_network(path)


def test_float32_storage(checkpoint, tmp_path):
    assert export(checkpoint, "-o", tmp_path / "full.onnx", "--float32-storage") == 0
    assert (tmp_path / "full.onnx").stat().st_size > 0.9 * checkpoint.stat().st_size


def test_network_of_one_size(tiny_weights, tmp_path):
    """The deck's network: 128 x 128 and nothing else, several images in a batch."""
    export_checkpoint(tiny_weights, tmp_path / "deck.onnx")
    estimator = DepthEstimator.from_weights(tmp_path / "deck.onnx", backend="onnxruntime", threads=1)
    images = [parity_image(), parity_image()[::-1].copy()]
    assert [p.inverse_depth.shape for p in estimator.infer_batch(images)] == [(128, 128)] * 2


def test_a_file_of_another_kind_is_never_overwritten(checkpoint, tmp_path):
    """A node's parameters are YAML too, and are named after what they are for, as the network is."""
    parameters = tmp_path / "camera.yaml"
    parameters.write_text("/**: {ros__parameters: {backend: auto}}\n")
    with pytest.raises(WeightsError, match=r"camera\.yaml is not of an export.*--output"):
        export(checkpoint, "-o", tmp_path / "camera.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["camera.yaml"]
    assert parameters.read_text().startswith("/**")


def test_nothing_is_left_behind_when_export_fails(tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    with pytest.raises(WeightsError):
        export(bad, "-o", tmp_path / "out.onnx")
    with pytest.raises(WeightsError, match=r"ends in \.onnx"):
        export_checkpoint(bad, tmp_path / "out.pt")
    assert list(tmp_path.iterdir()) == [bad]


@pytest.mark.slow
def test_int8(tiny_weights, tmp_path, rng):
    pytest.importorskip("nncf", reason="needs nncf to quantise")
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(4):
        noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC))
    cv2.imwrite(str(folder / "depth.png"), np.ones((9, 9), np.uint16))
    with pytest.raises(WeightsError, match="no colour images"):
        export(tiny_weights, "-o", tmp_path / "deck.onnx", "--int8", tmp_path / "nothing")
    assert export(tiny_weights, "-o", tmp_path / "deck.onnx", "--int8", folder) == 0
    record = yaml.safe_load((tmp_path / "deck.yaml").read_text())["provenance"]["export"]["int8"]
    assert record["calibration_images"] == 4
    # In a process of its own: OpenVINO's plugin, once loaded, keeps AMX, with which it gets this network wrong.
    for backend in ("onnxruntime", "openvino"):
        pytest.importorskip(backend)
        arguments = ["infer", str(folder / "0.png"), "--out", str(tmp_path / backend), "--npy", "--threads", "1"]
        arguments += ["--weights", str(tmp_path / "deck.onnx"), "--backend", backend, "--precision", "int8"]
        subprocess.run([sys.executable, "-m", "depthnet_ros.cli", *arguments], check=True, timeout=100)
        assert np.load(tmp_path / backend / "0.npy").shape == (120, 160)
    (tmp_path / "deck.int8.onnx").write_bytes(b"another")
    assert find_network(tmp_path / "deck.onnx").int8_onnx is None


def test_an_export_of_the_same_weights_keeps_their_int8_twin(tiny_weights, checkpoint, tmp_path, rng, capsys):
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), rng.integers(0, 255, (120, 160, 3), np.uint8))
    target = str(tmp_path / "net.onnx")
    pytest.importorskip("nncf")
    assert main(["export", str(tiny_weights), "-o", target, "--int8", str(tmp_path), "--calibration-images", "4"]) == 0
    assert main(["export", str(tiny_weights), "-o", target]) == 0
    assert find_network(Path(target)).int8_onnx is not None
    capsys.readouterr()
    assert main(["export", str(checkpoint), "-o", target]) == 0
    assert find_network(Path(target)).int8_onnx is None
    assert "net.int8.onnx is of other weights" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_images_to_calibrate_with_is_an_error(tiny_weights, tmp_path, capsys, count):
    command = ["export", str(tiny_weights), "-o", str(tmp_path / "a.onnx"), "--calibration-images", count]
    assert main(command) != 0
    assert "must be 1 or more" in capsys.readouterr().err


def test_an_export_is_not_exported(exported, tmp_path, capsys):
    assert main(["export", str(exported), "-o", str(tmp_path / "a.onnx")]) != 0
    assert "is exported already" in capsys.readouterr().err


def test_a_shipped_network_is_exported_by_its_name(tmp_path, capsys):
    assert main(["export", "depthnet_deck", "-o", str(tmp_path / "deck.onnx")]) == 0
    assert find_network(tmp_path / "deck.onnx").spec.architecture == "depthnet_deck"
    assert main(["export", "depthnet_none", "-o", str(tmp_path / "none.onnx")]) == 1
    assert "no weights file or shipped network 'depthnet_none'" in capsys.readouterr().err
