"""What every inference backend offers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8")


@dataclass(frozen=True)
class Capabilities:
    """The precisions that a backend runs, by where it runs; none: it does not run there."""

    on_cpu: tuple[str, ...] = ()
    on_gpu: tuple[str, ...] = ()


CAPABILITIES = {
    "torch": Capabilities(("float32", "bfloat16"), ("float32", "float16", "bfloat16")),
    "openvino": Capabilities(("float32", "bfloat16", "int8")),
    "onnxruntime": Capabilities(("float32", "int8"), ("float32",)),
    "tensorrt": Capabilities((), ("float16", "float32")),
}
"""Of each backend. They stand here and not with the backends, whose import needs their libraries and takes long.
With ONNX Runtime and TensorRT precision ``auto`` is the first; the other two look at the processor as well.
"""
TYPICAL_IMAGE_PX = (480, 640)
"""(height, width) of the image that backends are timed with and engines are tuned for."""
BACKENDS = ("auto", *CAPABILITIES)


@dataclass(frozen=True)
class ChoiceReason:
    """Why a backend runs as it does: facts that are empty where there is nothing to tell.

    Attributes:
        parity: what the parity check found.
        reference: what people should know of the reference that it was compared with.
        setup: what is special in how it was set up.
        cpu_only: why the installed build cannot use the GPU that is there.
        lost_gpu: why it runs on the CPU although it was to try a GPU first.
        fell_back_from: the precision that was tried first.
        fell_back_why: what failed in it.
        ranking: how it compared with the others.
        idle_gpu: why the GPU that is there stays idle.
        notes: whatever else there is to know.
    """

    parity: str = ""
    reference: str = ""
    setup: str = ""
    cpu_only: str = ""
    lost_gpu: str = ""
    fell_back_from: str = ""
    fell_back_why: str = ""
    ranking: str = ""
    idle_gpu: str = ""
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> ChoiceReason:
        """The same with further notes; empty ones are left out."""
        return replace(self, notes=(*self.notes, *filter(None, notes)))

    def describe(self) -> str:
        """All of it for people, in one line."""
        parts = (
            self.parity,
            self.reference,
            self.setup,
            self.cpu_only and f"on the CPU, as {self.cpu_only}",
            self.lost_gpu and f"on the CPU: {self.lost_gpu}",
            self.describe_comparison(),
            *self.notes,
        )
        return "; ".join(filter(None, parts))

    def describe_comparison(self) -> str:
        """What holds at the next start, too, when nothing is timed: the fall-back and the ranking."""
        fell_back = self.fell_back_from and f"fell back from {self.fell_back_from}: {self.fell_back_why}"
        idle = self.idle_gpu and f"the GPU is idle: {self.idle_gpu}"
        return "; ".join(filter(None, (fell_back, self.ranking, idle)))


class Backend(Protocol):
    """Runs one network. Always (N, 3, h, w) float32 in, whatever layout or precision it uses inside.

    ``infer`` may be called with other N, h, w from call to call; a backend that compiles for a shape does so then.
    """

    name: str
    """Registered name: torch, openvino, onnxruntime, ..."""
    device: str
    """Where it runs, as shown to people: ``cpu``, ``cuda:0 (name)``."""
    precision: str
    """Arithmetic in use: ``float32``, ``bfloat16``, ``int8``, ..."""
    choice_reason: ChoiceReason
    """Why this one runs, how it compared, and what it fell back from; for diagnostics."""

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) normalised images to (N, C, h, w) raw network output, float32, in memory of its own.

        Raises:
            BackendError: the device failed or ran out of memory.
        """
        ...

    def close(self) -> None:
        """Free the device. Calling it twice does no harm."""
        ...


@runtime_checkable
class HasInputMemory(Protocol):
    """A backend to which images written to memory of its own go sooner."""

    def input_memory(self, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """Memory of that shape, whose content may be anything, that ``infer`` takes without a copy.

        Raises:
            BackendError: the device ran out of memory.
        """
        ...


def input_memory(backend: Backend, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """The best memory to write a batch (N, 3, h, w) for ``backend`` to."""
    return backend.input_memory(shape) if isinstance(backend, HasInputMemory) else np.empty(shape, dtype=np.float32)


@dataclass(frozen=True)
class Request:
    """What the user asks of a backend.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: one of :data:`PRECISIONS`.
        threads: CPU threads, at least 1.
    """

    device: str
    precision: str
    threads: int

    @property
    def wants_cuda(self) -> bool:
        """A CUDA device was asked for by name."""
        return self.device.startswith("cuda")

    @property
    def cuda_index(self) -> int:
        """Number of the CUDA device."""
        return int(self.device.partition(":")[2] or 0)
