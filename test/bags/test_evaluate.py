"""Figures of recordings whose truth is known: a network that is right by construction, and ways to be wrong."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.frame_sources import RgbdFrame
from depthnet_ros.bags.make import DEPTH, DEPTH_COMPRESSED, IMAGE, IMAGE_COMPRESSED, POINTS, SCAN, MakeOptions, make_bag
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.pipeline import BagPipeline
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import BagError
from depthnet_ros.evaluation.results import Results
from depthnet_ros.evaluation.session import SessionOptions
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler
from test.bags.bag_scene import (
    BRIGHT_M,
    CAMERA,
    FRAME,
    brightness_estimator,
    scene_depth,
    scene_rgb,
    stamp_of,
    with_edges,
    write_scene,
)

FIXED = MetricScaleConfig(mode="fixed", fixed_scale=1.0 / BRIGHT_M)


def evaluate(
    path: Path, image: str = "/image", reference: str = "/depth", anchors: dict | None = None, **pipeline: object
) -> Results:
    options = EvaluateOptions(PipelineOptions(**pipeline), SessionOptions(), pictures=2)
    with BagReader(path) as bag:
        topics = resolve_topics(bag, image, reference, anchors=anchors)
        return evaluate_bag(bag, topics, brightness_estimator(), options)[0]


@pytest.fixture(scope="module", params=["32FC1", "16UC1", "compressed"])
def made_bag(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``depthnet bag make`` writes it: image twice, depth of one encoding, cloud, scan, range, TF."""
    path = tmp_path_factory.mktemp("made") / f"{request.param}.mcap"
    frames = [RgbdFrame(0.1 * i, scene_rgb(i), scene_depth(i)) for i in range(12)]
    with BagWriter(path) as writer:
        options = MakeOptions("both", request.param, camera_height_m=0.8, points_stride=2)
        make_bag(frames, CAMERA, writer, options)
    return path


def test_a_right_network_has_no_error(scene_bag: Path) -> None:
    results = evaluate(scene_bag, scale=FIXED)
    assert results.complete
    assert results.counts == {"images": 20, "processed": 20, "evaluated": 20, "without_reference": 0, "failed": 0}
    for side in ("aligned", "metric"):
        figures = results.figures[side]
        assert figures["abs_rel"] < 0.006
        assert abs(figures["bias"]) < 0.003
        assert figures["delta1"] == 1.0
        assert figures["flicker"] < 0.01
    assert results.figures["metric"]["coverage"] == 1.0
    assert results.figures["published_share"] == 1.0


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_wrong_scale_shows_in_metres_and_not_after_alignment(scene_bag: Path, factor: float) -> None:
    """Inverse depth times ``factor`` is depth over ``factor`` everywhere: every figure follows by hand."""
    results = evaluate(scene_bag, scale=MetricScaleConfig(mode="fixed", fixed_scale=factor / BRIGHT_M))
    metric, expected = results.figures["metric"], 1.0 / factor - 1.0
    assert metric["bias"] == pytest.approx(expected, abs=0.005)
    assert metric["abs_rel"] == pytest.approx(abs(expected), abs=0.005)
    assert results.figures["aligned"]["abs_rel"] < 0.006
    bands = {band["to_m"]: band for band in metric["bands"]}
    for to_m in (5.0, 10.0):
        assert bands[to_m]["bias"] == pytest.approx(expected, abs=0.01)
    assert bands[20.0]["pixels"] == 0
    assert bands[20.0]["abs_rel"] is None


def test_every_reference_and_image_agrees(made_bag: Path) -> None:
    """Cloud and scan, through TF, judge as the depth image does; JPEG as the raw image."""
    depth = DEPTH if made_bag.stem != "compressed" else DEPTH_COMPRESSED
    for image in (IMAGE, IMAGE_COMPRESSED):
        for reference, least in ((depth, 15_000), (POINTS, 3000), (SCAN, 60)):
            results = evaluate(made_bag, image, reference, scale=FIXED)
            assert results.counts["evaluated"] == 12
            assert results.frames["reference_pixels"].min() > least
            assert results.figures["metric"]["abs_rel"] < (0.012 if reference == depth else 0.03), (image, reference)


