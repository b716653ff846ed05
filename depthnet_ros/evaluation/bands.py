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


def band_of(reference_m: NDArray[np.floating]) -> NDArray[np.intp]:
    """(N,) index of each reference depth's band; the number of bands where it lies beyond all."""
    return np.asarray(np.searchsorted(_EDGES_M.astype(reference_m.dtype)[1:], reference_m, side="right"))


def _per_band(band: NDArray[np.intp], weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
    return np.bincount(band, weights, minlength=len(BANDS_M) + 1)[: len(BANDS_M)].astype(np.float64)


class BandTally:
    """Sums of errors for each band of *reference* depth."""

    def __init__(self) -> None:
        self._sums = np.zeros((len(BANDS_M), 6))

    def add(self, depth_m: NDArray[np.floating], reference_m: NDArray[np.floating], band: NDArray[np.intp]) -> None:
        """Take in one frame.

        Args:
            depth_m: (N,) metres, NaN where there is none.
            reference_m: (N,) metres, finite.
            band: (N,) of :func:`band_of` the reference.
        """
        ratio = depth_m / reference_m
        known = np.isfinite(ratio)
        self._sums[:, 0] += _per_band(band)
        if not known.all():
            depth_m, reference_m, band, ratio = depth_m[known], reference_m[known], band[known], ratio[known]
        relative = ratio - 1.0
        good = (ratio < _DELTA1) & (ratio > 1.0 / _DELTA1)
        columns = (None, np.abs(relative), relative, np.square(depth_m - reference_m), good)
        for column, weights in enumerate(columns, start=1):
            self._sums[:, column] += _per_band(band, weights)

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
