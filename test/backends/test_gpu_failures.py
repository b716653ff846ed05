"""GPUs that are not here, played by the CPU: what is asked of the providers, and what their failures become."""

import os
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.cli import main
from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends import choice, create_backend
from depthnet_ros.inference.backends.base import ChoiceReason, Request
from depthnet_ros.inference.backends.graph_io import TensorInfo
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.models.spec import InputSpec, ModelSpec

ort = pytest.importorskip("onnxruntime")
from depthnet_ros.inference.backends import onnxruntime_backend, tensorrt_backend
from depthnet_ros.inference.backends.onnxruntime_backend import OnnxRuntimeBackend
from depthnet_ros.inference.backends.tensorrt_backend import Profile

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
FREE = TensorInfo("image", (None, 3, None, None), "float32")


class GpuError(Exception):
    """As onnxruntime's own errors, of no common base."""


@pytest.fixture
def gpu(monkeypatch):
    """Sessions on GPU providers, as far as ``fails(provider, options)`` lets them start; returns what was asked."""
    real, asked = ort.InferenceSession, []

    def play(fails=lambda provider, options: None, has=ALL):
        def start(path, options=None, providers=(), **more):
            (provider, settings), *_ = providers
            session = real(path, options, providers=["CPUExecutionProvider"], **more)
            if provider != "CPUExecutionProvider":
                asked.append((provider, settings, more))
                if problem := fails(provider, settings):
                    raise GpuError(problem)
                session.get_providers = lambda: [provider]
            return session

        monkeypatch.setattr(ort, "InferenceSession", start)
        monkeypatch.setattr(ort, "get_available_providers", lambda: has)
        for module in (choice, onnxruntime_backend):
            monkeypatch.setattr(module, "has_nvidia_gpu", lambda: True)
        return asked

    return play


def test_a_failing_provider_is_not_replaced_behind_our_back(exported_tiny):
    """ONNX Runtime would go on with the next provider and print a line; we would still claim the first."""
    from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

    backend, _ = create_backend(exported_tiny, "onnxruntime", "cpu", threads=1)
    session = backend._session
    inner = session._sess

    class Failing:
        def run(self, *_):
            raise EPFail("TensorRT EP failed to create engine from network")

        def __getattr__(self, name):
            return getattr(inner, name)

    session._sess = Failing()
    with pytest.raises(BackendError, match="failed to create engine"):
        backend.infer(np.zeros((1, 3, 128, 128), np.float32))


def test_float32_on_a_gpu_is_not_tf32_and_starts_without_a_second_choice(exported_tiny, gpu):
    asked = gpu()
    backend, _ = create_backend(exported_tiny, "onnxruntime", "cuda", threads=1)
    assert backend.device == "cuda:0"
    (_, settings, more) = asked[0]
    assert settings["use_tf32"] == 0
    assert not more["enable_fallback"]


def test_tensorrt_says_that_its_float32_is_tf32_and_leaves_cuda_none(exported_tiny, gpu, monkeypatch):
    gpu()
    lists, real = [], ort.InferenceSession

    def start(*arguments, providers, **more):
        lists.append(providers)
        return real(*arguments, providers=providers, **more)

    monkeypatch.setattr(ort, "InferenceSession", start)
    said = {}
    for precision in ("float16", "float32"):
        said[precision] = create_backend(exported_tiny, "tensorrt", "cuda", precision)[0].choice_reason.setup
    assert "TF32" in said["float32"] and said["float16"] == ""
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert create_backend(exported_tiny, "tensorrt", "cuda", "float32")[0].choice_reason.setup == ""
    cuda = [options for providers in lists for name, options in providers if name == "CUDAExecutionProvider"]
    assert cuda and all(options["use_tf32"] == 0 for options in cuda)


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt"])
def test_a_full_gpu_is_not_the_files_fault(exported_tiny, gpu, name):
    gpu(lambda provider, settings: "CUDA failure 2: out of memory ; GPU=0")
    with pytest.raises(BackendError, match=r"could not start .*ran out of memory on cuda:1.* or device cpu"):
        create_backend(exported_tiny, name, "cuda:1", threads=1)


def test_a_damaged_file_is(write_graph, gpu):
    gpu(lambda provider, settings: "whatever")
    path = write_graph(ModelSpec("user", InputSpec(32, 32)))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(WeightsError, match="cannot load"):
        create_backend(path, "onnxruntime", "cuda", threads=1)


def test_a_gpu_that_fails_is_said_and_tried_again_at_the_next_start(exported_tiny, gpu, cache):
    gpu(lambda provider, settings: "driver too old", has=ALL[1:])
    for _ in range(2):
        backend, _ = create_backend(exported_tiny, threads=1)
        assert backend.device == "cpu"
        said = "on the CPU" if backend.name == "onnxruntime" else "onnxruntime float32 on a GPU failed"
        assert f"{said}: onnxruntime could not start CUDA" in backend.choice_reason.describe()
        assert backend.choice_reason.describe().count("driver too old") == 1
    assert not list(cache.glob("choice/*"))


