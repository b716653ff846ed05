"""What the pipeline keeps, forgets and numbers while a recording streams past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.pipeline import BagPipeline, Processed
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.transforms import OPTICAL_IN_BODY
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.metric_scale import MetricScaleConfig
from test.bags.bag_scene import CAMERA, FRAME, PERIOD_NS, START_NS, brightness_estimator, scene_depth, scene_rgb

JUMP_NS = 60 * 10**9


def entry(index: int, stamp: int, topics: str = "image info depth") -> list[tuple[str, object]]:
    made = {
        "info": ("/camera_info", messages.camera_info(CAMERA, stamp, FRAME)),
        "depth": ("/depth", messages.depth_image(scene_depth(index), "32FC1", stamp, FRAME)),
        "image": ("/image", messages.image(scene_rgb(index), "rgb8", stamp, FRAME)),
    }
    return [made[name] for name in topics.split()]


def write(path: Path, entries: list[list[tuple[str, object]]]) -> Path:
    """Recorded a tenth of a second apart, whatever their stamps."""
    with BagWriter(path) as writer:
        for index, group in enumerate(entries):
            for number, (topic, message) in enumerate(group):
                writer.write(topic, message, START_NS + index * PERIOD_NS + number)
    return path


def run(path: Path, reference: str = "/depth", **options: object) -> tuple[list[Processed], BagPipeline]:
    with BagReader(path) as bag:
        topics = resolve_topics(bag, "/image", reference)
        pipeline = BagPipeline(bag, topics, brightness_estimator(), PipelineOptions(**options))
        return list(pipeline), pipeline


def test_images_that_wait_when_the_clock_is_set_back_keep_their_own_references(tmp_path: Path) -> None:
    """The depth of the last image before is recorded before it, that of the first image after it follows it."""
    stamps = [START_NS + index * PERIOD_NS - (JUMP_NS if index >= 8 else 0) for index in range(16)]
    path = write(tmp_path / "back.mcap", [entry(i, stamp, "depth image info") for i, stamp in enumerate(stamps)])
    found, pipeline = run(path)
    assert [one.frame.stamp_ns for one in found] == stamps
    assert pipeline.tally.without_reference <= 1  # recorded before the first image of the new time: forgotten with it
    for index, one in enumerate(found):
        if one.frame.reference_m is not None:
            np.testing.assert_allclose(one.frame.reference_m, scene_depth(index), rtol=1e-6)


def test_a_clock_that_is_set_back_once_is_told_once(tmp_path: Path) -> None:
    stamps = [START_NS + index * PERIOD_NS - (JUMP_NS if index >= 8 else 0) for index in range(16)]
    _, pipeline = run(write(tmp_path / "back.mcap", [entry(i, stamp) for i, stamp in enumerate(stamps)]))
    assert [count for text, count in pipeline.tally.faults.items() if "time ran back" in text] == [1]


def restarted(path: Path) -> Path:
    """A simulation of two seconds that begins anew without TF, its wall a metre nearer: image first, then its depth."""
    mount, entries = np.eye(4), []
    mount[2, 3] = 0.8
    for index in range(40):
        stamp = START_NS + index % 20 * PERIOD_NS
        entries.append(entry(index, stamp))
        if index < 20:
            transform = messages.transforms([("base_link", FRAME, mount @ OPTICAL_IN_BODY)], stamp)
            entries[-1].insert(0, ("/tf", transform))
    return write(path, entries)


def test_a_run_that_begins_anew_meets_nothing_of_the_one_before(tmp_path: Path) -> None:
    """Though all stamps are those of the first."""
    found, pipeline = run(restarted(tmp_path / "again.mcap"))
    assert len(found) == 40 and not pipeline.tally.without_reference
    for index, one in enumerate(found):
        assert one.frame.reference_m is not None
        np.testing.assert_allclose(one.frame.reference_m, scene_depth(index), rtol=1e-6)
    assert [one.frame.level_from_optical is not None for one in found] == [True] * 20 + [False] * 20


def test_an_image_that_waits_while_the_clock_is_set_back_has_its_reference(tmp_path: Path) -> None:
    """Its camera_info never came."""
    stamps = [START_NS + index * PERIOD_NS - (JUMP_NS if index >= 8 else 0) for index in range(16)]
    entries = [entry(i, stamp, "image depth" if i == 7 else "image info depth") for i, stamp in enumerate(stamps)]
    found, pipeline = run(write(tmp_path / "waits.mcap", entries))
    assert [one.frame.reference_m is not None for one in found] == [True] * 16
    assert not any("ran ahead" in text for text in pipeline.tally.faults)


def test_images_a_little_out_of_order_are_no_clock_that_is_set_back(tmp_path: Path) -> None:
    order = [0, 1, 3, 2, 4, 6, 5, 7]
    path = write(tmp_path / "order.mcap", [entry(i, START_NS + i * PERIOD_NS, "depth info image") for i in order])
    found, pipeline = run(path)
    assert len(found) == 8 and not pipeline.tally.without_reference
    assert not any("ran back" in text for text in pipeline.tally.faults)


def test_no_reference_is_kept_that_no_later_image_can_meet(tmp_path: Path) -> None:
    path = write(tmp_path / "long.mcap", [entry(0, START_NS + i * PERIOD_NS) for i in range(40)])
    with BagReader(path) as bag:
        pipeline = BagPipeline(bag, resolve_topics(bag, "/image", "/depth"), brightness_estimator(), PipelineOptions())
        kept = [len(pipeline._near["/depth"]._items) for _ in pipeline]
    assert len(kept) == 40 and max(kept) <= 5


def test_labels_are_counted_by_all_images_though_one_is_left_out(tmp_path: Path) -> None:
    entries = [entry(i, START_NS + i * PERIOD_NS) for i in range(4)]
    broken = messages.image(scene_rgb(1), "rgb8", START_NS + PERIOD_NS, FRAME)
    broken.data = broken.data[:100]
    entries[1][0] = ("/image", broken)
    folder = tmp_path / "labels"
    folder.mkdir()
    for index in range(4):
        (folder / f"{index}.txt").write_text(f"Car 0 0 0 {index} 0 20 20 1.5 1.6 4.0 0 1 10 0")
    found, pipeline = run(write(tmp_path / "labels.mcap", entries), labels=folder)
    assert pipeline.tally.failed == 1
    assert [one.frame.boxes[0].left_px for one in found] == [0, 2, 3]


def test_without_a_camera_info_of_its_stamp_an_image_takes_the_nearest_and_says_so(tmp_path: Path) -> None:
    """Within a second; then the last that there was."""
    entries = [entry(i, START_NS + i * PERIOD_NS, "image info depth" if i == 5 else "image depth") for i in range(30)]
    found, pipeline = run(write(tmp_path / "info.mcap", entries))
    assert all(one.frame.camera is not None for one in found[1:]), "it was recorded soon after the first"
    says = "no camera_info with the image's stamp"
    assert sum(count for text, count in pipeline.tally.faults.items() if says in text) == 29


def test_a_gap_is_positive_where_the_reference_is_later(tmp_path: Path) -> None:
    path = tmp_path / "late.mcap"
    with BagWriter(path) as writer:
        for index in range(6):
            now, late = START_NS + index * PERIOD_NS, START_NS + index * PERIOD_NS + 10_000_000
            writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now)
            writer.write("/depth", messages.depth_image(scene_depth(index), "32FC1", late, FRAME), late)
    found, _ = run(path)
    assert [one.frame.reference_gap_s for one in found] == pytest.approx([0.01] * 6)


def test_a_height_of_the_parameters_counts_before_the_ground_of_tf(tmp_path: Path) -> None:
    entries = [entry(i, START_NS + i * PERIOD_NS) for i in range(3)]
    mount = np.eye(4)
    mount[2, 3] = 1.7
    entries[0].insert(0, ("/tf_static", messages.transforms([("base_link", FRAME, mount @ OPTICAL_IN_BODY)], START_NS)))
    scale = MetricScaleConfig(mode="anchors", ground_frame="base_link", ground_height_m=0.8)
    for config, height_m in ((scale, 0.8), (MetricScaleConfig(mode="anchors", ground_frame="base_link"), 1.7)):
        found, _ = run(write(tmp_path / f"{height_m}.mcap", entries), scale=config)
        level = found[-1].frame.level_from_optical
        assert level is not None and level[2, 3] == pytest.approx(height_m)


def test_intrinsics_given_by_hand_are_of_images_of_one_size(tmp_path: Path) -> None:
    pictures = [scene_rgb(0), scene_rgb(1), scene_rgb(2)[::2, ::2]]
    stamps = [START_NS + index * PERIOD_NS for index in range(3)]
    images = [messages.image(rgb, "rgb8", stamp, FRAME) for rgb, stamp in zip(pictures, stamps, strict=True)]
    path = write(tmp_path / "sizes.mcap", [[("/image", image)] for image in images])
    found, pipeline = run(path, "", intrinsics=(CAMERA.fx_px, CAMERA.fy_px, CAMERA.cx_px, CAMERA.cy_px))
    assert [one.frame.camera for one in found] == [CAMERA, CAMERA, None]
    assert "--intrinsics are of the first image's size, 160x120; this image is 80x60" in pipeline.tally.told()


@pytest.mark.parametrize("why", ["not calibrated", "another size"])
def test_an_image_of_unknown_intrinsics_has_no_metres(tmp_path: Path, why: str) -> None:
    """As in the node: those of the images before may not hold."""
    entries = []
    for index in range(30):
        stamp = START_NS + index * PERIOD_NS
        image, info = entry(index, stamp, "image info")
        if index >= 20 and why == "not calibrated":
            info[1].k, info[1].p = np.zeros(9), np.zeros(12)
        if index >= 20 and why == "another size":
            image = ("/image", messages.image(scene_rgb(index)[::2, ::2], "rgb8", stamp, FRAME))
        ahead = float(scene_depth(index)[60, 80])
        reading = messages.range_reading(ahead, 0.05, (0.1, 10.0), stamp, FRAME)
        entries.append([image, info, ("/range", reading)])
    path = write(tmp_path / "lost.mcap", entries)
    with BagReader(path) as bag:
        topics = resolve_topics(bag, "/image", anchors={"range": "/range"})
        scale = MetricScaleConfig(mode="anchors", sources=("range",), ground_height_m=0.8)
        pipeline = BagPipeline(bag, topics, brightness_estimator(), PipelineOptions(scale=scale))
        found = [one.frame.metric for one in pipeline]
    assert len(found) == 30 and all(metric.published for metric in found[10:20])
    assert not any(metric.published for metric in found[20:])
    assert {metric.message for metric in found[20:]} == {"no usable camera_info came with the image"}
