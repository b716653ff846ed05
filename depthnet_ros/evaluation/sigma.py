"""Whether claimed uncertainty is true: how often errors stay within the sigma that came with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DECADES = 5
_PER_DECADE = 100
_LOG_EDGES = np.arange(-_DECADES * _PER_DECADE, _DECADES * _PER_DECADE + 1) / _PER_DECADE
"""Decimal logarithms of |error| / sigma: wide enough for a sigma in the wrong unit."""
_CALIBRATION_SIGMAS = 0.1 * np.arange(1, 31)
_SHOWN_SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0)
_MIN_PIXELS = 1000
_SPARSIFICATION_STEPS = 20


class SigmaTally:
    """Counts of ``|error| / sigma`` over many frames."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(_LOG_EDGES) + 1, dtype=np.int64)  # what is beyond either end has a bin, too

    def add(self, error: NDArray[np.floating], sigma: NDArray[np.floating]) -> None:
        """(N,) errors and their claimed standard deviations, in one unit.

        Pairs that are not finite are left out, and no error under a sigma of zero; any other error is beyond it.
        """
        known = np.isfinite(error) & np.isfinite(sigma) & ((error != 0) | (sigma > 0))
        with np.errstate(divide="ignore", over="ignore"):
            log_ratio = np.log10(np.abs(error[known]).astype(np.float64) / sigma[known])
        bins = np.searchsorted(_LOG_EDGES, log_ratio, side="right")
        self._counts += np.bincount(bins, minlength=len(self._counts))

    def to_dict(self) -> dict[str, Any] | None:
        """Shares of errors within k sigma beside those of a Gaussian, and their mean difference; None without data.

        ``median_ratio`` is the median of |error| / sigma over the Gaussian's 0.674: above 1, sigma is too small.
        """
        total = int(self._counts.sum())
        if total < _MIN_PIXELS:
            return None
        below = np.cumsum(self._counts[:-1]) / total  # of each edge

        def within(sigmas: float) -> float:
            return float(np.interp(math.log10(sigmas), _LOG_EDGES, below))

        rows = [{"sigmas": k, "observed": within(k), "gaussian": _gaussian_within(k)} for k in _SHOWN_SIGMAS]
        off = [abs(within(float(k)) - _gaussian_within(float(k))) for k in _CALIBRATION_SIGMAS]
        return {
            "pixels": total,
            "within": rows,
            "calibration_error": float(np.mean(off)),
            "median_ratio": 10.0 ** float(np.interp(0.5, below, _LOG_EDGES)) / 0.6745,
        }


def _gaussian_within(sigmas: float) -> float:
    """The share of a normal distribution within so many standard deviations of its mean."""
    return math.erf(sigmas / math.sqrt(2.0))


def sparsification_error(error: ArrayLike, sigma: ArrayLike) -> float:
    """How far a sigma is from knowing the errors: area between its sparsification curve and the best one's (AUSE).

    Pixels are taken away, those of the largest sigma first, and the mean absolute error of the rest is followed, as a
    share of the whole mean (Ilg et al., 1802.07095, section 5). 0: the order of sigma is that of the errors; a sigma
    that knows nothing has the area under the curve of random removal, 1 less the best curve's.

    Args:
        error: (N,) errors of any sign.
        sigma: (N,) positive numbers that grow with the expected error.

    Raises:
        ValueError: shapes differ, or there is no pixel or no error.
    """
    errors, sigmas = np.abs(np.asarray(error, dtype=np.float64)), np.asarray(sigma, dtype=np.float64)
    if errors.shape != sigmas.shape or errors.ndim != 1:
        raise ValueError(f"expected two vectors of one length, got {errors.shape} and {sigmas.shape}")
    if not errors.size or not errors.sum() > 0:
        raise ValueError("no pixel, or no error at all: nothing to compare sigma with")

    def curve(order: NDArray[np.intp]) -> NDArray[np.float64]:
        kept = np.cumsum(errors[order]) / np.arange(1, errors.size + 1)  # mean error of the n surest
        counts = np.linspace(1.0, 1.0 / _SPARSIFICATION_STEPS, _SPARSIFICATION_STEPS) * errors.size
        return np.asarray(kept[np.maximum(counts.astype(np.intp), 1) - 1] / errors.mean())

    return float(np.mean(curve(np.argsort(sigmas, kind="stable")) - curve(np.argsort(errors, kind="stable"))))