def test_a_gpu_that_is_not_there_is_no_reason_to_time_again(exported_tiny, gpu, monkeypatch):
    """onnxruntime-gpu where there is no NVIDIA driver."""
    gpu(lambda provider, settings: "no CUDA-capable device", has=ALL[1:])
    monkeypatch.setattr(choice, "has_nvidia_gpu", lambda: False)
    create_backend(exported_tiny, threads=1)[0].close()
    assert "(remembered)" in create_backend(exported_tiny, threads=1)[0].choice_reason.describe()


@pytest.fixture
def unloaded():
    """As in a process that has not looked for the GPU's libraries."""
    onnxruntime_backend._load_gpu_libraries.cache_clear()
    yield
    onnxruntime_backend._load_gpu_libraries.cache_clear()


def test_what_is_said_of_missing_libraries_is_no_result(monkeypatch, capsys, unloaded):
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("Failed to load libcudnn.so.9"), raising=False)
    onnxruntime_backend.load_gpu_libraries()
    assert capsys.readouterr() == ("", "Failed to load libcudnn.so.9\n")


def test_threads_that_load_libraries_at_once_leave_stdout_as_it_is(monkeypatch, unloaded):
    before, loaded, second = sys.stdout, [], threading.Event()

    def preload():
        loaded.append(threading.current_thread())
        if len(loaded) > 1:
            second.set()
        second.wait(0.3)  # for the other one to begin, which then ends last
        time.sleep(0.2 * (len(loaded) > 1 and loaded[1] is threading.current_thread()))

    monkeypatch.setattr(ort, "preload_dlls", preload, raising=False)
    threads = [threading.Thread(target=onnxruntime_backend.load_gpu_libraries) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert sys.stdout is before
        assert len(loaded) == 1
    finally:
        sys.stdout = before


def test_a_gpu_that_is_full_at_the_first_run_is_said_and_not_waited_for(exported_tiny, gpu, monkeypatch):
    gpu(has=ALL[1:])
    real = OnnxRuntimeBackend._run

    def run(backend, feed):
        if backend.device != "cpu":
            raise BackendError("onnxruntime ran out of memory on cuda:0")
        return real(backend, feed)

    monkeypatch.setattr(OnnxRuntimeBackend, "_run", run)
    backend, _ = create_backend(exported_tiny, "onnxruntime", threads=1)
    assert backend.device == "cpu" and "ran out of memory" in backend.choice_reason.lost_gpu
    assert "on the CPU: onnxruntime ran out of memory on cuda:0" in backend.choice_reason.describe()
    with pytest.raises(BackendError, match="ran out of memory"):
        create_backend(exported_tiny, "onnxruntime", "cuda", threads=1)


def test_infer_says_once_what_became_of_the_gpu(exported_tiny, gpu, photo, tmp_path, capsys):
    gpu(lambda provider, settings: "driver too old", has=ALL[1:])
    picture = tmp_path / "one.png"
    assert cv2.imwrite(str(picture), photo)
    words = ["infer", str(picture), "--once", "--backend", "onnxruntime", "--weights", str(exported_tiny)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("driver too old") == 1


def test_every_fact_of_a_choice_is_said_once():
    reason = ChoiceReason("a", "b", "c", "d", "e", "float16", "f", "g", "h", ("i", "j")).with_notes("", "k")
    assert reason.describe() == (
        "a; b; c; on the CPU, as d; on the CPU: e; fell back from float16: f; g; the GPU is idle: h; i; j; k"
    )
    assert ChoiceReason().describe() == ""


def test_a_gpu_that_nothing_runs_on_is_said(exported_tiny, gpu, monkeypatch):
    gpu(has=ALL[2:])
    for _ in range(2):  # the second time it is remembered
        backend, _ = create_backend(exported_tiny, threads=1)
        assert backend.device == "cpu"
        assert (
            "the GPU is idle: on the CPU, as this onnxruntime was built without CUDA: pip"
            in backend.choice_reason.describe()
        )
    backend, _ = create_backend(exported_tiny, device="cpu", threads=1)
    assert "idle" not in backend.choice_reason.describe()


def test_tensorrt_without_its_libraries_names_them(exported_tiny, monkeypatch):
    if "TensorrtExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ALL)  # as built with it; nothing starts it
    with pytest.raises(BackendError, match=r"could not start TensorrtExecutionProvider.*tensorrt-cu13"):
        create_backend(exported_tiny, "tensorrt", "cuda", threads=1)


def test_what_a_backend_never_runs_is_no_candidate(exported_tiny, gpu):
    gpu()
    files = find_network(exported_tiny)
    names = {c.name for c in choice.candidates(files, Request("cpu", "bfloat16", 1))}
    assert "onnxruntime" not in names
    assert {c.name for c in choice.candidates(files, Request("cuda", "int8", 1))} == {"onnxruntime"}


def test_eight_bits_run_on_the_cpu_of_a_machine_with_a_gpu(gpu):
    asked = gpu()
    backend, _ = create_backend("", "onnxruntime", "auto", "int8", threads=1)
    assert (backend.device, backend.precision, asked) == ("cpu", "int8", [])


def test_profile_covers_what_cameras_and_overload_bring():
    spec = InputSpec(224, 288, keep_aspect=True)
    profile = Profile.of(FREE, spec)
    assert profile.usual == (1, 3, *spec.size_for(480, 640))
    for height, width in ((480, 640), (720, 1280), (1280, 720), (600, 1920)):
        assert profile.holds((2, 3, *spec.size_for(height, width)))
    assert profile.holds((1, 3, 128, 160))
    assert not profile.holds((8, 3, 224, 288))
    assert profile.options("image")["trt_profile_opt_shapes"] == "image:1x3x224x288"
    fixed = Profile.of(TensorInfo("image", (None, 32, 64, 3), "float32"), InputSpec(32, 64, layout="nhwc"))
    assert (fixed.least, fixed.most) == ((1, 32, 64, 3), (4, 32, 64, 3))
    assert Profile.of(TensorInfo("image", (1, 3, 32, 64), "float32"), InputSpec(32, 64)) is None


def test_a_larger_batch_is_run_in_parts(exported, gpu):
    gpu()
    backend, _ = create_backend(exported, "tensorrt", "cuda", threads=1)
    cpu, _ = create_backend(exported, "onnxruntime", "cpu", threads=1)
    batch = np.random.default_rng(0).standard_normal((6, 3, 64, 96)).astype(np.float32)
    np.testing.assert_allclose(backend.infer(batch), cpu.infer(batch), atol=1e-4)
    with pytest.raises(BackendError, match="use backend onnxruntime or torch"):
        backend.infer(np.zeros((1, 3, 32, 2048), np.float32))


def test_an_engine_that_cannot_be_used_is_built_again(exported, gpu, cache):
    """In a folder of its own: what is there stays meanwhile, for a start that is killed and for other processes."""
    kept = []

    def fails(provider, settings):
        used = Path(settings["trt_engine_cache_path"])
        if list(used.glob("*.engine")):
            return "could not deserialize engine from cache"
        kept.append(sorted(path.read_bytes() for path in folder.iterdir()))
        (used / "x.engine").write_bytes(b"new")
        return None

    gpu()
    folder = tensorrt_folder(exported, gpu, cache)
    leftover, at_work = (cache / f"new-{folder.name}-{name}" for name in ("killed", "at_work"))
    for path in (leftover, at_work):
        path.mkdir()
    os.utime(leftover, (0, 0))
    for name in ("x.engine", "y.engine"):
        (folder / name).write_bytes(b"damaged")
    gpu(fails)
    backend, _ = create_backend(exported, "tensorrt", "cuda", threads=1)
    assert "could not deserialize" in backend.choice_reason.describe()
    assert kept == [[b"damaged", b"damaged"]]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x.engine": b"new"}
    assert set(cache.glob("*tensorrt-*")) == {folder, at_work}


@pytest.mark.parametrize("device", ["cuda:7", "cuda"])
def test_engines_outlive_a_start_that_fails_for_another_reason(exported, gpu, cache, device):
    """A device that is not there, or is full for a moment."""
    gpu()
    folder = tensorrt_folder(exported, gpu, cache)
    (folder / "x.engine").write_bytes(b"an hour's work")
    gpu(lambda provider, settings: "CUDA failure 101: invalid device ordinal")
    with pytest.raises(BackendError, match="invalid device"):
        create_backend(exported, "tensorrt", device, threads=1)
    assert [path.read_bytes() for path in folder.iterdir()] == [b"an hour's work"]
    assert list(cache.glob("*tensorrt-*")) == [folder]


def tensorrt_folder(exported, gpu, cache):
    create_backend(exported, "tensorrt", "cuda", threads=1)[0].close()
    (folder,) = cache.glob("tensorrt-*")
    return folder


def test_where_no_range_of_shapes_can_be_built_each_shape_is(exported, gpu):
    asked = gpu(
        lambda provider, settings: "no associated shape profiles" if "trt_profile_min_shapes" in settings else None
    )
    backend, _ = create_backend(exported, "tensorrt", "cuda", threads=1)
    assert "shape profiles" in backend.choice_reason.describe()
    assert len(asked) == 2
    assert backend.infer(np.zeros((5, 3, 32, 2048), np.float32)).shape[0] == 5


def test_engines_of_another_tensorrt_are_not_used(exported, gpu, cache, monkeypatch):
    gpu()
    for version in (100300, 100700):
        monkeypatch.setattr(tensorrt_backend, "_tensorrt_version", lambda version=version: version)
        create_backend(exported, "tensorrt", "cuda", threads=1)[0].close()
    assert len(list(cache.glob("tensorrt-*"))) == 2


def test_tensorrt_takes_an_output_by_its_name(write_graph, gpu):
    gpu()
    path = write_graph(ModelSpec("user", InputSpec(32, 32), arguments={"output": "result"}))
    assert create_backend(path, "tensorrt", "cuda", threads=1)[0].name == "tensorrt"
