"""What keeps a part of a recording from being read, and how to mend it, in words."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from pathlib import Path

from depthnet_ros.files import natural_key

_PACKED = ".zstd"
_PACKED_SUFFIXES = (f".mcap{_PACKED}", f".db3{_PACKED}")
"""Of parts compressed as whole files; metadata.yaml says so to who has it."""
_ACTIVE = ".bag.active"
"""Ends the name of a ROS 1 bag while it is being recorded."""


def unread_files(folder: Path) -> list[str]:
    """Parts of a folder without a usable metadata.yaml that cannot be read as they are, each with what mends it."""
    return [
        f"{item.name} is compressed as a whole and left out: unpack it there (zstd -d {item.name}) and read again"
        if item.name.endswith(_PACKED_SUFFIXES)
        else f"{item.name} is left out{remedy(item)}"
        for item in sorted(folder.iterdir(), key=natural_key)
        if item.name.endswith((*_PACKED_SUFFIXES, _ACTIVE)) and not item.with_suffix("").exists()
    ]


def unlisted_files(folder: Path, listed: Collection[str]) -> list[str]:
    """Parts of a recording that its metadata.yaml does not list, each with what mends it: `ros2 bag reindex` leaves out
    those compressed as a whole. ``listed``: names without ``.zstd``; parts are called alike but for their number.
    """
    series = {_without_numbers(name) for name in listed}
    found = {item.name: item.name.removesuffix(_PACKED) for item in sorted(folder.iterdir(), key=natural_key)}
    return [
        f"{name} is not among the files that metadata.yaml lists and is left out: "
        + (f"unpack it there (zstd -d {name}) and " if name != unpacked else "")
        + f"run `ros2 bag reindex {folder}`"
        for name, unpacked in found.items()
        if unpacked not in listed and _without_numbers(unpacked) in series
        if name == unpacked or unpacked not in found
    ]


def no_room_to_unpack(folder: Path) -> str:
    """Of a recording whose parts are compressed as whole files: they are unpacked before they are read."""
    return (
        f"{folder}: there is no room in {tempfile.gettempdir()} to unpack its files: set TMPDIR to a folder with "
        "more, or unpack them yourself (zstd -d, then ros2 bag reindex)"
    )


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "", name)


def unread_log(database: Path) -> str:
    """Why an .db3 may lack its last messages: a recorder that crashed leaves them in a log beside it, which is not read
    since reading it would change the recording. Empty where there is none.
    """
    log = database.with_name(f"{database.name}-wal")
    if database.suffix != ".db3" or not log.is_file() or log.stat().st_size == 0:
        return ""
    return (
        f"{log.name} may hold messages that its recorder had not yet put into {database.name} when it ended, and is "
        f"not read: put them there with sqlite3 {database.name} 'PRAGMA wal_checkpoint(TRUNCATE)', and read again"
    )


def remedy(path: Path, reason: str = "") -> str:
    """What mends a file that cannot be read for that reason, to follow it; empty where nothing is known."""
    if path.name.endswith(_ACTIVE):
        return f": its recorder did not finish it; run `rosbag reindex {path.name}` and name it {path.stem}"
    if path.name.endswith(_PACKED_SUFFIXES):
        return f"; it is compressed as a whole: name its folder, or unpack it (zstd -d {path.name})"
    if path.name == "metadata.yaml":
        return f"; name its folder: {path.parent}"
    if path.suffix == ".bag":
        return f"; if it was cut short, run `rosbag reindex {path.name}` on a copy"
    if log := unread_log(path):
        return f"; {log}"
    if path.suffix == ".db3" and "malformed" in reason:
        dump = f"sqlite3 {path.name} .dump | sed 's/^ROLLBACK.*/COMMIT;/' | sqlite3 saved.db3"  # .recover may refuse
        return f"; save what is whole in it: {dump}"
    return ""
