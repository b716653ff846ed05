"""Whole and damaged recordings in every storage, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from depthnet_ros.bags import messages
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.types import standard_types
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import BagError
from depthnet_ros.imaging import to_rgb
from depthnet_ros.messages.stamps import header_stamp_ns
from test.bags.bag_scene import FRAME, scene_depth, scene_rgb, stamp_of, write_scene


def images(path: Path) -> list:
    with BagReader(path) as reader:
        return [item.message for item in reader.messages(["/image"])]


@pytest.mark.parametrize("name", ["bag.mcap", "bag.db3", "folder"])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_round_trip_keeps_every_value(tmp_path: Path, name: str, storage: str, compression: str) -> None:
    path = tmp_path / name
    with BagWriter(path, storage=storage, compression=compression) as writer:
        write_scene(writer, 3)
    assert list(tmp_path.iterdir()) == [path]
    with BagReader(path) as reader:
        assert {topic.name: topic.message_count for topic in reader.topics.values()} == {
            "/camera_info": 3, "/depth": 3, "/image": 3, "/tf_static": 1,
        }  # fmt: skip
        items = list(reader.messages(["/depth", "/image"]))
        assert reader.losses == []
    assert [item.topic for item in items] == ["/image", "/depth"] * 3
    for index in range(3):
        image, depth = items[2 * index], items[2 * index + 1]
        assert header_stamp_ns(image.message) == stamp_of(index) == image.time_ns
        np.testing.assert_array_equal(to_rgb(image.message), scene_rgb(index))
        np.testing.assert_array_equal(depth.message.data.view(np.float32).reshape(120, 160), scene_depth(index))


def test_time_window(scene_bag: Path) -> None:
    with BagReader(scene_bag) as reader:
        part = list(reader.messages(["/image"], start_ns=stamp_of(5), stop_ns=stamp_of(8)))
        assert [item.time_ns for item in part] == [stamp_of(5), stamp_of(6), stamp_of(7)]
        assert reader.losses == []


def write_mcap(
    path: Path, compression: CompressionType, chunks: bool, index: IndexType, count: int = 12, first: int = 0
) -> None:
    definition, _ = standard_types().generate_msgdef("sensor_msgs/msg/Image", ros_version=2)
    with path.open("wb") as file:
        writer = McapWriter(
            file,
            chunk_size=1 << 17,
            compression=compression,
            use_chunking=chunks,
            index_types=index,
            use_summary_offsets=False,
        )
        writer.start("ros2", "test")
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", definition.encode())
        channel = writer.register_channel("/image", "cdr", schema)
        for i in range(first, first + count):
            message = messages.image(scene_rgb(i), "rgb8", stamp_of(i), FRAME)
            data = bytes(standard_types().serialize_cdr(message, message.__msgtype__))
            writer.add_message(channel, stamp_of(i), data, stamp_of(i))
        writer.finish()


def write_metadata(parts: list[Path], count: int) -> None:
    """What a recorder writes beside the parts of images alone when it ends."""
    topic = {
        "name": "/image",
        "type": "sensor_msgs/msg/Image",
        "serialization_format": "cdr",
        "offered_qos_profiles": "",
    }
    since, length = {"nanoseconds_since_epoch": stamp_of(0)}, {"nanoseconds": stamp_of(count - 1) - stamp_of(0)}
    information = {
        "version": 5,
        "storage_identifier": "mcap",
        "duration": length,
        "starting_time": since,
        "message_count": count,
        "topics_with_message_count": [{"topic_metadata": topic, "message_count": count}],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [path.name for path in parts],
        "files": [
            {"path": path.name, "starting_time": since, "duration": length, "message_count": count // len(parts)}
            for path in parts
        ],
    }
    (parts[0].parent / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD, CompressionType.NONE])
@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("index", [IndexType.ALL, IndexType.NONE])
def test_mcap_of_another_writer(tmp_path: Path, compression: CompressionType, chunks: bool, index: IndexType) -> None:
    path = tmp_path / "other.mcap"
    write_mcap(path, compression, chunks, index)
    found = images(path)
    assert [header_stamp_ns(message) for message in found] == [stamp_of(i) for i in range(12)]
    np.testing.assert_array_equal(to_rgb(found[-1]), scene_rgb(11))


def test_truncated_mcap_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    write_mcap(path, CompressionType.NONE, chunks=True, index=IndexType.ALL)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with BagReader(path) as reader:
        stamps = [header_stamp_ns(item.message) for item in reader.messages(["/image"])]
        losses = " ".join(reader.losses)
    assert stamps == [stamp_of(i) for i in range(len(stamps))]
    assert 4 <= len(stamps) < 12
    assert "cut.mcap" in losses
    assert "cannot be read" in losses


def test_unindexed_mcap_out_of_order_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "order.mcap"
    definition, _ = standard_types().generate_msgdef("sensor_msgs/msg/Image", ros_version=2)
    order = [0, 2, 1, 3, 5, 4]
    with path.open("wb") as file:
        writer = McapWriter(file, use_chunking=False, index_types=IndexType.NONE, use_summary_offsets=False)
        writer.start("ros2", "test")
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", definition.encode())
        channel = writer.register_channel("/image", "cdr", schema)
        for i in order:
            message = messages.image(scene_rgb(i), "rgb8", stamp_of(i), FRAME)
            data = bytes(standard_types().serialize_cdr(message, message.__msgtype__))
            writer.add_message(channel, stamp_of(i), data, stamp_of(i))
        writer.finish()
    assert sorted(header_stamp_ns(message) for message in images(path)) == [stamp_of(i) for i in range(6)]


def test_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "hole.mcap"
    write_mcap(path, CompressionType.NONE, chunks=True, index=IndexType.ALL)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(50)
    path.write_bytes(data)
    with BagReader(path) as reader:
        stamps = [header_stamp_ns(item.message) for item in reader.messages(["/image"])]
        losses = " ".join(reader.losses)
    assert stamp_of(0) in stamps
    assert stamp_of(11) in stamps
    assert len(stamps) == len(set(stamps)) < 12
    assert "damaged" in losses
    assert f"{12 - len(stamps)} of 12 messages of /image could not be read" in losses


@pytest.mark.parametrize("whole", [True, False], ids=["with metadata.yaml", "without"])
def test_a_damaged_part_of_a_split_recording_costs_a_chunk_and_not_its_rest(tmp_path: Path, whole: bool) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    parts = [folder / f"drive_{part}.mcap" for part in range(3)]
    for number, path in enumerate(parts):
        write_mcap(path, CompressionType.NONE, chunks=True, index=IndexType.ALL, first=12 * number)
    if whole:
        write_metadata(parts, 36)
    damaged = bytearray(parts[1].read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 50] = bytes(50)
    parts[1].write_bytes(damaged)
    with BagReader(folder) as reader:
        stamps = [header_stamp_ns(item.message) for item in reader.messages(["/image"])]
        losses = " ".join(reader.losses)
    assert stamps == sorted(set(stamps))
    assert {stamp_of(i) for i in (*range(12), 12, 23, *range(24, 36))} <= set(stamps)
    assert len(stamps) < 36 and "damaged" in losses


def test_recorder_that_never_finished(tmp_path: Path) -> None:
    """No metadata.yaml and no end of the file: what a power cut leaves."""
    folder = tmp_path / "drive"
    with BagWriter(folder) as writer:
        write_scene(writer, 20)
    (folder / "metadata.yaml").unlink()
    file = next(folder.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-2000])
    with BagReader(folder) as reader:
        assert len(list(reader.messages(["/image"]))) >= 17
        assert any("recorder did not finish" in loss for loss in reader.losses)


def test_metadata_without_end_time(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    with BagWriter(folder) as writer:
        write_scene(writer, 3)
    metadata = folder / "metadata.yaml"
    lines = [line for line in metadata.read_text().splitlines() if "duration" not in line]
    metadata.write_text("\n".join(lines))
    with BagReader(folder) as reader:
        assert len(list(reader.messages(["/image"]))) == 3
        assert "metadata" in reader.losses[0]


def test_split_recording_is_one_stream(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    for part in (10, 2):
        with BagWriter(folder / f"drive_{part}.mcap") as writer:
            for i in range(part, part + 2):
                writer.write("/image", messages.image(scene_rgb(i), "rgb8", stamp_of(i), FRAME), stamp_of(i))
    assert [header_stamp_ns(message) for message in images(folder)] == [stamp_of(i) for i in (2, 3, 10, 11)]


def test_ros1_bag(tmp_path: Path) -> None:
    path = tmp_path / "old.bag"
    store = get_typestore(Stores.ROS1_NOETIC)
    kinds = store.types
    with Ros1Writer(path) as writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=store)
        for i in range(3):
            pixels = scene_rgb(i)
            time = kinds["builtin_interfaces/msg/Time"](stamp_of(i) // 10**9, stamp_of(i) % 10**9)
            head = kinds["std_msgs/msg/Header"](i, time, FRAME)
            image = kinds["sensor_msgs/msg/Image"](head, 120, 160, "rgb8", 0, 480, pixels.reshape(-1))
            writer.write(connection, stamp_of(i), store.serialize_ros1(image, "sensor_msgs/msg/Image"))
    found = images(path)
    assert [header_stamp_ns(message) for message in found] == [stamp_of(i) for i in range(3)]
    np.testing.assert_array_equal(to_rgb(found[2]), scene_rgb(2))


def test_missing_topic_names_those_there_are(scene_bag: Path) -> None:
    with (
        BagReader(scene_bag) as reader,
        pytest.raises(BagError, match=r"no topic '/imagge'(.|\n)*/image  \[sensor_msgs"),
    ):
        list(reader.messages(["/imagge"]))


def test_unknown_type_hinders_only_its_own_topic(tmp_path: Path) -> None:
    path = tmp_path / "odd.mcap"
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start("ros2", "test")
        odd = writer.register_schema("my_msgs/msg/Odd", "ros2msg", b"no such thing as this [[[ line")
        channel = writer.register_channel("/odd", "cdr", odd)
        definition, _ = standard_types().generate_msgdef("sensor_msgs/msg/Image", ros_version=2)
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", definition.encode())
        good = writer.register_channel("/image", "cdr", schema)
        message = messages.image(scene_rgb(0), "rgb8", stamp_of(0), FRAME)
        data = bytes(standard_types().serialize_cdr(message, message.__msgtype__))
        writer.add_message(good, stamp_of(0), data, stamp_of(0))
        writer.add_message(channel, stamp_of(0), b"\x00\x01\x00\x00abcd", stamp_of(0))
        writer.finish()
    assert len(images(path)) == 1
    with BagReader(path) as reader, pytest.raises(BagError, match=r"my_msgs/msg/Odd"):
        list(reader.messages(["/odd"]))


def test_messages_that_do_not_fit_their_type_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "short.mcap"
    with BagWriter(path) as writer:
        write_scene(writer, 2)
    with BagReader(path) as reader:
        channel = next(item for item in reader.channels if item.topic == "/image")
    broken = tmp_path / "broken.mcap"
    with BagWriter(broken) as writer:
        writer.copy(channel, 1, b"\x00\x01\x00\x00\x01")
        writer.write("/image", messages.image(scene_rgb(0), "rgb8", 2, FRAME), 2)
    with BagReader(broken) as reader:
        assert len(list(reader.messages(["/image"]))) == 1
        assert any(
            "messages of /image that do not fit their type sensor_msgs/msg/Image: 1" in loss for loss in reader.losses
        )


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no recording"), (b"", "0 bytes"), (b"hello world, no bag", "cannot be read")],
)
@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag", ".txt"])
def test_what_is_no_recording(tmp_path: Path, content: bytes | None, says: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BagError, match=says):
        BagReader(path)


def test_empty_folder_and_empty_bag(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"metadata\.yaml"):
        BagReader(tmp_path)
    with BagWriter(tmp_path / "empty.mcap"):
        pass
    with pytest.raises(BagError, match="no messages"):
        BagReader(tmp_path / "empty.mcap")


def test_truncated_sqlite_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "cut.db3"
    with BagWriter(path) as writer:
        write_scene(writer, 20)
    path.write_bytes(path.read_bytes()[:-900_000])
    try:
        with BagReader(path) as reader:
            read = len(list(reader.messages(["/image"])))
            losses = " ".join(reader.losses)
    except BagError as error:
        assert "malformed" in str(error)
        return
    assert read < 20
    assert "damaged" in losses


def test_writer_refuses_to_overwrite(scene_bag: Path) -> None:
    before = scene_bag.read_bytes()
    with pytest.raises(BagError, match="never overwritten"):
        BagWriter(scene_bag)
    assert scene_bag.read_bytes() == before


def test_failed_writing_leaves_a_readable_part(tmp_path: Path) -> None:
    path = tmp_path / "new.mcap"
    with pytest.raises(ZeroDivisionError), BagWriter(path) as writer:
        write_scene(writer, 60)
        raise ZeroDivisionError
    assert not path.exists()
    part = next((tmp_path / "new.mcap.partial").rglob("*.mcap"))
    with BagReader(part) as reader:
        assert len(list(reader.messages(["/image"]))) > 10
        assert reader.losses


def test_depth_outside_16_bit_is_invalid() -> None:
    depth = np.array([[0.5, np.nan, np.inf, -1.0, 70.0, 65.535]], dtype=np.float32)
    message = messages.depth_image(depth, "16UC1", 0, FRAME)
    assert message.data.view(np.uint16).tolist() == [500, 0, 0, 0, 0, 65535]
