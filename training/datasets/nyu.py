"""NYU Depth v2: the labelled ``.mat`` file, or a folder of PNG copies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from training.datasets.base import DatasetError, Record, Sample, TargetKind
from training.datasets.folders import folders_below
from training.datasets.picture_file import read_picture, read_rgb

_LOGGER = logging.getLogger(__name__)
# The colour camera at 640 x 480, from the data set's toolbox (camera_params.m), whose pixels count from 1.
_CAMERA = PinholeCamera(640, 480, 518.8579, 519.4696, 324.5824, 252.7361)
_MIN_M, _MAX_M = 1e-3, 10.0
# A white frame of the registered colour images.
_BORDER_PX = 8
# The public copy "nyu_data" has its training depth as 8 bits, of which 255 are 10 m, and its test depth in millimetres.
_EIGHT_BIT, _EIGHT_BIT_PER_M = "nyu2_train", 25.5
_SPLITS = {"train": "trainNdxs", "val": "testNdxs"}


class NyuDataset:
    """Depth in metres, 1 mm to 10 m.

    Args:
        path: ``nyu_depth_v2_labeled.mat``; or a folder where each depth PNG (16-bit, millimetres) lies beside or below
            its image: ``<scene>/<n>.jpg`` with ``<n>.png``, ``<n>_colors.png`` with ``<n>_depth.png``, or ``rgb/<n>.*``
            with ``depth/<n>.png``. Below ``nyu2_train`` it may be of 8 bits, of which 255 are 10 m.
        split: ``train`` and ``val`` are the official 795 and 654 images where ``splits.mat`` (from the data set's page)
            lies beside the ``.mat``; for folders, those named ``train`` and ``test`` or ``val``.
        name: data set name in records.
        raw: take the sensor's own depth (``rawDepths``) instead of the filled-in one.
        border_px: cut off on each side; the registered images have a white frame of 8 px at 640 x 480.

    Raises:
        DatasetError: neither of the layouts, or a split is asked for that ``path`` does not tell.
        ConfigError: ``border_px`` is negative.
    """

    def __init__(
        self, path: Path, split: str, *, name: str = "nyu", raw: bool = False, border_px: int = _BORDER_PX
    ) -> None:
        if border_px < 0:
            raise ConfigError(f"border_px must be 0 or more, got {border_px}")
        self._name, self._border_px = name, border_px
        self._source: _MatFile | _PngFolder = _PngFolder(path, split) if path.is_dir() else _MatFile(path, split, raw)

    @property
    def records(self) -> Sequence[Record]:
        """One entry per image."""
        return [Record(self._name, scene) for scene in self._source.scenes]

    def __len__(self) -> int:
        return len(self._source.scenes)

    def __getitem__(self, index: int) -> Sample:
        rgb, depth, item = self._source.read(index)
        if rgb.shape[:2] != depth.shape:
            raise DatasetError(f"{item}: image {rgb.shape[:2]} and depth {depth.shape} differ in size")
        camera = _CAMERA.resized(depth.shape[1], depth.shape[0])
        border = self._border_px
        if 2 * border >= min(depth.shape):
            raise DatasetError(
                f"{item}: border_px {border} leaves nothing of its {depth.shape[0]} x {depth.shape[1]} pixels; "
                f"set it below {-(-min(depth.shape) // 2)}"
            )
        cut: tuple[int, int, int, int] | None = None
        if border:
            cut = (border, border, depth.shape[0], depth.shape[1])
            inner = (slice(border, -border), slice(border, -border))
            rgb, depth = np.ascontiguousarray(rgb[inner]), np.ascontiguousarray(depth[inner])
            camera = camera.cropped(border, border, depth.shape[1], depth.shape[0])
        valid = np.isfinite(depth) & (depth > _MIN_M) & (depth <= _MAX_M)
        return Sample(
            rgb, depth, valid, TargetKind.DEPTH, camera, self._name, self._source.scenes[index], item, cut=cut
        )


class _MatFile:
    """The labelled file is HDF5 with its axes reversed: ``images`` is N x 3 x W x H, ``depths`` N x W x H."""

    def __init__(self, path: Path, split: str, raw: bool) -> None:
        self._path, self._key = path, "rawDepths" if raw else "depths"
        self._file: h5py.File | None = None
        with self._opened() as file:
            missing = [key for key in ("images", self._key) if key not in file]
            if missing:
                raise DatasetError(f"{path}: no {missing} in it; expected nyu_depth_v2_labeled.mat")
            try:
                images, depths, kind = file["images"].shape, file[self._key].shape, file["images"].dtype
                names = _texts(file, "scenes", images[0])
            except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:  # h5py's
                raise DatasetError(f"{path} is damaged ({type(error).__name__}: {error}); copy it again") from error
        if len(images) != 4 or images[1] != 3 or depths != (images[0], *images[2:]):
            raise DatasetError(
                f"{path}: expected images of N x 3 x W x H and {self._key} of N x W x H, got {images} and {depths}; "
                "copy it again"
            )
        if kind != np.uint8:
            raise DatasetError(
                f"{path}: expected images of uint8, 0 to 255, got {kind}: copy it again, or write them so"
            )
        count = images[0]
        if len(names) < count:
            raise DatasetError(f"{path}: expected a name in scenes for each of {count} images, got {len(names)}")
        self._indices = list(range(count)) if split == "all" else _official_split(path, split, count)
        self.scenes = [names[index] for index in self._indices]

    def _opened(self) -> h5py.File:
        try:
            return h5py.File(self._path, "r")
        except OSError as error:
            raise DatasetError(f"{self._path} is not the HDF5 file nyu_depth_v2_labeled.mat: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """An open file does not go to another process."""
        return {**self.__dict__, "_file": None}

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
        self._file = self._file or self._opened()
        number = self._indices[index]
        rgb = np.ascontiguousarray(np.asarray(self._file["images"][number]).transpose(2, 1, 0))
        depth = np.ascontiguousarray(np.asarray(self._file[self._key][number], dtype=np.float32).T)
        return rgb, depth, f"{self.scenes[index]}/{number + 1:04d}"


def _texts(file: h5py.File, key: str, count: int) -> list[str]:
    """A MATLAB cell array of text (references to uint16 characters); one name for all where it is missing."""
    if key not in file:
        return ["nyu"] * count
    references = np.asarray(file[key]).ravel()
    return ["".join(map(chr, np.asarray(file[reference]).ravel())) for reference in references[:count]]


def _official_split(path: Path, split: str, count: int) -> list[int]:
    """0-based indices from ``splits.mat`` (a MATLAB 5 file with 1-based numbers) beside the data."""
    file = path.with_name("splits.mat")
    if not file.is_file():
        raise DatasetError(
            f"{file} is missing: it has the official split; get it from the data set's page or ask for split 'all'"
        )
    from scipy.io import loadmat

    key = _SPLITS[split]
    try:
        content = loadmat(file)
        indices = [int(number) - 1 for number in np.asarray(content[key]).ravel()] if key in content else []
    except Exception as error:  # a damaged file may raise nearly anything
        raise DatasetError(
            f"{file} cannot be read ({type(error).__name__}: {error}); expected a MATLAB 5 file with {key}: get it "
            "from the data set's page again"
        ) from error
    if key not in content:
        there = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
        raise DatasetError(f"{file}: expected {key} in it, got {there}: get it from the data set's page again")
    if not indices or min(indices) < 0 or max(indices) >= count:
        raise DatasetError(f"{file} does not fit {path}: it names images 1..{max(indices, default=0) + 1} of {count}")
    return indices


class _PngFolder:
    """Pairs of an image and a 16-bit PNG in millimetres."""

    def __init__(self, path: Path, split: str) -> None:
        wanted = {"train": ("train", "nyu2_train"), "val": ("val", "test", "nyu2_test"), "all": ()}[split]
        roots = [path / name for name in wanted if (path / name).is_dir()]
        if wanted and not roots:
            raise DatasetError(
                f"{path}: there is no folder {' or '.join(wanted)} for split {split!r}; only split 'all' takes the rest"
            )
        roots = roots or [path]
        self._pairs = [pair for root in roots for pair in _png_pairs(root)]
        if not self._pairs:
            raise DatasetError(
                f"{path}: no pairs; expected <scene>/<n>.jpg with <n>.png, <n>_colors.png with <n>_depth.png, or "
                "rgb/<n>.* with depth/<n>.png"
            )
        self.scenes = [_scene_of(image, path) for image, _ in self._pairs]

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
        image, depth_path = self._pairs[index]
        rgb, depth = read_rgb(image), read_picture(depth_path, cv2.IMREAD_UNCHANGED)
        per_m = _EIGHT_BIT_PER_M if depth.dtype == np.uint8 and _EIGHT_BIT in depth_path.parts else 1000
        if depth.ndim != 2 or (depth.dtype != np.uint16 and per_m == 1000):
            raise DatasetError(f"{depth_path}: expected 16-bit millimetres, got {depth.dtype} of shape {depth.shape}")
        return rgb, depth.astype(np.float32) / np.float32(per_m), f"{self.scenes[index]}/{image.stem}"


def _png_pairs(root: Path) -> list[tuple[Path, Path]]:
    """Pairs below a folder, links to folders followed; what has no partner is told."""
    folders = list(folders_below(root))
    images = sorted(image for folder in folders for image in folder.glob("*.jpg"))
    wanted = [(image, image.with_suffix(".png")) for image in images]
    coloured = sorted(image for folder in folders for image in folder.glob("*_colors.png"))
    wanted += [(image, image.with_name(image.name.replace("_colors.png", "_depth.png"))) for image in coloured]
    depths = {depth for folder in {image.parent for image, _ in wanted} for depth in folder.glob("*.png")}
    for folder in sorted(folder for folder in folders if folder.name == "rgb" and folder != root):
        images = [image for image in sorted(folder.iterdir()) if image.is_file()]
        wanted += [(image, folder.with_name("depth") / f"{image.stem}.png") for image in images]
        depths.update(folder.with_name("depth").glob("*.png"))
    pairs = [(image, depth) for image, depth in wanted if depth.is_file() and image != depth]
    paired = {file for pair in pairs for file in pair}
    files = {image for image, _ in wanted} | depths
    if pairs and (alone := sorted(files - paired)):
        _LOGGER.warning(
            "%d of %d files below %s have no partner and are left out, such as %s",
            *(len(alone), len(files), root, alone[0]),
        )
    return pairs


def _scene_of(image: Path, root: Path) -> str:
    folder = image.parent.parent if image.parent.name == "rgb" else image.parent
    return str(folder.relative_to(root)) if folder != root else folder.name
