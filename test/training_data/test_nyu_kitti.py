from __future__ import annotations

import logging
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
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


def test_the_public_copy_of_8_bits_is_read(tmp_path: Path) -> None:
    """Its training depth is of 8 bits, of which 255 are 10 m; its test depth in millimetres, beside the colours."""
    for folder in ("nyu2_train/den_out", "nyu2_test", "other/den"):
        (tmp_path / folder).mkdir(parents=True)
    eight = np.repeat(np.arange(256, dtype=np.uint8)[:120, None], 160, axis=1)
    for name, values in (
        ("nyu2_train/den_out/1.jpg", picture()),
        ("nyu2_train/den_out/1.png", eight),
        ("nyu2_test/00000_colors.png", picture()[..., ::-1]),
        ("nyu2_test/00000_depth.png", np.full((120, 160), 2345, np.uint16)),
        ("other/den/1.jpg", picture()),
        ("other/den/1.png", eight),
    ):
        cv2.imwrite(str(tmp_path / name), values)
    train, val = (open_dataset("nyu", tmp_path, split, {"border_px": 0}) for split in ("train", "val"))
    assert (len(train), len(val)) == (1, 1)
    np.testing.assert_allclose(train[0].target, eight * (10 / 255), rtol=1e-6)
    assert not train[0].valid_mask[0].any() and train[0].valid_mask[1:].all()
    np.testing.assert_allclose(val[0].target, 2.345, rtol=1e-6)
    np.testing.assert_array_equal(val[0].rgb, picture())
    with pytest.raises(DatasetError, match="expected 16-bit millimetres, got uint8"):  # may be of any range
        open_dataset("nyu", tmp_path / "other", "all")[0]


def test_a_mat_file_of_images_in_0_to_1_is_refused(mat: Path) -> None:
    """They would all be black."""
    with h5py.File(mat, "r+") as file:
        images = file["images"][()].astype(np.float32) / 255
        del file["images"]
        file["images"] = images
    with pytest.raises(DatasetError, match="expected images of uint8, 0 to 255, got float32"):
        open_dataset("nyu", mat, "all")


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


def test_nyu_camera_is_the_toolboxs(mat: Path) -> None:
    camera = open_dataset("nyu", mat, "all", {"border_px": 0})[0].intrinsics
    assert camera is not None
    assert (camera.fx_px, camera.fy_px) == pytest.approx((518.8579, 519.4696))
    assert (camera.cx_px, camera.cy_px) == pytest.approx((324.5824, 252.7361))


@pytest.mark.parametrize("key", ["depths", "scenes"])
def test_a_mat_file_that_lacks_entries(mat: Path, key: str) -> None:
    with h5py.File(mat, "r+") as file:
        rest = file[key][:2] if key == "depths" else file[key][:, :2]
        del file[key]
        file[key] = rest
    expected = {"depths": r"got \(3, 3, 640, 480\) and \(2, 640, 480\)", "scenes": "each of 3 images, got 2"}
    with pytest.raises(DatasetError, match=expected[key]):
        open_dataset("nyu", mat, "all")


def test_a_mat_file_whose_images_are_a_folder(mat: Path) -> None:
    with h5py.File(mat, "r+") as file:
        del file["images"]
        file.create_group("images")
    with pytest.raises(DatasetError, match="is damaged"):
        open_dataset("nyu", mat, "all")


def test_damaged_splits(mat: Path) -> None:
    splits = mat.with_name("splits.mat")
    savemat(splits, {"other": [[1]]})
    with pytest.raises(DatasetError, match=r"splits\.mat: expected trainNdxs in it, got other"):
        open_dataset("nyu", mat, "train")
    for content in (b"damaged", b"", bytes(300), splits.read_bytes()[:150], mat.read_bytes()[:5000]):
        splits.write_bytes(content)
        with pytest.raises(DatasetError, match=r"splits\.mat.*expected .*trainNdxs.* get it from"):
            open_dataset("nyu", mat, "train")


def test_a_border_that_leaves_nothing(mat: Path) -> None:
    for border, told in ((-8, "border_px must be 0 or more, got -8"), (8.5, r"border_px must be int, got 8\.5")):
        with pytest.raises(ConfigError, match=told):
            open_dataset("nyu", mat, "all", {"border_px": border})
    with pytest.raises(DatasetError, match=r"border_px 240 leaves nothing of its 480 x 640 pixels; set it below 240"):
        open_dataset("nyu", mat, "all", {"border_px": 240})[0]
    assert open_dataset("nyu", mat, "all", {"border_px": 239})[0].target.shape == (2, 162)