def test_anchors_give_metres(made_bag: Path) -> None:
    """Metric scale learnt from the cloud is judged by the scan; the first frames calibrate and publish nothing."""
    config = MetricScaleConfig(mode="anchors", sources=("points",))
    results = evaluate(made_bag, IMAGE, SCAN, anchors={"points": POINTS}, scale=config)
    assert 0.5 <= results.figures["published_share"] < 1.0
    assert results.figures["metric"]["abs_rel"] < 0.08
    assert results.frames["metric.anchors"].max() > 10


def test_anchors_that_no_camera_can_use_are_told_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "no_info.mcap"
    with BagWriter(path) as writer:
        for i in range(8):
            now = stamp_of(i)
            writer.write("/image", messages.image(scene_rgb(i), "rgb8", now, FRAME), now)
            writer.write("/points", messages.depth_image(scene_depth(i), "32FC1", now, FRAME), now)
    with BagReader(path) as bag:
        topics = resolve_topics(bag, "/image", anchors={"depth": "/points"})
        options = PipelineOptions(scale=MetricScaleConfig(mode="anchors", sources=("depth",)))
        pipeline = BagPipeline(bag, topics, brightness_estimator(), options)
        kept = [len(pipeline._anchors._pending) for _ in pipeline]
    assert max(kept) <= 1
    assert any("anchor depth not used: the image has no usable camera_info" in fault for fault in pipeline.tally.faults)


def test_anchors_whose_clock_runs_ahead_are_told_and_not_kept(tmp_path: Path) -> None:
    """A lidar in UTC beside a camera that counts from its start: a long recording would fill the memory."""
    path = tmp_path / "ahead.mcap"
    with BagWriter(path) as writer:
        for i in range(60):
            now = stamp_of(i)
            writer.write("/image", messages.image(scene_rgb(i % 20), "rgb8", now, FRAME), now)
            writer.write("/camera_info", messages.camera_info(CAMERA, now, FRAME), now)
            late = now + 86_400 * 10**9
            writer.write("/points", messages.depth_image(scene_depth(i % 20), "32FC1", late, FRAME), now)
    with BagReader(path) as bag:
        topics = resolve_topics(bag, "/image", anchors={"depth": "/points"})
        options = PipelineOptions(scale=MetricScaleConfig(mode="anchors", sources=("depth",)))
        pipeline = BagPipeline(bag, topics, brightness_estimator(), options)
        kept = [len(pipeline._anchors._pending) for _ in pipeline]
    assert max(kept[-20:]) <= 25  # two seconds of them
    said = " ".join(pipeline.tally.faults)
    assert "anchor depth not used: stamped later than all images within 2 s of it" in said
    assert "none of 60 readings was used" in said


def test_offline_is_estimator_and_scaler_to_the_bit(made_bag: Path) -> None:
    """The pipeline adds nothing of its own to what the node calls too."""
    estimator, scaler = brightness_estimator(), MetricScaler(FIXED, CAMERA)
    with BagReader(made_bag) as bag:
        pipeline = BagPipeline(bag, resolve_topics(bag, IMAGE), estimator, PipelineOptions(scale=FIXED))
        for index, item in enumerate(pipeline):
            prediction = brightness_estimator().infer(scene_rgb(index))
            direct = scaler.update(prediction, 0.1 * index, scene_rgb(index)).depth_m(120, 160)
            np.testing.assert_array_equal(item.frame.published_m, direct)
    assert index == 11


def test_flicker_is_what_scale_does_beyond_the_scene(tmp_path: Path) -> None:
    """Every other image is darker: inverse depth jumps by 10 % from frame to frame, the scene itself by under 1 %."""
    path = tmp_path / "flicker.mcap"
    with BagWriter(path) as writer:
        for i in range(8):
            now, factor = stamp_of(i), 1.0 if i % 2 else 0.9
            rgb = np.rint(scene_rgb(i) * factor).astype(np.uint8)
            writer.write("/image", messages.image(rgb, "rgb8", now, FRAME), now)
            writer.write("/depth", messages.depth_image(scene_depth(i), "32FC1", now, FRAME), now)
    figures = evaluate(path, scale=FIXED).figures
    assert figures["metric"]["flicker"] == pytest.approx(abs(math.log(0.9)), abs=0.01)
    assert figures["aligned"]["flicker"] == pytest.approx(abs(math.log(0.9)), abs=0.01)
    assert figures["aligned"]["abs_rel"] < 0.01


