"""Single messages that are wrong cost themselves, not the recording; files are brought together by their names."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.frame_sources import FolderFrames
from depthnet_ros.bags.make import DEPTH, IMAGE
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.pairing import MOST_WAITING_BYTES, NearestInTime, Stamped, WaitingImages
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.cli import main
from depthnet_ros.errors import BackendError, BagError
from depthnet_ros.evaluation.results import Results
from depthnet_ros.sources import SourceOptions, open_source
from test.bags.bag_scene import CAMERA, FRAME, brightness_estimator, scene_depth, scene_rgb

FRAMES = 30
PERIOD_NS = 100_000_000
START_NS = 10**18


def evaluate(path: Path) -> Results:
    with BagReader(path) as bag:
        options = EvaluateOptions(PipelineOptions(), pictures=0)
        return evaluate_bag(bag, resolve_topics(bag, IMAGE, DEPTH), brightness_estimator(), options)[0]


def write(writer: BagWriter, ahead_ns: dict[int, int] | None = None, black: tuple[int, ...] = ()) -> None:
    """``ahead_ns``: by how much the reference of a frame is stamped ahead of its time."""
    for index in range(FRAMES):
        stamp = START_NS + index * PERIOD_NS
        wrong = stamp + (ahead_ns or {}).get(index, 0)
        rgb = np.zeros_like(scene_rgb(index)) if index in black else scene_rgb(index)
        writer.write("/camera/camera_info", messages.camera_info(CAMERA, stamp, FRAME), stamp)
        writer.write(DEPTH, messages.depth_image(scene_depth(index), "32FC1", wrong, FRAME), stamp + 1)
        writer.write(IMAGE, messages.image(rgb, "rgb8", stamp, FRAME), stamp + 2)


@pytest.mark.parametrize("seconds", [3, 5, 3600])
@pytest.mark.parametrize("wrong", [(4,), (0, 1, 2, 3, 4)])
def test_references_stamped_ahead_cost_themselves(tmp_path: Path, seconds: int, wrong: tuple[int, ...]) -> None:
    path = tmp_path / "rogue.mcap"
    with BagWriter(path) as writer:
        write(writer, dict.fromkeys(wrong, seconds * 10**9))
    results = evaluate(path)
    assert results.counts["evaluated"] == FRAMES - len(wrong)
    assert any("ran ahead and came back" in note for note in results.notes)


@pytest.mark.parametrize("seconds", [-3600, -5, -(10**9)])
@pytest.mark.parametrize("late_info", [False, True])
def test_a_reference_stamped_in_the_past_costs_itself(tmp_path: Path, seconds: int, late_info: bool) -> None:
    """The good ones before it, which still wait for their image, stay."""
    path = tmp_path / "past.mcap"
    with BagWriter(path) as writer:
        entries = []
        for index in range(FRAMES):
            stamp = START_NS + index * PERIOD_NS
            wrong = max(0, stamp + seconds * 10**9) if index == 12 else stamp
            info_ns = stamp + (1_500_000_000 if late_info else 0)
            entries += [
                (info_ns, "/camera/camera_info", messages.camera_info(CAMERA, stamp, FRAME)),
                (stamp + 1, DEPTH, messages.depth_image(scene_depth(index), "32FC1", wrong, FRAME)),
                (stamp + 2, IMAGE, messages.image(scene_rgb(index), "rgb8", stamp, FRAME)),
            ]
        for time_ns, topic, message in sorted(entries, key=lambda entry: entry[0]):
            writer.write(topic, message, time_ns)
    assert evaluate(path).counts["evaluated"] == FRAMES - 1


def test_an_image_without_a_stamp_is_left_out(tmp_path: Path) -> None:
    """As a simulation's first, whose clock begins at zero."""
    path = tmp_path / "zero.mcap"
    with BagWriter(path) as writer:
        writer.write(IMAGE, messages.image(scene_rgb(0), "rgb8", 0, FRAME), START_NS - 1)
        write(writer)
    results = evaluate(path)
    assert results.counts["evaluated"] == FRAMES and results.counts["failed"] == 1
    assert "image not used: its stamp is 0" in results.notes


@pytest.mark.parametrize("black", [(0, 1, 2, 3, 4), (9,)])
def test_a_black_picture_ends_nothing(tmp_path: Path, black: tuple[int, ...]) -> None:
    path = tmp_path / "black.mcap"
    with BagWriter(path) as writer:
        write(writer, black=black)
    results = evaluate(path)
    assert not results.complete and results.counts["evaluated"] == FRAMES - len(black)
    assert any("is the image black" in note for note in results.notes)


