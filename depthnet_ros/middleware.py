"""What the middleware needs so that images arrive: room for them, in shared memory for Fast DDS, ROS's default, in the
socket that it receives from for Cyclone DDS.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from depthnet_ros.share import shared_file

PROFILE_VARIABLES = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
"""Of Fast DDS 2 (Jazzy), and of 3 (Kilted), which takes the former with a warning."""
CYCLONE_VARIABLE = "CYCLONEDDS_URI"
_DECIDED_BY = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
_IN_FOLDER = "DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml"  # which Fast DDS reads by itself
_SHARED_MEMORY = Path("/dev/shm")
PROFILES = {"fastdds.xml": 32 << 20, "fastdds_small.xml": 8 << 20}
"""Bytes that a process takes as it starts: enough for clouds of a 1920x1080 camera, of a 640x480 one."""
_SHARES = 3  # of this process and of two others: where it is full Fast DDS goes without shared memory
_MOST_RECEIVED = Path("/proc/sys/net/core/rmem_max")
CYCLONE_RECEIVES = 64 << 20
"""Bytes that config/cyclonedds.xml asks the system for: some clouds of a 1920x1080 camera."""


def room_for_images(
    environment: Mapping[str, str] = os.environ,
    shared_memory: Path = _SHARED_MEMORY,
    most_received: Path = _MOST_RECEIVED,
) -> tuple[dict[str, str], str]:
    """What to add to a process's environment so that whole images go through its middleware, and what to tell of it
    where there is little room for them.

    Nothing is added where the user has decided otherwise, or where a middleware is chosen that needs nothing.
    """
    middleware = environment.get("RMW_IMPLEMENTATION") or "fastrtps"
    if "fastrtps" in middleware:
        return _of_fast_dds(environment, shared_memory)
    if "cyclonedds" in middleware:
        return _of_cyclone_dds(environment, most_received)
    return {}, ""


def _of_fast_dds(environment: Mapping[str, str], shared_memory: Path) -> tuple[dict[str, str], str]:
    decided = any(environment.get(name) for name in _DECIDED_BY) or any(Path(name).is_file() for name in _IN_FOLDER)
    profiles = {name: shared_file("config", name) for name in PROFILES}
    if decided or not shared_memory.is_dir() or not all(profiles.values()):
        return {}, ""
    free = shutil.disk_usage(shared_memory).free
    fitting = [name for name, size in PROFILES.items() if free >= _SHARES * size]
    taken = dict.fromkeys(PROFILE_VARIABLES, str(profiles[fitting[0]])) if fitting else {}
    return taken, "" if len(fitting) == len(PROFILES) else _little(free, shared_memory)


def _of_cyclone_dds(environment: Mapping[str, str], most_received: Path) -> tuple[dict[str, str], str]:
    """It sends datagrams within one machine, too, and whoever receives needs room for all of an image."""
    file = shared_file("config", "cyclonedds.xml")
    if environment.get(CYCLONE_VARIABLE) or file is None:
        return {}, ""
    taken = {CYCLONE_VARIABLE: file.resolve().as_uri()}
    try:
        allowed = int(most_received.read_text())
    except (OSError, ValueError):  # a container has no such file
        return taken, ""
    return taken, "" if allowed >= CYCLONE_RECEIVES else _few(allowed)


def _few(allowed: int) -> str:
    return (
        f"net.core.rmem_max lets Cyclone DDS receive {allowed >> 10} KB at a time: images and clouds that come near it "
        f"will be lost; sudo sysctl -w net.core.rmem_max={CYCLONE_RECEIVES} (and a line in /etc/sysctl.d), and give "
        f"config/cyclonedds.xml to those that listen, Nav2 say (README.md)"
    )


def _little(free: int, shared_memory: Path) -> str:
    needed = _SHARES * PROFILES["fastdds_small.xml"]
    return (
        f"{shared_memory} has {free >> 20} MB left: between processes images larger than 640x480 will be lost, below "
        f"{needed >> 20} MB any; in a container use --ipc=host or --shm-size=512m"
    )
