"""Reading, balanced drawing, augmentation, and what is done with items that cannot be used."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from test.training.conftest import write_index
from training.augment import augment, photometric, random_crop, resize_pair, rotate, tilt
from training.data import Pool, Sampler
from training.datasets.base import DatasetError, Record, Sample, TargetKind, open_dataset
from training.sections import AugmentConfig, CropConfig
from training.validation import usable_samples

REAL = Path(__file__).parents[3] / "shared" / "data" / "index.csv"


def test_index_units_masks_and_splits(index: Path):
    train, val = (open_dataset("index_csv", index, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    sample = train[0]
    sample.check()
    assert sample.kind is TargetKind.DEPTH
    assert not sample.valid_mask[:4].any()
    assert sample.target[sample.valid_mask].min() == pytest.approx(1.2, abs=1e-3)
    assert sample.inverse_depth()[sample.valid_mask].max() == pytest.approx(1 / 1.2, rel=1e-3)


def test_real_index_is_read_and_grows_towards_the_camera():
    if not REAL.is_file():
        pytest.skip("the real images with depth are not here")
    dataset = open_dataset("index_csv", REAL, "train", {"include": ["nyuv2_train", "kitti_vo_sgbm", "vrstereo_reddit"]})
    for index in range(0, len(dataset), 97):
        sample = dataset[index]
        sample.check()
        rows = np.arange(sample.target.shape[0])[:, None] * np.ones_like(sample.target)
        assert np.corrcoef(rows[sample.valid_mask], sample.inverse_depth()[sample.valid_mask])[0, 1] > -0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "depths"}, "line 2: kind must be one of depth, disparity"),
        ({"scale": "mm"}, "line 2: could not convert"),
        ({"split": "Train"}, "line 2: split must be train or val, got 'Train'"),
        ({"scale": "nan"}, "line 2: scale must be a positive number, got 'nan'"),
        ({"image": "none.jpg"}, "cannot read .*none.jpg: missing or damaged"),
        ({"gt": "small.png"}, r"image \(96, 128\) and depth \(20, 50\) differ in aspect ratio"),
        ({"gt": "0.jpg"}, "expected one channel of depth"),
    ],
)
def test_bad_rows_are_named(index: Path, tmp_path: Path, change: dict[str, str], message: str):
    for name in ("0.jpg", "0.png"):
        (tmp_path / name).write_bytes((index.parent / name).read_bytes())
    cv2.imwrite(str(tmp_path / "small.png"), np.ones((20, 50), dtype=np.uint16))
    row = {
        "dataset": "a",
        "image": "0.jpg",
        "gt": "0.png",
        "kind": "depth",
        "scale": "1",
        "invalid": "0",
        "scene": "s",
        "split": "train",
    }
    write_index(tmp_path, [{**row, **change}])
    with pytest.raises(DatasetError, match=message):
        open_dataset("index_csv", tmp_path, "train")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,0.jpg,0.png,depth,1\n", "line 2 is cut short: it has no invalid, scene, split"), ("\xe9\n", "is not UTF-8")],
)
def test_a_damaged_index_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "index.csv").write_bytes(f"dataset,image,gt,kind,scale,invalid,scene,split\n{text}".encode("latin-1"))
    with pytest.raises(DatasetError, match=message):
        open_dataset("index_csv", tmp_path, "train")


def test_depth_of_0_that_is_not_marked_invalid_is_left_out(index: Path, tmp_path: Path):
    for name in ("0.jpg", "0.png"):
        (tmp_path / name).write_bytes((index.parent / name).read_bytes())
    row = {"dataset": "a", "image": "0.jpg", "gt": "0.png", "kind": "depth", "scale": "0.001", "invalid": ""}
    write_index(tmp_path, [{**row, "scene": "s", "split": "train"}])
    dataset = open_dataset("index_csv", tmp_path, "train")
    with pytest.raises(DatasetError, match=r"valid depth must be positive, smallest is 0\.0; mark what means no"):
        Pool([dataset], 1.0, 10**6).read(0)
    left_out: list[str] = []
    assert not list(usable_samples([dataset], left_out)) and len(left_out) == 1


def test_missing_data_and_readers_are_named(index: Path, tmp_path: Path):
    with pytest.raises(DatasetError, match="no data at"):
        open_dataset("index_csv", tmp_path / "none", "train")
    for wrong in ({"include": ["no such set"]}, {"exclude": ["no such set"]}):
        with pytest.raises(ConfigError, match=r"clude must be a list of \['room', 'street'\], which .* has; got"):
            open_dataset("index_csv", index, "train", wrong)
    with pytest.raises(DatasetError, match="with nothing in it for split 'train'"):
        open_dataset("index_csv", index, "train", {"exclude": ["room", "street"]})
    with pytest.raises(ConfigError, match="no reader named 'kinect'; there are"):
        open_dataset("kinect", index, "train")
    with pytest.raises(ConfigError, match=r"does not take \['colour'\]"):
        open_dataset("index_csv", index, "train", {"colour": 1})


def test_scenes_are_drawn_alike_however_many_images_they_have():
    records = [Record("a", "long")] * 90 + [Record("a", "short")] * 10 + [Record("b", "only")] * 5
    sampler = Sampler(records, scene_power=0.5, weights={"b": 2.0})
    rng = np.random.default_rng(0)
    drawn = Counter(records[sampler.draw(rng)].scene for _ in range(6000))
    share_b = 2.0 / (2.0 + 2**0.5)
    assert drawn["only"] / 6000 == pytest.approx(share_b, abs=0.03)
    assert drawn["long"] / drawn["short"] == pytest.approx(1.0, abs=0.12)
    with pytest.raises(DatasetError, match=r"no data set named \['c'\]"):
        Sampler(records, 0.5, {"c": 1.0})


def test_augmentation_moves_image_and_truth_together():
    # The truth is the red channel, so after any geometric change they must still agree.
    values = np.linspace(20, 220, 96 * 128, dtype=np.float32).reshape(96, 128)
    rgb = np.repeat(values[..., None], 3, axis=2).astype(np.uint8)
    plain = AugmentConfig(colour=0, grey=0, blur=0, noise=0, jpeg=0, rotate=0.5)
    for seed in range(20):
        image, target = augment(rgb, values, CropConfig(64, 96), plain, np.random.default_rng(seed))
        assert image.shape == (64, 96, 3) and target.shape == (64, 96)
        valid = np.isfinite(target)
        assert valid.mean() > 0.7
        assert np.abs(image[..., 0][valid] - target[valid]).mean() < 3.0


def test_a_squeezed_crop_keeps_the_window_of_the_picture():
    rgb, target = np.zeros((90, 120, 3), dtype=np.uint8), np.arange(120, dtype=np.float32)[None].repeat(90, axis=0)
    whole = AugmentConfig(smallest_crop=1.0, aspect_jitter=0.0)
    _, squeezed = random_crop(rgb, target, CropConfig(64, 64, aspect=120 / 90), whole, np.random.default_rng(0))
    assert (squeezed.min(), squeezed.max()) == (pytest.approx(0, abs=1), pytest.approx(119, abs=1))


def test_a_crop_that_shrinks_one_way_and_grows_the_other_does_not_alias():
    stripes = (np.arange(400) % 2 * 255).astype(np.uint8)
    rgb = np.ascontiguousarray(np.broadcast_to(stripes[:, None], (60, 400, 3)))
    image, _ = resize_pair(rgb, np.zeros((60, 400), np.float32), (100, 100))
    assert image.shape == (100, 100, 3) and image.std() < 10


def test_rotation_marks_what_comes_from_outside():
    target = np.ones((60, 80), dtype=np.float32)
    _, turned = rotate(np.zeros((60, 80, 3), dtype=np.uint8), target, 10.0)
    assert np.isnan(turned[0, 0]) and turned[30, 40] == 1.0


def test_tilted_view_of_a_plane_is_the_plane_seen_by_the_turned_camera():
    height, width, focal = 120, 160, 150.0
    y, x = np.mgrid[:height, :width]
    rays = np.stack(((x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal, np.ones_like(x)), axis=2)
    normal = np.array((0.3, -0.8, 0.6))
    before = (rays @ normal + 1.0).astype(np.float32)  # inverse depth of normal @ X + 1 z = 1
    plane = normal + np.array((0.0, 0.0, 1.0))
    pitch, yaw = 0.15, -0.08
    turn, _ = cv2.Rodrigues(np.array((pitch, yaw, 0.0)))
    _, tilted = tilt(np.zeros((height, width, 3), dtype=np.uint8), before, pitch, yaw, focal)
    expected = rays @ (turn @ plane)
    inside = np.isfinite(tilted)
    assert 0.6 < inside.mean() < 0.95  # a turned camera sees what the picture does not have
    np.testing.assert_allclose(
        tilted[inside], expected[inside], atol=0.012
    )  # nearest pixel: half of .8 / 150, and more aside


def test_targets_of_arbitrary_zero_are_not_tilted():
    rng = np.random.default_rng(0)
    target = np.linspace(-1, 1, 60 * 80, dtype=np.float32).reshape(60, 80)
    plain = AugmentConfig(
        colour=0, grey=0, blur=0, noise=0, jpeg=0, rotate=0, flip=0, tilt=1.0, smallest_crop=1.0, aspect_jitter=0
    )
    rgb = np.zeros((60, 80, 3), dtype=np.uint8)
    _, kept = augment(rgb, target, CropConfig(60, 80), plain, rng, has_zero=False)
    _, moved = augment(rgb, target, CropConfig(60, 80), plain, rng)
    assert np.array_equal(kept, target) and not np.array_equal(moved, target)


def test_colour_changes_keep_the_picture_recognisable(index: Path):
    rgb = open_dataset("index_csv", index, "train")[0].rgb
    strong = AugmentConfig(colour=1, grey=0.3, blur=1, noise=1, jpeg=1, erase=0.2)
    for seed in range(10):
        changed = photometric(rgb, strong, np.random.default_rng(seed))
        assert changed.shape == rgb.shape and changed.dtype == np.uint8
        assert np.corrcoef(changed.mean(axis=2).ravel(), rgb.mean(axis=2).ravel())[0, 1] > 0.4


def test_rectangles_of_one_colour_are_erased():
    ramp = np.arange(120 * 160, dtype=np.int64).reshape(120, 160)
    rgb = np.stack([ramp % 251, ramp % 241, ramp % 239], axis=2).astype(np.uint8)  # no two neighbours are alike
    nothing = AugmentConfig(colour=0, grey=0, blur=0, noise=0, jpeg=0, erase=0)
    assert np.array_equal(photometric(rgb, nothing, np.random.default_rng(0)), rgb)
    for seed in range(5):
        erased = photometric(rgb, replace(nothing, erase=1.0), np.random.default_rng(seed))
        changed = (erased != rgb).any(axis=2)
        assert 0.002 < changed.mean() <= 3 * 0.25**2  # one to three, of a twentieth to a quarter of each side
        assert len(np.unique(erased[changed], axis=0)) <= 3


def test_unusable_items_are_counted_named_once_and_others_drawn(caplog: pytest.LogCaptureFixture):
    class Half:
        """Every other item is damaged."""

        records = tuple(Record("a", str(index)) for index in range(10))

        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> Sample:
            if index % 2:
                raise DatasetError(f"item {index} is damaged")
            ones = np.ones((32, 32), dtype=np.float32)
            return Sample(
                np.zeros((32, 32, 3), np.uint8), ones, ones > 0, TargetKind.DEPTH, None, "a", str(index), str(index)
            )

    caplog.set_level(logging.WARNING, logger="training.data")  # other libraries raise the root's
    pool = Pool([Half()], cache_gib=1.0, cache_area_px=32 * 32)
    sampler, rng = Sampler(pool.records, 0.5, {}), np.random.default_rng(0)
    drawn = {pool.read_first(sampler.candidates(0, rng))[0] for _ in range(60)}
    assert drawn == {0, 2, 4, 6, 8}
    assert pool.unusable == 5
    assert sorted(caplog.messages) == [f"left out: item {index} is damaged" for index in (1, 3, 5, 7, 9)]


def test_few_that_are_left_are_found_and_none_is_an_error():
    class Bad:
        """All but the last of 200 are damaged; with ``none`` that is, too."""

        records = tuple(Record("a", str(index)) for index in range(200))

        def __init__(self, none: bool) -> None:
            self._none = none

        def __len__(self) -> int:
            return 200

        def __getitem__(self, index: int) -> Sample:
            if self._none or index < 199:
                raise DatasetError(f"item {index} is damaged")
            ones = np.ones((8, 8), dtype=np.float32)
            return Sample(np.zeros((8, 8, 3), np.uint8), ones, ones > 0, TargetKind.DEPTH, None, "a", "1", "1")

    pool = Pool([Bad(none=False)], cache_gib=1.0, cache_area_px=64)
    sampler, rng = Sampler(pool.records, 0.5, {}), np.random.default_rng(0)
    pool._known_unusable[:199] = True
    assert {pool.read_first(sampler.candidates(0, rng))[0] for _ in range(3)} == {199}
    pool = Pool([Bad(none=True)], cache_gib=1.0, cache_area_px=64)
    with pytest.raises(DatasetError, match="20 of 200 items are known to be of no use; the last: item"):
        pool.read_first(sampler.candidates(0, rng))
    pool._known_unusable[:] = True
    with pytest.raises(DatasetError, match="200 of 200 items are known to be of no use; check the data"):
        pool.read_first(sampler.candidates(0, rng))


def test_the_least_share_of_a_crop_is_one_of_area():
    rng = np.random.default_rng(0)
    config = AugmentConfig(smallest_crop=0.25, aspect_jitter=0.0)
    image, target = np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400), np.float32)
    target[:] = np.arange(400)[:, None]
    heights = []
    for _ in range(300):
        _, rows = random_crop(image, target, CropConfig(32, 32), config, rng)
        heights.append(float(rows[-1, 0] - rows[0, 0]) * 32 / 31)
    assert 190 < min(heights) < 215
    assert max(heights) > 380


@pytest.mark.parametrize("error", [RuntimeError("wrong B-tree signature"), KeyError("depth"), OSError(5, "I/O error")])
def test_a_passing_fault_of_one_file_ends_no_run(error: Exception):
    """What h5py and disks raise, by which byte is damaged and when."""

    class Faulty:
        records = (Record("a", "0"), Record("a", "1"))

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sample:
            if index == 0:
                raise error
            ones = np.ones((8, 8), dtype=np.float32)
            return Sample(np.zeros((8, 8, 3), np.uint8), ones, ones > 0, TargetKind.DEPTH, None, "a", "1", "1")

    pool = Pool([Faulty()], cache_gib=1.0, cache_area_px=64)
    sampler, rng = Sampler(pool.records, 0.5, {}), np.random.default_rng(0)
    assert {pool.read_first(sampler.candidates(0, rng))[0] for _ in range(20)} == {1}
