"""Rows of an index as they come out: colours, units, what is invalid, the frame that is cut off."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from test.training_data.conftest import picture
from training.datasets.base import DatasetError, Sample, TargetKind, open_dataset

_HEADER = "dataset,image,gt,kind,scale,invalid,scene,split\n"


def _sample(folder: Path, values: np.ndarray, row: str) -> Sample:
    """Of a picture that is kept exactly and in which no channel, row or column is like another one."""
    cv2.imwrite(str(folder / "a.png"), picture(*values.shape)[..., ::-1])
    cv2.imwrite(str(folder / "a.gt.png"), values)
    (folder / "index.csv").write_text(f"{_HEADER}{row}\n")
    sample = open_dataset("index_csv", folder, "all")[0]
    sample.check()
    return sample


def _depth(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(500, 9000, (height, width)).astype(np.uint16)


def test_a_picture_keeps_its_colours_and_depth_its_unit(tmp_path: Path) -> None:
    values = _depth(60, 80)
    sample = _sample(tmp_path, values, "lab,a.png,a.gt.png,depth,0.001,0,room,train")
    np.testing.assert_array_equal(sample.rgb, picture(60, 80))
    np.testing.assert_allclose(sample.target, values / 1000, rtol=1e-6)
    assert sample.valid_mask.all() and sample.cut is None and sample.metric


def test_every_value_that_means_no_measurement_is_left_out(tmp_path: Path) -> None:
    values = _depth(60, 80)
    values[0], values[1] = 0, 65535
    sample = _sample(tmp_path, values, 'lab,a.png,a.gt.png,depth,0.001,"0,65535",room,train')
    assert not sample.valid_mask[:2].any() and sample.valid_mask[2:].all()


@pytest.mark.parametrize(
    ("kind", "dataset", "expected"),
    [
        ("disparity", "lab", TargetKind.DISPARITY),
        ("disparity_pseudo", "lab", TargetKind.DISPARITY_AFFINE),
        ("disparity_minmax8", "lab", TargetKind.DISPARITY_AFFINE),
        ("disparity_minmax8", "kitti_vo_sgbm", TargetKind.DISPARITY),
        ("nearness8_visual", "lab", TargetKind.RANK),
    ],
)
def test_what_the_numbers_mean(tmp_path: Path, kind: str, dataset: str, expected: TargetKind) -> None:
    values = (_depth(60, 80) % 251).astype(np.uint8)
    sample = _sample(tmp_path, values, f"{dataset},a.png,a.gt.png,{kind},1,,s,train")
    assert sample.kind is expected
    assert sample.kind.has_zero == (expected is TargetKind.DISPARITY)
    np.testing.assert_array_equal(sample.target, values)


def test_the_white_frame_of_nyu_is_cut_off(tmp_path: Path) -> None:
    values = _depth(60, 80)
    sample = _sample(tmp_path, values, "nyuv2_train,a.png,a.gt.png,depth,0.001,0,room,train")
    assert sample.cut == (8, 8, 60, 80)
    np.testing.assert_array_equal(sample.rgb, picture(60, 80)[8:-8, 8:-8])
    np.testing.assert_allclose(sample.target, values[8:-8, 8:-8] / 1000, rtol=1e-6)
    assert sample.valid_mask.shape == (44, 64)


def test_a_quote_that_is_not_closed_is_said(tmp_path: Path) -> None:
    row = "lab,a.png,a.gt.png,depth,1,0,s,train\n"
    (tmp_path / "index.csv").write_text(f'{_HEADER}{row}lab,"{row * 5000}')
    with pytest.raises(DatasetError, match=r'the row behind line 2 cannot be read .*is a " not closed\?'):
        open_dataset("index_csv", tmp_path, "train")


def test_files_of_one_name_in_two_recordings_are_two(tmp_path: Path) -> None:
    rows = []
    for recording in ("first", "second"):
        (tmp_path / recording / "img").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / recording / "img" / "1.png"), picture(60, 80))
        cv2.imwrite(str(tmp_path / recording / "1.png"), _depth(60, 80))
        rows.append(f"hall,{recording}/img/1.png,{recording}/1.png,depth,0.001,0,corridor,val\n")
    (tmp_path / "index.csv").write_text(_HEADER + "".join(rows))
    dataset = open_dataset("index_csv", tmp_path, "val")
    assert [dataset[index].name for index in range(2)] == ["first/img/1.png", "second/img/1.png"]
