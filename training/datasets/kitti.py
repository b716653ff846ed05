"""KITTI's depth prediction benchmark: colour images with LiDAR depth as PNG."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from training.datasets.base import DatasetError, Record, Sample, TargetKind
from training.datasets.folders import folders_below
from training.datasets.picture_file import read_picture, read_rgb

_LOGGER = logging.getLogger(__name__)
_UNITS_PER_M = 256.0
_MIN_M, _MAX_M = 1e-3, 80.0
_CROP_HEIGHT, _CROP_WIDTH = 352, 1216
_CAMERAS = ("image_02", "image_03")


class KittiDataset:
    """LiDAR depth in metres, 1 mm to 80 m; the scene is the drive.

    Looked for are ``**/<drive>/proj_depth/groundtruth/image_0{2,3}/<n>.png`` and, for each, the colour image
    ``<date>/<drive>/image_0{2,3}/data/<n>.{png,jpg}`` or ``<drive>/image_0{2,3}/data/...`` below ``path`` (or
    ``images``, where the raw recordings lie elsewhere). Links to folders are followed.

    Args:
        path: folder of the depth maps.
        split: by the benchmark's folders ``train`` and ``val``.
        name: data set name in records.
        images: folder of the raw recordings, relative to ``path``.
        kb_crop: cut 352 x 1216 pixels from the bottom middle, where LiDAR reaches, as the benchmark does.

    Raises:
        DatasetError: no depth maps, or no image for any of them.
    """

    def __init__(self, path: Path, split: str, *, name: str = "kitti", images: str = ".", kb_crop: bool = True) -> None:
        roots = (
            [path]
            if split == "all"
            else [root for root in (path / split, path / "data_depth_annotated" / split) if root.is_dir()]
        )
        depths = [depth for root in roots for camera in _CAMERAS for depth in sorted(_depths(root, camera))]
        if not depths:
            raise DatasetError(
                f"{path}: no KITTI depth maps for split {split!r}; "
                "expected {train,val}/<drive>/proj_depth/groundtruth/image_02/*.png"
            )
        self._name, self._kb_crop = name, kb_crop
        found = [(image, depth) for depth in depths if (image := _image_of(depth, path / images)) is not None]
        if not found:
            raise DatasetError(
                f"{path / images}: none of the colour images, such as {_drive(depths[0])}/image_02/data/*"
            )
        if len(found) < len(depths):
            paired = {depth for _, depth in found}
            _LOGGER.warning(
                "%d of %d depth maps below %s have no colour image and are left out, such as %s",
                *(len(depths) - len(found), len(depths), path),
                next(depth for depth in depths if depth not in paired),
            )
        self._pairs = found

    @property
    def records(self) -> Sequence[Record]:
        """One entry per image."""
        return [Record(self._name, _drive(depth)) for _, depth in self._pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        image, depth_path = self._pairs[index]
        rgb, raw = read_rgb(image), read_picture(depth_path, cv2.IMREAD_UNCHANGED)
        if raw.ndim != 2 or raw.dtype != np.uint16:
            raise DatasetError(f"{depth_path}: expected 16-bit depth, got {raw.dtype} of shape {raw.shape}")
        if raw.shape != rgb.shape[:2]:
            raise DatasetError(f"{image}: image {rgb.shape[:2]} and depth {raw.shape} differ in size")
        camera = _camera_of(image.parents[2], image.parents[1].name, raw.shape[1], raw.shape[0])
        depth = raw.astype(np.float32) / np.float32(_UNITS_PER_M)
        height, width = depth.shape
        cut = None
        if self._kb_crop and height >= _CROP_HEIGHT and width >= _CROP_WIDTH:
            top, left = height - _CROP_HEIGHT, (width - _CROP_WIDTH) // 2
            cut = (top, left, height, width)
            window = (slice(top, height), slice(left, left + _CROP_WIDTH))
            rgb, depth = np.ascontiguousarray(rgb[window]), np.ascontiguousarray(depth[window])
            camera = None if camera is None else camera.cropped(left, top, _CROP_WIDTH, _CROP_HEIGHT)
        valid = (depth > _MIN_M) & (depth <= _MAX_M)
        scene = _drive(depth_path)
        name = f"{scene}/{depth_path.parent.name}/{depth_path.stem}"
        return Sample(rgb, depth, valid, TargetKind.DEPTH, camera, self._name, scene, name, cut=cut)


def _depths(root: Path, camera: str) -> Iterator[Path]:
    end = ("proj_depth", "groundtruth", camera)
    return (depth for folder in folders_below(root) if folder.parts[-3:] == end for depth in folder.glob("*.png"))


def _drive(depth: Path) -> str:
    return depth.parents[3].name


def _image_of(depth: Path, images: Path) -> Path | None:
    """The colour image of a depth map: drives lie in a folder of their date, or directly below."""
    drive, camera = _drive(depth), depth.parent.name
    for folder in (images / drive[:10] / drive, images / drive, depth.parents[3]):
        for ending in (".png", ".jpg"):
            image = folder / camera / "data" / f"{depth.stem}{ending}"
            if image.is_file():
                return image
    return None


@lru_cache(maxsize=256)
def _camera_of(drive: Path, camera: str, width_px: int, height_px: int) -> PinholeCamera | None:
    """Intrinsics from the rectified projection matrix in the date's ``calib_cam_to_cam.txt``, if it is there.

    Raises:
        DatasetError: the matrix is no camera's.
    """
    file = drive.parent / "calib_cam_to_cam.txt"
    if not file.is_file():
        return None
    key = f"P_rect_{camera[-2:]}:"
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(key):
                matrix = np.array(line[len(key) :].split(), dtype=np.float64)
                if matrix.size == 12:
                    return PinholeCamera(width_px, height_px, matrix[0], matrix[5], matrix[2], matrix[6])
    except (CameraInfoError, OSError, ValueError) as error:
        raise DatasetError(f"{file}: {key[:-1]} must be the 12 numbers of a projection matrix ({error})") from error
    return None
