"""Backends on a CUDA device; nothing of it runs without one."""

import numpy as np
import pytest

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends import create_backend
from depthnet_ros.inference.backends.hardware import has_tensorrt
from depthnet_ros.inference.parity import TOLERANCE, difference

torch = pytest.importorskip("torch")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_torch_on_cuda(exported, precision):
    """CUDA graphs: several shapes in turn, replayed, outputs of their own."""
    backend, _ = create_backend(exported, "torch", "cuda", precision)
    cpu, _ = create_backend(exported, "torch", "cpu", "float32")
    rng = np.random.default_rng(2)
    batches = [rng.standard_normal(shape).astype(np.float32) for shape in ((1, 3, 96, 128), (4, 3, 64, 64))]
    kept = [backend.infer(batch) for batch in batches * 2]
    for index, got in enumerate(kept):
        want = cpu.infer(batches[index % 2])
        assert max(difference(g, w) for g, w in zip(got, want, strict=True)) < TOLERANCE[precision]


@needs_cuda
def test_cuda_out_of_memory_is_an_error_of_ours(exported):
    backend, _ = create_backend(exported, "torch", "cuda", "float32")
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(1, free - (300 << 20)), dtype=torch.uint8, device="cuda")
    with pytest.raises(BackendError, match="out of memory"):
        backend.infer(np.zeros((64, 3, 512, 512), np.float32))
    del ballast


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt"])
def test_onnxruntime_on_a_gpu(exported, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    provider = {"onnxruntime": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[name]
    if provider not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {provider}")
    if name == "tensorrt" and not has_tensorrt():
        pytest.skip("no TensorRT libraries")
    backend, _ = create_backend(exported, name, "cuda")
    cpu, _ = create_backend(exported, "onnxruntime", "cpu", "float32")
    assert backend.device.startswith("cuda")
    rng = np.random.default_rng(3)
    for shape in ((1, 3, 96, 128), (4, 3, 96, 128), (2, 3, 64, 160), (6, 3, 64, 64), (1, 3, 96, 128)):
        batch = rng.standard_normal(shape).astype(np.float32)
        for got, want in zip(backend.infer(batch), cpu.infer(batch), strict=True):
            assert difference(got, want) < TOLERANCE[backend.precision]
    assert backend._session.get_providers()[0] == provider, "not replaced on the way"
