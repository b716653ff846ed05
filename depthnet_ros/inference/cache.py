"""What is computed once and kept between runs: exported networks, parity references, timings. Safe to delete."""

from __future__ import annotations

import errno
import hashlib
import logging
import mmap
import os
import stat
import tempfile
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from depthnet_ros.files import written_whole

ENVIRONMENT = "DEPTHNET_CACHE_DIR"
_EXTERNAL = b"\x0a\x08location\x12"
"""How an ONNX file begins the name of a file that holds weights for it: an entry's key, and the tag of its value."""
_LOG = logging.getLogger(__name__)


def cache_folder(name: str) -> Path:
    """The folder ``name`` of the user's cache, made if it is not there; of the stand-in's where none can be written.

    Raises:
        OSError: nothing can be written there either.
    """
    root, note = _root()
    if note:
        _warn_once(note)
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cache_note() -> str:
    """What to tell people about where the cache lies: empty unless it is not where it should be."""
    try:
        return _root()[1]
    except OSError as error:
        return f"nothing is kept for the next start: {error}"


def _root() -> tuple[Path, str]:
    """The cache's folder, and what to say if it is a stand-in."""
    try:
        base = os.environ.get(ENVIRONMENT)
        root = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depthnet_ros"
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission to write", str(root))
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        stand_in = _stand_in()
        return stand_in, f"cache in {stand_in}, since its folder cannot be written ({error}): set {ENVIRONMENT}"
    return root, ""


def _stand_in() -> Path:
    """One folder of this user in the system's temporary one: always the same, and nobody else's.

    What lies in it is trusted like the cache, and its name is known to all: one that others made or can write to is
    refused.
    """
    folder = Path(tempfile.gettempdir()) / f"depthnet_ros-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, f"others can write to it: remove it, or set {ENVIRONMENT}", str(folder))
    return folder


@lru_cache
def _warn_once(note: str) -> None:
    _LOG.warning(note)


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def network_digest(path: Path) -> str:
    """SHA-256 of an ONNX file; together with those of the files that hold weights for it, where there are such."""
    parts = [file_digest(path), *(f"{name} {file_digest(path.parent / name)}" for name in _external_files(path))]
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _external_files(path: Path) -> list[str]:
    """Names, relative to its folder, of the files that an ONNX file keeps weights in.

    Found by how they are written, since the light runtime has no ``onnx`` to ask: what is found by chance is no file.
    """
    names = set()
    if path.stat().st_size == 0:  # nothing to map
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_EXTERNAL)
        while start >= 0:
            start += len(_EXTERNAL)
            low, high = (*data[start : start + 2], 0, 0)[:2]
            if low < 0x80:  # the length, seven bits a byte, the lowest first
                length, text = low, start + 1
            else:
                length, text = low & 0x7F | high << 7, start + 2
            names.add(os.fsdecode(data[text : text + length]))
            start = data.find(_EXTERNAL, start)
    return sorted(name for name in names if "\0" not in name and (path.parent / name).is_file())


def seal(path: Path, *files: Path) -> None:
    """Write the SHA-256 of ``files`` to ``path``, for :func:`is_sealed`."""
    with written_whole(path) as temporary:
        temporary.write_text(_seal_of(files))


def is_sealed(path: Path, *files: Path) -> bool:
    """Whether ``files`` are all there and as they were when ``path`` was written."""
    try:
        return path.read_text() == _seal_of(files)
    except (OSError, UnicodeDecodeError):
        return False


def _seal_of(files: tuple[Path, ...]) -> str:
    return "".join(f"{file_digest(file)}  {file.name}\n" for file in files)


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
