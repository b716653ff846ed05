"""mcap files whose recorder left out a part of the index, as storage options and presets of ``ros2 bag`` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter

from depthnet_ros.bags import messages
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.types import standard_types
from depthnet_ros.bags.writer import BagWriter
from test.bags.bag_scene import CAMERA, FRAME, scene_rgb, stamp_of, write_scene

LEFT_OUT = {
    "nothing": {},
    "message index": {"index_types": IndexType.ALL & ~IndexType.MESSAGE},
    "chunk index": {"index_types": IndexType.ALL & ~IndexType.CHUNK},
    "chunks": {"use_chunking": False},
    "channels": {"repeat_channels": False},
    "schemas": {"repeat_schemas": False},
    "statistics": {"use_statistics": False},
    "statistics and message index": {"use_statistics": False, "index_types": IndexType.ALL & ~IndexType.MESSAGE},
    "all": {
        "index_types": IndexType.NONE,
        "repeat_channels": False,
        "repeat_schemas": False,
        "use_statistics": False,
        "use_summary_offsets": False,
    },
}
FRAMES = 12
LATE_NS = 5_000_000


def write(path: Path, **options: Any) -> None:
    """Each image is written after what was recorded 5 ms later."""
    kinds = standard_types()
    with path.open("wb") as file:
        writer = McapWriter(file, chunk_size=1 << 17, **options)
        writer.start("ros2", "test")
        channels = {}
        for topic, kind in (("/image", "sensor_msgs/msg/Image"), ("/camera_info", "sensor_msgs/msg/CameraInfo")):
            definition, _ = kinds.generate_msgdef(kind, ros_version=2)
            channels[topic] = writer.register_channel(
                topic, "cdr", writer.register_schema(kind, "ros2msg", definition.encode())
            )
        for index in range(FRAMES):
            now = stamp_of(index)
            for topic, message, time_ns in (
                ("/camera_info", messages.camera_info(CAMERA, now, FRAME), now + LATE_NS),
                ("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now),
            ):
                data = bytes(kinds.serialize_cdr(message, message.__msgtype__))
                writer.add_message(channels[topic], time_ns, data, time_ns)
        writer.finish()


def write_folder(folder: Path, packed: bool, **options: Any) -> None:
    """As a recorder leaves it when it ends; ``packed``: with --compression-mode file."""
    with BagWriter(folder) as writer:  # for its metadata.yaml
        for index in range(FRAMES):
            now = stamp_of(index)
            writer.write("/camera_info", messages.camera_info(CAMERA, now, FRAME), now + LATE_NS)
            writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now)
    (part,) = folder.glob("*.mcap")
    write(part, **options)
    if packed:
        metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
        packed_part = part.with_name(f"{part.name}.zstd")
        metadata["rosbag2_bagfile_information"] |= {
            "compression_format": "zstd", "compression_mode": "FILE", "relative_file_paths": [packed_part.name],
        }  # fmt: skip
        (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
        packed_part.write_bytes(zstandard.compress(part.read_bytes()))
        part.unlink()


@pytest.mark.parametrize("shape", ["file", "folder", "packed"])
@pytest.mark.parametrize("left_out", LEFT_OUT)
def test_an_mcap_without_a_part_of_its_index_is_whole(tmp_path: Path, shape: str, left_out: str) -> None:
    path = tmp_path / ("drive.mcap" if shape == "file" else "drive")
    if shape == "file":
        write(path, **LEFT_OUT[left_out])
    else:
        write_folder(path, shape == "packed", **LEFT_OUT[left_out])
    with BagReader(path) as bag:
        assert {name: topic.message_count for name, topic in bag.topics.items()} == {
            "/image": FRAMES, "/camera_info": FRAMES,
        }  # fmt: skip
        found = [(item.topic, item.time_ns) for item in bag.messages(["/image", "/camera_info"])]
        part = list(bag.messages(["/image"], start_ns=stamp_of(5), stop_ns=stamp_of(8)))
        assert bag.losses == []
    assert found == [
        item
        for index in range(FRAMES)
        for item in (("/image", stamp_of(index)), ("/camera_info", stamp_of(index) + LATE_NS))
    ]
    assert [item.time_ns for item in part] == [stamp_of(5), stamp_of(6), stamp_of(7)]


@pytest.mark.parametrize("left_out", ["message index", "chunk index"])
def test_damage_in_an_mcap_without_an_index_costs_its_chunk(tmp_path: Path, left_out: str) -> None:
    path = tmp_path / "drive.mcap"
    write(path, **LEFT_OUT[left_out])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(50)
    path.write_bytes(data)
    with BagReader(path) as bag:
        times = [item.time_ns for item in bag.messages(["/image"])]
        losses = " ".join(bag.losses)
    assert times == sorted(set(times)) and {stamp_of(0), stamp_of(FRAMES - 1)} <= set(times)
    assert len(times) < FRAMES and "damaged" in losses


@pytest.mark.parametrize("shape", ["file", "folder", "cut"])
def test_a_type_that_the_recorder_did_not_find_costs_only_itself(tmp_path: Path, shape: str) -> None:
    """rosbag2 writes "unknown" for the encoding of its definition. QoS stays, for a copy that is played."""
    folder, kind = tmp_path / "drive", b"sensor_msgs/msg/Range\x07\x00\x00\x00"
    with BagWriter(folder) as writer:
        writer.write("/range", messages.range_reading(2.0, 0.2, (0.05, 8.0), stamp_of(0), FRAME), stamp_of(0))
        write_scene(writer, FRAMES)
    (part,) = folder.glob("*.mcap")
    with BagReader(part) as bag:
        qos = {channel.topic: channel.qos for channel in bag.channels}
    data = part.read_bytes().replace(kind + b"ros2msg", kind + b"unknown")
    part.write_bytes(data[: -len(data) // 50] if shape == "cut" else data)
    with BagReader(folder if shape == "folder" else part) as bag:
        assert len(list(bag.messages(["/image", "/range"]))) == 1 + (FRAMES * 2 // 3 if shape == "cut" else FRAMES)
        assert bool(bag.losses) == (shape == "cut")
        assert {channel.topic: channel.qos for channel in bag.channels} == qos and qos["/tf_static"]
