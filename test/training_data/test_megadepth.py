from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from test.training_data.conftest import picture, scene_depth, write_h5
from training import prepare
from training.datasets.base import DatasetError, DepthDataset, TargetKind, open_dataset
from training.datasets.megadepth_files import find_pairs, read_list
from training.datasets.megadepth_index import INDEX_NAME
from training.datasets.write_megadepth import write_pair


def _names(dataset: DepthDataset) -> list[str]:
    return [dataset[index].name for index in range(len(dataset))]


def test_all_pairs_come_with_their_scene(megadepth: Path) -> None:
    dataset = open_dataset("megadepth", megadepth.parent, "all", {"percentiles": None})
    assert _names(dataset) == [f"{s}/dense0/photo_{n}" for s in ("0000", "0001", "0022") for n in (0, 1)]
    assert [record.scene for record in dataset.records] == ["0000", "0000", "0001", "0001", "0022", "0022"]
    sample = dataset[3]
    sample.check()
    assert sample.kind is TargetKind.DEPTH
    np.testing.assert_array_equal(sample.target, scene_depth(seed=11))
    assert np.abs(sample.rgb.astype(int) - picture(seed=11)).mean() < 6  # JPEG


def test_official_filter_is_the_default(megadepth: Path) -> None:
    sample = open_dataset("megadepth", megadepth, "all")[0]
    depth = scene_depth(seed=0)
    low, high = np.percentile(depth, (1, 98))
    np.testing.assert_array_equal(sample.valid_mask, (depth >= low) & (depth <= high))


def test_without_lists_scenes_are_never_shared(megadepth: Path) -> None:
    parts = {
        split: {r.scene for r in open_dataset("megadepth", megadepth, split).records}
        for split in ("train", "val", "all")
    }
    assert parts["train"] | parts["val"] == parts["all"]
    assert not parts["train"] & parts["val"]


def test_the_split_does_not_depend_on_options_or_an_index(tmp_path: Path) -> None:
    """Else what one run trained on is judged by another that asks for `val`."""
    root = tmp_path / "MegaDepth_v1"
    for scene in range(41):
        folder = root / f"{scene:04d}" / "dense0"
        write_pair(folder, "photo", picture(48, 64, scene), scene_depth(48, 64, scene))
        if scene == 5:  # of ordinal maps alone
            ordinal = np.zeros((48, 64), np.float32)
            ordinal[:20], ordinal[-20:] = -1, 1
            write_h5(folder / "depths" / "photo.h5", ordinal)

    def val(**options: Any) -> set[str]:
        return {record.scene for record in open_dataset("megadepth", root, "val", options).records}

    before = val()
    assert len(before) == 2
    assert prepare.main(["--path", str(root), "--shards", str(tmp_path / "shards"), "--short-side", "32"]) == 0
    assert val() == val(ordinal=True) == val(min_valid_share=0.5) == before
    assert {record.scene for record in open_dataset("shards", tmp_path / "shards", "val").records} == before


def test_official_pickles_choose_single_images(megadepth: Path) -> None:
    prefix = "/phoenix/S6/zl548/MegaDepth_v1/"
    for orientation, entries in (
        ("landscape", ["0000/dense0/imgs/photo_1.jpg"]),
        ("portrait", [f"{prefix}0022/dense0/imgs/photo_0.jpg"]),
    ):
        folder = megadepth / "lists" / orientation
        folder.mkdir(parents=True)
        (folder / "imgs_MD.p").write_bytes(pickle.dumps(entries, protocol=2))
    dataset = open_dataset("megadepth", megadepth, "train", {"train_list": "lists"})
    assert _names(dataset) == ["0000/dense0/photo_1", "0022/dense0/photo_0"]


def test_scene_list_and_its_complement(megadepth: Path) -> None:
    (megadepth / "valid_scenes_clean.txt").write_text("0001\n")
    options = {"val_list": "valid_scenes_clean.txt"}
    assert {r.scene for r in open_dataset("megadepth", megadepth, "val", options).records} == {"0001"}
    assert {r.scene for r in open_dataset("megadepth", megadepth, "train", options).records} == {"0000", "0022"}


