"""Inference backends, by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends.base import BACKENDS, PRECISIONS, Backend, Request
from depthnet_ros.inference.backends.choice import choose
from depthnet_ros.inference.backends.hardware import usable_cores
from depthnet_ros.inference.backends.loading import open_backend
from depthnet_ros.inference.cache import cache_note
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.models.spec import ModelSpec

__all__ = ["BACKENDS", "create_backend"]

MOST_THREADS = 1024

# Backends flush denormals to zero in the threads that call them. numpy looks at denormals once, the first time it is
# asked for these, and would warn of a strange machine afterwards: so it is asked at import, before any backend can run.
np.finfo(np.float32)
np.finfo(np.float64)


def create_backend(
    weights: str | Path, backend: str = "auto", device: str = "auto", precision: str = "auto", threads: int = 0
) -> tuple[Backend, ModelSpec]:
    """The backend for a weights file, ready to run and proven against the parity reference, and the specification.

    ``threads``: 0 takes one for each physical core that the process may use.

    Raises:
        WeightsError: the file cannot be used.
        BackendError: no such backend, not installed, the device is not there, or its output is not the network's.
    """
    if backend not in BACKENDS:
        raise BackendError(f"no backend named {backend!r}; there are {', '.join(BACKENDS)}")
    if precision not in PRECISIONS:
        raise BackendError(f"no precision named {precision!r}; there are {', '.join(PRECISIONS)}")
    if type(threads) is not int or not 0 <= threads <= MOST_THREADS:
        raise BackendError(f"threads must be an integer in 0..{MOST_THREADS}, 0 for one a core; got {threads!r}")
    if not re.fullmatch("auto|cpu|cuda(:[0-9]+)?", device):
        raise BackendError(f"no device named {device!r}; there are auto, cpu, cuda and cuda:N")
    files = find_network(weights)
    request = Request(device, precision, threads or usable_cores())
    made = choose(files, request) if backend == "auto" else open_backend(backend, files, request)
    if request.threads == 1 and made.device == "cpu":
        why = "one thread" if threads else "one thread: the process may use one core only"
        made.choice_reason = made.choice_reason.with_notes(why)
    made.choice_reason = made.choice_reason.with_notes(cache_note())
    return made, files.spec
