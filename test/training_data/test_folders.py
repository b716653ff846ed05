"""Data of which parts lie on another disk, behind links."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from test.training_data.conftest import picture
from training.datasets.base import open_dataset
from training.datasets.folders import folders_below


def test_links_are_followed_and_no_folder_comes_twice(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root / "z" / "deep", other / "scene"):
        folder.mkdir(parents=True)
    (root / "a").symlink_to(root / "z" / "deep")  # comes before what it leads to
    (root / "b").symlink_to(other)
    (root / "c").symlink_to(other)
    (other / "scene" / "loop").symlink_to(root)
    (root / "nowhere").symlink_to(tmp_path / "gone")
    expected = [root, root / "z", root / "z" / "deep", root / "b", root / "b" / "scene"]
    assert list(folders_below(root)) == expected


@pytest.mark.parametrize("layout", ["beside", "below"])
def test_nyu_has_scenes_that_are_links(tmp_path: Path, layout: str) -> None:
    for scene in (tmp_path / "nyu/train/den", tmp_path / "other/hall"):
        image, depth = ("1.jpg", "1.png") if layout == "beside" else ("rgb/1.png", "depth/1.png")
        for name, values in ((image, picture()), (depth, np.full((120, 160), 2345, np.uint16))):
            (scene / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(scene / name), values)
    (tmp_path / "nyu/train/hall").symlink_to(tmp_path / "other/hall")
    (tmp_path / "other/hall/loop").symlink_to(tmp_path / "nyu")
    dataset = open_dataset("nyu", tmp_path / "nyu", "train")
    assert [record.scene for record in dataset.records] == ["train/den", "train/hall"]
    assert dataset[1].valid_mask.all()


def test_kitti_has_drives_that_are_links(tmp_path: Path) -> None:
    root, other = tmp_path / "kitti", tmp_path / "other"
    drives = [f"2011_09_26_drive_{number:04d}_sync" for number in (1, 2)]
    for drive, home in zip(drives, (root, other), strict=True):
        truth, raw = home / "train" / drive, home / drive[:10] / drive
        for file, values in (
            (truth / "proj_depth/groundtruth/image_02/0000000005.png", np.full((375, 1242), 2560, np.uint16)),
            (raw / "image_02/data/0000000005.png", picture(375, 1242)),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), values)
    for folder in ("train", drives[1][:10]):
        (root / folder / drives[1]).symlink_to(other / folder / drives[1])
    dataset = open_dataset("kitti", root, "train")
    assert [record.scene for record in dataset.records] == drives
    assert dataset[1].valid_mask.all()
