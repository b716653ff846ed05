"""A line chart over time, drawn with OpenCV: enough for a report, and no plotting library on the robot."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError

Series = tuple[NDArray[np.floating], NDArray[np.floating]]
"""x and y; a NaN in y interrupts the line."""
_COLORS = ((255, 170, 60), (90, 200, 250), (140, 230, 120), (240, 120, 160))
_BACKGROUND, _AXIS, _GRID, _TEXT = (24, 26, 30), (150, 154, 160), (52, 56, 62), (226, 228, 232)
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 30, 40
_TICKS = 5
_MARGIN = 0.05
"""Between the largest value and the frame, as a share of all."""


def line_chart(
    series: Mapping[str, Series], title: str, x_label: str, size_px: tuple[int, int] = (960, 300)
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of up to four named series, with their largest values; y begins at 0 where all are positive.

    Raises:
        ImageError: more series than there are colours.
    """
    if len(series) > len(_COLORS):
        raise ImageError(f"a chart shows at most {len(_COLORS)} series, got {len(series)}")
    width, height = size_px
    picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
    x_limits, y_limits = (
        _limits([x for x, _ in series.values()]),
        _limits([y for _, y in series.values()], from_zero=True),
    )
    _axes(picture, x_limits, y_limits, x_label)
    cursor = _LEFT
    for (name, (x, y)), color in zip(series.items(), _COLORS, strict=False):
        columns = _LEFT + (np.asarray(x) - x_limits[0]) / (x_limits[1] - x_limits[0]) * (width - _LEFT - _RIGHT)
        rows = (
            height - _BOTTOM - (np.asarray(y) - y_limits[0]) / (y_limits[1] - y_limits[0]) * (height - _TOP - _BOTTOM)
        )
        for part in _unbroken(columns, rows):
            if len(part) == 1:
                cv2.circle(picture, part[0].tolist(), 2, color, cv2.FILLED, cv2.LINE_AA)
            cv2.polylines(picture, [part], False, color, 2, cv2.LINE_AA)
        label = f"{title}: {name}" if cursor == _LEFT else name
        cv2.putText(picture, label, (cursor, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)
        cursor += cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] + 24
    return picture


def _limits(values: list[NDArray[np.floating]], from_zero: bool = False) -> tuple[float, float]:
    every = np.concatenate([np.asarray(value, dtype=np.float64) for value in values]) if values else np.empty(0)
    every = every[np.isfinite(every)]
    if every.size == 0:
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    if from_zero:
        low = 0.0 if low >= 0 else low - _MARGIN * (high - low)
        high += _MARGIN * (high - low)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _unbroken(columns: NDArray[np.floating], rows: NDArray[np.floating]) -> list[NDArray[np.int32]]:
    finite = np.isfinite(columns) & np.isfinite(rows)
    points = np.stack((columns, rows), axis=1)
    breaks = np.flatnonzero(np.diff(finite.astype(np.int8))) + 1
    parts = np.split(np.arange(len(points)), breaks)
    return [np.round(points[part]).astype(np.int32) for part in parts if len(part) and finite[part[0]]]


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    """Four to ten multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / _TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough)
    return np.arange(np.ceil(low / step), np.floor(high / step + 1e-9) + 1) * step


def _axes(picture: NDArray[np.uint8], x: tuple[float, float], y: tuple[float, float], x_label: str) -> None:
    height, width = picture.shape[:2]
    right, bottom = width - _RIGHT, height - _BOTTOM
    for value in _ticks(*y):
        row = round(bottom - (value - y[0]) / (y[1] - y[0]) * (bottom - _TOP))
        cv2.line(picture, (_LEFT, row), (right, row), _GRID, 1)
        _text(picture, f"{value:.3g}", (6, row + 4))
    for value in _ticks(*x):
        column = round(_LEFT + (value - x[0]) / (x[1] - x[0]) * (right - _LEFT))
        _text(picture, f"{value:.3g}", (column - 8, bottom + 16))
    cv2.rectangle(picture, (_LEFT, _TOP), (right, bottom), _AXIS, 1)
    _text(picture, x_label, ((_LEFT + right) // 2 - 20, height - 6))


def _text(picture: NDArray[np.uint8], text: str, corner: tuple[int, int]) -> None:
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _TEXT, 1, cv2.LINE_AA)
