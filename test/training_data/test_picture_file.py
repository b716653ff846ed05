"""A picture is read whole, or refused by every reader."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.training_data.conftest import picture, scene_depth
from training import prepare
from training.datasets.base import DatasetError, DepthDataset, open_dataset
from training.datasets.disparity_png import write_disparity
from training.datasets.megadepth_index import INDEX_NAME, read_index
from training.datasets.picture_file import read_picture, read_rgb, write_picture
from training.datasets.write_megadepth import write_pair
from training.datasets.wsvd_build import NOTES_NAME
from training.pseudo_label import read_shrunk


def _jpeg(rgb: np.ndarray, *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", rgb[..., ::-1], list(options))[1].tobytes())


def _with_thumbnail(jpeg: bytes) -> bytes:
    """A JPEG that has another one in its header, as cameras write them."""
    small = b"Exif\0\0" + _jpeg(picture(24, 32))
    return jpeg[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + jpeg[2:]


_WHOLE = _jpeg(picture())
_WITH_BARE_MARKER = _WHOLE[:2] + b"\xff\x01" + _WHOLE[2:]  # FF01, which has no length, as no other in a header
_PROGRESSIVE = _jpeg(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)


@pytest.mark.parametrize(
    "content",
    [
        _WHOLE,
        _PROGRESSIVE,
        _with_thumbnail(_WHOLE),
        _WHOLE + b"a phone's notes" * 20,
        _PROGRESSIVE + bytes(500),
        _WITH_BARE_MARKER + bytes(7),
    ],
)
def test_a_whole_jpeg_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    rgb = read_rgb(tmp_path / "a.jpg")
    np.testing.assert_array_equal(rgb[..., ::-1], read_picture(tmp_path / "a.jpg", cv2.IMREAD_COLOR))
    assert np.abs(rgb.astype(int) - picture()).mean() < 6


@pytest.mark.parametrize("whole", [_WHOLE, _PROGRESSIVE, _with_thumbnail(_WHOLE)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("filled", [False, True])  # a download may have reserved its room
def test_a_jpeg_cut_short_is_refused(tmp_path: Path, whole: bytes, share: float, filled: bool) -> None:
    there = whole[: int(len(whole) * share)]
    (tmp_path / "a.jpg").write_bytes(there + bytes(len(whole) - len(there) if filled else 0))
    with pytest.raises(DatasetError, match=r"cannot read .*a\.jpg: missing or damaged"):
        read_rgb(tmp_path / "a.jpg")
    assert read_shrunk(tmp_path / "a.jpg", 10**6) is None


def _with_a_hole(jpeg: bytes) -> bytes:
    """Zeros in the middle, as of a download with a block missing."""
    middle = len(jpeg) // 2
    return jpeg[:middle] + bytes(200) + jpeg[middle + 200 :]


@pytest.mark.parametrize("whole", [_WHOLE, _PROGRESSIVE])
def test_a_jpeg_that_is_damaged_in_its_middle_is_refused(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(_with_a_hole(whole))
    with pytest.raises(DatasetError, match=r"cannot read .*a\.jpg: missing or damaged \(JPEG of .* is damaged"):
        read_rgb(tmp_path / "a.jpg")
    assert read_shrunk(tmp_path / "a.jpg", 10**6) is None


def test_other_damage_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "whole.png"), (1000 * scene_depth()).astype(np.uint16))
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "folder.png").mkdir()
    for name in ("cut.png", "folder.png", "none.png"):
        with pytest.raises(DatasetError, match=f"cannot read .*{name}: missing or damaged"):
            read_picture(tmp_path / name, cv2.IMREAD_UNCHANGED)
    with pytest.raises(DatasetError, match="cannot encode a picture of shape"):
        write_picture(tmp_path / "a.jpg", np.zeros((0, 0, 3), np.uint8))
    assert not (tmp_path / "a.jpg").exists()


def _index_csv(root: Path, jpeg: bytes) -> DepthDataset:
    (root / "a.jpg").write_bytes(jpeg)
    cv2.imwrite(str(root / "a.png"), (1000 * scene_depth()).astype(np.uint16))
    (root / "index.csv").write_text(
        "dataset,image,gt,kind,scale,invalid,scene,split\nlab,a.jpg,a.png,depth,.001,0,s,train\n"
    )
    return open_dataset("index_csv", root, "all")


def _nyu(root: Path, jpeg: bytes) -> DepthDataset:
    (root / "den").mkdir()
    (root / "den/1.jpg").write_bytes(jpeg)
    cv2.imwrite(str(root / "den/1.png"), (1000 * scene_depth()).astype(np.uint16))
    return open_dataset("nyu", root, "all")


def _kitti(root: Path, jpeg: bytes) -> DepthDataset:
    truth, image = root / "drive/proj_depth/groundtruth/image_02", root / "drive/image_02/data"
    for folder in (truth, image):
        folder.mkdir(parents=True)
    (image / "1.jpg").write_bytes(jpeg)
    cv2.imwrite(str(truth / "1.png"), (256 * scene_depth()).astype(np.uint16))
    return open_dataset("kitti", root, "all")


def _megadepth(root: Path, jpeg: bytes) -> DepthDataset:
    write_pair(root / "0000/dense0", "a", picture(), scene_depth())
    (root / "0000/dense0/imgs/a.jpg").write_bytes(jpeg)
    return open_dataset("megadepth", root, "all")


def _wsvd(root: Path, jpeg: bytes) -> DepthDataset:
    (root / "video").mkdir()
    (root / "video" / NOTES_NAME).write_text(
        '{"frame": 0, "split": "val", "fault": "", "vertical_share": 0, "range_px": 20, "consistent_share": 1}\n'
    )
    write_disparity(root / "video/000000.png", scene_depth(), scene_depth() > 0)
    (root / "video/000000.jpg").write_bytes(jpeg)
    return open_dataset("wsvd", root, "all")


@pytest.mark.parametrize("opened", [_index_csv, _nyu, _kitti, _megadepth, _wsvd])
def test_no_reader_takes_half_a_jpeg(tmp_path: Path, opened: Callable[[Path, bytes], DepthDataset]) -> None:
    """OpenCV decodes one from a file, grey where nothing is."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "half").mkdir()
    opened(tmp_path / "whole", _WHOLE)[0].check()
    half = _WHOLE[: len(_WHOLE) // 2] + bytes(len(_WHOLE) // 2)
    with pytest.raises(DatasetError, match="a JPEG without its end"):
        opened(tmp_path / "half", half)[0]


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG whose EXIF says how to turn it: big-endian TIFF with one directory of one SHORT, tag 0x0112."""
    tiff = b"MM\0\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


@pytest.mark.parametrize("opened", [_index_csv, _nyu, _kitti, _megadepth])
@pytest.mark.parametrize("orientation", [3, 6])  # upside down, lying on its side
def test_a_picture_stays_on_the_grid_of_its_depth(
    tmp_path: Path, opened: Callable[[Path, bytes], DepthDataset], orientation: int
) -> None:
    """Turned by its EXIF, it had the depth of other things, and nothing said so."""
    samples = []
    for jpeg in (_WHOLE, _with_orientation(_WHOLE, orientation)):
        root = tmp_path / str(len(samples))
        root.mkdir()
        samples.append(opened(root, jpeg)[0])
    for name in ("rgb", "target", "valid_mask"):
        np.testing.assert_array_equal(getattr(samples[1], name), getattr(samples[0], name))


def test_a_picture_without_depth_is_turned_as_it_is_shown(tmp_path: Path) -> None:
    """Pseudo-labels are written for the picture that is written beside them."""
    for name, jpeg in (("a", _WHOLE), ("b", _with_orientation(_WHOLE, 3))):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg)
    stored, turned = (read_shrunk(tmp_path / f"{name}.jpg", 10**6) for name in "ab")
    assert stored is not None and turned is not None
    np.testing.assert_array_equal(turned, stored[::-1, ::-1])


@pytest.mark.parametrize("damaged", [_WHOLE[: len(_WHOLE) // 2] + bytes(9999), _with_a_hole(_WHOLE)])
def test_prepare_counts_a_damaged_jpeg(tmp_path: Path, damaged: bytes) -> None:
    _megadepth(tmp_path, damaged)
    assert prepare.main(["--path", str(tmp_path)]) == 1
    assert [entry.fault for entry in read_index(tmp_path / INDEX_NAME)] == ["unreadable image"]
