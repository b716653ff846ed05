"""Pictures side by side with captions, and picture files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError
from depthnet_ros.files import written_whole

Picture = NDArray[np.uint8]
_BAR_PX, _LINE_PX = 26, 18
_SCALE, _LEAST_SCALE = 0.5, 0.38  # of letters; smaller ones cannot be read
_LEAST_WIDTH_PX = 200
"""Of a column with a caption: portrait pictures are narrower than any."""
_GAP_PX = 4
_BACKGROUND = (24, 26, 30)
_TEXT = (226, 228, 232)


def write_picture(path: Path, rgb: Picture) -> None:
    """Write an (H, W, 3) RGB picture; the suffix decides the format.

    Raises:
        ImageError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:  # not cv2.imwrite: it leaves half a file, and names that are not UTF-8 end the process
        data = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
        with written_whole(path, durable=False) as unfinished:
            unfinished.write_bytes(data.tobytes())
    except (cv2.error, OSError) as error:
        raise ImageError(f"cannot write {path}: {error}") from error


def side_by_side(pictures: Sequence[Picture], captions: Sequence[str] = (), height_px: int = 0) -> Picture:
    """One row of (H, W, 3) RGB pictures, brought to one height (that of the first by default), captions above them;
    columns with captions are 200 pixels wide at least.

    Raises:
        ImageError: no picture, or not as many captions as pictures.
    """
    if not pictures:
        raise ImageError("side_by_side needs at least one picture")
    if captions and len(captions) != len(pictures):
        raise ImageError(f"{len(pictures)} pictures need as many captions, got {len(captions)}")
    height = height_px or pictures[0].shape[0]
    columns = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        columns.append(np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8))
    if captions:
        columns = [_widened(column, _LEAST_WIDTH_PX) for column in columns]
        lines = max(len(_lines(text, column.shape[1])) for text, column in zip(captions, columns, strict=True))
        bars = [caption_bar(text, column.shape[1], lines) for text, column in zip(captions, columns, strict=True)]
        columns = [np.vstack(pair) for pair in zip(bars, columns, strict=True)]
    gap = np.full((columns[0].shape[0], _GAP_PX, 3), _BACKGROUND, np.uint8)
    return np.ascontiguousarray(np.hstack([part for column in columns for part in (column, gap)][:-1]))


def stacked(rows: Sequence[Picture]) -> Picture:
    """Pictures below each other, narrower ones filled up on the right.

    Raises:
        ImageError: no picture.
    """
    if not rows:
        raise ImageError("stacked needs at least one picture")
    width = max(row.shape[1] for row in rows)
    parts: list[Picture] = []
    for row in rows:
        parts += [_widened(row, width), np.full((_GAP_PX, width, 3), _BACKGROUND, np.uint8)]
    return np.ascontiguousarray(np.vstack(parts[:-1]))


def caption_bar(text: str, width_px: int, lines: int = 1) -> Picture:
    """A dark bar with a text: in as many lines as it needs to be read, and room for ``lines`` at least."""
    parts = _lines(text, width_px)
    height = _BAR_PX + _LINE_PX * (max(lines, len(parts)) - 1)
    bar = np.full((height, width_px, 3), _BACKGROUND, np.uint8)
    widest = max(_text_width(part, _SCALE) for part in parts)
    scale = min(_SCALE, _SCALE * (width_px - 10) / max(widest, 1))
    for index, part in enumerate(parts):
        corner = (5, _BAR_PX - 9 + index * _LINE_PX)
        cv2.putText(bar, part, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA)
    return bar


def _lines(text: str, width_px: int) -> list[str]:
    """Broken between words, so that each fits in letters that can be read."""
    letters = int(len(text) * (width_px - 10) / max(_text_width(text, _LEAST_SCALE), 1))
    return textwrap.wrap(text, max(letters, 1)) or [""]


def _text_width(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0])


def _widened(picture: Picture, width_px: int) -> Picture:
    """Filled up on the right."""
    fill = np.full((picture.shape[0], max(width_px - picture.shape[1], 0), 3), _BACKGROUND, np.uint8)
    return np.hstack((picture, fill))
