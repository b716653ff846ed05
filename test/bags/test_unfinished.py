"""Recordings that are not finished yet, and what one leaves behind that could not be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.stream_reader import breakup_chunk

from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.cli import main
from test.bags.bag_scene import write_scene


def files(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.color.png"), np.full((48, 64, 3), index, np.uint8))
        cv2.imwrite(str(folder / f"{index}.depth.png"), np.full((48, 64), 1000, np.uint16))
    return folder


@pytest.mark.parametrize("name", ["new.mcap", "new.db3", "new"])
def test_a_recording_that_fails_on_the_way_is_named_once(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = files(tmp_path / "files", 60)
    (folder / "50.depth.png").write_bytes(b"no picture")
    command = ["bag", "make", "--folder", str(folder), "--out", str(tmp_path / name), "--compression", "none"]
    assert main(command) == 1
    said = capsys.readouterr().err
    left = tmp_path / f"{name}.partial" / "new"
    assert said.splitlines()[0] == f"what was written stays in {left}" and "50.depth.png" in said
    assert any(item.stat().st_size for item in left.iterdir())
    assert main(command) == 1
    again = capsys.readouterr().err
    assert "is left from a run that failed: move or delete it first" in again and "what was written" not in again


@pytest.mark.parametrize("wrong", [["--extras", "lidar"], ["--depth-format", "float"], ["--storage", "foo"]])
def test_a_recording_that_never_began_leaves_nothing(
    tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bag", "make", "--scene", "room", "--frames", "1", "--size", "64x48", "--out", str(tmp_path / "a.mcap")]
    assert main([*command, *wrong]) == 1
    assert wrong[1] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(command) == 0
    with BagReader(tmp_path / "a.mcap") as bag:
        assert bag.losses == []


def test_an_mcap_that_is_still_being_recorded_is_read_as_it_was_when_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "live.mcap"
    with BagWriter(path) as writer:
        write_scene(writer, 40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    def while_it_is_written(*arguments: Any, **options: Any) -> list[Any]:
        path.write_bytes(whole[:-1000])
        return breakup_chunk(*arguments, **options)

    monkeypatch.setattr("depthnet_ros.bags.mcap_scan.breakup_chunk", while_it_is_written)
    with BagReader(path) as bag:
        counted = {name: topic.message_count for name, topic in bag.topics.items()}
        seen = Counter(item.topic for item in bag.messages(list(bag.topics)))
        losses = bag.losses
    assert counted == seen and 0 < seen["/image"] < 30
    assert f"live.mcap is still being recorded: its first {len(whole) // 2} bytes are read" in losses
    assert not any("cannot be read" in loss for loss in losses)


def test_a_database_that_changes_while_it_is_read_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "live.db3"
    with BagWriter(path) as writer:
        write_scene(writer, 40)
    size = path.stat().st_size
    with BagReader(path) as bag:
        with path.open("r+b") as recorder:
            recorder.seek(size // 2)
            recorder.write(b"\xff" * size)
        assert len(list(bag.messages(["/image"]))) < 40
        (loss,) = [loss for loss in bag.losses if "malformed" in loss]
    assert "live.db3: still being recorded" in loss and "save what is whole" not in loss
