"""Shards are written again when what they were made of has changed; images of odd sizes are read in every format."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from test.training_data.conftest import picture, scene_depth
from training.datasets.base import DatasetError, Sample, TargetKind
from training.datasets.megadepth import MegaDepthDataset, read_image
from training.datasets.shards import ShardDataset, write_shards
from training.datasets.write_megadepth import write_pair


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
