"""A recording with depth added: every original message untouched, every added one what the pipeline computed."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from depthnet_ros.bags import messages
from depthnet_ros.bags.annotate import annotate_bag
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.pipeline import BagPipeline
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.sources import Channel
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.cli import main
from depthnet_ros.errors import BagError
from depthnet_ros.geometry.camera_info import camera_from_info
from depthnet_ros.messages.measurements import depth_from_image
from depthnet_ros.messages.stamps import header_stamp_ns
from depthnet_ros.metric_scale import MetricScaleConfig
from test.bags.bag_scene import BRIGHT_M, CAMERA, FRAME, brightness_estimator, scene_rgb, stamp_of, write_scene

OPTIONS = PipelineOptions(scale=MetricScaleConfig(mode="fixed", fixed_scale=1.0 / BRIGHT_M))
ADDED = ("/depthnet/inverse_depth/image", "/depthnet/depth/image_rect", "/depthnet/depth/camera_info")


def annotate(source: Path, out: Path, options: PipelineOptions = OPTIONS) -> dict[str, int]:
    with BagReader(source) as bag:
        return annotate_bag(bag, resolve_topics(bag, "/image"), brightness_estimator(), out, options).added


@pytest.mark.parametrize("name", ["new.mcap", "new.db3", "folder"])
def test_read_back_and_compared(scene_bag: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    assert annotate(scene_bag, out) == dict.fromkeys(ADDED, 20)
    with BagReader(scene_bag) as bag:
        before = list(bag.raw(list(bag.topics)))
        computed = list(BagPipeline(bag, resolve_topics(bag, "/image"), brightness_estimator(), OPTIONS))
    with BagReader(out) as bag:
        assert bag.losses == []
        after = [item for item in bag.raw(list(bag.topics)) if item[0].topic not in ADDED]
        added = list(bag.messages(ADDED))
    key = lambda item: (item[1], item[0].topic)  # noqa: E731
    for old, new in zip(sorted(before, key=key), sorted(after, key=key), strict=True):
        assert (old[0].topic, old[0].msgtype, old[0].definition, old[1], bytes(old[2])) == (
            new[0].topic, new[0].msgtype, new[0].definition, new[1], bytes(new[2]),
        )  # fmt: skip
    for topic, time_ns, message in added:
        source = next(item for item in computed if item.time_ns == time_ns)
        assert (header_stamp_ns(message), message.header.frame_id) == (source.frame.stamp_ns, FRAME)
        if topic == ADDED[0]:
            found = message.data.view(np.float32).reshape(120, 160)
            np.testing.assert_array_equal(found, source.frame.prediction.at_source())
        elif topic == ADDED[1]:
            np.testing.assert_array_equal(depth_from_image(message), source.frame.published_m)
        else:
            assert camera_from_info(message, 160, 120) == CAMERA


def test_depth_is_recorded_with_its_image_and_not_known_where_the_rectified_picture_is_black(tmp_path: Path) -> None:
    source, out, late_ns = tmp_path / "raw.mcap", tmp_path / "new.mcap", 5_000_000
    with BagWriter(source) as writer:
        for index in range(3):
            now = stamp_of(index)
            info = messages.camera_info(CAMERA, now, FRAME)
            info.d = np.array([0.3, 0.0, 0.0, 0.0, 0.0])
            writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now + late_ns)
            writer.write("/camera_info", info, now + late_ns)
    assert annotate(source, out, replace(OPTIONS, rectify=True)) == dict.fromkeys(ADDED, 3)
    with BagReader(out) as bag:
        for topic, time_ns, message in bag.messages(ADDED):
            assert time_ns == header_stamp_ns(message) + late_ns
            if topic == ADDED[1]:
                depth_m = depth_from_image(message)
                assert np.isnan(depth_m[[0, 0, -1, -1], [0, -1, 0, -1]]).all()
                assert np.isfinite(depth_m[40:80, 50:110]).all()


def test_static_transforms_stay_latched(scene_bag: Path, tmp_path: Path) -> None:
    annotate(scene_bag, tmp_path / "new")
    text = (tmp_path / "new" / "metadata.yaml").read_text()
    assert "transient_local" in text


def test_without_metric_scale_only_relative_depth_is_added(scene_bag: Path, tmp_path: Path) -> None:
    assert annotate(scene_bag, tmp_path / "new.mcap", PipelineOptions()) == {ADDED[0]: 20}


def test_depth_is_in_the_encoding_that_the_node_would_give(scene_bag: Path, tmp_path: Path) -> None:
    depths = {}
    for encoding in ("32FC1", "16UC1"):
        out = tmp_path / f"{encoding}.mcap"
        with BagReader(scene_bag) as bag:
            topics = resolve_topics(bag, "/image")
            annotate_bag(bag, topics, brightness_estimator(), out, OPTIONS, encoding=encoding)
        with BagReader(out) as bag:
            message = next(iter(bag.messages([ADDED[1]]))).message
        assert message.encoding == encoding
        depths[encoding] = depth_from_image(message)
    np.testing.assert_allclose(depths["16UC1"], depths["32FC1"], atol=0.0006)


@pytest.mark.parametrize("prefix", ["/a b", "depth", "/1", "/a//b"])
def test_a_prefix_that_begins_no_topic_is_refused(scene_bag: Path, tmp_path: Path, prefix: str) -> None:
    with BagReader(scene_bag) as bag, pytest.raises(BagError, match="cannot begin a topic's name"):
        annotate_bag(bag, resolve_topics(bag, "/image"), brightness_estimator(), tmp_path / "new.mcap", OPTIONS, prefix)


def test_topics_that_exist_and_out_that_exists(scene_bag: Path, tmp_path: Path) -> None:
    annotate(scene_bag, tmp_path / "once.mcap")
    with pytest.raises(BagError, match=r"already: choose another --prefix"):
        annotate(tmp_path / "once.mcap", tmp_path / "twice.mcap")
    with pytest.raises(BagError, match="never overwritten"):
        annotate(scene_bag, tmp_path / "once.mcap")


def test_full_disk_is_said_and_what_was_written_stays(tmp_path: Path) -> None:
    """A real write that fails as on a full disk: the limit on file size of this process."""
    source = tmp_path / "long.mcap"
    with BagWriter(source) as writer:
        write_scene(writer, 60)
    out = tmp_path / "new.mcap"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, old[1]))
    try:
        with (
            BagWriter(out) as writer,
            BagReader(source) as bag,
            pytest.raises(BagError, match=r"failed: File too large; .* stays in .*new\.mcap\.partial/new$"),
        ):
            for channel, time_ns, data in bag.raw(list(bag.topics)):
                writer.copy(channel, time_ns, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, previous)
    assert not out.exists()
    with BagReader(tmp_path / "new.mcap.partial" / "new") as bag:
        assert len(list(bag.messages(["/image"]))) > 5
        assert bag.losses


@pytest.mark.parametrize(
    ("name", "number"), [("new.mcap", signal.SIGINT), ("new", signal.SIGTERM), ("new", signal.SIGHUP)]
)
def test_what_an_interrupted_run_has_written_is_named_and_can_be_read(
    tmp_path: Path, name: str, number: signal.Signals
) -> None:
    words = ["bag", "make", "--scene", "room", "--frames", "100000", "--size", "64x48", "--out", str(tmp_path / name)]
    process = subprocess.Popen(
        [sys.executable, "-m", "depthnet_ros.cli", *words], stderr=subprocess.PIPE, text=True, preexec_fn=_hears_signals
    )
    unfinished, end = tmp_path / f"{name}.partial" / "new", time.monotonic() + 60.0
    while not any(part.stat().st_size > 2_000_000 for part in unfinished.glob("*.mcap")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 130 and said == [
        f"what was written stays in {unfinished}",
        "depthnet bag: interrupted",
    ]
    with BagReader(unfinished) as bag:
        assert len(list(bag.messages(["/camera/image_rect"]))) > 5


def _hears_signals() -> None:
    """Where tests run in a shell's background, or under nohup, some are ignored, by whatever they start too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_images_that_got_no_depth_are_told(scene_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JPEGs that are cut short: a copy without depth is no success."""
    broken = tmp_path / "broken.mcap"
    with BagWriter(broken) as writer:
        for i in range(4):
            now = stamp_of(i)
            writer.write("/image/compressed", messages.compressed_image(b"\xff\xd8 cut short", "jpeg", now, FRAME), now)
    weights = str(Path(__file__).resolve().parents[2] / "weights" / "depthnet_small.onnx")
    arguments = ["bag", "annotate", str(broken), "--out", str(tmp_path / "new.mcap"), "--weights", weights, "--quiet"]
    assert main([*arguments, "--image-topic", "/image/compressed"]) == 3
    said = capsys.readouterr().err
    assert "4 of 4 images got no depth" in said and "cut short" in said


