"""Depth as colours: one mapping for the node's preview, the command line, the demo and the reports."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError

INVALID_RGB = (110, 118, 128)
"""Colour of pixels without a value: a grey-blue that the colour map does not hold."""
PERCENTILES = (2.0, 98.0)
_SAMPLES = 20_000
_LEVELS = 256


def _lookup_table() -> NDArray[np.uint8]:
    ramp = np.arange(_LEVELS, dtype=np.uint8)[None, :]
    bgr = np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO), dtype=np.uint8)
    return np.ascontiguousarray(bgr.reshape(_LEVELS, 1, 3)[..., ::-1])


_TABLE = _lookup_table()


def robust_limits(values: NDArray[np.floating]) -> tuple[float, float]:
    """The 2nd and 98th percentile of the finite values, or (0, 1) if there are none; from a regular sample of them."""
    step = max(1, int(np.sqrt(values.size / _SAMPLES)))
    sample = values[::step, ::step] if values.ndim == 2 else values[::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(sample, PERCENTILES)
    return float(low), float(high)


def colorize(inverse_depth: NDArray[np.floating], limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """(H, W) inverse depth, relative or 1/m, to an (H, W, 3) RGB picture: near bright, far dark, no value grey.

    NaN and infinity have no value. ``limits`` (far, near) fixes the colours over several pictures; by default they
    span :func:`robust_limits`. An image of one value is shown in the middle of the scale.

    Raises:
        ImageError: not a two-dimensional array.
    """
    if inverse_depth.ndim != 2:
        raise ImageError(f"expected H x W inverse depth, got shape {inverse_depth.shape}")
    low, high = robust_limits(inverse_depth) if limits is None else limits
    finite = np.isfinite(inverse_depth)
    if high - low > 1e-12 * max(abs(low), abs(high), 1e-12):
        scale = (_LEVELS - 1) / (high - low)
        level = np.subtract(inverse_depth, low, dtype=np.float32)
        level *= np.float32(scale)
        np.clip(level, 0, _LEVELS - 1, out=level)
    else:
        level = np.full(inverse_depth.shape, _LEVELS / 2, dtype=np.float32)
    everywhere = bool(finite.all())
    if not everywhere:
        level[~finite] = 0
    gray = level.astype(np.uint8)
    picture = np.asarray(cv2.applyColorMap(gray, _TABLE), dtype=np.uint8)
    if not everywhere:
        picture[~finite] = INVALID_RGB
    return picture


def colorize_depth(depth_m: NDArray[np.floating], limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """(H, W) depth in metres, REP 117 values among it, in the colours of :func:`colorize`.

    +Inf (no return) is shown as the farthest, NaN and -Inf as no value. ``limits`` are (far, near) in 1/m.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(depth_m > 0, 1.0 / depth_m, np.nan).astype(np.float32)
    if limits is None:
        limits = robust_limits(inverse)
        if limits[1] <= 0:  # nothing returns, or next to nothing
            limits = 0.0, 1.0
    return colorize(inverse, limits)
