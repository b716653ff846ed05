from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.training_data.films import side_by_side, write_clips, write_video
from test.training_data.full_disk import files_of_at_most
from test.training_data.test_stereo_truth import stereo_pair
from training.datasets import wsvd_build
from training.datasets.base import DatasetError, TargetKind, open_dataset
from training.datasets.wsvd_build import read_notes
from training.datasets.wsvd_clips import check_rate, find_video, read_clips, read_frames


def _build(film: tuple[Path, Path], cache: Path) -> int:
    return wsvd_build.main(["--clips", str(film[0]), "--videos", str(film[1]), "--cache", str(cache)])


def test_from_clip_list_and_video_to_samples(
    film: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    assert _build(film, cache) == 0
    said = capsys.readouterr().out
    for line in ("3  kept", "1  flat", "1  videos missing"):
        assert line in said
    dataset = open_dataset("wsvd", cache, "val")
    assert [record.scene for record in dataset.records] == ["abcdefghijk.f137"] * 3
    for index, (frame, near) in enumerate(((0, 14), (1, 16))):
        sample = dataset[index]
        sample.check()
        assert sample.kind is TargetKind.DISPARITY_AFFINE
        assert sample.name.endswith(f"/{frame:06d}")
        assert np.median(sample.target[60:100, 90:150]) == pytest.approx(near, abs=0.5)
        assert np.median(sample.target[5:30, 20:220]) == pytest.approx(-4, abs=0.5)
        expected = stereo_pair(near_px=near)[0]
        assert np.abs(sample.rgb.astype(int) - expected).mean() < 8  # video and JPEG
    swapped = dataset[2]  # label -1: the true left eye is the right half, so depth's order turns
    assert np.median(swapped.target[60:100, 80:130]) == pytest.approx(-22, abs=0.5)


def test_second_run_continues(film: tuple[Path, Path], tmp_path: Path) -> None:
    cache, whole = tmp_path / "cache", tmp_path / "whole"
    assert _build(film, whole) == 0
    assert _build(film, cache) == 0
    notes = cache / "abcdefghijk.f137" / wsvd_build.NOTES_NAME
    lines = notes.read_bytes().splitlines(keepends=True)
    notes.write_bytes(b"".join(lines[:2]) + lines[2][:15])  # killed while writing the third note
    (cache / "abcdefghijk.f137" / "000004.png").unlink()
    kept = (cache / "abcdefghijk.f137" / "000000.png").stat().st_mtime_ns
    assert _build(film, cache) == 0
    assert (cache / "abcdefghijk.f137" / "000000.png").stat().st_mtime_ns == kept
    for file in (whole / "abcdefghijk.f137").iterdir():
        assert (cache / "abcdefghijk.f137" / file.name).read_bytes() == file.read_bytes()


def test_a_full_disk_ends_the_work_and_the_frame_is_made_again(
    film: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A frame that is noted as kept but is not there would never be made again."""
    cache = tmp_path / "cache"
    (cache / "abcdefghijk.f137" / "000000.png").mkdir(parents=True)  # where the picture would be written
    assert _build(film, cache) == 1
    assert "frame 0 cannot be written" in capsys.readouterr().err
    assert read_notes(cache / "abcdefghijk.f137") == []
    (cache / "abcdefghijk.f137" / "000000.png").rmdir()
    assert _build(film, cache) == 0
    assert 0 in [note.frame for note in read_notes(cache / "abcdefghijk.f137")]


def test_notes_survive_a_disk_that_is_full_when_they_are_gone_on_with(
    film: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    assert _build(film, cache) == 0
    notes = cache / "abcdefghijk.f137" / wsvd_build.NOTES_NAME
    lines = notes.read_bytes().splitlines(keepends=True)
    for before in (b"".join(lines[:3]), b"".join(lines[:3]) + lines[3][:20]):  # whole; its last line cut by a kill
        notes.write_bytes(before)
        with files_of_at_most(30):
            assert _build(film, cache) == 1
        assert "cannot be written" in capsys.readouterr().err
        assert notes.read_bytes() == before
    assert _build(film, cache) == 0
    assert notes.read_bytes() == b"".join(lines)


def test_frames_are_those_asked_for(tmp_path: Path) -> None:
    frames = [np.full((64, 96, 3), 8 * number, np.uint8) for number in range(30)]
    write_video(tmp_path / "a.mp4", frames)
    found = list(read_frames(tmp_path / "a.mp4", [3, 17, 29]))
    assert [number for number, _ in found] == [3, 17, 29]
    for number, picture in found:
        assert picture.mean() == pytest.approx(8 * number, abs=3)


def test_video_that_ends_early_keeps_what_it_had(
    film: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = write_clips(tmp_path / "longer.pkl", {"abcdefghijk": [([0, 1, 400], 1)]})
    assert wsvd_build.main(["--clips", str(listed), "--videos", str(film[1]), "--cache", str(tmp_path / "c")]) == 0
    captured = capsys.readouterr()
    assert "1  videos that end early" in captured.out
    assert "frame 400 is wanted" in captured.out + captured.err
    assert [note.frame for note in read_notes(tmp_path / "c" / "abcdefghijk")] == [0, 1]


def test_a_file_that_is_no_video(film: tuple[Path, Path], tmp_path: Path) -> None:
    (film[1] / "abcdefghijk.mp4").write_bytes(b"<html>Video unavailable</html>")
    assert _build(film, tmp_path / "cache") == 1
    with pytest.raises(DatasetError, match="nothing in it"):
        open_dataset("wsvd", tmp_path / "cache", "val")


def test_names_with_and_without_format(tmp_path: Path) -> None:
    for name in ("plain.webm", "with.f137.mp4", "other.f299.mp4"):
        (tmp_path / name).touch()
    assert find_video(tmp_path, "plain.f136") == tmp_path / "plain.webm"
    assert find_video(tmp_path, "with.f137") == tmp_path / "with.f137.mp4"
    assert find_video(tmp_path, "other") == tmp_path / "other.f299.mp4"
    assert find_video(tmp_path, "absent") is None
    (tmp_path / "loud.f251.webm").touch()  # sound alone
    assert find_video(tmp_path, "loud.f137") is None


def test_another_format_of_twice_the_frames_is_refused(tmp_path: Path) -> None:
    """Every frame number of the list would mean another frame."""
    for name, rate in (("fast.mp4", 60.0), ("slow.mp4", 29.97)):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"mp4v"), rate, (64, 48))
        for _ in range(4):
            writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.release()
    with pytest.raises(DatasetError, match=r"60 frames a second, but the list's numbers are those of fast\.f137"):
        check_rate(tmp_path / "fast.mp4", "fast.f137")
    check_rate(tmp_path / "fast.mp4", "fast.f299")
    check_rate(tmp_path / "fast.mp4", "fast")
    check_rate(tmp_path / "slow.mp4", "slow.f137")


def test_no_videos_no_cache_no_list(
    film: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert _build((film[0], empty), tmp_path / "cache") == 1
    assert "none of the 2 videos" in capsys.readouterr().err
    with pytest.raises(DatasetError, match=r"wsvd_build --cache"):
        open_dataset("wsvd", empty, "val")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps([{"title": "x"}]))
    with pytest.raises(DatasetError, match="is not a WSVD clip list"):
        read_clips(tmp_path / "bad.pkl")


def test_official_test_list(shared: Path) -> None:
    path = shared / "data/wsvd_lists/wsvd_test_clip_frame_ids.pkl"
    videos = read_clips(path)
    assert len(videos) == 42
    assert sum(len(video.frames) for video in videos) == 61_785  # 61 792 entries, seven in two clips
    assert any(any(video.frames.values()) for video in videos)  # swapped eyes
    strided = read_clips(path, stride=10)
    assert sum(len(video.frames) for video in strided) < 8_000


def test_real_stereo_sequence_against_its_disparity(shared: Path, tmp_path: Path) -> None:
    """Street scenes filmed with two eyes, made into a side-by-side film and taken back from it."""
    lefts = sorted((shared / "data/kitti_stereo_sgbm").glob("s2_*.left.jpg"))[:3]
    frames = []
    for left in lefts:
        eyes = [cv2.imread(str(path)) for path in (left, Path(str(left).replace(".left.", ".right.")))]
        height, width = eyes[0].shape[0] // 2 * 2, eyes[0].shape[1] // 4 * 4
        frames.append(side_by_side(*(eye[:height, :width] for eye in eyes)))
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/street.mp4", frames)
    listed = write_clips(tmp_path / "test.pkl", {"street": [(list(range(len(frames))), 1)]})
    cache = tmp_path / "cache"
    arguments = ["--clips", str(listed), "--videos", str(tmp_path / "videos"), "--cache", str(cache)]
    assert wsvd_build.main([*arguments, "--max-width", "4000"]) == 0
    dataset = open_dataset("wsvd", cache, "val")
    assert len(dataset) >= 1
    for index in range(len(dataset)):
        sample = dataset[index]
        left = lefts[int(sample.name[-6:])]
        truth = cv2.imread(str(left).replace(".left.jpg", ".disp.png"), cv2.IMREAD_UNCHANGED) / 16.0
        truth = truth[: sample.target.shape[0], : sample.target.shape[1]]
        both = sample.valid_mask & (truth > 0)
        assert both.mean() > 0.3
        assert np.corrcoef(sample.target[both].argsort().argsort(), truth[both].argsort().argsort())[0, 1] > 0.93
        assert np.median(np.abs(sample.target[both] - truth[both])) < 1.0


@pytest.mark.parametrize("name", ["../videos/abcdefghijk", "a/b", "a\\b", "..", ".", ""])
def test_a_name_that_leads_out_of_the_cache_is_refused(film: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    listed = write_clips(tmp_path / "test.pkl", {name: [([0], 1)]})
    before = sorted(tmp_path.rglob("*"))
    assert wsvd_build.main(["--clips", str(listed), "--videos", str(film[1]), "--cache", str(tmp_path / "c")]) == 1
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(DatasetError, match="expected the name of a video, such as"):
        read_clips(listed)


def test_each_split_has_the_frames_of_its_own_list(film: tuple[Path, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    lists = (("wsvd_test.pkl", 0, []), ("wsvd_train.pkl", 1, []), ("more.pkl", 3, ["--split", "train"]))
    for name, frame, options in lists:
        listed = write_clips(tmp_path / name, {"abcdefghijk": [([frame], 1)]})
        arguments = ["--clips", str(listed), "--videos", str(film[1]), "--cache", str(cache), *options]
        assert wsvd_build.main(arguments) == 0
    for split, frames in (("val", [0]), ("train", [1, 3]), ("all", [0, 1, 3])):
        dataset = open_dataset("wsvd", cache, split)
        assert [int(dataset[index].name[-6:]) for index in range(len(dataset))] == frames
