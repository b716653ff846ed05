"""PyTorch on the CPU or on CUDA: runs checkpoints as they are, without an export."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends.base import CAPABILITIES, ChoiceReason, Request
from depthnet_ros.inference.backends.faults import failed_run, first_line
from depthnet_ros.inference.backends.hardware import cpu_has_bfloat16, has_nvidia_gpu

_MOST_GRAPHS = 8  # of input shapes: each has memory of its own on the device
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchBackend:
    """Runs a copy of an ``nn.Module``: batch norms folded, channels last, in half precision where that is faster.

    On CUDA each input shape is captured once as a CUDA graph and replayed on one stream. Images go there from pinned
    memory and depth comes back to it; who writes the images to :meth:`input_memory` spares a copy.

    Raises:
        BackendError: the device is not there, or does not know the precision.
    """

    name = "torch"

    def __init__(self, network: nn.Module, request: Request) -> None:
        device = request.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BackendError("device 'cuda' was asked for but torch sees no CUDA device: use device cpu or auto")
        if device.startswith("cuda") and torch.device(device).index not in (None, *range(torch.cuda.device_count())):
            raise BackendError(f"no {device}: torch sees {torch.cuda.device_count()} CUDA device(s)")
        self._device = torch.device(device)
        on_cuda = self._device.type == "cuda"
        self.device = f"{device} ({torch.cuda.get_device_name(self._device)})" if on_cuda else "cpu"
        self.precision = _choose_precision(request.precision, on_cuda)
        misses_gpu = request.device == "auto" and not on_cuda and has_nvidia_gpu()
        self.choice_reason = _why_no_gpu() if misses_gpu else ChoiceReason()
        torch.set_num_threads(request.threads)
        self._dtype = _DTYPES[self.precision]
        try:
            network = fold_norms(copy.deepcopy(network).eval()).to(self._device, self._dtype)
            self._network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, MemoryError) as error:
            raise failed_run("torch, loading the network,", self.device, error, first_line(error)) from error
        self._graphs: dict[tuple[int, ...], _CudaGraph] = {}

    @torch.inference_mode()
    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) to (N, C, h, w); see :meth:`Backend.infer`."""
        try:
            return self._infer_cuda(batch) if self._device.type == "cuda" else self._infer_cpu(batch)
        except ValueError as error:  # the network's own check of its input
            raise BackendError(f"input of shape {batch.shape}: {error}; see `input` in the specification") from error
        except (RuntimeError, MemoryError) as error:
            what = f"torch, with input shape {batch.shape},"
            raise failed_run(what, self.device, error, first_line(error)) from error

    @torch.inference_mode()
    def input_memory(self, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """(N, 3, h, w) of memory that :meth:`infer` takes as it is; pinned, on CUDA.

        Raises:
            BackendError: the device ran out of memory.
        """
        if self._device.type != "cuda":
            return np.empty(shape, dtype=np.float32)
        try:
            with torch.cuda.device(self._device):
                memory: NDArray[np.float32] = self._graph_of(shape).host_in.numpy()
                return memory
        except (RuntimeError, MemoryError) as error:
            raise failed_run(f"torch, with input shape {shape},", self.device, error, first_line(error)) from error

    def device_seconds(self, shape: tuple[int, int, int, int]) -> float:
        """What a CUDA device takes for a batch (N, 3, h, w) by its own clock, without the copies: for measurements."""
        with torch.cuda.device(self._device):
            return self._graph_of(shape).replay_seconds()

    def _infer_cpu(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        torch.set_flush_denormal(True)  # a property of the calling thread, hence here; costs nothing
        image = torch.from_numpy(batch).to(self._dtype).contiguous(memory_format=torch.channels_last)
        return np.array(self._network(image).float().contiguous().numpy())

    def _infer_cuda(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.cuda.device(self._device):
            return self._graph_of(batch.shape)(batch)

    def _graph_of(self, shape: tuple[int, ...]) -> _CudaGraph:
        graph = self._graphs.pop(shape, None)
        if graph is None:
            while len(self._graphs) >= _MOST_GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))  # the one that was not used for longest
            graph = self._capture(shape)
        self._graphs[shape] = graph
        return graph

    def _capture(self, shape: tuple[int, ...]) -> _CudaGraph:
        try:
            return _CudaGraph(self._network, shape, self._dtype, self._device)
        except torch.cuda.OutOfMemoryError:
            self._graphs.clear()  # what other shapes hold may be enough
            torch.cuda.empty_cache()
            return _CudaGraph(self._network, shape, self._dtype, self._device)

    def close(self) -> None:
        """Drop the network, and give back what it held of the device."""
        self._graphs.clear()
        self._network = nn.Identity()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class _CudaGraph:
    """The network for one input shape: one launch per frame instead of one per layer."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.host_in = torch.empty(shape, dtype=torch.float32, pin_memory=True)
        self._input = torch.zeros(shape, dtype=torch.float32, device=device)

        def forward() -> Tensor:
            image = self._input.to(dtype).contiguous(memory_format=torch.channels_last)
            # float32 is float32: TF32, cuDNN's default, keeps ten bits of it, as float16 does.
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
                return network(image).float().contiguous()

        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # cuDNN chooses its algorithms before the capture, not in it
                forward()
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._output = forward()

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        images = torch.from_numpy(batch)
        if images.data_ptr() != self.host_in.data_ptr() or not images.is_contiguous():
            self.host_in.copy_(images)
        # Of the caller's own until it is let go of; torch keeps pinned memory and gives it out again.
        host_out = torch.empty(self._output.shape, dtype=torch.float32, pin_memory=True)
        with torch.cuda.stream(self._stream):
            self._input.copy_(self.host_in, non_blocking=True)
            self._graph.replay()
            host_out.copy_(self._output, non_blocking=True)
        self._stream.synchronize()
        depth: NDArray[np.float32] = host_out.numpy()
        return depth

    def replay_seconds(self) -> float:
        """Of the network alone, on whatever images came last."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            start.record()
            self._graph.replay()
            end.record()
        end.synchronize()
        return 1e-3 * float(start.elapsed_time(end))


def _why_no_gpu() -> ChoiceReason:
    if torch.version.cuda is None:
        return ChoiceReason(cpu_only="this torch was built without CUDA: install another build of it")
    return ChoiceReason(lost_gpu=f"torch, built for CUDA {torch.version.cuda}, sees no device: is the driver too old?")


def _choose_precision(wanted: str, on_cuda: bool) -> str:
    able = CAPABILITIES[TorchBackend.name].on_gpu if on_cuda else CAPABILITIES[TorchBackend.name].on_cpu
    if wanted == "auto":
        if on_cuda:
            return "float16"
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    if wanted not in able:
        raise BackendError(f"torch on {'CUDA' if on_cuda else 'the CPU'} runs {', '.join(able)}, not {wanted}")
    if wanted == "bfloat16" and not on_cuda and not cpu_has_bfloat16():
        raise BackendError("this CPU has no bfloat16 arithmetic, where it is slower than float32: use float32 or auto")
    if wanted == "bfloat16" and on_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise BackendError("this GPU has no bfloat16 arithmetic: use float16, float32 or auto")
    return wanted


def fold_norms(network: nn.Module) -> nn.Module:
    """``network``, changed in place: each block of a convolution and its batch norm becomes one convolution.

    Applies to blocks that hold them as ``conv`` and ``norm`` and say by ``relu6`` whether an activation follows.
    """
    for name, child in network.named_children():
        conv, norm = getattr(child, "conv", None), getattr(child, "norm", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and hasattr(child, "relu6"):
            fused: nn.Module = fuse_conv_bn_eval(conv.eval(), norm.eval())
            setattr(network, name, nn.Sequential(fused, nn.ReLU6(inplace=True)) if child.relu6 else fused)
        else:
            fold_norms(child)
    return network
