from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthnet_ros.errors import CameraInfoError
from test.training_data.conftest import picture, scene_depth, write_h5
from training.data import Pool
from training.datasets.base import Record, Sample, TargetKind, open_dataset
from training.datasets.depth_h5 import DepthFileError, read_depth_h5, without_outliers
from training.datasets.shards import write_shards
from training.datasets.write_megadepth import write_pair
from training.validation import usable_samples


def _ordinal(nearer: int, farther: int) -> np.ndarray:
    values = np.zeros((40, 50), np.float32)
    values.ravel()[:nearer] = 1
    values.ravel()[nearer : nearer + farther] = -1
    return values


def test_depth_is_read_as_written(tmp_path: Path) -> None:
    depth = scene_depth()
    write_h5(tmp_path / "a.h5", depth)
    file = read_depth_h5(tmp_path / "a.h5")
    assert file.kind is TargetKind.DEPTH
    assert file.sky is None
    np.testing.assert_array_equal(file.values, depth)


@pytest.mark.parametrize("scale", [1, 2])
def test_ordinal_map_is_told_by_its_few_signed_values(tmp_path: Path, scale: int) -> None:
    write_h5(tmp_path / "a.h5", scale * _ordinal(300, 400))
    file = read_depth_h5(tmp_path / "a.h5")
    assert file.kind is TargetKind.ORDINAL
    np.testing.assert_array_equal(file.values, _ordinal(300, 400))


def _damaged(kind: str) -> np.ndarray:
    depth = scene_depth()
    if kind == "NaN":
        depth[3, 5] = np.nan
    elif kind == "infinity":
        depth[3, 5] = np.inf
    elif kind == "negative":
        depth[3, 5] = -1.5
    elif kind == "mask":
        depth = np.random.default_rng(0).integers(0, 4, depth.shape).astype(np.uint8)
    elif kind == "few":
        depth = _ordinal(99, 400)
    elif kind == "volume":
        depth = depth[None]
    return depth


@pytest.mark.parametrize(
    ("kind", "fault", "said"),
    [
        ("NaN", "NaN or infinity", "1 values are not finite"),
        ("infinity", "NaN or infinity", "1 values are not finite"),
        ("negative", "negative depth", "1 negative values"),
        ("mask", "integer mask", "none negative"),
        ("few", "small ordinal map", "99 nearer, 400 farther"),
        ("volume", "not an image", "got shape (1, 120, 160)"),
    ],
)
def test_damage_is_named(tmp_path: Path, kind: str, fault: str, said: str) -> None:
    write_h5(tmp_path / "a.h5", _damaged(kind))
    with pytest.raises(DepthFileError) as raised:
        read_depth_h5(tmp_path / "a.h5")
    assert raised.value.fault == fault
    assert said in str(raised.value)
    assert "a.h5" in str(raised.value)


def test_h5_without_depth_tells_what_is_in_it(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", scene_depth(), key="disparity")
    with pytest.raises(DepthFileError, match=r"no data set 'depth' in it, only disparity"):
        read_depth_h5(tmp_path / "a.h5")


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all" * 40])
def test_file_that_is_no_hdf5(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(DepthFileError, match="cannot be read") as raised:
        read_depth_h5(tmp_path / "a.h5")
    assert raised.value.fault == "unreadable h5"


def test_download_cut_short(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", scene_depth())
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DepthFileError, match="copy it again"):
        read_depth_h5(tmp_path / "a.h5")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), holes=st.floats(0, 0.9), scale=st.floats(1e-3, 1e3))
def test_outlier_filter_keeps_97_percent_whatever_the_unit(seed: int, holes: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.gamma(2.0, scale, (60, 80)).astype(np.float32)
    depth[rng.uniform(size=depth.shape) < holes] = 0
    kept = without_outliers(depth, 1, 98)
    before, after = np.count_nonzero(depth), np.count_nonzero(kept)
    assert 0.97 * before - 2 <= after <= 0.97 * before + 2
    assert np.array_equal(kept[kept > 0], depth[kept > 0])
    assert kept[kept > 0].min() >= np.percentile(depth[depth > 0], 1)
    assert kept.max() <= np.percentile(depth[depth > 0], 98)


def test_whatever_byte_is_damaged_it_is_a_damaged_file(tmp_path: Path) -> None:
    """h5py answers with OSError, RuntimeError, KeyError or TypeError; a run of days must meet one kind."""
    write_h5(tmp_path / "whole.h5", scene_depth(24, 32))
    whole = (tmp_path / "whole.h5").read_bytes()
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole) - 24 * 32 * 4))] ^= int(rng.integers(1, 256))
        (tmp_path / "a.h5").write_bytes(damaged)
        try:
            read_depth_h5(tmp_path / "a.h5")
        except DepthFileError as error:
            kinds.add(error.fault)
    assert "unreadable h5" in kinds


def test_depth_that_is_a_folder_of_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("depth")
    with pytest.raises(DepthFileError, match="cannot be read"):
        read_depth_h5(tmp_path / "a.h5")


def test_depth_of_a_type_that_is_no_number(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", np.zeros((120, 160), dtype=[("metres", "f4"), ("error", "f4")]))
    with pytest.raises(DepthFileError, match="cannot be read") as raised:
        read_depth_h5(tmp_path / "a.h5")
    assert raised.value.fault == "unreadable h5"


def test_depth_larger_than_any_memory_ends_no_training(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pair(tmp_path / "0000" / "dense0", name, picture(), scene_depth())
    path = tmp_path / "0000/dense0/depths/a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("depth", shape=(4_000_000, 4_000_000), chunks=(1000, 1000), dtype="f4")
    with pytest.raises(DepthFileError, match="cannot be read"):
        read_depth_h5(path)
    dataset = open_dataset("megadepth", tmp_path, "all")
    assert Pool([dataset], cache_gib=0, cache_area_px=80_000).read_first(iter([0, 1]))[0] == 1


@pytest.mark.parametrize("intrinsics", [(0, 0, 0, 0), (100, -100, 80, 60), (np.nan, 100, 80, 60)])
def test_intrinsics_that_are_no_cameras(tmp_path: Path, intrinsics: tuple[float, ...]) -> None:
    write_h5(tmp_path / "a.h5", scene_depth())
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["depth"].attrs["intrinsics"] = intrinsics
    with pytest.raises(
        DepthFileError, match=r"a\.h5: the attribute intrinsics of depth: focal lengths must be"
    ) as raised:
        read_depth_h5(tmp_path / "a.h5")
    assert raised.value.fault == "bad intrinsics"


@pytest.mark.parametrize(
    "error",
    [
        CameraInfoError("no focal length"),
        IndexError("3 of 2"),
        MemoryError("64 TiB"),
        TypeError("no number"),
        KeyError("depth"),
    ],
    ids=repr,
)
def test_whatever_reading_one_item_raises_ends_no_run(tmp_path: Path, error: Exception) -> None:
    class Damaged:
        records = (Record("lab", "room"), Record("lab", "room"))

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sample:
            if index == 0:
                raise error
            depth = scene_depth()
            return Sample(picture(), depth, depth > 0, TargetKind.DEPTH, None, "lab", "room", str(index))

    left_out: list[str] = []
    assert len(list(usable_samples([Damaged()], left_out))) == 1
    assert left_out == [str(error)]
    assert write_shards(Damaged(), tmp_path) == [f"{type(error).__name__}: {error}"]
