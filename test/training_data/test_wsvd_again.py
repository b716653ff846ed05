"""A second run over a cache that was made in another way, and lists, options and videos that cannot be."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from test.training_data.conftest import picture
from test.training_data.films import write_clips, write_video
from training.datasets import wsvd_build
from training.datasets.base import open_dataset
from training.datasets.wsvd_build import read_notes


@pytest.fixture
def command(film: tuple[Path, Path], tmp_path: Path) -> list[str]:
    return ["--clips", str(film[0]), "--videos", str(film[1]), "--cache", str(tmp_path / "c")]


def _said(command: list[str], capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert wsvd_build.main([*command, *options]) == 0
    return capsys.readouterr().out


def _told(what: str) -> str:
    return f"4  there already, made with another {what}"


def test_frames_made_with_another_width_are_told(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there already" not in _said(command, capsys)
    said = _said(command, capsys, "--max-width", "2000")  # wider than the film: the same frames
    assert "4  there already\n" in said and "another" not in said
    assert _told("--max-width") in _said(command, capsys, "--max-width", "100")
    assert open_dataset("wsvd", tmp_path / "c", "val")[0].rgb.shape[1] > 100


def test_frames_made_of_another_file_by_another_flow_or_for_another_split_are_told(
    command: list[str], film: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run changed nothing and said nothing."""
    _said(command, capsys)
    for options in (("--flow", "dis_full"), ("--split", "train")):
        said = _said(command, capsys, *options)
        assert _told(options[0]) in said and said.count("another") == 1
    os.utime(film[1] / "abcdefghijk.mp4", ns=(1, 1))
    said = _said(command, capsys)
    assert _told("file of the video") in said and said.count("another") == 1


def test_notes_of_older_caches_are_read_and_taken_to_fit(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _said(command, capsys)
    notes = tmp_path / "c" / "abcdefghijk.f137" / wsvd_build.NOTES_NAME
    entries = [json.loads(line) for line in notes.read_text().splitlines()]
    for entry in entries:  # of a cache made before these were noted
        for key in ("eye_width_px", "width_px", "flow", "source"):
            del entry[key]
    notes.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    said = _said(command, capsys, "--max-width", "100", "--flow", "dis_full")
    assert "4  there already\n" in said and "another" not in said
    assert len(read_notes(notes.parent)) == 4


def test_a_frame_that_two_runs_noted_is_one(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    _said(command, capsys)
    notes = tmp_path / "c" / "abcdefghijk.f137" / wsvd_build.NOTES_NAME
    count = len(open_dataset("wsvd", tmp_path / "c", "val"))
    notes.write_text(2 * notes.read_text())
    assert len(open_dataset("wsvd", tmp_path / "c", "val")) == count


@pytest.mark.parametrize("width_px", [-5, 0, 63])
def test_a_width_that_is_none_is_told(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], width_px: int
) -> None:
    assert wsvd_build.main([*command, "--max-width", str(width_px)]) == 1
    assert f"--max-width must be at least 64 px, got {width_px}" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_list_without_a_video_is_told(
    film: tuple[Path, Path], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    film[0].write_bytes(pickle.dumps([]))
    assert wsvd_build.main(command) == 1
    assert "a clip list without a video in it" in capsys.readouterr().err


def test_a_video_too_small_for_the_flow_does_not_end_the_work(
    film: tuple[Path, Path], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(film[1] / "a_tiny_film.mp4", [np.ascontiguousarray(picture(8, 16))])
    write_clips(film[0], {"a_tiny_film": [([0], 1)], "abcdefghijk": [([0], 1)]})
    assert wsvd_build.main(command) == 0
    said = capsys.readouterr()
    assert "1  kept" in said.out and "1  videos that end early, are damaged, too small" in said.out
    assert "a_tiny_film: " in said.out + said.err
