from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from test.training_data.conftest import picture, scene_depth
from training.datasets.base import DatasetError, open_dataset


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    """A file laid out as nyu_depth_v2_labeled.mat: MATLAB's column-major arrays, text behind references."""
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    images = [picture(480, 640, seed=k) for k in range(3)]
    depths = [np.minimum(scene_depth(480, 640, seed=k), 12) for k in range(3)]
    depths[1][400, 30] = 0
    with h5py.File(path, "w") as file:
        file["images"] = np.stack([image.transpose(2, 1, 0) for image in images])
        file["depths"] = np.stack([depth.T for depth in depths])
        file["rawDepths"] = np.stack([0.5 * depth.T for depth in depths])
        references = file.create_dataset("scenes", (1, 3), dtype=h5py.ref_dtype)
        for k, name in enumerate(("kitchen_0001", "kitchen_0001", "office_0002")):
            file[f"#refs#/{k}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            references[0, k] = file[f"#refs#/{k}"].ref
    return path


def test_mat_is_turned_upright(mat: Path) -> None:
    dataset = open_dataset("nyu", mat, "all")
    assert [record.scene for record in dataset.records] == ["kitchen_0001", "kitchen_0001", "office_0002"]
    sample = dataset[1]
    sample.check()
    inner = slice(8, -8)
    np.testing.assert_array_equal(sample.rgb, picture(480, 640, seed=1)[inner, inner])
    depth = np.minimum(scene_depth(480, 640, seed=1), 12)[inner, inner]
    np.testing.assert_allclose(sample.target[sample.valid_mask], depth[sample.valid_mask])
    expected = depth <= 10
    expected[400 - 8, 30 - 8] = False
    np.testing.assert_array_equal(sample.valid_mask, expected)
    assert sample.intrinsics is not None
    assert sample.intrinsics.cx_px == pytest.approx(324.58 - 8, abs=0.01)


def test_raw_depth(mat: Path) -> None:
    filled, raw = (open_dataset("nyu", mat, "all", {"raw": flag})[0] for flag in (False, True))
    both = filled.valid_mask & raw.valid_mask
    np.testing.assert_allclose(raw.target[both], 0.5 * filled.target[both])


def test_official_split_counts_from_one(mat: Path) -> None:
    with pytest.raises(DatasetError, match=r"splits\.mat is missing"):
        open_dataset("nyu", mat, "train")
    savemat(mat.with_name("splits.mat"), {"trainNdxs": [[3]], "testNdxs": [[1], [2]]})
    assert open_dataset("nyu", mat, "train")[0].name == "office_0002/0003"
    assert len(open_dataset("nyu", mat, "val")) == 2
    savemat(mat.with_name("splits.mat"), {"trainNdxs": [[4]], "testNdxs": [[1]]})
    with pytest.raises(DatasetError, match="does not fit"):
        open_dataset("nyu", mat, "train")


def test_png_copies_are_millimetres(tmp_path: Path) -> None:
    for split, scene in (("train", "den"), ("test", "study")):
        folder = tmp_path / split / scene
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "1.jpg"), picture())
        cv2.imwrite(str(folder / "1.png"), np.full((120, 160), 2345, np.uint16))
    sample = open_dataset("nyu", tmp_path, "val", {"border_px": 0})[0]
    assert sample.scene == "test/study"
    np.testing.assert_allclose(sample.target, 2.345, rtol=1e-6)
    assert len(open_dataset("nyu", tmp_path, "all")) == 2
    cv2.imwrite(str(tmp_path / "train/den/1.png"), np.full((60, 160), 2345, np.uint16))
    with pytest.raises(DatasetError, match="differ in size"):
        open_dataset("nyu", tmp_path, "train")[0]


@pytest.mark.parametrize("folder", ["den", "nyu2_train/den"])
def test_png_folders_that_tell_no_split_are_no_split(tmp_path: Path, folder: str) -> None:
    """One set of images for training and for validation would be judged on what it was trained on."""
    (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / folder / "1.jpg"), picture())
    cv2.imwrite(str(tmp_path / folder / "1.png"), np.full((120, 160), 2345, np.uint16))
    assert len(open_dataset("nyu", tmp_path, "all")) == 1
    with pytest.raises(DatasetError, match="no folder val or test or nyu2_test for split 'val'"):
        open_dataset("nyu", tmp_path, "val")
    if folder == "den":
        with pytest.raises(DatasetError, match="for split 'train'"):
            open_dataset("nyu", tmp_path, "train")
    else:
        assert len(open_dataset("nyu", tmp_path, "train")) == 1


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file"])
def test_not_the_mat_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DatasetError, match="not the HDF5 file"):
        open_dataset("nyu", tmp_path / "a.mat", "all")
    with h5py.File(tmp_path / "b.mat", "w") as file:
        file["images"] = np.zeros((1, 3, 4, 4), np.uint8)
    with pytest.raises(DatasetError, match="depths"):
        open_dataset("nyu", tmp_path / "b.mat", "all")


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    drive = "2011_09_26_drive_0001_sync"
    depth = np.zeros((375, 1242), np.uint16)
    depth[200:, ::3] = np.linspace(2, 90, 175)[:, None] * 256
    truth = tmp_path / "train" / drive / "proj_depth/groundtruth/image_02"
    truth.mkdir(parents=True)
    cv2.imwrite(str(truth / "0000000005.png"), depth)
    image = tmp_path / "2011_09_26" / drive / "image_02/data"
    image.mkdir(parents=True)
    cv2.imwrite(str(image / "0000000005.png"), picture(375, 1242))
    (tmp_path / "2011_09_26/calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012\nP_rect_02: 721.5 0 609.5 44.8 0 721.5 172.8 0.2 0 0 1 0.0027\n"
    )
    return tmp_path


def test_kitti_depth_crop_and_camera(kitti: Path) -> None:
    dataset = open_dataset("kitti", kitti, "train")
    sample = dataset[0]
    sample.check()
    assert sample.scene == "2011_09_26_drive_0001_sync"
    assert sample.target.shape == (352, 1216)
    whole = open_dataset("kitti", kitti, "train", {"kb_crop": False})[0]
    np.testing.assert_array_equal(sample.target, whole.target[375 - 352 :, 13 : 13 + 1216])
    assert whole.target[200, 0] == pytest.approx(2.0, abs=1 / 256)
    assert whole.target[whole.valid_mask].max() <= 80
    assert not whole.valid_mask[:200].any()
    assert not whole.valid_mask[:, 1::3].any()
    assert sample.intrinsics is not None
    assert (sample.intrinsics.cx_px, sample.intrinsics.cy_px) == pytest.approx((609.5 - 13, 172.8 - 23))


def test_kitti_without_depth_or_images(kitti: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no KITTI depth maps for split 'val'"):
        open_dataset("kitti", kitti, "val")
    next(kitti.rglob("data/*.png")).unlink()
    with pytest.raises(DatasetError, match="none of the colour images"):
        open_dataset("kitti", kitti, "train")
