"""One part that is broken, missing or out of memory: what else can run does, and says what failed and why."""

import sys

import numpy as np
import pytest

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends import choice, create_backend, hardware
from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.backends.faults import failed_run, first_line, last_line
from depthnet_ros.inference.backends.hardware import cpu_has_bfloat16
from depthnet_ros.inference.backends.loading import OPENERS, reference_of
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.models.spec import InputSpec, ModelSpec

from .processes import run_python

SPEC = ModelSpec("user", InputSpec(32, 32))


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_an_installed_but_broken_library_does_not_stop_the_choice(exported_tiny, tmp_path, cache, error):
    pytest.importorskip("openvino")
    broken = tmp_path / "onnxruntime"
    broken.mkdir()
    (broken / "__init__.py").write_text(f"raise {error}('libx.so.1: cannot open shared object file')")
    code = """
import sys
from depthnet_ros.inference.backends import create_backend
print(create_backend(sys.argv[1], device="cpu")[0].choice_reason.describe())
"""
    reason = run_python(code, exported_tiny, PYTHONPATH=str(tmp_path))
    assert "the only one that runs here" in reason
    assert f"backend onnxruntime is installed but cannot start ({error}: libx.so.1: cannot open" in reason
    assert "timed again at the next start" in reason
    assert not list(cache.glob("choice/*")), "it may be mended by then"


def test_a_backend_that_fails_while_it_is_timed_is_left_out(exported_tiny, cache, monkeypatch):
    pytest.importorskip("onnxruntime")
    backends = pytest.importorskip("depthnet_ros.inference.backends.openvino_backend")
    runs, run = [], backends.OpenVinoBackend.infer

    def infer(self, batch):
        runs.append(1)
        if len(runs) > 5:
            raise BackendError("out of everything")
        return run(self, batch)

    monkeypatch.setattr(backends.OpenVinoBackend, "infer", infer)
    backend, _ = create_backend(exported_tiny, device="cpu", precision="float32")
    assert backend.name == "onnxruntime"
    assert "openvino float32 failed: out of everything" in backend.choice_reason.describe()
    assert not list(cache.glob("choice/*"))
    assert backend.infer(np.zeros((1, 3, 128, 128), np.float32)).shape == (1, 1, 128, 128)


