"""Files by the names that people give them, and in the order these have; files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depthnet_ros.errors import ConfigError


def from_user(path: str | Path) -> Path:
    """A path as people write it, ``~`` being their home.

    Raises:
        ConfigError: ``~name`` of nobody who is known here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: nobody of that name has a home here; write the folder out") from error


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


@contextmanager
def written_whole(path: Path, durable: bool = True) -> Iterator[Path]:
    """A path to write to that takes the place of ``path`` when the block ends well: readers never see half a file.

    Two writers of one file do not meet: each has a temporary one of its own, ``*.part``. It is on the disk before it
    takes the place, since robots lose their power without warning; not if ``durable`` is false, for what is made by the
    thousand and can be made again.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name[:32] + ".", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
