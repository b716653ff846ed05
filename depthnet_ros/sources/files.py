"""Pictures in files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError, ImageError
from depthnet_ros.files import natural_key
from depthnet_ros.geometry.calibration import Calibration, calibration_from_fov, read_calibration
from depthnet_ros.imaging import compressed_to_rgb, picture_size
from depthnet_ros.sources.base import Source, SourceFrame, SourceOptions

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_CALIBRATION_NAMES = ("camera_info.yaml", "camera_info.yml", "camera-intrinsics.txt")
# Words between separators in the names of files that lie beside pictures but are none. Never said of a JPEG.
_NOT_A_PICTURE = frozenset({"depth", "disp", "disparity", "mask", "label", "labels", "confidence", "normal", "normals"})


def is_picture(path: Path) -> bool:
    """A colour or grey picture by its name and, for PNG, its header: 16-bit grey is taken for depth."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES or path.name.startswith("."):
        return False
    if suffix in (".jpg", ".jpeg"):
        return True
    if _NOT_A_PICTURE & set(re.split(r"[^a-z]+", path.stem.lower())):
        return False
    return not (suffix == ".png" and _is_16_bit_grey(path))


def _pictures_below(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.is_dir() and _has_pictures(item))


def _has_pictures(folder: Path) -> bool:
    try:  # the first is enough: there may be a million below
        return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
    except OSError:
        return False


def _is_16_bit_grey(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:  # reported when its turn comes, like any other unreadable picture
        return False
    return len(head) == 26 and head[12:16] == b"IHDR" and head[24] == 16 and head[25] == 0


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each of several files, unlike all others: its stem; in the folders where they differ if another folder
    has that stem, too; with its suffix if another file of its folder does.
    """
    stems = Counter(path.stem for path in paths)
    if max(stems.values(), default=1) == 1:
        return [path.stem for path in paths]
    places = [Path.cwd() / path for path in paths]
    common = os.path.commonpath([place.parent for place in places])
    places = [place.relative_to(common) for place in places]
    beside = Counter(place.with_suffix("") for place in places)
    names = [str(place if beside[place.with_suffix("")] > 1 else place.with_suffix("")) for place in places]
    return names if len(set(names)) == len(names) else [str(place) for place in places]


class ImageFiles(Source):
    """Pictures in the order of :func:`natural_key`; a calibration that lies beside one goes with it."""

    def __init__(self, files: list[Path], options: SourceOptions, description: str, left_out: int = 0) -> None:
        self.files = sorted(files, key=lambda path: (natural_key(path), str(path)))
        self._names = names_of(self.files)
        self.count = len(self.files)
        self.description = f"{description}: {self.count} picture{'s' if self.count != 1 else ''}"
        if left_out:
            self.description += f"; {left_out} taken for depth images or masks (16-bit grey, or by name) left out"
        self._options = options
        folders = {path.parent for path in self.files} if options.calibrated else ()
        self._calibration_files = {folder: file for folder in folders if (file := _calibration_file(folder))}
        self._calibrations: dict[tuple[Path, tuple[int, int]], Calibration] = {}

    @classmethod
    def in_folder(cls, folder: Path, options: SourceOptions) -> ImageFiles:
        """All pictures directly in a folder; depth images, masks and the like beside them are left out.

        Raises:
            ConfigError: there is none.
        """
        entries = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.is_dir()]
        files = [path for path in entries if is_picture(path)]  # a link to nothing is reported when its turn comes
        other = len(entries) - len(files)
        if files:
            source = cls(files, options, str(folder), other)
            if deeper := _pictures_below(folder):
                source.description += f"; not those in its folders {', '.join(deeper[:5])}"
            return source
        below = _pictures_below(folder)
        hint = f"; {other} depth images or masks were left out" if other else ""
        hint += f"; there are pictures in its folders {', '.join(below[:5])}" if below else ""
        raise ConfigError(f"no pictures ({', '.join(sorted(SUFFIXES))}) in {folder}{hint}")

    def __iter__(self) -> Iterator[SourceFrame]:
        for index, (path, name) in enumerate(zip(self.files, self._names, strict=True)):
            try:
                data: bytes | None = path.read_bytes()
            except OSError:  # reported by rgb(), like any other unreadable picture
                data = None
            yield SourceFrame(
                name=name,
                stamp_s=index / self._options.rate_hz,
                rgb=partial(_decode, path, data, self._options.upright and path.parent not in self._calibration_files),
                encoded=data if path.suffix.lower() in (".jpg", ".jpeg", ".png") else None,
                calibration=self._calibration(path, data),
            )

    def _calibration(self, path: Path, data: bytes | None) -> Calibration | None:
        file = self._calibration_files.get(path.parent)
        if not data or not (file or self._options.horizontal_fov_rad):
            return None
        size = picture_size(data)
        if size is None:
            return None
        if file is None:
            return calibration_from_fov(size, self._options.horizontal_fov_rad)
        if (file, size) not in self._calibrations:
            self._calibrations[file, size] = read_calibration(file, size)
        return self._calibrations[file, size]


def _calibration_file(folder: Path) -> Path | None:
    return next(filter(Path.is_file, (folder / name for name in _CALIBRATION_NAMES)), None)


def _decode(path: Path, data: bytes | None, upright: bool) -> NDArray[np.uint8]:
    if data is None:
        what = "is a link to nothing: is it stored elsewhere?" if path.is_symlink() else "cannot be read"
        raise ImageError(f"{path} {what}")
    try:
        return compressed_to_rgb(data, upright)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
