"""Room for images in shared memory: taken where nobody has decided otherwise, and told where there is none."""

import shutil
import xml.etree.ElementTree
from collections import namedtuple
from pathlib import Path

import pytest

from depthnet_ros.middleware import PROFILE_VARIABLE, PROFILES, room_for_images

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def a_folder_without_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(size, 0, size))


@pytest.mark.parametrize(("share_mb", "name"), [(512, "fastdds.xml"), (64, "fastdds_small.xml")])  # Docker's: 64
def test_a_process_takes_the_profile_that_fits(
    share_mb: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, share_mb << 20)
    lacking, told = room_for_images({}, tmp_path)
    assert [(key, Path(path).name) for key, path in lacking.items()] == [(PROFILE_VARIABLE, name)]
    assert ("64 MB left" in told) == (share_mb == 64)
    sizes = [e.text for e in xml.etree.ElementTree.parse(lacking[PROFILE_VARIABLE]).iter() if "segment_size" in e.tag]
    assert sizes == [str(PROFILES[name])]


@pytest.mark.parametrize(
    "decided",
    [
        {PROFILE_VARIABLE: "mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
    ],
)
def test_who_has_decided_otherwise_has_his_way(
    decided: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 0)
    assert room_for_images(decided, tmp_path) == ({}, "")


def test_a_profile_in_the_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 512 << 20)
    (tmp_path / "DEFAULT_FASTRTPS_PROFILES.xml").write_text("<dds/>")
    assert room_for_images({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, tmp_path) == ({}, "")


def test_where_there_is_too_little_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 16 << 20)
    lacking, told = room_for_images({}, tmp_path)
    assert lacking == {} and "16 MB left" in told and "--shm-size" in told
    assert room_for_images({}, tmp_path / "none") == ({}, "")  # another system
