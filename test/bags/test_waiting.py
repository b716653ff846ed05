"""What an image waits for while a recording streams past, and what is said of what came too late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.pipeline import BagPipeline
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.transforms import TransformTree
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.evaluation.frame import Frame
from depthnet_ros.evaluation.results import Results
from test.bags.bag_scene import CAMERA, FRAME, PERIOD_NS, brightness_estimator, scene_depth, scene_rgb, stamp_of

FRAMES = 8
SPEED_M_S = 2.0


def frames_of(path: Path, reference: str) -> list[Frame]:
    with BagReader(path) as bag:
        pipeline = BagPipeline(bag, resolve_topics(bag, "/image", reference), brightness_estimator(), PipelineOptions())
        return [processed.frame for processed in pipeline]


def forward(stamp_ns: int) -> np.ndarray:
    """The lidar moves away from the camera along its axis."""
    pose = np.eye(4)
    pose[2, 3] = SPEED_M_S * 1e-9 * (stamp_ns - stamp_of(0))
    return pose


def write_lidar(writer: BagWriter, tf_period_ns: int, tf_until_ns: int) -> None:
    """Images and clouds of the same stamps; each transform is recorded at its stamp."""
    for index in range(FRAMES):
        now = stamp_of(index)
        points = CAMERA.unproject(scene_depth(index)).reshape(-1, 3)
        points = points - forward(now)[:3, 3]
        writer.write("/camera_info", messages.camera_info(CAMERA, now, FRAME), now)
        writer.write("/points", messages.point_cloud(points, now, "lidar"), now)
        writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now + 1)
    for now in range(stamp_of(0) - tf_period_ns // 3, tf_until_ns, tf_period_ns):
        writer.write("/tf", messages.transforms([(FRAME, "lidar", forward(now))], now), now)


@pytest.mark.parametrize("tf_period_ns", [2 * PERIOD_NS, 10 * PERIOD_NS])
def test_a_cloud_waits_for_the_transform_after_it(tmp_path: Path, tf_period_ns: int) -> None:
    """Between two transforms the pose is known, though the second is recorded after the image."""
    path = tmp_path / "lidar.mcap"
    with BagWriter(path) as writer:
        write_lidar(writer, tf_period_ns, stamp_of(3 * FRAMES))
    frames = frames_of(path, "/points")
    assert len(frames) == FRAMES
    for index, frame in enumerate(frames):
        assert frame.reference_m is not None
        known = np.isfinite(frame.reference_m)
        assert np.count_nonzero(known) > 1000
        np.testing.assert_allclose(frame.reference_m[known], scene_depth(index)[known], atol=0.01)


def test_where_transforms_end_the_last_one_stands_in(tmp_path: Path) -> None:
    path = tmp_path / "lidar.mcap"
    with BagWriter(path) as writer:
        write_lidar(writer, PERIOD_NS, stamp_of(3))
    frames = frames_of(path, "/points")
    assert len(frames) == FRAMES
    assert all(frame.reference_m is not None for frame in frames)


def test_how_far_transforms_have_come_between_two_frames() -> None:
    tree = TransformTree()
    assert tree.known_until_ns("camera", "camera") == tree.known_until_ns("/camera", "camera") == 1 << 63
    assert tree.known_until_ns("camera", "lidar") is None
    tree.add(messages.transforms([("base", "camera", np.eye(4)), ("base", "mast", np.eye(4))], 0), static=True)
    tree.add(messages.transforms([("mast", "lidar", np.eye(4))], 500), static=False)
    tree.add(messages.transforms([("odom", "base", np.eye(4))], 200), static=False)
    assert tree.known_until_ns("camera", "mast") == 1 << 63
    assert tree.known_until_ns("camera", "lidar") == tree.known_until_ns("lidar", "camera") == 500
    assert tree.known_until_ns("odom", "lidar") == 200
    tree.add(messages.transforms([("camera", "odom", np.eye(4))], 900), static=False)
    assert tree.known_until_ns("nowhere", "lidar") is None, "a circle is no connection"


def evaluated(path: Path, depths: dict[int, int]) -> Results:
    """Images, and references by their number with how long after their image's time each is recorded, in periods."""
    with BagWriter(path) as writer:
        for index in range(40):
            now = stamp_of(index)
            writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now)
            if index in depths:
                depth = messages.depth_image(scene_depth(index), "32FC1", now, FRAME)
                writer.write("/depth", depth, now + depths[index] * PERIOD_NS + 1)
    with BagReader(path) as bag:
        topics = resolve_topics(bag, "/image", "/depth")
        return evaluate_bag(bag, topics, brightness_estimator(), EvaluateOptions(pictures=0))[0]


@pytest.mark.parametrize(("late", "met"), [(1, True), (30, False)])
def test_a_reference_that_others_have_overtaken(tmp_path: Path, late: int, met: bool) -> None:
    """One period late it comes just behind the next one, thirty late its image is gone: that is said."""
    results = evaluated(tmp_path / "late.mcap", {**dict.fromkeys(range(40), 0), 5: late})
    assert results.counts["evaluated"] == 39 + met
    assert results.counts["without_reference"] == 1 - met
    said = [note for note in results.notes if "reference recorded after its image was gone" in note]
    assert [note.endswith("stamped 0.2 s later") for note in said] == [True] * (not met)


def test_references_after_the_waiting_time_are_told_from_missing_ones(tmp_path: Path) -> None:
    late = evaluated(tmp_path / "late.mcap", {**dict.fromkeys(range(5), 0), **dict.fromkeys(range(5, 15), 24)})
    assert late.counts["without_reference"] == 35
    assert [note for note in late.notes if "was gone" in note and "(10 times)" in note]
    missing = evaluated(tmp_path / "missing.mcap", dict.fromkeys(range(0, 40, 2), 0))
    assert missing.counts["without_reference"] == 20
    assert not [note for note in missing.notes if "was gone" in note]
