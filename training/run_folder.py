"""The folder of a run: one run at a time writes to it."""

from __future__ import annotations

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depthnet_ros.errors import ConfigError
from training.outputs import writing

_LOG = logging.getLogger(__name__)
LOCK_NAME = ".lock"
_LEFTOVERS = ("state.pt.tmp", "state.pt.*.part", "weights.safetensors.*.part", "weights_*.safetensors.*.part")
"""What a kill leaves of files that were being written; the first as earlier versions named it."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within ``with`` no other run writes to ``folder``, and what a killed one left half written is removed first.
    It is made if it is not there.

    The lock is let go with the process, however that ends. A file system without locks is warned of.

    Raises:
        ConfigError: another run has it.
        OutputError: nothing can be written there.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_NAME).open("a")
    with file:
        try:
            # Of this process alone: flock's would live on in workers that a killed run has left for some seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):  # which of the two depends on the system
                raise ConfigError(
                    f"another run is writing to {folder}: wait for its end, or give another --out"
                ) from error
            _LOG.warning("%s cannot be locked (%s): start no second run with it", folder, error)
        else:
            with writing(folder):
                for leftover in (path for pattern in _LEFTOVERS for path in folder.glob(pattern)):
                    leftover.unlink(missing_ok=True)
        yield