@pytest.mark.parametrize(
    ("definitions", "kept"),
    [
        (("float64 x", "string name\nfloat64 x"), (True, False)),
        (("float64 x", "# metres\nfloat64   x"), (True, True)),
    ],
    ids=["another layout", "another comment"],
)
def test_messages_of_a_type_that_changed_on_the_way_are_left_out_and_told(
    tmp_path: Path, definitions: tuple[str, str], kept: tuple[bool, bool]
) -> None:
    """A recorder restarted after an update: two files of one folder, in each a definition of its own."""
    folder, out = tmp_path / "drive", tmp_path / "new.mcap"
    folder.mkdir()
    datas = []
    for part, text in enumerate(definitions):
        kinds = get_typestore(Stores.ROS2_JAZZY)
        kinds.register(get_types_from_msg(text, "my_msgs/msg/Odd"))
        values = ("a", 1.5) if "name" in text else (1.5 + part,)
        datas.append(bytes(kinds.serialize_cdr(kinds.types["my_msgs/msg/Odd"](*values), "my_msgs/msg/Odd")))
        odd = MessageDefinition(MessageDefinitionFormat.MSG, text)
        with BagWriter(folder / f"drive_{part}.mcap") as writer:
            image = messages.image(np.zeros((120, 160, 3), np.uint8), "rgb8", stamp_of(part), FRAME)
            writer.write("/image", image, stamp_of(part))
            writer.copy(Channel("/odd", "my_msgs/msg/Odd", odd, "cdr"), stamp_of(part), datas[-1])
    with BagReader(folder) as bag:
        made = annotate_bag(bag, resolve_topics(bag, "/image"), brightness_estimator(), out, OPTIONS)
    assert len(made.left_out) == kept.count(False)
    assert all("/odd: some messages are of another definition of my_msgs/msg/Odd" in why for why in made.left_out)
    with BagReader(out) as bag:
        found = [(bytes(data), channel.definition.data.strip()) for channel, _, data in bag.raw(["/odd"])]
    assert found == [(data, definitions[0]) for data, keep in zip(datas, kept, strict=True) if keep]


