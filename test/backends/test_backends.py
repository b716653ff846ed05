"""Each backend against torch, the choice between them, and what happens when one cannot run."""

import json
import math
import os

import numpy as np
import pytest

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference import parity
from depthnet_ros.inference.backends import BACKENDS, create_backend
from depthnet_ros.inference.backends.base import ChoiceReason
from depthnet_ros.inference.backends.hardware import core_of, cpu_has_bfloat16, quota_of, usable_cores
from depthnet_ros.inference.backends.loading import PIP
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.inference.parity import TOLERANCE, difference, load_reference, parity_image, prove_parity
from depthnet_ros.models.checkpoint import load_checkpoint

from .processes import run_python

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
from onnx import numpy_helper

CPU = [("torch", "float32"), ("onnxruntime", "float32"), ("openvino", "float32")]
HALF = [("torch", "bfloat16"), ("openvino", "bfloat16")]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize(("name", "precision"), CPU + HALF)
@pytest.mark.parametrize("shape", [(1, 96, 128), (3, 64, 64), (1, 128, 96)])
def test_same_output_as_torch_for_any_batch_and_size(exported, name, precision, shape):
    pytest.importorskip(name)
    if precision == "bfloat16" and not cpu_has_bfloat16():
        pytest.skip("this CPU has no bfloat16 arithmetic")
    backend, _ = create_backend(exported, name, "cpu", precision, threads=1)
    network, _ = load_checkpoint(exported.with_suffix(".safetensors"))
    count, height, width = shape
    batch = np.random.default_rng(5).standard_normal((count, 3, height, width)).astype(np.float32)
    with torch.inference_mode():
        want = network(torch.from_numpy(batch)).numpy()
    got = backend.infer(batch)
    assert (got.dtype, got.shape, backend.precision) == (np.float32, want.shape, precision)
    assert max(difference(g, w) for g, w in zip(got, want, strict=True)) < TOLERANCE[precision]
    backend.close()
    backend.close()


@pytest.mark.parametrize(("name", "precision"), CPU)
@pytest.mark.parametrize("count", [1, 3])
def test_an_output_is_not_overwritten_by_the_next(exported, name, precision, count):
    pytest.importorskip(name)
    backend, _ = create_backend(exported, name, "cpu", precision, threads=2)
    rng = np.random.default_rng(0)
    first = backend.infer(rng.standard_normal((count, 3, 64, 64)).astype(np.float32))
    kept = first.copy()
    backend.infer(rng.standard_normal((count, 3, 64, 64)).astype(np.float32))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("count", [2, 5])
def test_images_of_a_batch_come_back_in_their_order(exported, count):
    """OpenVINO runs them beside each other."""
    pytest.importorskip("openvino")
    backend, _ = create_backend(exported, "openvino", "cpu", "float32", threads=2)
    batch = np.random.default_rng(1).standard_normal((count, 3, 64, 64)).astype(np.float32)
    for _ in range(3):
        got = backend.infer(batch)
        for index in range(count):
            np.testing.assert_allclose(got[index], backend.infer(batch[index : index + 1])[0], rtol=1e-3, atol=1e-4)


def test_auto_times_once_and_remembers(exported_tiny, cache):
    first, _ = create_backend(exported_tiny)
    assert "fastest of" in first.choice_reason.describe()
    assert first.choice_reason.describe().count(f"{first.name} {first.precision}") == 1
    assert "remembered" not in first.choice_reason.describe()
    again, _ = create_backend(exported_tiny)
    assert "remembered" in again.choice_reason.describe()
    assert (again.name, again.precision) == (first.name, first.precision)
    other, _ = create_backend(exported_tiny, precision="float32")
    assert "remembered" not in other.choice_reason.describe(), "another request has an entry of its own"


def test_auto_times_again_if_what_it_remembers_is_unusable(exported_tiny, cache):
    create_backend(exported_tiny)
    (entry,) = (cache / "choice").iterdir()
    for damage in ("", "[1]", '{"name": "gone", "precision": "float32", "reason": ""}', "{}"):
        entry.write_text(damage)
        backend, _ = create_backend(exported_tiny)
        assert "remembered" not in backend.choice_reason.describe()
        assert json.loads(entry.read_text())["name"] == backend.name


def test_auto_says_what_failed_of_what_it_remembered(exported_tiny, cache):
    create_backend(exported_tiny)
    (entry,) = (cache / "choice").iterdir()
    entry.write_text('{"name": "tensorrt", "precision": "int8", "reason": ""}')
    backend, _ = create_backend(exported_tiny)
    assert "the remembered tensorrt failed" in backend.choice_reason.describe()


def test_a_damaged_engine_cache_is_not_trusted(exported, cache):
    pytest.importorskip("openvino")
    create_backend(exported, "openvino")
    blobs = [path for folder in cache.glob("openvino-*") for path in folder.rglob("*") if path.is_file()]
    assert blobs
    for blob in blobs:
        blob.write_bytes(b"from another version")
    backend, _ = create_backend(exported, "openvino")
    assert backend.infer(np.zeros((1, 3, 96, 128), np.float32)).shape == (1, 1, 96, 128)


