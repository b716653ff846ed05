"""What every inference backend offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) normalised images to (N, C, h, w) raw network output, float32.

        Raises:
            BackendError: the device failed or ran out of memory.
        """
        ...

    def close(self) -> None:
        """Free the device. Calling it twice does no harm."""
        ...
