"""What is computed once and kept between runs: exported networks, parity references, timings. Safe to delete."""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ENVIRONMENT = "DEPTHNET_CACHE_DIR"


def cache_folder(name: str) -> Path:
    """The folder ``name`` of the user's cache, made if it is not there; a temporary one where none can be written."""
    base = os.environ.get(ENVIRONMENT)
    root = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depthnet_ros"
    try:
        (root / name).mkdir(parents=True, exist_ok=True)
        if os.access(root / name, os.W_OK):
            return root / name
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix=f"depthnet_ros-{name}-"))


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def key_of(*parts: object) -> str:
    """A short file name for everything that a cached result depends on."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:24]


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by package name; ``-`` where it is not installed."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
