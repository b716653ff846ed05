"""How many times nearer than estimated things may be, by what the picture itself shows."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from depthnet_ros.metric_scale.anchors import PointAnchors
from depthnet_ros.metric_scale.frame import Frame
from depthnet_ros.metric_scale.observe import sample

_BARE_CAUTION = 1.5
"""How many times nearer a bare surface may be than it seems: a white wall before a robot was told up to 1.5 times as
far as it was."""
_SKY_M = 10.0  # a bare patch that is farther is the sky
_CONFIRMING, _CONFIRMED = 8, 0.15
"""Points on a bare patch, and the median of their differences from its log depth, that confirm what is told of it."""


def doubt_of_bare(
    frame: Frame, estimate: tuple[float, float], measured: Sequence[PointAnchors], caution: float
) -> tuple[float, list[str]]:
    """Caution that a large bare part of the picture asks for, and what to say of it.

    Args:
        frame: with ``bare``.
        estimate: scale and shift of ``frame.steady``.
        measured: points that are used of this frame.
        caution: by what else is known, at least 1; the answer is no less.
    """
    doubts = []
    if frame.bare is not None and not _confirmed(frame, estimate, measured):
        inverse = cv2.resize(frame.steady, frame.bare.shape[::-1], interpolation=cv2.INTER_AREA)[frame.bare]
        if estimate[0] * float(np.median(inverse)) + estimate[1] > 1.0 / _SKY_M:
            caution = max(caution, _BARE_CAUTION)
            doubts.append(f"{frame.bare.mean():.0%} of the image shows no texture: a bare surface or a dirty lens")
    if caution > 1.0:
        doubts.append(f"things may be up to {caution:.1f} times nearer than reported: free space is shortened to match")
    return caution, doubts


def _confirmed(frame: Frame, estimate: tuple[float, float], measured: Sequence[PointAnchors]) -> bool:
    """Whether sensors measure the bare surface, and where the estimate has it."""
    assert frame.bare is not None
    (rows, columns), (height, width) = frame.bare.shape, frame.prediction.source_size
    off = []
    for points in measured:
        row = (points.v_px * (rows / height)).astype(np.intp).clip(0, rows - 1)
        column = (points.u_px * (columns / width)).astype(np.intp).clip(0, columns - 1)
        inside = points.only(np.flatnonzero(frame.bare[row, column]))
        relative, _ = sample(frame.steady, inside.u_px, inside.v_px, (height, width))
        told = np.maximum(estimate[0] * relative + estimate[1], 1e-3 * inside.inverse_depth)
        off.append(np.abs(np.log(told / inside.inverse_depth)))
    every = np.concatenate(off) if off else np.zeros(0)
    return len(every) >= _CONFIRMING and float(np.median(every)) < _CONFIRMED
