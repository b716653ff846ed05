"""Recordings as robots make them: sensors recorded after the image, clocks that are set, stamps that are missing."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.camera import BagCamera
from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.frame_sources import RgbdFrame, SceneFrames
from depthnet_ros.bags.make import DEPTH, IMAGE, POINTS, RANGE, TF, TF_STATIC, MakeOptions, make_bag
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.pipeline import BagPipeline
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.transforms import OPTICAL_IN_BODY, TransformTree
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.cli import main
from depthnet_ros.errors import BagError
from depthnet_ros.evaluation.results import Results
from depthnet_ros.metric_scale import GroundPlane, MetricScaleConfig
from test.bags.bag_scene import CAMERA, FRAME, brightness_estimator, scene_depth, scene_rgb

REPOSITORY = Path(__file__).resolve().parents[2]
POINTS_ALONE = MetricScaleConfig(mode="anchors", sources=("points",))


def evaluate(path: Path, anchors: dict | None = None, reference: str = DEPTH, **pipeline: object) -> Results:
    with BagReader(path) as bag:
        topics = resolve_topics(bag, IMAGE, reference, anchors=anchors)
        options = EvaluateOptions(PipelineOptions(**pipeline), pictures=0)
        return evaluate_bag(bag, topics, brightness_estimator(), options)[0]


def frames(times_s: np.ndarray) -> list[RgbdFrame]:
    return [RgbdFrame(float(time_s), scene_rgb(i), scene_depth(i)) for i, time_s in enumerate(times_s)]


def made(path: Path, times_s: np.ndarray, **options: object) -> Path:
    with BagWriter(path) as writer:
        make_bag(frames(times_s), CAMERA, writer, MakeOptions(points_stride=2, **options))
    return path


def test_anchors_that_are_recorded_after_their_image_meet_it(tmp_path: Path) -> None:
    """At 5 Hz the reading before is too old to be used: the one of the image's own stamp is written after it."""
    results = evaluate(made(tmp_path / "slow.mcap", 0.2 * np.arange(20)), {"points": POINTS}, scale=POINTS_ALONE)
    assert results.frames["metric.anchors"].min() > 10
    assert results.figures["published_share"] > 0.8
    assert results.figures["metric"]["abs_rel"] < 0.08


def test_a_clock_that_is_set_back_ends_nothing(tmp_path: Path) -> None:
    times_s = np.concatenate((100.0 + 0.1 * np.arange(10), 40.0 + 0.1 * np.arange(15)))
    path = tmp_path / "back.mcap"
    with BagWriter(path) as writer:  # recorded one after the other, whatever the stamps say
        for index, frame in enumerate(frames(times_s)):
            stamp, recorded = round(frame.time_s * 1e9), 10**15 + index * 10**8
            writer.write("/camera/camera_info", messages.camera_info(CAMERA, stamp, FRAME), recorded)
            writer.write(DEPTH, messages.depth_image(frame.depth_m, "32FC1", stamp, FRAME), recorded + 1)
            writer.write(IMAGE, messages.image(frame.rgb, "rgb8", stamp, FRAME), recorded + 2)
    results = evaluate(path)
    assert results.counts["evaluated"] == 25, "what was recorded just before the first image of the new time is its own"
    assert not [note for note in results.notes if "no camera_info" in note]
    assert any("time ran back by 60.9 s" in note for note in results.notes)


def test_images_without_stamps_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "zero.mcap"
    with BagWriter(path) as writer:
        for index, frame in enumerate(frames(np.arange(5))):
            writer.write(DEPTH, messages.depth_image(frame.depth_m, "32FC1", 0, FRAME), index * 10**8)
            writer.write(IMAGE, messages.image(frame.rgb, "rgb8", 0, FRAME), index * 10**8)
    with pytest.raises(BagError, match=r"have no stamps \(0\)"):
        evaluate(path)


