"""Folders and files of recordings as recorders and people leave them: several at a time, unfinished, cut short."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from depthnet_ros.bags import messages
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import BagError
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


@pytest.mark.parametrize("name", ["drive.db3", "drive"])
def test_what_a_crashed_recorder_left_in_the_log_is_named_and_can_be_saved(tmp_path: Path, name: str) -> None:
    path = _crashed(tmp_path, name)
    with BagReader(path) as reader:
        assert len(list(reader.messages(["/image"]))) == 4
        loss = reader.losses[0]
    mending = re.search(r"sqlite3 (drive\.db3) '(PRAGMA [^']+)'", loss)
    assert mending is not None and "drive.db3-wal may hold messages" in loss
    database = path if path.is_file() else path / "drive.db3"
    with closing(sqlite3.connect(database.with_name(mending[1]))) as connection:
        connection.execute(mending[2])
    with BagReader(path) as reader:
        assert len(list(reader.messages(["/image"]))) == 8
        assert reader.losses == []


def _crashed(folder: Path, name: str) -> Path:
    """Eight images, four of them in the write-ahead log: copied while the recorder still runs, as a crash leaves it."""
    running = folder / "running" / name
    running.parent.mkdir()
    with BagWriter(running, storage="sqlite3") as writer:
        for index in range(8):
            write_image(writer, index)
    database = running if running.is_file() else running / "drive.db3"
    with closing(sqlite3.connect(database)) as recorder:
        recorder.execute("PRAGMA journal_mode=WAL")
        rows = recorder.execute("SELECT * FROM messages WHERE id > 4").fetchall()
        recorder.execute("DELETE FROM messages WHERE id > 4")
        recorder.commit()
        recorder.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        recorder.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
        recorder.commit()
        for item in database.parent.iterdir():
            target = folder / item.name if running.is_file() else folder / name / item.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(item, target)
    return folder / name


def test_a_folder_of_ros_1_bags_lacks_no_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    for part in (0, 1):
        write_ros1(folder / f"drive_{part}.bag", range(3 * part, 3 * part + 3))
    with BagReader(folder) as reader:
        assert len(list(reader.messages(["/range"]))) == 6
        assert reader.losses == []
    (folder / "drive_1.bag").rename(folder / "drive_1.bag.active")
    with BagReader(folder) as reader:
        assert len(list(reader.messages(["/range"]))) == 3
        assert "`rosbag reindex drive_1.bag.active` and name it drive_1.bag" in " ".join(reader.losses)
    with pytest.raises(BagError, match=r"did not finish it; run `rosbag reindex drive_1\.bag\.active`"):
        BagReader(folder / "drive_1.bag.active")


def write_ros1(path: Path, seconds: range) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    kinds = store.types
    with Ros1Writer(path) as writer:
        connection = writer.add_connection("/range", "sensor_msgs/msg/Range", typestore=store)
        for second in seconds:
            head = kinds["std_msgs/msg/Header"](0, kinds["builtin_interfaces/msg/Time"](second, 0), FRAME)
            reading = kinds["sensor_msgs/msg/Range"](head, 0, 0.3, 0.1, 9.0, 2.0)
            writer.write(connection, second * 10**9, store.serialize_ros1(reading, "sensor_msgs/msg/Range"))


def test_a_cut_ros_1_bag_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.bag"
    write_ros1(path, range(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BagError, match=r"run `rosbag reindex cut\.bag` on a copy"):
        BagReader(path)


def test_a_cut_database_is_refused_with_what_saves_the_whole_of_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.db3"
    with BagWriter(path) as writer:
        for index in range(20):
            write_image(writer, index)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    with pytest.raises(BagError, match=r"malformed.*save what is whole in it: sqlite3 cut\.db3") as refused:
        BagReader(path)
    if shutil.which("sqlite3") is None:
        pytest.skip("no sqlite3 to try the advice with")
    advice = re.search(r"sqlite3 cut\.db3 .* sqlite3 saved\.db3", str(refused.value))
    assert advice is not None
    subprocess.run(advice[0], shell=True, cwd=tmp_path, check=True)
    with BagReader(tmp_path / "saved.db3") as reader:
        assert len(list(reader.messages(["/image"]))) > 5


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize(("key", "value"), [("offered_qos_profiles", []), ("type_description_hash", "RIHS01_other")])
def test_a_topic_whose_metadata_differs_from_its_files_is_read(
    tmp_path: Path, storage: str, compression: str, key: str, value: object
) -> None:
    folder = tmp_path / "drive"
    with BagWriter(folder, storage, compression) as writer:
        writer.write("/tf_static", messages.transforms([("a", "b", np.eye(4))], 5), 5)
        write_image(writer, 0)
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    for topic in metadata["rosbag2_bagfile_information"]["topics_with_message_count"]:
        topic["topic_metadata"][key] = value
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    with BagReader(folder) as reader:
        assert {item.topic for item in reader.messages(["/tf_static", "/image"])} == {"/tf_static", "/image"}
        assert reader.losses == []
