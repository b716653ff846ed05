"""Lists that select: what is written in them holds out what it names, or is told."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.training_data.conftest import picture, scene_depth
from training.datasets.base import DatasetError, open_dataset
from training.datasets.megadepth import MegaDepthDataset
from training.datasets.shards import write_shards
from training.datasets.write_megadepth import write_pair


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """Scenes of one pair each, two of them with a space in their name."""
    for scene in ("0003", "hall a", "hall b", "room"):
        write_pair(tmp_path / "rooms" / scene / "dense0", "x", picture(48, 64), scene_depth(48, 64))
    return tmp_path / "rooms"


def _scenes(root: Path, split: str, val_list: str, reader: str = "megadepth") -> list[str]:
    return [record.scene for record in open_dataset(reader, root, split, {"val_list": val_list}).records]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # the second as editors on Windows save it
@pytest.mark.parametrize("names", [["hall b", "room"], ["0003", "room"]])
def test_what_a_text_list_names_is_held_out(rooms: Path, encoding: str, names: list[str]) -> None:
    (rooms / "val.txt").write_text("".join(f"{name} \r\n\n" for name in names), encoding=encoding)
    assert _scenes(rooms, "val", "val.txt") == names
    assert _scenes(rooms, "train", "val.txt") == [s for s in ("0003", "hall a", "hall b", "room") if s not in names]


def test_names_that_are_not_on_disk_are_told(rooms: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="training.datasets.megadepth_files")  # other libraries raise the root's
    (rooms / "val.txt").write_text("room\n")
    assert _scenes(rooms, "train", "val.txt") == ["0003", "hall a", "hall b"]
    assert not caplog.records
    (rooms / "val.txt").write_text("0004\nroom\n")
    for split, expected in (("train", ["0003", "hall a", "hall b"]), ("val", ["room"])):
        caplog.clear()
        assert _scenes(rooms, split, "val.txt") == expected
        assert "1 of its 2 names are not on disk, such as '0004'" in caplog.text


def test_an_official_list_of_a_part_of_the_data_is_no_error(rooms: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="training.datasets.megadepth_files")
    prefix = "/phoenix/S6/zl548/MegaDepth_v1/"
    entries = [f"{prefix}{scene}/dense0/imgs/{stem}.jpg" for scene in ("0003", "0015") for stem in ("x", "y")]
    (rooms / "imgs_MD.p").write_bytes(pickle.dumps(entries, protocol=2))
    assert _scenes(rooms, "train", "imgs_MD.p") == ["hall a", "hall b", "room"]
    assert "3 of its 4 names are not on disk, such as '0003/dense0/y'" in caplog.text


@pytest.mark.parametrize("reader", ["megadepth", "shards"])
def test_a_list_that_would_hold_nothing_out_is_an_error(rooms: Path, tmp_path: Path, reader: str) -> None:
    write_shards(MegaDepthDataset(rooms, "all"), tmp_path / "shards")
    root = rooms if reader == "megadepth" else tmp_path / "shards"
    (root / "val.txt").write_text("0004\n")
    with pytest.raises(DatasetError, match=r"val\.txt: nothing that it names is on disk \(such as '0004'\)"):
        _scenes(root, "train", "val.txt", reader)
    for content in ("", "\n \n", "\ufeff"):
        (root / "val.txt").write_text(content, encoding="utf-8")
        for split in ("train", "val"):
            with pytest.raises(DatasetError, match=r"val\.txt: an empty list; expected scenes or images"):
                _scenes(root, split, "val.txt", reader)


@pytest.mark.parametrize("content", [None, 5, "0003", {"0003": 1}, [["0003"]], [3], np.array(3)])
def test_a_pickle_that_is_no_list_of_names_is_refused(rooms: Path, content: Any) -> None:
    (rooms / "val.p").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DatasetError, match=r"val\.p: expected a list of paths of images"):
        _scenes(rooms, "train", "val.p")
