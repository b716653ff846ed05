"""Errors by distance, as sums over pixels of many frames: a far band with few pixels a frame still gets a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BANDS_M = ((0.0, 2.0), (2.0, 5.0), (5.0, 10.0), (10.0, 20.0), (20.0, 40.0), (40.0, 80.0))
_EDGES_M = np.array([low for low, _ in BANDS_M] + [BANDS_M[-1][1]])
_DELTA1 = 1.25
MIN_PIXELS = 100
"""A band with fewer reference pixels in all has no figures: they would be noise."""


def band_name(index: int) -> str:
    """``2-5`` for the band from 2 to 5 m."""
    low, high = BANDS_M[index]
    return f"{low:g}-{high:g}"


class BandTally:
    """Sums of errors for each band of *reference* depth."""

    def __init__(self) -> None:
        self._sums = np.zeros((len(BANDS_M), 6))

    def add(self, depth_m: NDArray[np.floating], reference_m: NDArray[np.floating]) -> None:
        """Take in one frame: (N,) depth, NaN where there is none, against (N,) finite reference, both in metres."""
        band = np.digitize(reference_m, _EDGES_M) - 1
        inside = (band >= 0) & (band < len(BANDS_M))
        depth, reference, band = depth_m[inside], reference_m[inside].astype(np.float64), band[inside]
        known = np.isfinite(depth)
        error = np.where(known, depth - reference, 0.0)
        relative = error / reference
        with np.errstate(invalid="ignore"):
            good = known & (np.maximum(depth / reference, reference / depth) < _DELTA1)
        columns = (None, known, np.abs(relative), relative, error**2, good)
        for column, weights in enumerate(columns):
            self._sums[:, column] += np.bincount(band, weights, minlength=len(BANDS_M))

    def to_list(self) -> list[dict[str, Any]]:
        """Figures of each band; None where it has fewer than :data:`MIN_PIXELS` pixels with depth."""
        rows = []
        for index, (low, high) in enumerate(BANDS_M):
            total, known, absolute, signed, squared, good = self._sums[index]
            row: dict[str, Any] = {"from_m": low, "to_m": high, "pixels": int(total)}
            names = ("abs_rel", "bias", "rmse", "delta1")
            if known < MIN_PIXELS:
                figures: tuple[float | None, ...] = (None,) * len(names)
            else:
                figures = (absolute / known, signed / known, float(np.sqrt(squared / known)), good / known)
            coverage = known / total if total >= MIN_PIXELS else None
            rows.append({**row, "coverage": coverage, **dict(zip(names, figures, strict=True))})
        return rows