def test_obstacles_missed_and_invented(tmp_path: Path) -> None:
    """A wall at 3 m shown at 4.3 m is missed where marking ends at 4 m; one at 5.5 m shown at 3 m is invented."""
    for factor, name in ((0.7, "false_free"), (1.8, "false_obstacle")):
        path = tmp_path / f"{name}.mcap"
        wall = np.full((120, 160), 3.0 if name == "false_free" else 5.5, np.float32)
        grey = with_edges(255 * BRIGHT_M / wall)
        grey[0, 0] += 9  # no network returns a constant
        frames = [RgbdFrame(0.1 * i, grey, wall) for i in range(8)]
        with BagWriter(path) as writer:
            make_bag(frames, CAMERA, writer, MakeOptions(camera_height_m=0.8))
        for wrong in (1.0, factor):
            scale = MetricScaleConfig(mode="fixed", fixed_scale=wrong / BRIGHT_M)
            rates = evaluate_with_range(path, scale, 4.0).figures["obstacles"]
            share = rates["scan"][name]
            if wrong == 1.0:
                assert share in (0.0, None)
            else:
                assert share > 0.9


def evaluate_with_range(path: Path, scale: MetricScaleConfig, max_range_m: float) -> Results:
    from depthnet_ros.navigation.config import NavigationConfig

    session = SessionOptions(navigation=NavigationConfig(max_range_m=max_range_m, max_height_m=1.6))
    with BagReader(path) as bag:
        topics = resolve_topics(bag, IMAGE, DEPTH)
        options = EvaluateOptions(PipelineOptions(scale=scale), session, pictures=0)
        return evaluate_bag(bag, topics, brightness_estimator(), options)[0]


def test_pairing_within_tolerance_only(tmp_path: Path) -> None:
    path = tmp_path / "late.mcap"
    with BagWriter(path) as writer:
        for i in range(10):
            now, late = stamp_of(i), stamp_of(i) + 30_000_000
            writer.write("/image", messages.image(scene_rgb(i), "rgb8", now, FRAME), now)
            writer.write("/depth", messages.depth_image(scene_depth(i), "32FC1", late, FRAME), late)
    found = evaluate(path, tolerance_s=0.04)
    assert found.counts["evaluated"] == 10
    assert found.frames.mean("reference_gap_s") == pytest.approx(0.03)
    with pytest.raises(BagError, match=r"no reference on /depth could be used.*1700000000\.000 to .*tolerance 0\.02"):
        evaluate(path)


def test_mixed_resolutions_are_judged_each_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mixed.mcap"
    small = CAMERA.resized(80, 60)
    with BagWriter(path) as writer:
        for i in range(10):
            now = stamp_of(i)
            rgb, camera = (scene_rgb(i), CAMERA) if i < 5 else (cv2.resize(scene_rgb(i), (80, 60)), small)
            writer.write("/image", messages.image(rgb, "rgb8", now, FRAME), now)
            writer.write("/camera_info", messages.camera_info(camera, now, FRAME), now)
            writer.write("/depth", messages.depth_image(scene_depth(i, camera), "32FC1", now, FRAME), now)
    results = evaluate(path, scale=FIXED)
    assert results.counts["evaluated"] == 10
    assert results.figures["aligned"]["abs_rel"] < 0.02
    assert set(results.frames["reference_pixels"]) == {160 * 120, 80 * 60}


def test_bad_images_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.mcap"
    with BagWriter(path) as writer:
        write_scene(writer, 6)
        for i in range(6, 8):
            message = messages.image(scene_rgb(i), "rgb8", stamp_of(i), FRAME)
            message.data = message.data[:-7]
            writer.write("/image", message, stamp_of(i))
    results = evaluate(path, scale=FIXED)
    assert (results.counts["failed"], results.counts["evaluated"]) == (2, 6)
    assert not results.complete and results.figures["published_share"] == 0.75
    assert any("must be 57600 bytes" in note and "(2 times)" in note for note in results.notes)


