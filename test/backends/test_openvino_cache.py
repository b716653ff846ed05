"""What OpenVINO compiled and left on the disk is taken again only as it was written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.inference.backends.base import Request
from depthnet_ros.inference.network_files import find_network

pytest.importorskip("openvino")
from depthnet_ros.inference.backends import openvino_backend
from depthnet_ros.inference.backends.openvino_backend import _MOST_SHAPES, OpenVinoBackend


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 3, 96, 128)).astype(np.float32)


def _backend(path: Path) -> OpenVinoBackend:
    return OpenVinoBackend(path, find_network(path).spec, Request("cpu", "float32", 1))


def _blob(cache: Path) -> Path:
    (blob,) = cache.rglob("*.blob")
    return blob


def test_a_damaged_network_in_the_cache_is_compiled_anew(exported: Path, cache: Path, batch: np.ndarray) -> None:
    right = _backend(exported).infer(batch)
    blob = _blob(cache)
    blob.chmod(0o644)
    whole = blob.read_bytes()
    middle = len(whole) // 3
    blob.write_bytes(whole[:middle] + bytes(middle) + whole[2 * middle :])  # as a loss of power leaves a file
    np.testing.assert_allclose(_backend(exported).infer(batch), right, atol=1e-5)
    assert _blob(cache).read_bytes().count(0) < whole.count(0) + 1000, "another one has taken its place"


def test_a_whole_network_in_the_cache_is_taken(exported: Path, cache: Path, batch: np.ndarray) -> None:
    _backend(exported).infer(batch)
    written = _blob(cache).stat().st_mtime_ns
    _backend(exported).infer(batch)
    assert _blob(cache).stat().st_mtime_ns == written


def test_a_network_compiled_before_a_seal_could_be_written_is_not_taken(
    exported: Path, cache: Path, batch: np.ndarray
) -> None:
    _backend(exported).infer(batch)
    blob = _blob(cache)
    written = blob.stat().st_mtime_ns
    (blob.parent / "sha256").unlink()
    _backend(exported).infer(batch)
    assert _blob(cache).stat().st_mtime_ns > written


def test_what_was_not_used_for_longest_goes_from_a_full_cache(
    exported: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _backend(exported).infer(np.zeros((1, 3, 64, 64), np.float32))
    first = _blob(cache)
    older = cache / "openvino-older" / "network"
    older.mkdir(parents=True)
    (older / "x.blob").write_bytes(b"of a version that is gone")
    os.utime(older, (1e9, 1e9))
    monkeypatch.setattr(openvino_backend, "_MOST_CACHED_BYTES", int(2.5 * first.stat().st_size))
    _backend(exported).infer(np.zeros((1, 3, 64, 96), np.float32))
    assert older.is_dir(), "there is room"
    os.utime(first.parent, (2e9, 2e9))
    _backend(exported).infer(np.zeros((1, 3, 64, 128), np.float32))
    assert not older.is_dir()
    assert first.is_file() and len(list(cache.rglob("*.blob"))) == 2


def test_the_shape_that_was_not_used_for_longest_goes(exported_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = _backend(exported_tiny)
    made: list[tuple[int, ...]] = []
    monkeypatch.setattr(backend, "_compile", lambda shape, streams: made.append(shape) or object())
    shapes = [(1, 3, 32 * n, 32) for n in range(1, _MOST_SHAPES + 1)]
    for shape in (*shapes, shapes[0], (1, 3, 32, 64), shapes[0], shapes[1]):
        backend._compiled_for(shape, 1)
    assert made == [*shapes, (1, 3, 32, 64), shapes[1]]
