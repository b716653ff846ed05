from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from test.training_data.conftest import picture, scene_depth, write_h5
from training import prepare
from training.datasets.base import TargetKind, open_dataset
from training.datasets.megadepth_index import INDEX_NAME, read_index
from training.datasets.write_megadepth import write_pair


def _damage(root: Path) -> dict[str, str]:
    """Breaks a pair in each way; returns fault by image."""
    folder = root / "0099/dense0"
    for number in range(11):
        write_pair(folder, f"p{number}", picture(seed=number), scene_depth(seed=number))
    nan = scene_depth()
    nan[0, 0] = np.nan
    write_h5(folder / "depths/p0.h5", nan)
    write_h5(folder / "depths/p1.h5", scene_depth(), key="other")
    write_h5(folder / "depths/p2.h5", np.zeros((120, 160), np.float32))
    write_h5(folder / "depths/p3.h5", scene_depth(100, 160))
    write_h5(folder / "depths/p4.h5", np.eye(120, 160, dtype=np.int8))
    (folder / "depths/p5.h5").unlink()
    jpeg = folder / "imgs/p6.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[:3000])
    (folder / "depths/p7.h5").write_bytes(b"\0" * 100)
    (folder / "imgs/p8.jpg").write_bytes(b"")
    with h5py.File(folder / "depths/p9.h5", "r+") as file:
        file["depth"].attrs["intrinsics"] = (0.0, 0.0, 0.0, 0.0)
    write_h5(folder / "depths/p10.h5", np.zeros((120, 160), dtype=[("metres", "f4"), ("error", "f4")]))
    faults = (
        "NaN or infinity", "no 'depth' in h5", "empty depth", "image and depth differ in size", "integer mask",
        "missing depth", "unreadable image", "unreadable h5", "unreadable image", "bad intrinsics", "unreadable h5",
    )  # fmt: skip
    return {f"0099/dense0/imgs/p{number}.jpg": fault for number, fault in enumerate(faults)}


def test_damage_is_counted_and_listed_and_never_read(megadepth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = _damage(megadepth)
    write_h5(megadepth / "0099/dense0/depths/alone.h5", scene_depth())
    assert prepare.main(["--path", str(megadepth.parent)]) == 0
    found = {entry.image: entry.fault for entry in read_index(megadepth / INDEX_NAME) if entry.fault}
    assert found == faults
    said = capsys.readouterr().out
    assert "17 images: 6 with depth" in said
    assert "12 left out" in said
    listed = (megadepth / prepare.FAULTS_NAME).read_text()
    assert "missing image\t0099/dense0/depths/alone.h5" in listed
    dataset = open_dataset("megadepth", megadepth, "all")
    assert len(dataset) == 6
    assert {record.scene for record in dataset.records} == {"0000", "0001", "0022"}


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_an_image_a_few_pixels_larger_than_its_depth_is_no_pair(tmp_path: Path, ending: str) -> None:
    """Decoded at an eighth of its size it looks the same; training, which decodes at another one, would refuse it."""
    folder = tmp_path / "0000/dense0"
    for number, size in enumerate(((480, 640), (478, 637))):
        write_pair(folder, f"p{number}", picture(480, 640), scene_depth(480, 640))
        write_h5(folder / f"depths/p{number}.h5", scene_depth(*size))
        jpeg = folder / f"imgs/p{number}.jpg"
        cv2.imwrite(str(jpeg.with_suffix(f".{ending}")), cv2.imread(str(jpeg)))
        if ending == "png":
            jpeg.unlink()
    good, other = prepare.check_folder(tmp_path, workers=1)
    assert (good.kind, good.fault) == ("depth", "")
    assert other.fault == "image and depth differ in size"
    assert "image (480 x 640) and depth (478 x 637)" in other.detail


def test_less_than_one_process_is_refused(megadepth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--path", str(megadepth), "--workers", "-3"]) == 1
    assert "--workers must be at least 1, got -3" in capsys.readouterr().err


def test_two_processes_find_the_same_as_one(megadepth: Path) -> None:
    _damage(megadepth)
    one = prepare.check_folder(megadepth, workers=1)
    (megadepth / INDEX_NAME).unlink()
    assert prepare.check_folder(megadepth, workers=2) == one


def test_interrupted_run_goes_on_where_it_was(megadepth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepare.check_folder(megadepth, workers=1)
    index = megadepth / INDEX_NAME
    content = index.read_bytes()
    index.unlink()
    third_line = content.index(b"\n", content.index(b"\n") + 1) + 20
    index.with_name(f"{INDEX_NAME}.part").write_bytes(content[:third_line])
    real, read = prepare.mapped, []
    monkeypatch.setattr(prepare, "mapped", lambda work, pairs, *more: read.extend(pairs) or real(work, pairs, *more))
    assert prepare.check_folder(megadepth, workers=1) == whole
    assert len(read) == 4
    assert index.read_bytes() == content


def test_mended_pair_is_checked_again(megadepth: Path) -> None:
    write_h5(megadepth / "0000/dense0/depths/photo_0.h5", np.zeros((120, 160), np.float32))
    assert prepare.check_folder(megadepth, workers=1)[0].fault == "empty depth"
    write_h5(megadepth / "0000/dense0/depths/photo_0.h5", scene_depth())
    assert prepare.check_folder(megadepth, workers=1)[0].kind == "depth"


def test_nothing_usable_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--path", str(tmp_path)]) == 1
    assert "expected <scene>/dense<k>" in capsys.readouterr().err
    write_pair(tmp_path / "0000/dense0", "a", picture(), np.zeros((120, 160), np.float32))
    assert prepare.main(["--path", str(tmp_path)]) == 1
    assert "not one pair can be used" in capsys.readouterr().err


def test_shards_hold_what_the_reader_gives(megadepth: Path, tmp_path: Path) -> None:
    values = np.zeros((120, 160), np.float32)
    values[:20], values[-20:] = -1, 1
    write_h5(megadepth / "0022/dense0/depths/photo_1.h5", values)
    shards = tmp_path / "shards"
    arguments = ["--path", str(megadepth), "--shards", str(shards), "--short-side", "96", "--ordinal"]
    assert prepare.main(arguments) == 0
    before = (shards / "00000.bin").read_bytes()
    assert prepare.main(arguments) == 0  # a second run leaves finished shards alone
    assert (shards / "00000.bin").read_bytes() == before
    direct = open_dataset("megadepth", megadepth, "all", {"short_side_px": 96, "ordinal": True})
    stored = open_dataset("shards", shards, "all")
    assert stored.records == direct.records
    for index in range(len(direct)):
        expected, got = direct[index], stored[index]
        got.check()
        assert (got.name, got.kind) == (expected.name, expected.kind)
        np.testing.assert_array_equal(got.rgb, expected.rgb)
        np.testing.assert_array_equal(got.valid_mask, expected.valid_mask)
        np.testing.assert_allclose(got.target[got.valid_mask], expected.target[got.valid_mask], rtol=6e-4)
    assert stored[5].kind is TargetKind.ORDINAL
