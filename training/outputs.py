"""What the commands write: a disk that takes nothing more is said in one line, not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from depthnet_ros.errors import DepthNetError
from depthnet_ros.files import written_whole


class OutputError(DepthNetError):
    """A result that cannot be written: a full disk, most of the time, or a file where a folder should be."""


@contextmanager
def writing(what: Path | str) -> Iterator[None]:
    """Turns what writing raises in the block into OutputError that names ``what``.

    Raises:
        OutputError: the block raised OSError, or safetensors' error for a full disk.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{what} cannot be written ({error}): make room or name another place, and run it again"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file that takes the place of an earlier one whole or not at all.

    Raises:
        OutputError: it cannot be written; an earlier one stays.
    """
    with writing(path), written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
