"""What the commands write: a disk that takes nothing more is said in one line, not in a traceback."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from safetensors import SafetensorError

from depthnet_ros.errors import DepthNetError
from depthnet_ros.files import written_whole

_LOGGER = logging.getLogger(__name__)
LOCK_NAME = "depthnet.lock"
_ADVICE = "make room or name another place"


class OutputError(DepthNetError):
    """A result that cannot be written: a full disk, most of the time, or a file where a folder should be."""


@contextmanager
def writing(what: Path | str, advice: str = _ADVICE) -> Iterator[None]:
    """Turns what writing raises in the block into OutputError that names ``what`` and gives ``advice``.

    Raises:
        OutputError: the block raised OSError, or safetensors' error for a full disk.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{what} cannot be written ({error}): {advice}, and run it again") from error


def write_text(path: Path, text: str, advice: str = _ADVICE) -> None:
    """Write a UTF-8 file that takes the place of an earlier one whole or not at all.

    Raises:
        OutputError: it cannot be written; an earlier one stays.
    """
    with writing(path, advice), written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def alone_in(folder: Path, advice: str = _ADVICE) -> Iterator[None]:
    """Makes a folder where there is none, and holds it in the block: nobody else can who asks for it in this way.

    The lock is the kernel's, on a file ``depthnet.lock`` that stays: it ends with the process, however that ends.

    Raises:
        OutputError: another process holds the folder, or it cannot be written to.
    """
    with writing(folder, advice):
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock_file(folder / LOCK_NAME)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{folder}: another run is at work in it: wait until it has ended, or end it") from error
        except OSError as error:  # of a file system without locks
            _LOGGER.warning("%s cannot be locked (%s): let no other run work in it meanwhile", folder, error)
        yield


def _lock_file(path: Path) -> IO[bytes]:
    """Opened, and made if it is not there, for all who share the folder, whatever the umask of the first of them."""
    try:
        file = path.open("ab")
    except PermissionError:
        return path.open("rb")  # to lock it takes no more
    with suppress(OSError):  # another user's
        os.fchmod(file.fileno(), 0o666)
    return file