def test_what_helps_an_evaluation_is_not_told_to_who_adds_depth(scene_bag: Path, tmp_path: Path) -> None:
    """annotate has neither --extrinsic nor --base-frame, and gives no obstacle figures."""
    options = replace(OPTIONS, base_frame="nowhere")
    with BagReader(scene_bag) as bag:
        topics = resolve_topics(bag, "/image", anchors={"depth": "/depth"})
        made = annotate_bag(bag, topics, brightness_estimator(), tmp_path / "new.mcap", options)
    assert not [fault for fault in made.tally.faults if "--" in fault]


def made(kinds: Any, kind: str, **values: Any) -> Any:
    """A message of a distribution's type, each field zero or empty but for ``values``."""
    numbers = {"string": "", "bool": False}
    fields = {}
    for name, (node, detail) in kinds.fielddefs[kind][1]:
        if node == Nodetype.BASE:
            fields[name] = numbers.get(detail[0], 0)
        elif node == Nodetype.NAME:
            fields[name] = made(kinds, detail)
        else:
            fields[name] = np.zeros(0, np.uint8) if detail[0] == (Nodetype.BASE, ("uint8", 0)) else []
    return kinds.types[kind](**{**fields, **values})


def undefined(topic: str, kind: str) -> Channel:
    return Channel(topic, kind, MessageDefinition(MessageDefinitionFormat.NONE, ""), "cdr")


