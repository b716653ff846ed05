"""Where the files that come with the package lie: in the source tree, or where colcon or pip installed them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def share_folders(name: str) -> Iterator[Path]:
    """Places of the folder ``name`` (weights, config, ...), best first; they need not exist."""
    package = Path(__file__).resolve().parent
    yield package.parent / name
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    prefixes += [str(parent.parent) for parent in package.parents if parent.name == "lib"]  # <prefix>/lib/python/...
    for prefix in filter(None, prefixes):
        yield Path(prefix) / "share" / "depthnet_ros" / name


def shared_file(folder: str, name: str) -> Path | None:
    """One file that comes with the package, or None if it is not installed."""
    return next((path for parent in share_folders(folder) if (path := parent / name).is_file()), None)
