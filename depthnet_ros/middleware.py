"""What the middleware needs so that images arrive: room for them in the shared memory of Fast DDS, ROS's default."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from depthnet_ros.share import shared_file

PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_DECIDED_BY = (PROFILE_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")
_IN_FOLDER = "DEFAULT_FASTRTPS_PROFILES.xml"  # which Fast DDS reads by itself
_SHARED_MEMORY = Path("/dev/shm")
PROFILES = {"fastdds.xml": 32 << 20, "fastdds_small.xml": 8 << 20}
"""Bytes that a process takes as it starts: enough for clouds of a 1920x1080 camera, of a 640x480 one."""
_SHARES = 3  # of this process and of two others: where it is full Fast DDS goes without shared memory


def room_for_images(
    environment: Mapping[str, str] = os.environ, shared_memory: Path = _SHARED_MEMORY
) -> tuple[dict[str, str], str]:
    """What to add to a process's environment so that it sends whole images through shared memory, and what to tell of
    it where there is little.

    Nothing is added where the user has decided otherwise, or where another middleware is chosen.
    """
    decided = any(environment.get(name) for name in _DECIDED_BY) or Path(_IN_FOLDER).is_file()
    other_middleware = "fastrtps" not in (environment.get("RMW_IMPLEMENTATION") or "fastrtps")
    profiles = {name: shared_file("config", name) for name in PROFILES}
    if decided or other_middleware or not shared_memory.is_dir() or not all(profiles.values()):
        return {}, ""
    free = shutil.disk_usage(shared_memory).free
    fitting = [name for name, size in PROFILES.items() if free >= _SHARES * size]
    taken = {PROFILE_VARIABLE: str(profiles[fitting[0]])} if fitting else {}
    return taken, "" if len(fitting) == len(PROFILES) else _little(free, shared_memory)


def _little(free: int, shared_memory: Path) -> str:
    needed = _SHARES * PROFILES["fastdds_small.xml"]
    return (
        f"{shared_memory} has {free >> 20} MB left: between processes images larger than 640x480 will be lost, below "
        f"{needed >> 20} MB any; in a container use --ipc=host or --shm-size=512m"
    )
