"""Recordings shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthnet_ros.bags.writer import BagWriter
from test.bags.bag_scene import write_scene


@pytest.fixture(scope="session")
def scene_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames at 10 Hz: /image, /camera_info, /depth, /tf_static."""
    path = tmp_path_factory.mktemp("bags") / "scene.mcap"
    with BagWriter(path, compression="zstd") as writer:
        write_scene(writer, 20)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What backends keep between runs is kept between these tests only."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("DEPTHNET_CACHE_DIR", str(folder))