def test_png_copies_keep_their_colours_and_lose_their_border(tmp_path: Path) -> None:
    for folder in ("rgb", "depth"):
        (tmp_path / "den" / folder).mkdir(parents=True)
    depth = np.random.default_rng(0).integers(500, 9000, (120, 160)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "den/rgb/1.png"), picture()[..., ::-1])
    cv2.imwrite(str(tmp_path / "den/depth/1.png"), depth)
    sample = open_dataset("nyu", tmp_path, "all")[0]
    np.testing.assert_array_equal(sample.rgb, picture()[8:-8, 8:-8])
    np.testing.assert_allclose(sample.target, depth[8:-8, 8:-8] / 1000, rtol=1e-6)
    assert sample.cut == (8, 8, 120, 160)


def test_png_copies_without_a_partner_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="training.datasets.nyu")  # other libraries raise the root's
    depth = np.full((120, 160), 2345, np.uint16)
    (tmp_path / "den").mkdir()
    for folder in ("rgb", "depth"):
        (tmp_path / "hall" / folder).mkdir(parents=True)
    for name in ("den/1", "den/2", "hall/rgb/1", "hall/rgb/2"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), picture())
    for name in ("den/1", "den/2", "hall/depth/1", "hall/depth/2"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), depth)
    assert len(open_dataset("nyu", tmp_path, "all")) == 4
    assert not caplog.records
    for name in ("den/1.jpg", "den/2.png", "hall/rgb/1.jpg", "hall/depth/2.png"):
        (tmp_path / name).unlink()
    cv2.imwrite(str(tmp_path / "den/3.jpg"), picture())
    cv2.imwrite(str(tmp_path / "den/3.png"), depth)
    assert len(open_dataset("nyu", tmp_path, "all")) == 1
    assert f"4 of 6 files below {tmp_path} have no partner and are left out, such as" in caplog.text


def test_kitti_keeps_its_colours(kitti: Path) -> None:
    whole, cut = (open_dataset("kitti", kitti, "all", {"kb_crop": crop})[0] for crop in (False, True))
    rgb = cv2.imread(str(next(kitti.rglob("data/*.png"))))[..., ::-1]
    assert len({tuple(rgb[..., channel].ravel()) for channel in range(3)}) == 3
    np.testing.assert_array_equal(whole.rgb, rgb)
    np.testing.assert_array_equal(cut.rgb, rgb[375 - 352 :, 13 : 13 + 1216])
    assert cut.cut == (23, 13, 375, 1242)


def test_kitti_depth_ends_at_80_metres(kitti: Path) -> None:
    truth = next(kitti.rglob("groundtruth/image_02/*.png"))
    values = np.zeros((375, 1242), np.uint16)
    values[300] = np.linspace(79, 81, 1242) * 256
    values[301] = 80 * 256
    cv2.imwrite(str(truth), values)
    sample = open_dataset("kitti", kitti, "all", {"kb_crop": False})[0]
    np.testing.assert_array_equal(sample.valid_mask[300], values[300] <= 80 * 256)
    assert sample.valid_mask[301].all() and np.count_nonzero(sample.valid_mask) < 2 * 1242


def test_kitti_right_camera_has_its_own_intrinsics(kitti: Path) -> None:
    for folder in (next(kitti.rglob("groundtruth/image_02")), next(kitti.rglob("2011_09_26/*/image_02"))):
        folder.rename(folder.with_name("image_03"))
    calibration = next(kitti.rglob("calib_cam_to_cam.txt"))
    calibration.write_text(calibration.read_text() + "P_rect_03: 700 0 600 0 0 710 170 0 0 0 1 0\n")
    camera = open_dataset("kitti", kitti, "all", {"kb_crop": False})[0].intrinsics
    assert camera == PinholeCamera(1242, 375, 700.0, 710.0, 600.0, 170.0)


@pytest.mark.parametrize("focal", ["0", "nan", "x"])
def test_kitti_calibration_that_is_no_cameras(kitti: Path, focal: str) -> None:
    calibration = next(kitti.rglob("calib_cam_to_cam.txt"))
    calibration.write_text(f"P_rect_02: {focal} 0 609.5 44.8 0 {focal} 172.8 0.2 0 0 1 0.0027\n")
    with pytest.raises(DatasetError, match=r"calib_cam_to_cam\.txt: P_rect_02 must be the 12 numbers"):
        open_dataset("kitti", kitti, "all")[0]


def test_kitti_depth_without_a_picture_is_told(kitti: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="training.datasets.kitti")
    assert len(open_dataset("kitti", kitti, "train")) == 1
    assert not caplog.records
    truth = next(kitti.rglob("groundtruth/image_02/*.png"))
    for number in (6, 7):
        truth.with_name(f"{number:010d}.png").write_bytes(truth.read_bytes())
    assert len(open_dataset("kitti", kitti, "train")) == 1
    assert "2 of 3 depth maps" in caplog.text and "0000000006.png" in caplog.text
