from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from test.training_data.conftest import picture, scene_depth
from test.training_data.full_disk import files_of_at_most
from training.datasets import write_megadepth
from training.datasets.base import DatasetError, Record, Sample, TargetKind, open_dataset
from training.datasets.shards import write_shards

_CAMERA = PinholeCamera(160, 120, 150.0, 151.0, 79.5, 59.5)


def _sample(kind: TargetKind, target: np.ndarray, valid: np.ndarray | None = None) -> Sample:
    mask = np.ones(target.shape, np.bool_) if valid is None else valid
    return Sample(picture(), target, mask, kind, _CAMERA, "set a", "room/1", "clip 3/frame 0001")


def _read(root: Path, **options: object) -> Sample:
    return open_dataset("megadepth", root, "all", {"percentiles": None, "min_valid_share": 0.0, **options})[0]


def test_depth_comes_back(tmp_path: Path) -> None:
    depth, valid = scene_depth(), np.ones((120, 160), np.bool_)
    valid[:7] = False
    write_megadepth.write_sample(tmp_path, _sample(TargetKind.DEPTH, depth, valid))
    back = _read(tmp_path)
    assert re.fullmatch("set_a-room_1-[0-9a-f]{8}", back.scene)
    assert back.intrinsics == _CAMERA
    np.testing.assert_array_equal(back.valid_mask, valid)
    np.testing.assert_array_equal(back.target[valid], depth[valid])


def test_disparity_comes_back_with_its_zero_as_sky(tmp_path: Path) -> None:
    disparity = (1 / scene_depth()).astype(np.float32)
    disparity[:30] = 0
    write_megadepth.write_sample(tmp_path, _sample(TargetKind.DISPARITY, disparity))
    back = _read(tmp_path, sky="far")
    assert back.kind is TargetKind.DISPARITY
    assert back.valid_mask.all()
    np.testing.assert_allclose(back.target, disparity, rtol=1e-6)


def test_ordinal_map_comes_back(tmp_path: Path) -> None:
    signs = np.zeros((120, 160), np.float32)
    signs[:10], signs[-10:] = 1, -1
    write_megadepth.write_sample(tmp_path, _sample(TargetKind.ORDINAL, signs))
    back = _read(tmp_path, ordinal=True)
    assert back.kind is TargetKind.ORDINAL
    np.testing.assert_array_equal(back.target, signs)


@pytest.mark.parametrize("kind", [TargetKind.DISPARITY_AFFINE, TargetKind.RANK])
def test_a_target_without_zero_is_refused(tmp_path: Path, kind: TargetKind) -> None:
    with pytest.raises(DatasetError, match="has no zero"):
        write_megadepth.write_sample(tmp_path, _sample(kind, scene_depth()))
    assert not list(tmp_path.rglob("*.h5"))


def test_command_line_turns_an_index_into_the_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    rows = ["dataset,image,gt,kind,scale,invalid,scene,split"]
    for number, kind in enumerate(("depth", "disparity_pseudo")):
        cv2.imwrite(str(source / f"{number}.png"), picture(seed=number))
        cv2.imwrite(str(source / f"{number}.gt.png"), (1000 * scene_depth(seed=number)).astype(np.uint16))
        rows.append(f"lab,{number}.png,{number}.gt.png,{kind},0.001,0,room{number},train")
    (source / "index.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    assert write_megadepth.main(["--reader", "index_csv", "--path", str(source), "--out", str(out)]) == 0
    assert "1 written, 1 left out" in capsys.readouterr().out
    back = _read(out)
    assert back.scene == "lab-room0"
    np.testing.assert_allclose(back.target, scene_depth(seed=0), atol=1e-3)


def test_sizes_that_differ_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="differ in size"):
        write_megadepth.write_pair(tmp_path, "a", picture(), scene_depth(100, 160))
    assert not list(tmp_path.iterdir())


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    rows = ["dataset,image,gt,kind,scale,invalid,scene,split"]
    for number, camera in enumerate(("left", "right")):
        folder = source / camera / "rgb"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "1.png"), picture(seed=number))
        cv2.imwrite(str(folder / "1.gt.png"), (1000 * scene_depth(seed=number)).astype(np.uint16))
        rows.append(f"lab,{camera}/rgb/1.png,{camera}/rgb/1.gt.png,depth,0.001,0,room,train")
    (source / "index.csv").write_text("\n".join(rows) + "\n")
    command = ["--reader", "index_csv", "--path", str(source), "--out", str(tmp_path / "out")]
    for _ in range(2):  # and again: the same names
        assert write_megadepth.main(command) == 0
        assert "2 written, 0 left out" in capsys.readouterr().out
        assert len(open_dataset("megadepth", tmp_path / "out", "all")) == 2


