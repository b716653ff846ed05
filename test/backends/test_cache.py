"""The cache: what is damaged in it is made again, what cannot be kept stops nothing, other weights are not mistaken."""

import os
import stat
import tempfile

import numpy as np
import pytest

from depthnet_ros.inference import cache as cache_module
from depthnet_ros.inference.backends import choice, create_backend
from depthnet_ros.inference.cache import cache_folder, file_digest, network_digest
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.inference.parity import load_reference
from depthnet_ros.models.spec import InputSpec, ModelSpec

from .processes import run_python

SPEC = ModelSpec("user", InputSpec(32, 32))


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def move_weights_out(path, location):
    """Of the generated graph: what weighs the channels goes to a file of its own."""
    import onnx
    from onnx import external_data_helper

    graph = onnx.load(str(path))
    tensor = graph.graph.initializer[0]
    external_data_helper.set_external_data(tensor, location)
    (path.parent / location).write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    path.write_bytes(graph.SerializeToString())


@pytest.fixture
def alone(tiny_weights, tmp_path):
    """A checkpoint without an export beside it."""
    path = tmp_path / "alone.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_damaged_reference_is_made_again(write_graph, cache, caplog, name):
    pytest.importorskip("onnxruntime")
    path = write_graph(SPEC)
    create_backend(path, name)
    (kept,) = (cache / "parity").iterdir()
    halve(kept)
    backend, _ = create_backend(path, name)
    assert "parity" in backend.choice_reason.describe()
    assert f"{kept} in the cache was damaged" in caplog.text
    assert load_reference(kept, find_network(path).digest).shape == (1, 32, 32)


@pytest.mark.parametrize("suffix", [".onnx", ".yaml", ".parity.npz"])
def test_a_damaged_export_is_made_again(alone, cache, caplog, suffix):
    pytest.importorskip("onnxruntime")
    create_backend(alone, "onnxruntime", "cpu")
    (made,) = cache.glob(f"export-*/alone{suffix}")
    halve(made)
    assert not caplog.text
    backend, _ = create_backend(alone, "onnxruntime", "cpu")
    assert backend.infer(np.zeros((1, 3, 128, 128), np.float32)).shape == (1, 1, 128, 128)
    assert "damaged" in caplog.text
    before = file_digest(made)
    create_backend(alone, "onnxruntime", "cpu")
    assert file_digest(made) == before, "what is whole is used as it is"


@pytest.mark.parametrize("location", ["weights.bin", "a" * 200])
def test_external_weights_count_among_the_weights(write_graph, cache, location):
    """Else the reference and the choice of the weights before would be taken for those of the new ones."""
    pytest.importorskip("onnxruntime")
    path = write_graph(SPEC)
    assert network_digest(path) == file_digest(path), "no external weights: the file is all"
    move_weights_out(path, location)
    first = find_network(path).digest
    create_backend(path, "onnxruntime")
    np.array([7, 0.5, 7], np.float32).tofile(path.parent / location)
    assert find_network(path).digest != first
    backend, _ = create_backend(path, "onnxruntime")
    assert backend.infer(np.ones((1, 3, 32, 32), np.float32)).max() == pytest.approx(16.5)


@pytest.mark.parametrize("length", [0, 1, 40])
def test_a_file_that_ends_too_early_has_a_digest(write_graph, length):
    path = write_graph(SPEC)
    move_weights_out(path, "w.bin")
    whole = path.read_bytes()
    for end in (length, whole.index(b"location") + len("location") + 1, whole.index(b"w.bin") + 2):
        path.write_bytes(whole[:end])
        assert network_digest(path) == file_digest(path)


def test_engines_belong_to_the_weights_the_precision_and_the_versions(write_graph, tmp_path):
    """TensorRT itself names them by the graph's nodes: the same network trained further has the same."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from depthnet_ros.inference.backends.tensorrt_backend import engine_cache

    path = write_graph(SPEC)
    graph = onnx.load(str(path))
    folders = [engine_cache(path, precision)["trt_engine_cache_path"] for precision in ("float16", "float32")]
    assert engine_cache(path, "float16")["trt_engine_cache_path"] == folders[0]
    graph.graph.initializer[0].raw_data = bytes(len(graph.graph.initializer[0].raw_data))
    onnx.save(graph, str(path))
    folders.append(engine_cache(path, "float16")["trt_engine_cache_path"])
    assert len(set(folders)) == 3


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A cache that cannot be made, and an empty folder for temporary files."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DEPTHNET_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    cache_module._warn_once.cache_clear()
    return temporary


def test_without_a_cache_one_stand_in_is_used_and_named(exported_tiny, nowhere, caplog):
    first, _ = create_backend(exported_tiny)
    again, _ = create_backend(exported_tiny)
    (stand_in,) = nowhere.iterdir()
    assert stand_in.name == f"depthnet_ros-{os.getuid()}"
    assert stat.S_IMODE(stand_in.stat().st_mode) == 0o700
    for backend in (first, again):
        assert (
            f"cache in {stand_in}" in backend.choice_reason.describe()
            and "DEPTHNET_CACHE_DIR" in backend.choice_reason.describe()
        )
    assert "remembered" in again.choice_reason.describe()
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize("kind", ["link", "writable by others", "file"])
def test_a_stand_in_that_is_not_ours_alone_is_refused(exported_tiny, nowhere, tmp_path, kind):
    stand_in = nowhere / f"depthnet_ros-{os.getuid()}"
    if kind == "file":
        stand_in.write_text("")
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir()
        stand_in.symlink_to(tmp_path / "elsewhere")
    else:
        stand_in.mkdir()
        stand_in.chmod(0o777)
    with pytest.raises(OSError, match="depthnet_ros-"):
        cache_folder("choice")
    backend, _ = create_backend(exported_tiny)
    assert "could not be remembered" in backend.choice_reason.describe()
    assert "nothing is kept" in backend.choice_reason.describe()
    assert list(nowhere.iterdir()) == [stand_in]


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
from depthnet_ros.inference.backends import create_backend
print(create_backend(sys.argv[1], sys.argv[2], "cpu", threads=1)[0].choice_reason.describe())
"""


def test_a_full_disk_stops_nothing(exported_tiny, write_graph, alone, cache):
    pytest.importorskip("onnxruntime")
    chosen = run_python(FULL, exported_tiny, "auto")
    assert "could not be remembered: " in chosen and "Errno" in chosen
    assert "parity reference could not be remembered" in run_python(FULL, write_graph(SPEC), "onnxruntime")
    assert "none can be kept" in run_python(FULL, alone, "auto"), "torch runs it without an export"
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_the_gpu_counts_in_what_is_remembered(exported_tiny, monkeypatch):
    create_backend(exported_tiny)
    assert "remembered" in create_backend(exported_tiny)[0].choice_reason.describe()
    monkeypatch.setattr(choice, "nvidia_gpus", lambda: "Model: another")
    assert "remembered" not in create_backend(exported_tiny)[0].choice_reason.describe()