def test_why_there_are_no_metres_is_said(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mcap", 0.1 * np.arange(8))
    config = MetricScaleConfig(mode="anchors", sources=("points", "range"))
    notes = "\n".join(evaluate(path, scale=config).notes)
    assert "scale.sources names range, but no --anchor range=TOPIC" in notes
    assert "no frame had metric depth; at the end: uncalibrated" in notes
    assert notes.count("range: no message yet") == 1


def test_static_transforms_hold_from_the_beginning(tmp_path: Path) -> None:
    """A recorder that joins late hears of them late."""
    early, late = made(tmp_path / "early.mcap", 0.1 * np.arange(6)), tmp_path / "late.mcap"
    with BagReader(early) as bag, BagWriter(late) as writer:
        items = list(bag.messages(list(bag.topics)))
        last_ns = max(item.time_ns for item in items)
        for item in sorted(items, key=lambda item: (item.topic == TF_STATIC, item.time_ns)):
            writer.write(item.topic, item.message, last_ns + 1 if item.topic == TF_STATIC else item.time_ns)
    assert evaluate(late, reference=POINTS).counts["evaluated"] == 6


@pytest.mark.parametrize("scene", ["room", "street"])
def test_a_made_recording_tells_how_its_camera_is_mounted(tmp_path: Path, scene: str) -> None:
    path = tmp_path / "scene.mcap"
    command = ["bag", "make", "--scene", scene, "--frames", "2", "--size", "64x48", "--out", str(path)]
    assert main(command) == 0
    tree = TransformTree()
    with BagReader(path) as bag:
        for item in bag.messages([TF_STATIC]):
            tree.add(item.message, static=True)
        plane = GroundPlane.from_pose(tree.lookup("base_link", "camera_optical_frame", 0))
    rendered = SceneFrames(scene, CAMERA, 1)
    assert plane.height_m == pytest.approx(rendered.camera_height_m)
    true = GroundPlane.from_height(rendered.camera_height_m, rendered.camera_pitch_rad)
    np.testing.assert_allclose(plane.down, true.down, atol=1e-6)


def test_the_height_of_a_scene_is_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bag", "make", "--scene", "room", "--camera-height-m", "0.5", "--out", str(tmp_path / "x.mcap")]
    assert main(command) != 0
    assert "--camera-height-m is for --folder" in capsys.readouterr().err


def test_parameters_are_those_of_the_node_in_a_robots_file(tmp_path: Path) -> None:
    from depthnet_ros.cli.bag_options import _from_file

    path = tmp_path / "robot.yaml"
    path.write_text(
        "/**: {ros__parameters: {use_sim_time: true, scale: {mode: fixed}}}\n"
        "controller_server: {ros__parameters: {controller_frequency: 20.0}}\n"
        "robot: {depthnet_node: {ros__parameters: {scale.mode: anchors, "
        "qos_overrides: {/depth/image_rect: {publisher: {depth: 3}}}}}}\n"
    )
    assert _from_file(path) == {"scale.mode": "anchors"}
    block = "{depthnet_node: {ros__parameters: {rectify: true}}}"
    path.write_text(f"front: {block}\nrear: {block}")
    with pytest.raises(Exception, match="several nodes: /front/depthnet_node, /rear/depthnet_node"):
        _from_file(path)
    path.write_text("controller_server: {ros__parameters: {a: 1}}")
    with pytest.raises(Exception, match="only those of /controller_server"):
        _from_file(path)


def test_a_source_distribution_holds_what_it_is_built_from(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "-e", str(tmp_path), "sdist", "-d", str(tmp_path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"requirements/runtime.txt", "setup.py", "package.xml", "weights/depthnet_small.onnx"} <= names


def test_a_cut_recording_is_told_by_infer(
    tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = made(tmp_path / "whole.mcap", 0.1 * np.arange(12)), tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    command = ["infer", str(cut), "--out", str(tmp_path / "out"), "--once", "--weights", str(tiny_weights), "--npy"]
    assert main(command) == 1
    assert "cut.mcap" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--size", "2x2"], ["--unit", "nan"], ["--unit", "-1"]])
def test_numbers_that_make_no_recording_are_refused(tmp_path: Path, given: list[str]) -> None:
    assert main(["bag", "make", "--scene", "room", "--frames", "1", *given, "--out", str(tmp_path / "x.mcap")]) != 0
    assert not list(tmp_path.iterdir())


def test_a_distorted_lens_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "lens.mcap"
    with BagWriter(path) as writer:
        for frame in frames(1.0 + 0.1 * np.arange(4)):
            stamp = round(frame.time_s * 1e9)
            info = messages.camera_info(CAMERA, stamp, FRAME)
            info.distortion_model, info.d = "plumb_bob", np.array([-0.3, 0.0, 0.0, 0.0, 0.0])
            writer.write("/camera/camera_info", info, stamp)
            writer.write(DEPTH, messages.depth_image(frame.depth_m, "32FC1", stamp, FRAME), stamp)
            writer.write(IMAGE, messages.image(frame.rgb, "rgb8", stamp, FRAME), stamp)
    assert any("would move pixels by up to" in note for note in evaluate(path).notes)


@pytest.mark.parametrize(
    ("frame", "width", "says"),
    [
        (FRAME, 160, ""),
        (f"/{FRAME}", 160, ""),
        ("depth_frame", 160, "in frame 'depth_frame', the image in"),
        (FRAME, 120, "another aspect"),
    ],
)
def test_a_reference_of_another_camera_is_noted(tmp_path: Path, frame: str, width: int, says: str) -> None:
    path = tmp_path / "other.mcap"
    with BagWriter(path) as writer:
        for item in frames(1.0 + 0.1 * np.arange(4)):
            stamp = round(item.time_s * 1e9)
            depth = messages.depth_image(item.depth_m[:, :width], "32FC1", stamp, frame)
            writer.write(DEPTH, depth, stamp)
            writer.write(IMAGE, messages.image(item.rgb, "rgb8", stamp, FRAME), stamp)
    notes = [note for note in evaluate(path).notes if "reference" in note]
    assert len(notes) == bool(says) and all(says in note for note in notes)


def test_a_topic_of_two_types_is_read_as_the_one_of_most_messages(tmp_path: Path) -> None:
    from mcap.reader import make_reader
    from mcap.writer import Writer

    source, mixed = made(tmp_path / "ros.mcap", 1.0 + 0.1 * np.arange(6)), tmp_path / "mixed.mcap"
    with source.open("rb") as whole, mixed.open("wb") as target:
        writer, schemas, channels = Writer(target), {}, {}
        writer.start(profile="ros2", library="test")
        for schema, channel, message in make_reader(whole).iter_messages():
            topics = [channel.topic, IMAGE] if channel.topic == TF_STATIC else [channel.topic]
            for topic in topics:  # one transform among the images
                if (topic, schema.name) not in channels:
                    schemas[schema.name] = writer.register_schema(schema.name, schema.encoding, schema.data)
                    channels[topic, schema.name] = writer.register_channel(topic, "cdr", schemas[schema.name])
                channel_id = channels[topic, schema.name]
                writer.add_message(channel_id, message.log_time, message.data, message.log_time)
        writer.finish()
    results = evaluate(mixed)
    assert results.counts["images"] == results.counts["evaluated"] == 6
    (note,) = [note for note in results.notes if "left out" in note]
    assert note == f"messages of {IMAGE} that are tf2_msgs/msg/TFMessage, not sensor_msgs/msg/Image, left out: 1"


@pytest.mark.parametrize(("topic", "metres"), [("/cam/image_raw", False), ("/drawer/image_rect", True)])
def test_a_raw_picture_of_a_bent_lens_gets_no_intrinsics(topic: str, metres: bool) -> None:
    info = messages.camera_info(CAMERA, 1, FRAME)
    info.distortion_model, info.d = "plumb_bob", np.array([-0.4, 0.0, 0.0, 0.0, 0.0])
    view = BagCamera(rectify=False, intrinsics=None, topic=topic).view(scene_rgb(0), info)
    assert (view.camera is not None) == metres
    assert ("taken as rectified" if metres else "called raw: set rectify") in view.note


def test_a_topic_in_json_costs_nothing_but_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Foxglove records its own: the recording is whole, and a copy for ROS 2 is all of it but that topic."""
    from mcap.reader import make_reader
    from mcap.writer import Writer

    ros, mixed = made(tmp_path / "ros.mcap", 1.0 + 0.1 * np.arange(6)), tmp_path / "mixed.mcap"
    with ros.open("rb") as source, mixed.open("wb") as target:
        writer, schemas, channels = Writer(target), {}, {}
        writer.start(profile="ros2", library="test")
        json_schema = writer.register_schema("Note", "jsonschema", b"{}")
        json_channel = writer.register_channel("/json", "json", json_schema)
        for schema, channel, message in make_reader(source).iter_messages():
            if channel.topic not in channels:
                schemas[schema.name] = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(channel.topic, "cdr", schemas[schema.name])
            writer.add_message(channels[channel.topic], message.log_time, message.data, message.log_time)
            writer.add_message(json_channel, message.log_time, b"{}", message.log_time)
        writer.finish()
    results = evaluate(mixed)
    assert results.complete and results.counts["evaluated"] == 6
    command = ["bag", "annotate", str(mixed), "--image-topic", IMAGE, "--out", str(tmp_path / "new.mcap")]
    assert main(command) == 3
    assert "left out: /json is serialised as 'json'" in capsys.readouterr().err
    with BagReader(tmp_path / "new.mcap") as bag:
        assert {IMAGE, DEPTH, "/depthnet/inverse_depth/image"} <= set(bag.topics) and "/json" not in bag.topics


def test_a_ground_that_tf_no_longer_knows_is_none(tmp_path: Path) -> None:
    """As in the node: where the camera looks now is not known any more."""
    path = tmp_path / "lost.mcap"
    mount = np.eye(4)
    mount[2, 3] = 0.8
    with BagWriter(path) as writer:
        for index, frame in enumerate(frames(1.0 + 0.1 * np.arange(30))):
            stamp = round(frame.time_s * 1e9)
            if index < 10:
                writer.write(TF, messages.transforms([("base_link", FRAME, mount @ OPTICAL_IN_BODY)], stamp), stamp)
            writer.write("/camera/camera_info", messages.camera_info(CAMERA, stamp, FRAME), stamp)
            writer.write(IMAGE, messages.image(frame.rgb, "rgb8", stamp, FRAME), stamp)
    scale = MetricScaleConfig(mode="anchors", ground_frame="base_link", source_timeout_s=0.5)
    with BagReader(path) as bag:
        pipeline = BagPipeline(bag, resolve_topics(bag, IMAGE), brightness_estimator(), PipelineOptions(scale=scale))
        known = [item.frame.level_from_optical is not None for item in pipeline]
    assert all(known[:10]) and not any(known[-10:])
    without_tf = replace(scale, use_tf=False)
    with BagReader(path) as bag:
        pipeline = BagPipeline(
            bag, resolve_topics(bag, IMAGE), brightness_estimator(), PipelineOptions(scale=without_tf, base_frame="x")
        )
        assert all(item.frame.level_from_optical is None for item in pipeline)
    assert any("it needs scale.use_tf" in text for text in pipeline.tally.faults)


def test_range_finders_of_one_topic_are_told_apart_by_their_frames(tmp_path: Path) -> None:
    """Left and right have walls at other distances: taken for one sensor, each would be the other's outlier."""
    path = tmp_path / "ring.mcap"
    with BagWriter(path) as writer:
        for frame in frames(1.0 + 0.1 * np.arange(12)):
            stamp = round(frame.time_s * 1e9)
            writer.write("/camera/camera_info", messages.camera_info(CAMERA, stamp, FRAME), stamp)
            for name in ("left", "right"):
                writer.write(RANGE, messages.range_reading(2.0, 0.2, (0.05, 8.0), stamp, name), stamp)
            writer.write(IMAGE, messages.image(frame.rgb, "rgb8", stamp, FRAME), stamp)
    scale = MetricScaleConfig(mode="anchors", sources=("range",), use_tf=True)
    with BagReader(path) as bag:
        topics = resolve_topics(bag, IMAGE, anchors={"range": RANGE})
        pipeline = BagPipeline(bag, topics, brightness_estimator(), PipelineOptions(scale=scale))
        assert len(list(pipeline)) == 12
    assert {text.partition(" not used")[0] for text in pipeline.tally.faults if "not used" in text} == {
        "anchor range",
        "anchor range right",
    }


def test_the_transforms_of_a_robot_s_namespace_are_its_own(tmp_path: Path) -> None:
    """As several robots record them: those nearest above the image's topic, and not another robot's."""
    path = tmp_path / "fleet.mcap"
    mount = np.eye(4)
    with BagWriter(path) as writer:
        for topic in ("/a/tf_static", "/b/tf_static", "/b/tf"):
            writer.write(topic, messages.transforms([("base_link", topic.split("/")[1], mount)], 1), 1)
        for robot in ("a", "b", "c"):
            writer.write(f"/{robot}/camera/image", messages.image(scene_rgb(0), "rgb8", 2, FRAME), 2)
    with BagReader(path) as bag:
        found = {robot: resolve_topics(bag, f"/{robot}/camera/image").tf for robot in ("a", "b", "c")}
        pipeline = BagPipeline(bag, resolve_topics(bag, "/a/camera/image"), brightness_estimator(), PipelineOptions())
        assert len(list(pipeline)) == 1
        np.testing.assert_array_equal(pipeline._tree.lookup("base_link", "a", 2), mount)
    assert found == {"a": ("/a/tf_static",), "b": ("/b/tf_static", "/b/tf"), "c": ()}


def test_anchors_that_the_mode_does_not_use_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path / "room.mcap", 0.1 * np.arange(3))
    arguments = [
        "bag",
        "evaluate",
        str(path),
        "--image-topic",
        IMAGE,
        "--reference",
        DEPTH,
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*arguments, "--anchor", f"range={RANGE}", "--param", "scale.mode=none"]) == 1
    assert "counts for nothing in scale.mode none" in capsys.readouterr().err