def test_a_file_that_cannot_be_read_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of damaged HDF5 files raise what h5py makes of it."""

    class Damaged:
        records = (Record("lab", "room"), Record("lab", "room"))

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sample:
            if index == 0:
                raise OSError("Can't read data (inflate() failed)")
            return _sample(TargetKind.DEPTH, scene_depth())

    monkeypatch.setattr(write_megadepth, "open_dataset", lambda *_: Damaged())
    assert write_megadepth.main(["--reader", "nyu", "--path", "x", "--out", str(tmp_path / "out")]) == 0
    assert "1 written, 1 left out" in capsys.readouterr().out
    assert write_shards(Damaged(), tmp_path / "shards") == ["OSError: Can't read data (inflate() failed)"]


@pytest.mark.parametrize(
    "scenes",
    [
        [("lab", "кухня 0"), ("lab", "зал 0")],
        [("lab", "a b"), ("lab", "a_b"), ("lab", "a/b")],
        [("lab", "a"), ("lab", "a.")],
        [("lab-a", "b"), ("lab", "a-b")],
    ],
)
def test_each_scene_stays_one(tmp_path: Path, scenes: list[tuple[str, str]]) -> None:
    """Two that came under one name were one scene: one for validation was trained on."""
    for dataset, scene in scenes:
        sample = _sample(TargetKind.DEPTH, scene_depth())
        sample.dataset, sample.scene = dataset, scene
        write_megadepth.write_sample(tmp_path, sample)
        write_megadepth.write_sample(tmp_path, sample)  # and again: the same folder
    found = open_dataset("megadepth", tmp_path, "all").records
    assert len(found) == len({record.scene for record in found}) == len(scenes)
    assert all(record.scene.isascii() and " " not in record.scene for record in found)


def test_a_name_too_long_for_a_file_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = _folder_with_index(tmp_path / "source", 2), tmp_path / "out"
    long = "/".join(["a" * 100] * 3)
    (source / long).mkdir(parents=True)
    (source / "0.png").rename(source / long / "0.png")
    index = source / "index.csv"
    index.write_text(index.read_text().replace("lab,0.png", f"lab,{long}/0.png"))
    assert write_megadepth.main(["--reader", "index_csv", "--path", str(source), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "1 written, 1 left out" in said and "0.png: too long a name for a file" in said


def test_a_folder_of_an_earlier_version_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its scenes had no mark: with those that this version writes each picture would be there twice."""
    source, out = _folder_with_index(tmp_path / "source", 3), tmp_path / "out"
    index = source / "index.csv"
    rows = index.read_text().splitlines()
    for number, scene in enumerate(("a/b", "a_b", "c d"), start=1):
        rows[number] = rows[number].replace(",room,", f",{scene},")
    index.write_text("\n".join(rows) + "\n")
    command = ["--reader", "index_csv", "--path", str(source), "--out", str(out)]
    for _ in range(2):  # a_b has that very name
        assert write_megadepth.main(command) == 0
        assert "earlier versions" not in capsys.readouterr().err
    (marked,) = out.glob("lab-c_d-*")
    shutil.copytree(marked, out / "lab-c_d")
    assert write_megadepth.main(command) == 0
    assert f"warning: {out} has lab-c_d, as earlier versions named 1 of these scenes" in capsys.readouterr().err


def _folder_with_index(folder: Path, count: int) -> Path:
    folder.mkdir()
    rows = ["dataset,image,gt,kind,scale,invalid,scene,split"]
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), picture(seed=number))
        cv2.imwrite(str(folder / f"{number}.gt.png"), (1000 * scene_depth(seed=number)).astype(np.uint16))
        rows.append(f"lab,{number}.png,{number}.gt.png,depth,0.001,0,room,train")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_full_disk_ends_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = _folder_with_index(tmp_path / "source", 3), tmp_path / "out"
    command = ["--reader", "index_csv", "--path", str(source), "--out", str(out)]
    picture_of_second = out / "lab-room/dense0/imgs/1.png.jpg"
    picture_of_second.mkdir(parents=True)  # where it would be written
    assert write_megadepth.main(command) == 1
    said = capsys.readouterr()
    assert "lab/1.png cannot be written to" in said.err and "1 were written; make room" in said.err
    assert "left out" not in said.out
    picture_of_second.rmdir()
    with files_of_at_most(6000):  # while HDF5 writes, this could end the process
        assert write_megadepth.main(command) == 1
    assert "0 were written; make room" in capsys.readouterr().err
    assert not list(out.rglob("*.part"))
    assert write_megadepth.main(command) == 0
    assert "3 written, 0 left out" in capsys.readouterr().out


def test_a_pair_written_over_another_one_has_no_image_until_it_is_whole(tmp_path: Path) -> None:
    write_megadepth.write_pair(tmp_path, "a", picture(), scene_depth())
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    with files_of_at_most(6000), pytest.raises(OSError, match="File too large"):
        write_megadepth.write_pair(tmp_path, "a", noise, np.full((120, 160), 7, np.float32))
    with h5py.File(tmp_path / "depths/a.h5") as file:
        assert (file["depth"][()] == 7).all()
    assert not (tmp_path / "imgs/a.jpg").exists()


def test_an_ordinal_map_is_whole_before_its_image_is_there(tmp_path: Path) -> None:
    signs = np.sign(np.random.default_rng(0).normal(size=(120, 160))).astype(np.float32)
    sample = _sample(TargetKind.ORDINAL, signs, signs > -2)
    sample.rgb = np.full((120, 160, 3), 90, np.uint8)
    with files_of_at_most(4000), pytest.raises(OSError, match="File too large"):
        write_megadepth.write_sample(tmp_path, sample)
    assert not list(tmp_path.rglob("*.jpg"))
    sample.valid_mask[:20] = False
    write_megadepth.write_sample(tmp_path, sample)
    np.testing.assert_array_equal(_read(tmp_path, ordinal=True).target, np.where(sample.valid_mask, signs, 0))
