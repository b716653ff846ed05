"""Folders of recordings as recorders and people leave them: several files at a time, logs not merged, other QoS."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.messages.stamps import header_stamp_ns
from test.bags.bag_scene import CAMERA, FRAME, scene_rgb, stamp_of


def write_image(writer: BagWriter, index: int) -> None:
    now = stamp_of(index)
    writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now)


def write_info(writer: BagWriter, index: int) -> None:
    now = stamp_of(index)
    writer.write("/camera_info", messages.camera_info(CAMERA, now, FRAME), now + 1)


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_files_of_several_recorders_are_one_stream_in_time(tmp_path: Path, suffix: str) -> None:
    """One records images, one what belongs to them; the second is split, and begins late."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for name, write, part in (
        ("camera", write_image, range(12)),
        ("info_0", write_info, range(2, 6)),
        ("info_1", write_info, range(6, 12)),
    ):
        with BagWriter(folder / f"{name}{suffix}") as writer:
            for index in part:
                write(writer, index)
    with BagReader(folder) as reader:
        items = list(reader.messages(["/image", "/camera_info"]))
    assert len(items) == 22
    assert [item.time_ns for item in items] == sorted(item.time_ns for item in items)


@pytest.mark.parametrize("name", ["run_1.5mps_{}.mcap", "drive_{}.mcap", "{}.mcap"])
def test_parts_of_one_time_are_read_in_the_order_that_people_count(tmp_path: Path, name: str) -> None:
    """As a simulation that stands still records them: only their names tell their order."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for part in range(12):
        with BagWriter(folder / name.format(part)) as writer:
            image = messages.image(scene_rgb(part), "rgb8", stamp_of(part), FRAME)
            writer.write("/image", image, stamp_of(0))
    with BagReader(folder) as reader:
        found = [header_stamp_ns(item.message) for item in reader.messages(["/image"])]
    assert found == [stamp_of(part) for part in range(12)]
