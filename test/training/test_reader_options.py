"""The options of a reader, as commands take them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from training import evaluate, uncertainty
from training.datasets import write_megadepth
from training.datasets.base import open_dataset, reader_options


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two data sets of one picture each."""
    rows = ["dataset,image,gt,kind,scale,invalid,scene,split"]
    for name in ("a", "b"):
        assert cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full((48, 64, 3), 90, np.uint8))
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((48, 64), 2000, np.uint16))
        rows.append(f"{name},{name}.jpg,{name}.png,depth,0.001,0,{name},val")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "index.csv"


def test_they_choose_what_is_read(index: Path) -> None:
    dataset = open_dataset("index_csv", index, "val", reader_options("{include: [b]}"))
    assert [dataset[i].dataset for i in range(len(dataset))] == ["b"]
    assert len(open_dataset("index_csv", index, "val", reader_options("{}"))) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("{val_list: a.txt}", "does not take ['val_list']"),
        ("[a, b]", "--options must be a mapping"),
        ("{", "--options is no YAML"),
    ],
)
def test_what_is_no_option_is_told(index: Path, tmp_path: Path, capsys, options: str, told: str) -> None:
    shipped = str(Path(__file__).parents[2] / "weights" / "depthnet_small.safetensors")
    where = ["--options", options, "--split", "val"]
    assert evaluate.main(["--data", str(index), *where]) == 1
    assert told in capsys.readouterr().err
    assert uncertainty.main(["--weights", shipped, "--data", str(index), *where]) == 1
    assert told in capsys.readouterr().err
    command = ["--reader", "index_csv", "--path", str(index), "--out", str(tmp_path / "out"), *where]
    assert write_megadepth.main(command) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reader", "options", "told"),
    [
        ("megadepth", "{ordinal: 'no'}", "reader 'megadepth': ordinal must be bool, got 'no'"),
        ("megadepth", "{name: 3}", "name must be str, got 3"),
        ("megadepth", "{min_valid_share: '0.3'}", "min_valid_share must be float, got '0.3'"),
        ("megadepth", "{percentiles: 98}", "percentiles must be list, got 98"),
        ("megadepth", "{percentiles: [1, true]}", r"percentiles\[1\] must be float, got True"),
        ("megadepth", "{train_list: 5}", "train_list must be str, got 5"),
        ("megadepth", "{short_side_px: 96.5}", "short_side_px must be int, got 96.5"),
        ("megadepth", "{sky: blue}", r"sky must be one of \['ignore', 'far'\], got 'blue'"),
        ("index_csv", "{include: room}", "include must be list, got 'room'"),
        ("kitti", "{kb_crop: 1}", "kb_crop must be bool, got 1"),
        ("nyu", "{raw: 'false'}", "raw must be bool, got 'false'"),
        ("wsvd", "{name: no}", r"name must be str, got False \(put it in quotes"),
    ],
)
def test_an_option_of_another_type_is_named(tmp_path: Path, reader: str, options: str, told: str) -> None:
    """``ordinal: 'no'`` switched it on, and a name of 3 ended the run at its first report."""
    with pytest.raises(ConfigError, match=told):
        open_dataset(reader, tmp_path, "all", reader_options(options))


def test_options_of_the_right_type_are_taken(index: Path) -> None:
    options = reader_options("{include: null, exclude: [a]}")
    assert len(open_dataset("index_csv", index, "val", options)) == 1