def without_definitions(folder: Path) -> Path:
    """The sqlite3 file of a recording, as it would have been made before Iron."""
    (database,) = folder.glob("*.db3")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM message_definitions")
    return database


@pytest.mark.parametrize("distribution", [Stores.ROS2_FOXY, Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY])
def test_types_that_a_recording_does_not_define_are_those_of_its_distribution(
    tmp_path: Path, distribution: Stores
) -> None:
    """sqlite3 holds definitions since Iron, of which on Range has a field more; Marker has several since Humble."""
    source, out, kinds = tmp_path / "drive", tmp_path / "new", get_typestore(distribution)
    sonar, markers = "sensor_msgs/msg/Range", "visualization_msgs/msg/MarkerArray"
    entries = [
        ("/range", sonar, made(kinds, sonar, range=1.5)),
        ("/marker", markers, kinds.types[markers]([])),
        ("/marker", markers, kinds.types[markers]([made(kinds, "visualization_msgs/msg/Marker", text="here")])),
    ]
    with BagWriter(source, "sqlite3") as writer:
        write_scene(writer, 3)
        for topic, kind, message in entries:
            writer.copy(undefined(topic, kind), stamp_of(3), bytes(kinds.serialize_cdr(message, kind)))
    database = without_definitions(source)
    assert annotate(source, out) == dict.fromkeys(ADDED, 3)
    for path in (source, database, out):
        with BagReader(path) as bag:
            assert [item.message.range for item in bag.messages(["/range"])] == [1.5]
            texts = [[marker.text for marker in item.message.markers] for item in bag.messages(["/marker"])]
            assert texts == [[], ["here"]] and not bag.losses
            channels = {channel.topic: channel for channel in bag.channels}
    for topic, kind, _ in entries:  # the hash is of the fields, which is what lays messages out
        assert channels[topic].digest == kinds.hash_rihs01(kind)
    assert ("variance" in channels["/range"].definition.data) == (distribution == Stores.ROS2_JAZZY)


def test_a_part_without_messages_of_a_type_that_changed_costs_the_others_nothing(tmp_path: Path) -> None:
    """A sonar that is switched on in the second part of a recording whose metadata.yaml is lost."""
    folder, kinds, kind = tmp_path / "drive", get_typestore(Stores.ROS2_HUMBLE), "sensor_msgs/msg/Range"
    folder.mkdir()
    for part in range(2):
        with BagWriter(tmp_path / f"part_{part}", "sqlite3") as writer:
            image = messages.image(scene_rgb(part), "rgb8", stamp_of(part), FRAME)
            writer.write("/image", image, stamp_of(part))
            writer._add_copy(undefined("/range", kind))
            if part:
                sonar = bytes(kinds.serialize_cdr(made(kinds, kind, range=1.5), kind))
                writer.copy(undefined("/range", kind), stamp_of(part), sonar)
        without_definitions(tmp_path / f"part_{part}").rename(folder / f"drive_{part}.db3")
    with BagReader(folder) as bag:
        done = annotate_bag(bag, resolve_topics(bag, "/image"), brightness_estimator(), tmp_path / "new", OPTIONS)
    assert done.left_out == []
    with BagReader(tmp_path / "new") as bag:
        assert [item.message.range for item in bag.messages(["/range"])] == [1.5]
