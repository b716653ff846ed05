"""Room for images in shared memory: taken where nobody has decided otherwise, and told where there is none."""

import shutil
import xml.etree.ElementTree
from collections import namedtuple
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from depthnet_ros.middleware import CYCLONE_RECEIVES, CYCLONE_VARIABLE, PROFILE_VARIABLES, PROFILES, room_for_images

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
    assert {key: Path(path).name for key, path in lacking.items()} == dict.fromkeys(PROFILE_VARIABLES, name)
    assert ("64 MB left" in told) == (share_mb == 64)
    sizes = [
        e.text for e in xml.etree.ElementTree.parse(lacking[PROFILE_VARIABLES[0]]).iter() if "segment_size" in e.tag
    ]
    assert sizes == [str(PROFILES[name])]


@pytest.mark.parametrize(
    "decided",
    [
        *({variable: "mine.xml"} for variable in PROFILE_VARIABLES),
        {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"},
        {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", CYCLONE_VARIABLE: "mine.xml"},
    ],
)
def test_who_has_decided_otherwise_has_his_way(
    decided: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 0)
    assert room_for_images(decided, tmp_path) == ({}, "")


@pytest.mark.parametrize("name", ["DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml"])
def test_a_profile_in_the_folder_is_the_users(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 512 << 20)
    (tmp_path / name).write_text("<dds/>")
    assert room_for_images({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, tmp_path) == ({}, "")


def test_where_there_is_too_little_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 16 << 20)
    lacking, told = room_for_images({}, tmp_path)
    assert lacking == {} and "16 MB left" in told and "--shm-size" in told
    assert room_for_images({}, tmp_path / "none") == ({}, "")  # another system


@pytest.mark.parametrize(("allowed", "told_of_it"), [(212992, True), (CYCLONE_RECEIVES, False), (None, False)])
def test_cyclone_dds_receives_what_the_system_allows(allowed: int | None, told_of_it: bool, tmp_path: Path) -> None:
    """212992 is Linux's own; a container does not see it."""
    file = tmp_path / "rmem_max"
    if allowed is not None:
        file.write_text(f"{allowed}\n")
    lacking, told = room_for_images({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, most_received=file)
    settings = xml.etree.ElementTree.parse(unquote(urlparse(lacking.pop(CYCLONE_VARIABLE)).path))
    (buffer,) = (element for element in settings.iter() if element.tag.endswith("}SocketReceiveBufferSize"))
    assert buffer.attrib == {"max": f"{CYCLONE_RECEIVES >> 20} MiB"}  # a `min` would keep the node from starting
    assert not lacking and ("208 KB at a time" in told) == told_of_it == bool(told)
