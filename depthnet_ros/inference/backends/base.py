"""What every inference backend offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8")


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
    choice_reason: str
    """Why this one runs, how it compared, and what it fell back from; for diagnostics."""
    fell_back: str
    """From which precision, and why; empty: from none."""
    lost_gpu: str
    """Why it runs on the CPU although it was to try a GPU first; empty: it was not, or it does run there."""

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