@pytest.mark.parametrize("built_with", [True, False])
@pytest.mark.parametrize("installed", [True, False])
def test_tensorrt_is_tried_only_where_it_is(exported_tiny, tmp_path, monkeypatch, built_with, installed):
    """Where it is tried and fails, nothing is remembered: each start would time anew."""
    ort = pytest.importorskip("onnxruntime")
    if hardware.has_tensorrt():
        pytest.skip("TensorRT is installed")
    providers = ["TensorrtExecutionProvider"] * built_with + ["CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
    monkeypatch.setattr(choice, "has_nvidia_gpu", lambda: True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if installed:
        (tmp_path / "libnvinfer.so.10").touch()
    names = {candidate.name for candidate in choice.candidates(find_network(exported_tiny), Request("auto", "auto", 1))}
    assert "onnxruntime" in names
    assert ("tensorrt" in names) == (built_with and installed)


def test_onnxruntime_without_a_working_gpu_runs_on_the_cpu_and_says_so(exported_tiny, monkeypatch):
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    backend, _ = create_backend(exported_tiny, "onnxruntime", "auto")
    assert backend.device == "cpu"
    assert "on the CPU: onnxruntime could not start CUDAExecutionProvider" in backend.choice_reason.describe()
    assert "onnxruntime-gpu" in backend.choice_reason.describe()
    with pytest.raises(BackendError, match="could not start CUDAExecutionProvider"):
        create_backend(exported_tiny, "onnxruntime", "cuda")


@pytest.fixture
def without_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "depthnet_ros.inference.backends.onnxruntime_backend", raising=False)


def test_openvino_judges_where_onnxruntime_is_missing(exact_graph, cache, without_onnxruntime):
    pytest.importorskip("openvino")
    backend, _ = create_backend(exact_graph, "openvino", threads=1)
    assert backend.precision == "float32"
    assert "parity not proven: its own output is the reference" in backend.choice_reason.describe()
    if cpu_has_bfloat16():
        assert "fell back from bfloat16" in backend.choice_reason.describe()
    assert list(cache.glob("parity/*.openvino.parity.npz"))


def test_what_is_compared_with_itself_is_not_called_proven(write_graph):
    pytest.importorskip("onnxruntime")
    backend, _ = create_backend(write_graph(SPEC), "onnxruntime", "cpu")
    assert backend.choice_reason.describe() == "parity not proven: its own output is the reference"


def test_a_network_that_onnxruntime_cannot_load_runs_elsewhere(write_graph):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    onnx = pytest.importorskip("onnx")
    path = write_graph(SPEC)
    graph = onnx.load(str(path))
    graph.ir_version = 999
    path.write_bytes(graph.SerializeToString())
    backend, _ = create_backend(path)
    assert backend.name == "openvino"
    assert "onnxruntime auto failed" in backend.choice_reason.describe()


class _Judge:
    def __init__(self, output):
        self.output, self.closed = output, 0

    def infer(self, batch):
        if self.output is None:
            raise BackendError("no such operator")
        return self.output

    def close(self):
        self.closed += 1


@pytest.mark.parametrize("output", [None, np.full((1, 1, 32, 32), np.nan, np.float32)])
def test_judges_that_fail_are_closed_and_leave_no_reference(write_graph, cache, monkeypatch, output):
    judges = {name: _Judge(output) for name in ("onnxruntime", "openvino")}
    for name, judge in judges.items():
        monkeypatch.setitem(OPENERS, name, lambda files, request, judge=judge: judge)
    found = reference_of(find_network(write_graph(SPEC)))
    assert found.output is None
    assert "no reference (onnxruntime: " in found.note and "openvino: " in found.note
    assert [judge.closed for judge in judges.values()] == [1, 1]
    assert not list(cache.glob("parity/*"))


@pytest.mark.parametrize("name", ["torch", "openvino", "onnxruntime"])
def test_out_of_memory_on_the_cpu_is_an_error_of_ours(exported, name):
    pytest.importorskip(name)
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends import create_backend
backend, _ = create_backend(sys.argv[1], sys.argv[2], "cpu", "float32", threads=1)
batch = np.zeros((1, 3, 2048, 2048), np.float32)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (150 << 20), resource.RLIM_INFINITY))
try:
    backend.infer(batch)
except BackendError as error:
    print(error)
"""
    said = run_python(code, exported, name)
    assert "ran out of memory on cpu" in said
    assert "device cpu" not in said


def test_the_device_is_advised_only_where_there_is_another():
    said = [str(failed_run("x", device, MemoryError(), "bad_alloc")) for device in ("cpu", "cuda:0 (one)")]
    assert ["or device cpu" in text for text in said] == [False, True]
    assert "memory" not in str(failed_run("x", "cpu", RuntimeError("shapes differ"), "shapes differ"))


def test_the_line_that_says_something_is_told():
    deep = RuntimeError("Exception from src/core.cpp:1:\nException from src/node.cpp:2:\nranks differ\n\n")
    assert last_line(deep) == "ranks differ"
    assert first_line(RuntimeError("\nillegal access\nset this to debug")) == "illegal access"
    assert first_line(MemoryError()) == last_line(MemoryError(" \n")) == "MemoryError"


def test_openvino_says_why_it_cannot_compile(exported_tiny):
    pytest.importorskip("openvino")
    backend, _ = create_backend(exported_tiny, "openvino", "cpu", "float32", threads=1)
    with pytest.raises(BackendError, match=r"input shape \(1, 5, 128, 128\), failed on cpu: .*channel"):
        backend.infer(np.zeros((1, 5, 128, 128), np.float32))
