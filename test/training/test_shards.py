"""Shards are written again when what they were made of has changed; images of odd sizes are read in every format."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from test.training_data.conftest import picture, scene_depth, write_h5
from training.datasets.base import DatasetError, Record, Sample, TargetKind, open_dataset
from training.datasets.megadepth import MegaDepthDataset, read_image
from training.datasets.shards import ShardDataset, write_shards
from training.datasets.write_megadepth import write_pair
from training.validation import judged_window


def add(root: Path, scene: str, number: int) -> Path:
    write_pair(root / scene / "dense0", f"photo_{number}", picture(), scene_depth())
    return root / scene / "dense0" / "imgs" / f"photo_{number}.jpg"


def stored(folder: Path) -> list[str]:
    dataset = ShardDataset(folder, "all")
    return [dataset[index].name.split("/")[-1] for index in range(len(dataset))]


def test_a_changed_disk_or_option_changes_the_shards(tmp_path: Path):
    root, folder = tmp_path / "data", tmp_path / "shards"
    images = [add(root, "0000", number) for number in (1, 2, 3, 4)]
    good = images[1].read_bytes()
    images[1].write_bytes(b"damaged")
    left_out = write_shards(MegaDepthDataset(root, "all"), folder, 2)
    assert len(left_out) == 1 and stored(folder) == ["photo_1", "photo_3", "photo_4"]
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("0*")}

    assert write_shards(MegaDepthDataset(root, "all"), folder, 2) == left_out  # nothing has changed
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("0*")} == times

    images[1].write_bytes(good)
    assert write_shards(MegaDepthDataset(root, "all"), folder, 2) == []
    assert stored(folder) == ["photo_1", "photo_2", "photo_3", "photo_4"]
    assert (folder / "00001.bin").stat().st_mtime_ns == times["00001.bin"]

    add(root, "0000", 0)
    write_shards(MegaDepthDataset(root, "all"), folder, 2)
    assert stored(folder) == [f"photo_{number}" for number in range(5)]

    write_shards(MegaDepthDataset(root, "all", short_side_px=64), folder, 2)
    assert min(ShardDataset(folder, "all")[0].rgb.shape[:2]) == 64

    for number in (2, 3, 4):
        (root / "0000" / "dense0" / "imgs" / f"photo_{number}.jpg").unlink()
    write_shards(MegaDepthDataset(root, "all"), folder, 2)
    assert stored(folder) == ["photo_0", "photo_1"]


def test_a_file_rewritten_in_the_same_size_changes_the_shards(tmp_path: Path):
    root, folder = tmp_path / "data", tmp_path / "shards"
    add(root, "0000", 0)
    depth_file = root / "0000" / "dense0" / "depths" / "photo_0.h5"
    means = []
    for scale in (1, 10):
        write_h5(depth_file, scale * scene_depth())
        write_shards(MegaDepthDataset(root, "all", percentiles=None), folder)
        means.append((depth_file.stat().st_size, ShardDataset(folder, "all")[0].target.mean()))
    assert means[0][0] == means[1][0]
    assert means[1][1] == pytest.approx(10 * means[0][1], rel=1e-3)


class Rooms:
    """Pictures whose border was cut off, with and without metres and intrinsics."""

    records = (Record("nyu", "den"), Record("nyu", "hall"))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        depth = scene_depth()
        camera = PinholeCamera(160, 120, 150.0, 151.0, 79.5, 59.5) if index == 0 else None
        cut = (8, 9, 140, 180) if index == 0 else None
        scene = self.records[index].scene
        return Sample(
            picture(), depth, depth > 0, TargetKind.DEPTH, camera, "nyu", scene, scene, metric=index == 0, cut=cut
        )


def test_shards_keep_all_that_a_sample_says(tmp_path: Path):
    write_shards(Rooms(), tmp_path)
    stored_rooms = ShardDataset(tmp_path, "all")
    for index in range(2):
        expected, got = Rooms()[index], stored_rooms[index]
        got.check()
        assert (got.intrinsics, got.metric, got.cut) == (expected.intrinsics, expected.metric, expected.cut)
        assert (got.dataset, got.scene, got.name) == (expected.dataset, expected.scene, expected.name)
        np.testing.assert_array_equal(got.rgb, expected.rgb)
    for crop in ("eigen", "garg"):
        assert judged_window(crop, stored_rooms[0]) == judged_window(crop, Rooms()[0])


def test_shards_made_before_the_cut_was_kept_are_read(tmp_path: Path):
    write_shards(Rooms(), tmp_path)
    listing = tmp_path / "00000.jsonl"
    items = [json.loads(line) for line in listing.read_text().splitlines()]
    for item in items:
        del item["cut"]
    listing.write_text("".join(json.dumps(item) + "\n" for item in items))
    assert [ShardDataset(tmp_path, "all")[index].cut for index in range(2)] == [None, None]
    for damage in ({"cut": [1, 2]}, {"cut": 3}, ["cut"]):
        listing.write_text(json.dumps({**items[0], **damage} if isinstance(damage, dict) else damage) + "\n")
        with pytest.raises(DatasetError, match=r"00000\.jsonl is damaged"):
            ShardDataset(tmp_path, "all")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[0015]", r"val_scenes\[0\] must be str, got 13 \(put it in quotes"),
        ("'0015'", "val_scenes must be list, got '0015'"),
        ("['0015', '9999']", r"must be a list of scenes that the shards have \(0001, 0015\), got \['9999'\]"),
        ("0015", "val_scenes must be list, got 13"),
        ("[[]]", r"val_scenes\[0\] must be str, got \[\]"),
    ],
)
def test_scenes_of_val_that_are_none_are_named(tmp_path: Path, written: str, told: str):
    """They would be trained on else: unquoted, YAML takes 0015 for an octal number."""
    for scene in ("0001", "0015"):
        add(tmp_path / "data", scene, 1)
    write_shards(MegaDepthDataset(tmp_path / "data", "all"), tmp_path / "shards")
    with pytest.raises(ConfigError, match=told):
        open_dataset("shards", tmp_path / "shards", "train", {"val_scenes": yaml.safe_load(written)})
    for split, scene in (("train", "0015"), ("val", "0001")):
        dataset = open_dataset("shards", tmp_path / "shards", split, {"val_scenes": ["0001"]})
        assert [record.scene for record in dataset.records] == [scene]


def test_what_cannot_tell_what_it_is_made_of_is_written_anew(tmp_path: Path):
    class Named:
        """Samples by name."""

        def __init__(self, names: str) -> None:
            self.names = names
            self.records = ()

        def __len__(self) -> int:
            return len(self.names)

        def __getitem__(self, index: int) -> Sample:
            ones = np.ones((40, 40), dtype=np.float32)
            rgb = np.zeros((40, 40, 3), dtype=np.uint8)
            return Sample(rgb, ones, ones > 0, TargetKind.DEPTH, None, "a", "scene", self.names[index])

    for names in ("bcdef", "abcdefghi"):
        write_shards(Named(names), tmp_path, 4)
        assert stored(tmp_path) == list(names)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_images_of_odd_sizes_are_decoded_at_a_fraction(tmp_path: Path, ending: str):
    path = tmp_path / f"a.{ending}"
    cv2.imwrite(str(path), np.zeros((1201, 1601, 3), dtype=np.uint8))
    assert read_image(path, (1201, 1601), 480).shape == (480, 640, 3)
    with pytest.raises(DatasetError, match="differ in size"):
        read_image(path, (1205, 1601), 480)


def test_lists_split_shards_as_they_split_what_these_were_made_of(tmp_path: Path):
    root, shards = tmp_path / "data", tmp_path / "shards"
    for scene in ("0000", "0001", "0022"):
        for number in (1, 2):
            add(root, scene, number)
    write_shards(MegaDepthDataset(root, "all"), shards)
    for folder in (root, shards):
        (folder / "images.txt").write_text("0000/dense0/imgs/photo_1.jpg\n0001/dense0/imgs/photo_2.jpg\n")
        (folder / "scenes.txt").write_text("0022\n")
        (folder / "others.txt").write_text("0077\n")
    for options in ({"train_list": "images.txt"}, {"val_list": "scenes.txt"}, {"val_list": "images.txt"}, {}):
        for split in ("train", "val", "all"):
            direct = open_dataset("megadepth", root, split, options)
            fast = open_dataset("shards", shards, split, options)
            names = [fast[index].name for index in range(len(fast))]
            assert names == [direct[index].name for index in range(len(direct))]
    with pytest.raises(DatasetError, match=r"others\.txt: none of the listed images"):
        open_dataset("shards", shards, "train", {"train_list": "others.txt"})
    with pytest.raises(ConfigError, match="give either val_scenes or lists"):
        open_dataset("shards", shards, "train", {"val_list": "scenes.txt", "val_scenes": ["0022"]})


@pytest.mark.parametrize("damage", ["cut", "gone", "longer"])
def test_shards_whose_pixels_are_not_whole_are_written_again(tmp_path: Path, damage: str):
    """The second run said that nothing was left out, and then no sample could be read."""
    root, folder = tmp_path / "data", tmp_path / "shards"
    for number in (1, 2, 3):
        add(root, "0000", number)
    write_shards(MegaDepthDataset(root, "all"), folder, 2)
    pixels = folder / "00000.bin"
    whole, other = pixels.read_bytes(), (folder / "00001.bin").stat().st_mtime_ns
    if damage == "gone":
        pixels.unlink()
    else:
        pixels.write_bytes(whole[:-1] if damage == "cut" else whole + b"\0")
    assert write_shards(MegaDepthDataset(root, "all"), folder, 2) == []
    assert pixels.read_bytes() == whole and (folder / "00001.bin").stat().st_mtime_ns == other
    assert stored(folder) == ["photo_1", "photo_2", "photo_3"]


def test_a_shard_of_which_all_was_left_out_is_finished(tmp_path: Path):
    root, folder = tmp_path / "data", tmp_path / "shards"
    add(root, "0000", 1).write_bytes(b"damaged")
    left_out = write_shards(MegaDepthDataset(root, "all"), folder)
    assert len(left_out) == 1
    time = (folder / "00000.bin").stat().st_mtime_ns
    assert write_shards(MegaDepthDataset(root, "all"), folder) == left_out
    assert (folder / "00000.bin").stat().st_mtime_ns == time
