"""Images and 8- or 16-bit depth pictures listed in an ``index.csv``.

Columns: dataset, image, gt, kind, scale, invalid, scene, split (others are ignored). ``image`` and ``gt`` are relative
to the index's folder; the value is png value * scale; ``invalid`` lists png values that mean "no measurement".
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from training.datasets.base import DatasetError, Record, Sample, TargetKind
from training.datasets.picture_file import read_picture, read_rgb

_KINDS = {
    "depth": TargetKind.DEPTH,
    "disparity": TargetKind.DISPARITY,
    "disparity_pseudo": TargetKind.DISPARITY_AFFINE,
    "disparity_minmax8": TargetKind.DISPARITY_AFFINE,
    "nearness8_visual": TargetKind.RANK,
}
COLUMNS = ("dataset", "image", "gt", "kind", "scale", "invalid", "scene", "split")
SPLITS = ("train", "val")
# Rectified pairs with a calibrated zero: their semi-global disparity is inverse depth up to scale alone.
_RECTIFIED = ("kitti_vo_sgbm",)
# A white frame around the pictures of this copy of NYU, in pixels of its 480 x 360.
_BORDER_PX = {"nyuv2_train": 8}


@dataclass(frozen=True)
class _Row:
    record: Record
    name: str  # as the index has it: two recordings' files may be named alike
    image: Path
    gt: Path
    kind: TargetKind
    scale: float
    invalid: tuple[int, ...]


class IndexCsvDataset:
    """Every row of ``path`` (an index.csv, or the folder that holds it) that belongs to ``split``.

    ``include`` and ``exclude`` name data sets (the first column).

    Raises:
        DatasetError: no index, a missing column, or a row that cannot be read.
        ConfigError: ``include`` or ``exclude`` name what the index does not have.
    """

    def __init__(
        self, path: Path, split: str, include: Sequence[str] | None = None, exclude: Sequence[str] = ()
    ) -> None:
        index = path / "index.csv" if path.is_dir() else path
        if not index.is_file():
            raise DatasetError(f"no index at {index}: expected a CSV with the columns {', '.join(COLUMNS)}")
        rows = _read_index(index)
        for option, names in (("include", include or ()), ("exclude", exclude)):
            known = {row.record.dataset for _, row in rows}
            if unknown := sorted(set(names) - known):
                raise ConfigError(f"{option} must be a list of {sorted(known)}, which {index} has; got {unknown}")
        self._rows = [
            row
            for split_of_row, row in rows
            if split in ("all", split_of_row)
            and (include is None or row.record.dataset in include)
            and row.record.dataset not in exclude
        ]

    @property
    def records(self) -> list[Record]:
        """One entry per image."""
        return [row.record for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        row = self._rows[index]
        rgb, raw = read_rgb(row.image), read_picture(row.gt, cv2.IMREAD_UNCHANGED)
        if raw.ndim != 2:
            raise DatasetError(f"{row.gt}: expected one channel of depth, got shape {raw.shape}")
        rgb = _match(rgb, (raw.shape[0], raw.shape[1]), row)
        valid = ~np.isin(raw, row.invalid)
        target = raw.astype(np.float32) * np.float32(row.scale)
        border = _BORDER_PX.get(row.record.dataset, 0)
        cut: tuple[int, int, int, int] | None = None
        if border:
            cut = (border, border, raw.shape[0], raw.shape[1])
            inner = slice(border, -border)
            rgb, target, valid = rgb[inner, inner], target[inner, inner], valid[inner, inner]
        camera: PinholeCamera | None = None  # the index has no column for intrinsics
        return Sample(
            np.ascontiguousarray(rgb), np.ascontiguousarray(target), np.ascontiguousarray(valid), row.kind, camera,
            row.record.dataset, row.record.scene, row.name, cut=cut,
        )  # fmt: skip


def _match(rgb: NDArray[np.uint8], size: tuple[int, int], row: _Row) -> NDArray[np.uint8]:
    """The image on the grid of its depth: some files hold both at different scales of one view."""
    if rgb.shape[:2] == size:
        return rgb
    stretch = (rgb.shape[0] / size[0]) / (rgb.shape[1] / size[1])
    if not 0.97 < stretch < 1.03:
        raise DatasetError(
            f"{row.image}: image {rgb.shape[:2]} and depth {size} differ in aspect ratio; depth must be on the grid of "
            "the image as it is stored, not turned by an orientation in its EXIF"
        )
    return np.asarray(cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def read_rows(index: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of an index, and its rows with the number of each one's last line.

    A row that is cut short lacks its last columns.

    Raises:
        DatasetError: it cannot be read, is not UTF-8, is no CSV, or lacks one of COLUMNS.
    """
    try:
        text = index.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{index} is not UTF-8 ({error.reason}): save it as UTF-8") from error
    except OSError as error:
        raise DatasetError(f"cannot read the index {index}: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        columns = list(reader.fieldnames or ())
        rows.extend((reader.line_num, {name: row[name] for name in columns if row[name] is not None}) for row in reader)
    except csv.Error as error:
        raise DatasetError(
            f"{index}: the row behind line {rows[-1][0] if rows else 1} cannot be read ({error}); expected values with "
            'commas between them: is a " not closed?'
        ) from error
    if missing := [name for name in COLUMNS if name not in columns]:
        raise DatasetError(f"{index}: columns {missing} are missing; expected {', '.join(COLUMNS)}")
    return columns, rows


def _read_index(index: Path) -> list[tuple[str, _Row]]:
    rows = []
    for line, row in read_rows(index)[1]:
        if short := [name for name in COLUMNS if name not in row]:
            raise DatasetError(f"{index}, line {line} is cut short: it has no {', '.join(short)}")
        if row["split"] not in SPLITS:
            raise DatasetError(f"{index}, line {line}: split must be train or val, got {row['split']!r}")
        if row["kind"] not in _KINDS:
            kinds = ", ".join(_KINDS)
            raise DatasetError(f"{index}, line {line}: kind must be one of {kinds}, got {row['kind']!r}")
        kind = TargetKind.DISPARITY if row["dataset"] in _RECTIFIED else _KINDS[row["kind"]]
        try:
            scale, invalid = float(row["scale"]), tuple(int(v) for v in row["invalid"].split(",") if v.strip())
        except ValueError as error:
            raise DatasetError(f"{index}, line {line}: {error}") from error
        if not 0 < scale < math.inf:
            raise DatasetError(f"{index}, line {line}: scale must be a positive number, got {row['scale']!r}")
        record, image, gt = Record(row["dataset"], row["scene"]), index.parent / row["image"], index.parent / row["gt"]
        rows.append((row["split"], _Row(record, row["image"], image, gt, kind, scale, invalid)))
    return rows