def test_list_of_things_that_are_elsewhere(megadepth: Path) -> None:
    (megadepth / "scenes.txt").write_text("4711\n")
    with pytest.raises(DatasetError, match="none of the listed images is on disk"):
        open_dataset("megadepth", megadepth, "train", {"train_list": "scenes.txt"})


def test_ordinal_maps_only_where_wanted(megadepth: Path) -> None:
    values = np.zeros((120, 160), np.float32)
    values[:20], values[-20:] = -1, 1
    write_h5(megadepth / "0000/dense0/depths/photo_0.h5", values)
    with pytest.raises(DatasetError, match="set the option ordinal"):
        open_dataset("megadepth", megadepth, "all")[0]
    sample = open_dataset("megadepth", megadepth, "all", {"ordinal": True})[0]
    assert sample.kind is TargetKind.ORDINAL
    np.testing.assert_array_equal(sample.target, values)
    np.testing.assert_array_equal(sample.valid_mask, values != 0)


def test_too_little_depth_is_refused(megadepth: Path) -> None:
    depth = scene_depth()
    depth[:, 40:] = 0
    write_h5(megadepth / "0000/dense0/depths/photo_0.h5", depth)
    with pytest.raises(DatasetError, match=r"24\.\d% valid pixels, fewer than 30%"):
        open_dataset("megadepth", megadepth, "all")[0]
    assert open_dataset("megadepth", megadepth, "all", {"min_valid_share": 0.2})[0].valid_mask.any()


def test_sky_is_infinitely_far_where_wanted(tmp_path: Path) -> None:
    depth = scene_depth()
    depth[:60] = np.inf
    write_pair(tmp_path / "world/dense0", "a", picture(), depth)
    options = {"percentiles": None, "min_valid_share": 0.9}  # the sky does not count as missing
    ignored = open_dataset("megadepth", tmp_path, "all", options)[0]
    assert ignored.kind is TargetKind.DEPTH
    assert not ignored.valid_mask[:60].any()
    far = open_dataset("megadepth", tmp_path, "all", {**options, "sky": "far"})[0]
    far.check()
    assert far.kind is TargetKind.DISPARITY
    assert far.valid_mask.all()
    assert (far.target[:60] == 0).all()
    np.testing.assert_allclose(far.target[60:], 1 / depth[60:], rtol=1e-6)


