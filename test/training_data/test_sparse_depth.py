"""Depth on a few pixels alone, as LiDAR has it, in MegaDepth's layout: left out by its reader, but never unsaid."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.training_data.conftest import picture, scene_depth
from training import prepare
from training.datasets import write_megadepth
from training.datasets.base import DatasetError, open_dataset
from training.datasets.write_megadepth import write_pair

SPARSE = {"min_valid_share": 0.0, "percentiles": None}


def _lidar(seed: int) -> np.ndarray:
    """Every sixth row alone has depth."""
    depth = scene_depth(seed=seed)
    depth[np.arange(depth.shape[0]) % 6 != 0] = 0
    return depth


def test_writing_says_what_to_train_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    rows = ["dataset,image,gt,kind,scale,invalid,scene,split"]
    for number, depth in enumerate((_lidar(0), _lidar(1), scene_depth())):
        assert cv2.imwrite(str(source / f"{number}.png"), picture(seed=number))
        assert cv2.imwrite(str(source / f"{number}.gt.png"), (1000 * depth).astype(np.uint16))
        rows.append(f"road,{number}.png,{number}.gt.png,depth,0.001,0,drive{number},train")
    (source / "index.csv").write_text("\n".join(rows) + "\n")
    assert write_megadepth.main(["--reader", "index_csv", "--path", str(source), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 have a truth for less than 30% of their pixels" in said
    assert "{min_valid_share: 0.0, percentiles: null}" in said
    assert prepare.main(["--path", str(out)]) == 0
    assert "2 of 3 have depth on less than 30%" in capsys.readouterr().out
    dataset = open_dataset("megadepth", out, "all", SPARSE)
    assert [round(float(dataset[index].valid_mask.mean()), 2) for index in range(3)] == [0.17, 0.17, 1.0]


def test_dense_truth_needs_no_advice(megadepth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--path", str(megadepth)]) == 0
    assert "less than" not in capsys.readouterr().out


def test_what_is_left_out_as_sparse_is_counted(megadepth: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="training.datasets.megadepth")
    write_pair(megadepth / "0777/dense0", "sparse", picture(), _lidar(0))
    prepare.check_folder(megadepth, workers=1)
    assert len(open_dataset("megadepth", megadepth, "all")) == 6
    assert "1 of 7 pairs of split 'all'" in caplog.text and "min_valid_share 0.3" in caplog.text
    assert len(open_dataset("megadepth", megadepth, "all", SPARSE)) == 7


def test_a_split_of_sparse_depth_alone_names_the_option(megadepth: Path) -> None:
    """The other split has dense depth, which said nothing of why this one was empty."""
    write_pair(megadepth / "0777/dense0", "sparse", picture(), _lidar(0))
    (megadepth / "val.txt").write_text("0777\n")
    prepare.check_folder(megadepth, workers=1)
    told = r"1 of 1 pairs of split 'val' .* min_valid_share 0\.3 .* give sparse depth"
    with pytest.raises(DatasetError, match=told):
        open_dataset("megadepth", megadepth, "val", {"val_list": "val.txt"})


def test_shards_of_sparse_depth_are_made_with_the_readers_options(
    megadepth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(megadepth / "0777/dense0", "sparse", picture(), _lidar(0))
    command = ["--path", str(megadepth), "--shards", str(tmp_path / "shards"), "--short-side", "96", "--options"]
    assert prepare.main([*command, "{}"]) == 0
    assert len(open_dataset("shards", tmp_path / "shards", "all")) == 6
    assert prepare.main([*command, "{min_valid_share: 0.0, percentiles: null}"]) == 0
    stored, direct = (
        open_dataset("shards", tmp_path / "shards", "all"),
        open_dataset("megadepth", megadepth, "all", {**SPARSE, "short_side_px": 96}),
    )
    assert stored.records == direct.records and len(stored) == 7
    np.testing.assert_array_equal(stored[6].valid_mask, direct[6].valid_mask)
    capsys.readouterr()
    assert prepare.main([*command, "{percentiles: 98}"]) == 1
    assert capsys.readouterr().err == "error: reader 'megadepth': percentiles must be list, got 98\n"