def test_checkpoint_without_export_gets_one_in_the_cache(checkpoint, tmp_path, cache):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(checkpoint.read_bytes())
    assert find_network(alone).onnx is None
    backend, _ = create_backend(alone, "onnxruntime")
    assert backend.name == "onnxruntime"
    assert list(cache.glob("export-*/alone.onnx"))
    assert not list(tmp_path.glob("*.onnx"))


def test_what_another_version_kept_is_not_used(checkpoint, tmp_path, cache, monkeypatch):
    """An export and its reference made when images became inputs in another way would fail the parity check."""
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(checkpoint.read_bytes())
    create_backend(alone, "onnxruntime")
    image = parity.parity_image()
    monkeypatch.setattr(parity, "parity_image", lambda: 255 - image)
    backend, _ = create_backend(alone, "onnxruntime")
    assert "parity" in backend.choice_reason.describe()
    assert len(list(cache.glob("export-*/alone.onnx"))) == 2


def test_changed_weights_fail_the_parity_check(exported, tmp_path):
    for path in exported.parent.glob("net.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    graph = onnx.load(str(tmp_path / "net.onnx"))
    largest = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    changed = numpy_helper.from_array(numpy_helper.to_array(largest)[::-1].copy(), largest.name)
    largest.CopyFrom(changed)
    onnx.save(graph, str(tmp_path / "net.onnx"))
    with pytest.raises(BackendError, match="fails the parity check"):
        create_backend(tmp_path / "net.onnx", "onnxruntime")
    with pytest.raises(BackendError, match="no backend can run these weights"):
        (tmp_path / "net.safetensors").unlink()
        create_backend(tmp_path / "net.onnx", "auto", "cpu", "float32")


def test_reference_of_other_weights_is_refused(exported, tmp_path):
    for path in exported.parent.glob("net.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    reference = tmp_path / "net.parity.npz"
    with pytest.raises(WeightsError, match="other weights"):
        load_reference(reference, "0" * 64)
    reference.write_bytes(reference.read_bytes()[:100])
    with pytest.raises(WeightsError, match="damaged"):
        create_backend(tmp_path / "net.onnx", "onnxruntime")


class _Offset:
    """A backend whose arithmetic is off by a constant."""

    name, device, precision, choice_reason = "offset", "cpu", "float32", ChoiceReason()

    def __init__(self, by):
        self.by = by

    def infer(self, batch):
        return batch[:, :1] + np.float32(self.by)

    def close(self):
        pass


def test_parity_tolerance_is_a_fraction_of_the_spread(exported):
    spec = find_network(exported).spec.input
    reference = _Offset(0).infer(np.zeros((1, 3, 96, 128), np.float32))[0]
    reference[0, :, :64] = 2.0  # standard deviation 1
    assert difference(reference + 0.004, reference) == pytest.approx(0.004, rel=1e-3)
    assert np.isnan(difference(np.full_like(reference, np.nan), reference))
    with pytest.raises(BackendError, match="NaN"):
        prove_parity(_Offset(np.nan), spec, None)


def test_parity_image_never_changes():
    """Every stored reference depends on it."""
    image = parity_image()
    assert (image.shape, image.dtype) == ((240, 320, 3), np.uint8)
    assert int((image.astype(np.int64) * np.arange(image.size).reshape(image.shape) % 65521).sum()) == PARITY_CHECKSUM


PARITY_CHECKSUM = 7547172367


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tflite"}, "no backend named 'tflite'; there are auto, torch"),
        ({"precision": "float64"}, "no precision named"),
        ({"device": "tpu"}, "no device named"),
        ({"device": "cuda:x"}, "no device named"),
        ({"device": "cuda:"}, "no device named 'cuda:'"),
        ({"threads": -1}, r"threads must be an integer in 0\.\.1024"),
        ({"threads": 5000}, r"threads must be an integer in 0\.\.1024"),
        ({"threads": 1.5}, r"threads must be an integer in 0\.\.1024"),
        ({"backend": "torch", "precision": "int8"}, "not int8"),
        ({"backend": "openvino", "device": "cuda"}, "runs on the CPU"),
        ({"backend": "onnxruntime", "precision": "float16", "device": "cpu"}, "not float16"),
        ({"backend": "onnxruntime", "precision": "int8"}, r"beside .*net\.safetensors: run .*--int8"),
        ({"backend": "tensorrt", "device": "cpu"}, "tensorrt"),
    ],
)
def test_what_cannot_be_had_is_said(exported, arguments, message):
    if (name := arguments.get("backend")) in PIP:
        pytest.importorskip({"tensorrt": "onnxruntime"}.get(name, name))
    with pytest.raises(BackendError, match=message):
        create_backend(exported, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_no_cuda_device(exported, name):
    with pytest.raises(BackendError, match="CUDA"):
        create_backend(exported, name, device="cuda")


def test_torch_does_not_run_onnx_files_alone(exported, tmp_path):
    for suffix in (".onnx", ".yaml", ".parity.npz"):
        (tmp_path / f"net{suffix}").write_bytes(exported.with_suffix(suffix).read_bytes())
    with pytest.raises(BackendError, match="torch runs checkpoints"):
        create_backend(tmp_path / "net.onnx", "torch")


@pytest.mark.parametrize("name", BACKENDS[1:])
def test_a_backend_that_is_not_installed_names_the_pip_line(exported, name):
    code = f"""
import sys
sys.modules.update(dict.fromkeys(("torch", "openvino", "onnxruntime")))  # as if none were installed
from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends import create_backend
try:
    create_backend(sys.argv[1], {name!r})
except BackendError as error:
    print(error)
"""
    assert PIP[name] in run_python(code, exported)


def test_light_runtime_imports_no_torch(exported, cache):
    """Export beside the checkpoint: the default choice neither needs nor loads torch, nor onnx."""
    code = """
import sys
sys.modules.update(dict.fromkeys(("torch", "onnx", "nncf")))
import numpy as np
from depthnet_ros.inference.estimator import DepthEstimator
estimator = DepthEstimator.from_weights(sys.argv[1], device="cpu")
print(estimator.infer(np.full((48, 64, 3), 99, np.uint8)).inverse_depth.shape)
"""
    for weights in (exported, exported.with_suffix(".safetensors")):
        assert run_python(code, weights).strip() == "(96, 128)"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_one_core_by_affinity_is_used_and_said(exported_tiny):
    code = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from depthnet_ros.inference.backends import create_backend
print(create_backend(sys.argv[1], "onnxruntime")[0].choice_reason.describe())
"""
    assert "one core only" in run_python(code, exported_tiny)
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


def test_cores_are_counted_by_their_threads_and_not_by_numbers_that_each_cluster_begins_anew(tmp_path):
    """As on an ARM board of 4 + 2 cores, whose ids are 0 to 3 and 0 to 1; and a core of two threads."""
    siblings = {**{cpu: str(cpu) for cpu in range(6)}, 6: "6-7", 7: "6-7"}
    for cpu, text in siblings.items():
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{text}\n")
        (topology / "core_id").write_text(f"{cpu % 4}\n")
        (topology / "physical_package_id").write_text("0\n")
    assert len({core_of(cpu, tmp_path) for cpu in siblings}) == 7
    assert core_of(3, tmp_path / "nothing there") == "3"


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/robot.slice/depth.service", {"robot.slice/cpu.max": "max 100000",
                                           "robot.slice/depth.service/cpu.max": "200000 100000"}, 2.0),
        ("0::/robot.slice/depth.service", {"robot.slice/cpu.max": "50000 100000"}, 0.5),
        ("3:cpu,cpuacct:/a\n0::/b", {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, 3.0),
        ("3:cpu:/\n2:cpuset:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("", {}, math.inf),
    ],
)  # fmt: skip
def test_quotas_of_docker_and_systemd(tmp_path, groups, files, cpus):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert quota_of(groups, tmp_path) == cpus


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU has no bfloat16 arithmetic")
def test_half_precision_that_fails_falls_back_and_says_so(exact_graph):
    pytest.importorskip("openvino")
    backend, _ = create_backend(exact_graph, "openvino", threads=1)
    assert backend.precision == "float32"
    assert "fell back from bfloat16" in backend.choice_reason.describe()
    with pytest.raises(BackendError, match="parity"):
        create_backend(exact_graph, "openvino", precision="bfloat16", threads=1)


def test_estimator_runs_any_of_them(exported, photo):
    predictions = [
        DepthEstimator.from_weights(exported, backend=name, precision="float32", threads=1).infer(photo)
        for name, _ in CPU
    ]
    for prediction in predictions[1:]:
        assert difference(prediction.inverse_depth[None], predictions[0].inverse_depth[None]) < TOLERANCE["float32"]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_what_is_written_to_its_own_memory_is_what_torch_runs(exported, device):
    """Whatever shape came between, and from any other memory too; what it gave before stays."""
    backend, _ = create_backend(exported, "torch", device, "float32")
    other = np.random.default_rng(4).standard_normal((2, 3, 64, 96)).astype(np.float32)
    wanted = backend.infer(other)
    memory = backend.input_memory((2, 3, 64, 96))
    memory[:] = other + 1.0
    shifted = backend.infer(memory)
    assert difference(shifted, wanted) > 0.01
    backend.infer(np.zeros((1, 3, 64, 64), np.float32))
    memory[:] = other
    assert np.array_equal(backend.infer(memory), wanted)
    assert difference(shifted, backend.infer(other + 1.0)) < TOLERANCE["float32"]