def test_a_network_that_gives_nothing_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "black.mcap"
    with BagWriter(path) as writer:
        write(writer, black=tuple(range(FRAMES)))
    with pytest.raises(BagError, match=r"stopped after 0 of 30 images: .*is the image black"):
        evaluate(path)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_messages_compressed_one_by_one_are_read_without_metadata(tmp_path: Path, storage: str) -> None:
    """A recorder that crashed has left none, and that they are compressed stands nowhere else."""
    path = tmp_path / "crashed"
    with BagWriter(path, storage=storage, compression="zstd") as writer:
        write(writer)
    (path / "metadata.yaml").unlink()
    results = evaluate(path)
    assert results.counts["evaluated"] == FRAMES
    assert any("no metadata.yaml" in note for note in results.notes)


def test_a_full_disk_under_sqlite_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = BagWriter(tmp_path / "full.db3")

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(writer._writer, "write", full)
    with pytest.raises(BagError, match=r"database or disk is full; what was written stays in"):
        write(writer)


def test_large_images_wait_less_and_are_counted() -> None:
    waiting = WaitingImages([NearestInTime()])
    half = bytearray(MOST_WAITING_BYTES // 2)
    for index in range(3):
        waiting.add(Stamped(index, index, messages.image(np.zeros((1, 1, 3), np.uint8), "rgb8", index, FRAME)))
        waiting._images[-1].message.data = half
        waiting._bytes += len(half) - 3
    assert [image.stamp_ns for image in waiting.ready(3)] == [0] and waiting.hurried == 1
    assert [image.stamp_ns for image in waiting.ready(3, finished=True)] == [1, 2] and waiting.hurried == 1


def test_a_source_has_one_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anchors = ["--anchor", "range=/left", "--anchor", "range=/right"]
    command = ["bag", "evaluate", "x.mcap", "--image-topic", IMAGE, "--reference", DEPTH, *anchors]
    assert main([*command, "--out", str(tmp_path)]) == 1
    assert "--anchor range is given twice, /left and /right" in capsys.readouterr().err


def folder(path: Path, numbers: range, pad: int, leave_out: dict[int, str] | None = None) -> Path:
    path.mkdir()
    for number in numbers:
        for kind in ("color", "depth"):
            if (leave_out or {}).get(number) != kind:
                picture = np.full((24, 32, 3) if kind == "color" else (24, 32), number + 1, np.uint8)
                name = f"f{number:0{pad}d}.{kind}.png"
                cv2.imwrite(str(path / name), picture if kind == "color" else picture.astype(np.uint16) * 1000)
    return path


def test_one_damaged_message_costs_itself(tmp_path: Path) -> None:
    """Of a recording whose messages are compressed one by one, and that has no metadata."""
    path = tmp_path / "crashed"
    with BagWriter(path, storage="sqlite3", compression="zstd") as writer:
        write(writer)
    (path / "metadata.yaml").unlink()
    with sqlite3.connect(next(path.glob("*.db3"))) as base:
        (number,) = base.execute("select id from messages order by length(data) desc limit 1").fetchone()
        base.execute("update messages set data = substr(data, 1, length(data) / 2) where id = ?", (number,))
    results = evaluate(path)
    assert results.counts["evaluated"] >= FRAMES - 1 and not results.complete


@pytest.mark.parametrize("pattern", ["**/*.{}.png", "run?/*.{}.png", "run[12]/f*.{}.png", "*/*.{}.png"])
def test_files_of_several_folders_are_all_taken(tmp_path: Path, pattern: str) -> None:
    for number in (1, 2):
        folder(tmp_path / f"run{number}", range(3), 1)
    found = FolderFrames(tmp_path, images=pattern.format("color"), depths=pattern.format("depth"))
    assert len(list(found)) == 6
    two = tmp_path / "two"
    two.mkdir()
    for name in ("a.color.png", "a.color.jpg"):
        cv2.imwrite(str(two / name), np.zeros((24, 32, 3), np.uint8))
    assert len(FolderFrames(two, depths="")) == 2


@pytest.mark.parametrize("pad", [1, 3])
def test_files_are_taken_in_the_order_of_people_and_by_name(tmp_path: Path, pad: int) -> None:
    frames = list(FolderFrames(folder(tmp_path / "in", range(12), pad)))
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == list(range(1, 13))
    assert [round(float(frame.depth_m[0, 0])) for frame in frames] == list(range(1, 13))


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    """As many depths as images, but of other moments."""
    gaps = folder(tmp_path / "in", range(8), 1, {3: "depth", 5: "color"})
    with pytest.raises(BagError, match="alone are f3, f5"):
        FolderFrames(gaps)
    with pytest.raises(BagError, match=r"no depth matches '\*.no.png'"):
        FolderFrames(gaps, depths="*.no.png")


def test_depth_of_another_size_makes_a_recording(tmp_path: Path) -> None:
    small = folder(tmp_path / "in", range(3), 1)
    for number in range(3):
        cv2.imwrite(str(small / f"f{number}.depth.png"), np.full((12, 16), 2000, np.uint16))
    command = ["bag", "make", "--folder", str(small), "--intrinsics", "28,28,15.5,11.5", "--out"]
    assert main([*command, str(tmp_path / "a.mcap")]) == 0
    with BagReader(tmp_path / "a.mcap") as bag:
        assert bag.topics["/reference/points"].message_count == 3


def test_names_that_are_not_utf8(tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    picture = cv2.imencode(".png", scene_rgb(0))[1].tobytes()
    for name in (b"a.png", b"lat\xe9.png"):
        Path(os.fsdecode(os.fsencode(pictures) + b"/" + name)).write_bytes(picture)
    out = os.fsdecode(os.fsencode(tmp_path) + b"/out\xe9")
    command = ["infer", str(pictures), "--out", out, "--once", "--color", "--weights", str(tiny_weights)]
    assert main(command) == 0
    assert len(list(Path(out).glob("*.depth.png"))) == 2
    video = Path(os.fsdecode(os.fsencode(tmp_path) + b"/v\xe9.mp4"))
    video.write_bytes(b"")
    assert main(["infer", str(video), "--out", out, "--once"]) == 1
    assert "not UTF-8: rename it" in capsys.readouterr().err


def test_pictures_of_a_recording_have_the_nearest_camera_info(tmp_path: Path) -> None:
    """Stamped a millisecond beside it, or sent once."""
    for once in (False, True):
        path = tmp_path / f"{once}.mcap"
        with BagWriter(path) as writer:
            for index in range(5):
                stamp = START_NS + index * PERIOD_NS
                if index == 0 or not once:
                    writer.write("/camera/camera_info", messages.camera_info(CAMERA, stamp + 10**6, FRAME), stamp)
                writer.write(IMAGE, messages.image(scene_rgb(index), "rgb8", stamp, FRAME), stamp + 1)
        source = open_source(str(path), SourceOptions(topic=IMAGE, calibrated=True))
        found = [frame.calibration for frame in source]
        assert len(found) == 5
        assert all(one is not None and one.k[0] == CAMERA.fx_px for one in found)


def test_what_is_no_network_error_passes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that fails ends the evaluation early, with what was found by then."""
    path = tmp_path / "a.mcap"
    with BagWriter(path) as writer:
        write(writer)
    estimator = brightness_estimator()
    infer, calls = estimator.infer, []

    def failing(rgb: np.ndarray) -> object:
        calls.append(1)
        if len(calls) > 12:
            raise BackendError("the device is gone")
        return infer(rgb)

    monkeypatch.setattr(estimator, "infer", failing)
    with BagReader(path) as bag:
        options = EvaluateOptions(PipelineOptions(), pictures=0)
        results = evaluate_bag(bag, resolve_topics(bag, IMAGE, DEPTH), estimator, options)[0]
    assert not results.complete and results.counts["evaluated"] == 12


def test_a_focal_length_is_not_made_up_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder(tmp_path / "in", range(2), 1)
    command = ["bag", "make", "--folder", str(source), "--out"]
    assert main([*command, str(tmp_path / "a.mcap")]) == 0
    assert "camera_info is a guess, 70 degrees across" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "h.mcap"), "--fov-deg", "60"]) == 0
    assert "base_link, 0.5 m below a level camera, is a guess" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "b.mcap"), "--fov-deg", "60", "--camera-height-m", "1.2"]) == 0
    assert "guess" not in capsys.readouterr().out
    assert main([*command, str(tmp_path / "c.mcap"), "--baseline-m", "0.54"]) == 1
    assert "give --intrinsics, or --fov-deg" in capsys.readouterr().err
