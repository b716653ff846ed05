"""Damage to what no depth comes from: a copy that lacks it says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter

from depthnet_ros.bags import messages
from depthnet_ros.bags.annotate import Annotated, annotate_bag
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.types import standard_types
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.cli import main
from test.bags.bag_scene import FRAME, brightness_estimator, scene_depth, scene_rgb, stamp_of, write_scene

FRAMES = 12


def annotated(source: Path, out: Path) -> Annotated:
    with BagReader(source) as bag:
        return annotate_bag(bag, resolve_topics(bag, "/image"), brightness_estimator(), out, PipelineOptions())


def counts(path: Path) -> dict[str, int]:
    with BagReader(path) as bag:
        return {name: topic.message_count for name, topic in bag.topics.items()}


@pytest.mark.parametrize("harm", ["cut", "overwritten", "beginning"])
@pytest.mark.parametrize("metadata", [True, False])
def test_a_damaged_message_of_a_compressed_recording_costs_itself_alone(
    tmp_path: Path, harm: str, metadata: bool
) -> None:
    source = tmp_path / "drive"
    with BagWriter(source, storage="sqlite3", compression="zstd") as writer:
        write_scene(writer, FRAMES)
    _damage_a_message(next(source.glob("*.db3")), "/depth", harm)
    if not metadata:
        (source / "metadata.yaml").unlink()
    made = annotated(source, tmp_path / "new.mcap")
    copied = counts(tmp_path / "new.mcap")
    assert copied["/image"] == copied["/camera_info"] == copied["/depthnet/inverse_depth/image"] == FRAMES
    if metadata or harm != "beginning":  # without it nothing says that what begins otherwise is compressed
        assert copied["/depth"] == FRAMES - 1
        assert [loss for loss in made.losses if "/depth that are damaged: 1" in loss]


def _damage_a_message(database: Path, topic: str, harm: str) -> None:
    with sqlite3.connect(database) as connection:
        where = "topic_id = (SELECT id FROM topics WHERE name = ?)"
        row, data = connection.execute(
            f"SELECT id, data FROM messages WHERE {where} LIMIT 1 OFFSET 5", [topic]
        ).fetchone()
        half = len(data) // 2
        bad = {
            "cut": data[:half],
            "overwritten": data[:half] + bytes(len(data) - half),
            "beginning": b"junk" + data[4:],
        }[harm]
        connection.execute("UPDATE messages SET data = ? WHERE id = ?", (bad, row))


def test_a_damaged_chunk_without_an_image_is_told(
    tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "drive.mcap"
    _write_images_then_depth(source)
    _damage_the_last_chunk_but_one(source)
    command = ["bag", "annotate", str(source), "--image-topic", "/image", "--out", str(tmp_path / "new.mcap")]
    assert main([*command, "--weights", str(tiny_weights), "--quiet"]) == 3
    assert "messages of /depth could not be read" in capsys.readouterr().err
    copied = counts(tmp_path / "new.mcap")
    assert copied["/image"] == FRAMES and copied["/depth"] < FRAMES


def _write_images_then_depth(path: Path) -> None:
    kinds = standard_types()
    with path.open("wb") as file:
        writer = McapWriter(file, chunk_size=1 << 15, compression=CompressionType.ZSTD)
        writer.start("ros2", "test")
        definition, _ = kinds.generate_msgdef("sensor_msgs/msg/Image", ros_version=2)
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", definition.encode())
        for part, topic in enumerate(("/image", "/depth")):
            channel = writer.register_channel(topic, "cdr", schema)
            for index in range(FRAMES):
                now = stamp_of(index)
                image = messages.image(scene_rgb(index), "rgb8", now, FRAME)
                message = messages.depth_image(scene_depth(index), "32FC1", now, FRAME) if part else image
                data = bytes(kinds.serialize_cdr(message, message.__msgtype__))
                writer.add_message(channel, stamp_of(index + FRAMES * part), data, now)
        writer.finish()


def _damage_the_last_chunk_but_one(path: Path) -> None:
    with path.open("rb") as file:
        records = StreamReader(file, emit_chunks=True).records
        chunks = [(file.tell(), len(record.data)) for record in records if isinstance(record, Chunk)]
    (end, length), data = chunks[-2], bytearray(path.read_bytes())
    data[end - length // 2 : end - length // 2 + 200] = bytes(200)
    path.write_bytes(data)