def test_cloud_without_camera_info_or_tf_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "bare.mcap"
    points = CAMERA.unproject(scene_depth(0))[::3, ::3].reshape(-1, 3)
    with BagWriter(path) as writer:
        for i in range(3):
            now = stamp_of(i)
            writer.write("/image", messages.image(scene_rgb(0), "rgb8", now, FRAME), now)
            writer.write("/points", messages.point_cloud(points, now, "lidar"), now)
    with pytest.raises(BagError, match=r"needs camera_info \(--info\) or --intrinsics"):
        evaluate(path, reference="/points")
    intrinsics = (CAMERA.fx_px, CAMERA.fy_px, CAMERA.cx_px, CAMERA.cy_px)
    with pytest.raises(BagError, match=r"no transform from 'lidar'.*--extrinsic"):
        evaluate(path, reference="/points", intrinsics=intrinsics)
    results = evaluate(path, reference="/points", intrinsics=intrinsics, extrinsic=np.eye(4), scale=FIXED)
    assert results.figures["metric"]["abs_rel"] < 0.01


def test_wrong_parts_are_refused(scene_bag: Path) -> None:
    with BagReader(scene_bag) as bag:
        with pytest.raises(BagError, match=r"/camera_info is .*CameraInfo, but an image must be .* there are .*/image"):
            resolve_topics(bag, "/camera_info")
        with pytest.raises(BagError, match="judged by itself"):
            resolve_topics(bag, "/image", "/depth", anchors={"depth": "/depth"})
        with pytest.raises(BagError, match="no anchor source named 'sonar'"):
            resolve_topics(bag, "/image", anchors={"sonar": "/depth"})


def test_camera_info_of_another_size_costs_metres_not_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "other.mcap"
    with BagWriter(path) as writer:
        for i in range(3):
            now = stamp_of(i)
            writer.write("/image", messages.image(scene_rgb(i), "rgb8", now, FRAME), now)
            writer.write("/camera_info", messages.camera_info(PinholeCamera(99, 99, 9, 9, 9, 9), now, FRAME), now)
            writer.write("/depth", messages.depth_image(scene_depth(i), "32FC1", now, FRAME), now)
    results = evaluate(path)
    assert results.counts["evaluated"] == 3
    assert any("describes 99x99" in note for note in results.notes)


def test_cut_recording_is_judged_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    with BagWriter(path) as writer:
        write_scene(writer, 40)
    path.write_bytes(path.read_bytes()[:-1_500_000])
    results = evaluate(path)
    assert not results.complete
    assert 5 < results.counts["evaluated"] < 40
    assert any("cannot be read" in note for note in results.notes)


def test_interrupt_keeps_what_there_is(scene_bag: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with BagReader(scene_bag) as bag:
        topics = resolve_topics(bag, "/image", "/depth")
        results, _ = evaluate_bag(bag, topics, brightness_estimator(), progress=stop)
    assert not results.complete
    assert 5 <= results.counts["evaluated"] < 20
    assert any("interrupted after" in note for note in results.notes)


@pytest.mark.parametrize("depth_is_raw", [True, False])
def test_lens_distortion_is_taken_out_as_the_node_does(tmp_path: Path, depth_is_raw: bool) -> None:
    """A raw image of a lens that moves the edge by pixels; depth that fits it, or its rectification."""
    path = tmp_path / "raw.mcap"
    matrix = np.array([[140.0, 0, 79.5], [0, 140.0, 59.5], [0, 0, 1]])
    lens = np.array([-0.35, 0.1, 0.0, 0.0, 0.0])
    grid = np.stack(np.meshgrid(np.arange(160.0), np.arange(120.0)), axis=-1).reshape(-1, 1, 2)
    ideal = cv2.undistortPoints(grid, matrix, lens, P=matrix).reshape(120, 160, 2).astype(np.float32)
    with BagWriter(path) as writer:
        for i in range(4):
            now, info = stamp_of(i), messages.camera_info(CAMERA, stamp_of(i), FRAME)
            info.d = lens
            raw = cv2.remap(scene_rgb(i), ideal, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            writer.write("/image", messages.image(raw, "rgb8", now, FRAME), now)
            writer.write("/camera_info", info, now)
            depth = cv2.remap(scene_depth(i), ideal, None, cv2.INTER_NEAREST) if depth_is_raw else scene_depth(i)
            writer.write("/depth", messages.depth_image(depth, "32FC1", now, FRAME), now)
    told, mistaken = (
        evaluate(path, scale=FIXED, rectify=True, reference_rectified=rectified).figures["metric"]["abs_rel"]
        for rectified in (not depth_is_raw, depth_is_raw)
    )
    assert told < 0.01
    assert mistaken > 2 * told
    if not depth_is_raw:
        assert evaluate(path, scale=FIXED).figures["metric"]["abs_rel"] > 2 * told
