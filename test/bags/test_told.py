"""What an evaluation tells of itself: which pixels, frames and recordings its figures are of, and what went wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer

from depthnet_ros.bags import messages
from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.options import PipelineOptions, Tally
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.types import standard_types
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.cli import main
from depthnet_ros.errors import BagError
from depthnet_ros.evaluation.album import Album
from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.compare import compare
from depthnet_ros.evaluation.frame import Frame, judge
from depthnet_ros.evaluation.objects import Box
from depthnet_ros.evaluation.results import Results, read_json
from depthnet_ros.evaluation.session import EvaluationSession, SessionOptions
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler
from test.bags.bag_scene import (
    BRIGHT_M,
    CAMERA,
    FRAME,
    START_NS,
    brightness_estimator,
    scene_depth,
    scene_rgb,
    stamp_of,
    write_scene,
)
from test.training_data.full_disk import files_of_at_most

METRES = MetricScaleConfig(mode="fixed", fixed_scale=1.0 / BRIGHT_M, fixed_shift=0.0)


def evaluate(path: Path, session: SessionOptions | None = None, **pipeline: object) -> Results:
    with BagReader(path) as bag:
        options = EvaluateOptions(PipelineOptions(**pipeline), session or SessionOptions(), pictures=0)
        return evaluate_bag(bag, resolve_topics(bag, "/image", "/depth"), brightness_estimator(), options)[0]


def test_faults_that_differ_by_numbers_alone_are_one() -> None:
    tally = Tally()
    for index in range(100):
        tally.fault(f"transform needed at {1700000000 + index}.067 s, known to -{index} s")
    for camera in ("/cam1", "/cam2"):
        tally.fault(f"stamps on {camera} ran ahead")
    assert dict(tally.faults) == {
        "transform needed at 1700000000.067 s, known to -0 s": 100,
        "stamps on /cam1 ran ahead": 1,
        "stamps on /cam2 ran ahead": 1,
    }


def test_what_the_whole_recording_shows_is_told_however_many_faults_there_were() -> None:
    tally = Tally()
    for letter in "abcdefghijklmnopqrstuvwxyz":
        tally.fault(f"fault {letter}")
    assert len(tally.faults) == 20
    tally.conclude("no frame had metric depth")
    assert "no frame had metric depth" in tally.faults


def test_parts_compressed_as_files_are_named_where_metadata_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    with BagWriter(folder / "drive_1.mcap") as writer:
        write_scene(writer, 2)
    for name in ("drive_0.mcap.zstd", "drive_1.mcap.zstd"):  # the second is there unpacked, too
        (folder / name).write_bytes(b"packed")
    with BagReader(folder) as bag:
        (loss,) = [loss for loss in bag.losses if "zstd" in loss]
    assert loss.startswith("drive_0.mcap.zstd is compressed as a whole and left out")
    (folder / "drive_1.mcap").unlink()
    with pytest.raises(BagError, match=r"drive_1\.mcap\.zstd is compressed as a whole"):
        BagReader(folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("drive_0.mcap.zstd", r"name its folder, or unpack it \(zstd -d drive_0\.mcap\.zstd\)"),
        ("drive_0.db3.zstd", r"name its folder, or unpack it \(zstd -d drive_0\.db3\.zstd\)"),
        ("metadata.yaml", r"name its folder: \S+/drive\."),
    ],
)
def test_a_file_of_a_recording_that_cannot_be_read_alone_is_refused_with_the_way_to_it(
    tmp_path: Path, name: str, says: str
) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    (folder / name).write_bytes(b"\x28\xb5\x2f\xfd packed")
    with pytest.raises(BagError, match=says):
        BagReader(folder / name)


def test_parts_that_metadata_does_not_list_are_named(tmp_path: Path) -> None:
    """As `ros2 bag reindex` leaves them out; another recording in the folder is none of them."""
    folder = tmp_path / "drive_1"
    with BagWriter(folder) as writer:
        write_scene(writer, 2)
    with BagWriter(folder / "annotated.mcap") as writer:
        write_scene(writer, 2)
    (part,) = folder.glob("drive_1.mcap")
    for name in ("drive_0.mcap.zstd", "drive_1.mcap.zstd", "drive_2.mcap", "drive_2.mcap.zstd"):
        (folder / name).write_bytes(part.read_bytes())
    with BagReader(folder) as bag:
        assert len(list(bag.messages(["/image"]))) == 2
        packed, plain = bag.losses
    assert packed.startswith("drive_0.mcap.zstd is not among the files") and "zstd -d drive_0.mcap.zstd" in packed
    assert plain.startswith("drive_2.mcap is not among the files") and "zstd" not in plain


def test_a_camera_info_published_once_long_before_is_used(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "latched.mcap") as writer:
        writer.write("/camera_info", messages.camera_info(CAMERA, START_NS - 5 * 10**9, FRAME), START_NS - 5 * 10**9)
        for index in range(6):
            now = stamp_of(index)
            writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now)
            writer.write("/depth", messages.depth_image(scene_depth(index), "32FC1", now, FRAME), now + 1)
    results = evaluate(tmp_path / "latched.mcap", scale=METRES)
    assert "no camera_info with the image's stamp: the nearest is used (6 times)" in results.notes


def test_two_recordings_of_one_name_are_not_paired(tmp_path: Path) -> None:
    found = []
    for folder, frames in (("a", 8), ("b", 9)):
        (tmp_path / folder).mkdir()
        with BagWriter(tmp_path / folder / "drive.mcap") as writer:
            write_scene(writer, frames)
        found.append(evaluate(tmp_path / folder / "drive.mcap"))
    assert compare(found[0], found[0]).paired
    comparison = compare(*found)
    assert not comparison.paired
    assert any(note.startswith("recording_bytes differs") for note in comparison.notes)


def with_rates(results: Results, obstacles: int, rates: list[float]) -> Results:
    """Twelve frames half a second apart, each with so many obstacles and, in turn, these rates and shares."""
    frames = Columns()
    for index in range(12):
        rate = rates[index % len(rates)]
        row = {"stamp_s": 0.5 * index, "scan.obstacles": float(obstacles), "scan.false_free": rate}
        frames.append({**row, "metric.published": rate})
    return replace(results, frames=frames)


def test_rates_of_few_obstacles_get_no_verdict(scene_bag: Path) -> None:
    results = evaluate(scene_bag)
    for obstacles, told in ((8, False), (9, True)):  # 96 and 108 in all
        comparison = compare(with_rates(results, obstacles, [0.1]), with_rates(results, obstacles, [0.2]))
        assert ("scan.false_free" in {item.name for item in comparison.differences}) == told


def test_no_interval_of_a_share_leaves_what_is_possible(scene_bag: Path) -> None:
    results = evaluate(scene_bag)
    best, worst = with_rates(results, 9, [1.0, 1.0, 0.9]), with_rates(results, 9, [0.0, 0.0, 0.0, 0.1])
    for first, second in ((best, worst), (worst, best)):
        differences = compare(first, second).differences
        assert {"scan.false_free", "metric.published"} & {item.name for item in differences}
        for item in differences:
            assert -item.a <= item.low <= item.high <= 1.0 - item.a


def test_the_default_depths_are_those_that_are_told_in_metres(
    scene_bag: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    words = ["bag", "evaluate", scene_bag, "--image-topic", "/image", "--reference", "/depth", "--quiet"]
    words += ["--weights", tiny_weights, "--backend", "torch", "--precision", "float32"]
    words += ["--param", "scale.network_sigma=1e-1"]
    for mode, wanted in (("none", 80.0), ("fixed", 4.0)):
        out = tmp_path / mode
        asked = ["--param", f"scale.mode={mode}", "--param", "scale.max_depth_m=4.0", "--out", out]
        assert main([str(word) for word in (*words, *asked)]) == 0
        settings = read_json(out / "results.json").settings
        assert settings["max_depth_m"] == wanted
        assert settings["scale"]["network_sigma"] == 0.1  # as ROS reads it; text to YAML 1.1


def test_other_depths_for_metres_than_for_the_aligned_are_noted(scene_bag: Path) -> None:
    told = evaluate(scene_bag, scale=replace(METRES, max_depth_m=4.0))
    assert any("aligned figures are of depths to 80 m, those in metres to 4 m" in note for note in told.notes)
    same = evaluate(scene_bag, SessionOptions(max_depth_m=4.0), scale=replace(METRES, max_depth_m=4.0))
    assert not any("aligned figures" in note for note in same.notes)


def frame_with(config: MetricScaleConfig, asked: bool = True, stamp_ns: int = START_NS) -> Frame:
    """The truth to 5 m; beyond, the network has everything at 5 m."""
    truth = np.linspace(1.0, 9.0, 160, dtype=np.float32) * np.ones((120, 1), np.float32)
    prediction = DepthPrediction(1.0 / np.minimum(truth, 5.0), (120, 160))
    metric = MetricScaler(config, CAMERA).update(prediction, 0.0)
    return Frame(stamp_ns, scene_rgb(0), prediction, metric, CAMERA, truth, metres_asked=asked)


def test_sigma_and_the_histogram_are_of_the_pixels_that_metric_figures_are_of() -> None:
    session = EvaluationSession(SessionOptions())
    session.add(frame_with(MetricScaleConfig(mode="fixed", fixed_scale=1.0, max_depth_m=5.0)))
    figures = session.figures()
    counts = np.array(figures["signed_error_histogram"]["counts"])
    assert np.flatnonzero(counts).tolist() == [40]  # all right: the pixels beyond 5 m are not among them
    assert figures["metric"]["sigma"]["within"][0]["observed"] == 1.0


def test_the_histogram_s_bins_are_where_they_are_drawn() -> None:
    session = EvaluationSession(SessionOptions())
    session.add(frame_with(MetricScaleConfig(mode="fixed", fixed_scale=1.0 / 0.77, max_depth_m=20.0)))
    found = session.figures()["signed_error_histogram"]
    edges = np.linspace(found["from"], found["to"], len(found["counts"]) + 1)
    bin_of_most = int(np.argmax(found["counts"]))
    assert edges[bin_of_most] <= 0.77 - 1.0 < edges[bin_of_most + 1]


@pytest.mark.parametrize("asked", [True, False])
def test_depth_aligned_to_the_reference_stands_in_for_no_metres(asked: bool) -> None:
    session = EvaluationSession(SessionOptions())
    frame = replace(frame_with(MetricScaleConfig(mode="none"), asked), boxes=(Box("box", 10.0, 10.0, 60.0, 60.0),))
    session.add(frame)
    objects = session.objects.to_dict()
    assert (sum(session.figures()["signed_error_histogram"]["counts"]) == 0) == asked
    assert (not objects or not objects["classes"]) == asked


def test_flicker_is_measured_where_the_camera_is_faster_than_the_reference() -> None:
    session = EvaluationSession(SessionOptions())
    for index in range(9):
        frame = frame_with(MetricScaleConfig(mode="none"), stamp_ns=stamp_of(index))
        session.add(frame if index % 3 == 0 else replace(frame, reference_m=None))
    assert session.figures()["aligned"]["flicker"] is not None


@pytest.mark.parametrize("frames", [3, 4, 50, 1000])
def test_an_album_spreads_over_what_is_compared_however_many_it_is(frames: int) -> None:
    frame = frame_with(MetricScaleConfig(mode="none"))
    judged = judge(frame, 0.1, 80.0)
    assert judged is not None
    album = Album(4)
    for index in range(frames):
        album.offer(index, frame, judged)
    shown = [strip.index for strip in album.even]
    assert len(shown) == min(4, frames)
    assert shown[0] == 0
    assert shown[-1] >= 0.7 * (frames - 1)
    assert not any(strip.in_metres for strip in album.even)


def test_where_a_compressed_recording_cannot_be_unpacked_that_is_told(tmp_path: Path) -> None:
    """Not that it is no recording."""
    kinds, folder = standard_types(), tmp_path / "drive"
    writer = Writer(folder, version=9)
    writer.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=kinds)
        image = messages.image(scene_rgb(0), "rgb8", stamp_of(0), FRAME)
        writer.write(connection, stamp_of(0), kinds.serialize_cdr(image, image.__msgtype__))
    with files_of_at_most(1000), pytest.raises(BagError, match=r"no room in .* set TMPDIR"):
        BagReader(folder)
    with BagReader(folder) as bag:
        assert len(list(bag.messages(["/image"]))) == 1 and not bag.losses
