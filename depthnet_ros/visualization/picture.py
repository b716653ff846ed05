"""Pictures side by side with captions, and picture files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError
from depthnet_ros.files import written_whole

Picture = NDArray[np.uint8]
_BAR_PX = 26
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
    """One row of (H, W, 3) RGB pictures, brought to one height (that of the first by default), captions above them.

    Raises:
        ImageError: no picture, or not as many captions as pictures.
    """
    if not pictures:
        raise ImageError("side_by_side needs at least one picture")
    if captions and len(captions) != len(pictures):
        raise ImageError(f"{len(pictures)} pictures need as many captions, got {len(captions)}")
    height = height_px or pictures[0].shape[0]
    columns: list[Picture] = []
    for index, picture in enumerate(pictures):
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        column = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if captions:
            column = np.vstack((caption_bar(captions[index], width), column))
        columns += [column, np.full((column.shape[0], _GAP_PX, 3), _BACKGROUND, np.uint8)]
    return np.ascontiguousarray(np.hstack(columns[:-1]))


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
        fill = np.full((row.shape[0], width - row.shape[1], 3), _BACKGROUND, np.uint8)
        parts += [np.hstack((row, fill)), np.full((_GAP_PX, width, 3), _BACKGROUND, np.uint8)]
    return np.ascontiguousarray(np.vstack(parts[:-1]))


def caption_bar(text: str, width_px: int) -> Picture:
    """A dark bar with a line of text, made smaller where it does not fit."""
    bar = np.full((_BAR_PX, width_px, 3), _BACKGROUND, np.uint8)
    scale = 0.5
    text_width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
    scale = min(scale, scale * (width_px - 10) / max(text_width, 1))
    cv2.putText(bar, text, (5, _BAR_PX - 9), cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, 1, cv2.LINE_AA)
    return bar