def test_large_images_are_shrunk_with_their_camera(tmp_path: Path) -> None:
    camera = PinholeCamera(640, 480, 500.0, 510.0, 319.5, 239.5)
    depth = scene_depth(480, 640)
    write_pair(tmp_path / "0000/dense0", "a", picture(480, 640), depth, camera)
    sample = open_dataset("megadepth", tmp_path, "all", {"short_side_px": 120, "percentiles": None})[0]
    sample.check()
    assert sample.target.shape == (120, 160)
    assert sample.intrinsics == camera.resized(160, 120)
    assert np.isin(sample.target, depth).all()  # nearest neighbour: no depth that was not measured
    whole = cv2.resize(picture(480, 640), (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(sample.rgb.astype(int) - whole).mean() < 3


def test_image_and_depth_of_different_size(megadepth: Path) -> None:
    write_h5(megadepth / "0000/dense0/depths/photo_0.h5", scene_depth(100, 160))
    with pytest.raises(DatasetError, match=r"differ in size"):
        open_dataset("megadepth", megadepth, "all")[0]


def test_folder_with_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected <scene>/dense<k>/imgs"):
        open_dataset("megadepth", tmp_path, "train")


def test_wrong_options(megadepth: Path) -> None:
    for options in ({"percentiles": [98, 1]}, {"sky": "blue"}, {"min_valid_share": 1.5}, {"percentile": None}):
        with pytest.raises(ConfigError):
            open_dataset("megadepth", megadepth, "train", options)


def test_lists_cannot_run_code(megadepth: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit",))

    (megadepth / "imgs_MD.p").write_bytes(pickle.dumps([Trap()]))
    with pytest.raises(DatasetError, match=r"builtins\.exec"):
        open_dataset("megadepth", megadepth, "train", {"train_list": "imgs_MD.p"})


def test_pairs_that_came_after_the_index_are_used_and_told(megadepth: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="training.datasets.megadepth")  # other libraries raise the root's
    prepare.check_folder(megadepth, workers=1)
    before = len(open_dataset("megadepth", megadepth, "all"))
    assert not caplog.records
    write_pair(megadepth / "0777" / "dense0", "later", picture(), scene_depth())
    assert len(open_dataset("megadepth", megadepth, "all")) == before + 1
    assert "1 of" in caplog.text and "run training.prepare again" in caplog.text


def test_a_list_of_python_2_is_read(megadepth: Path) -> None:
    pairs = list(find_pairs(megadepth))[:2]
    path = megadepth / "imgs_MD.p"
    path.write_bytes(pickle.dumps(np.array([pair.image.encode() for pair in pairs])))
    assert read_list(path).keys == frozenset(pair.key for pair in pairs)


def test_depth_is_in_the_scenes_own_unit(megadepth: Path) -> None:
    assert not open_dataset("megadepth", megadepth, "all")[0].metric


@pytest.mark.parametrize(("given", "other"), [("train", "val"), ("val", "train")])
def test_a_list_of_images_leaves_whole_scenes_to_the_other_split(megadepth: Path, given: str, other: str) -> None:
    """Two photographs of one place are no proof that a network has learnt more than the place."""
    images = ["0000/dense0/imgs/photo_0.jpg", "0001/dense0/imgs/photo_1.jpg"]
    (megadepth / "imgs_MD.p").write_bytes(pickle.dumps(images))
    options = {f"{given}_list": "imgs_MD.p"}
    assert _names(open_dataset("megadepth", megadepth, given, options)) == [
        "0000/dense0/photo_0",
        "0001/dense0/photo_1",
    ]
    assert _names(open_dataset("megadepth", megadepth, other, options)) == [
        "0022/dense0/photo_0",
        "0022/dense0/photo_1",
    ]
    (megadepth / "imgs_MD.p").write_bytes(pickle.dumps([*images, "0022/dense0/imgs/photo_1.jpg"]))
    with pytest.raises(DatasetError, match=f"has images of every scene, .* split '{other}': give {other}_list too"):
        open_dataset("megadepth", megadepth, other, options)


def test_an_index_judges_by_the_percentiles_that_are_asked_for(tmp_path: Path) -> None:
    """Of 30.5 % with depth, the official filter leaves 29.6 %."""
    depth = scene_depth()
    depth.ravel()[: int(depth.size * 0.695)] = 0
    write_pair(tmp_path / "0000/dense0", "a", picture(), depth)
    depth.ravel()[: int(depth.size * 0.75)] = 0
    write_pair(tmp_path / "0000/dense0", "b", picture(), depth)
    prepare.check_folder(tmp_path, workers=1)
    index = tmp_path / INDEX_NAME
    new = [json.loads(line) for line in index.read_text().splitlines()]
    old = [{key: value for key, value in entry.items() if key != "unfiltered_share"} for entry in new]
    assert [(entry["valid_share"], entry["unfiltered_share"]) for entry in new] == [
        (pytest.approx(0.97 * share, abs=1e-3), pytest.approx(share, abs=1e-3)) for share in (0.305, 0.25)
    ]
    for entries in (new, old):
        index.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        for percentiles in (None, [0, 100], [0, 99.9]):
            dataset = open_dataset("megadepth", tmp_path, "all", {"percentiles": percentiles})
            assert _names(dataset) == ["0000/dense0/a"]
        with pytest.raises(DatasetError, match=r"2 of 2 pairs .* less than min_valid_share 0.3 .* percentiles: null"):
            open_dataset("megadepth", tmp_path, "all")
        assert len(open_dataset("megadepth", tmp_path, "all", {"min_valid_share": 0.25})) == 1
