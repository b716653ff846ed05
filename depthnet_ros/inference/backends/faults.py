"""What the libraries' errors say, in one line, and what a failed run of a network becomes."""

from __future__ import annotations

import re

from depthnet_ros.errors import BackendError

_NO_MEMORY = re.compile("alloc|out of memory", re.IGNORECASE)


def first_line(error: BaseException) -> str:
    """The first line that says something: the reason in errors of torch and ONNX Runtime."""
    first, *others = _lines(error)
    return f"{first} {others[0]}" if others and first.endswith("indices") else first


def last_line(error: BaseException) -> str:
    """The last line that says something: the reason in errors of OpenVINO, below the places it came through."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def is_want_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, as far as the libraries' words tell."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def failed_run(what: str, device: str, error: BaseException, reason: str) -> BackendError:
    """The error to raise when ``what`` (the backend, and the input's shape) failed on ``device``."""
    if is_want_of_memory(error):
        elsewhere = "" if device == "cpu" else " or device cpu"
        return BackendError(
            f"{what} ran out of memory on {device}: free it, or use fewer cameras in a batch, a smaller network or "
            f"input size{elsewhere} ({reason})"
        )
    return BackendError(f"{what} failed on {device}: {reason}")
