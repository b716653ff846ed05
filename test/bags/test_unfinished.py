"""What a recording leaves behind that could not be finished."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.bags.reader import BagReader
from depthnet_ros.cli import main


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
