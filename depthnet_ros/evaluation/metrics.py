"""Measures of depth, shared by training and the evaluation of recordings. NumPy only; all run over valid pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SMALLEST_DEPTH = 1e-6
_PAIRS = 20_000  # of random pixels, the same ones whenever a figure is computed
_TIE = 0.03
_EQUAL = 0.1
_CONTOUR_RATIOS = (1.05, 1.1, 1.15, 1.2, 1.25)


def depth_metrics(pred_depth: ArrayLike, gt_depth: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """The usual measures of depth in one unit, prediction p and truth g (Eigen et al., 1406.2283).

    Args:
        pred_depth, gt_depth: (H, W).
        mask: (H, W) bool, the pixels that count.

    Returns:
        ``abs_rel`` mean |p - g| / g; ``rmse`` in the unit of depth; ``log10`` mean |log10 p - log10 g|; ``delta1`` to
        ``delta3`` shares with max(p/g, g/p) below 1.25, 1.25^2, 1.25^3; ``silog`` 100 times the standard deviation of
        ln p - ln g (KITTI); ``bias`` mean (p - g) / g, positive where the prediction is too far.

    Raises:
        ValueError: shapes differ or no pixel is valid.
    """
    p, g = _pair(pred_depth, gt_depth, mask)
    p, g = np.maximum(p, _SMALLEST_DEPTH), np.maximum(g, _SMALLEST_DEPTH)
    relative = (p - g) / g
    log_ratio = np.log(p) - np.log(g)
    ratio = np.abs(log_ratio)
    step = np.log(1.25)
    return {
        "abs_rel": float(np.abs(relative).mean()),
        "rmse": float(np.sqrt(((p - g) ** 2).mean())),
        "log10": float(ratio.mean() / np.log(10.0)),
        "delta1": float((ratio < step).mean()),
        "delta2": float((ratio < 2 * step).mean()),
        "delta3": float((ratio < 3 * step).mean()),
        "silog": float(100.0 * log_ratio.std()),
        "bias": float(relative.mean()),
    }


def spearman(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike) -> float:
    """Rank correlation of two (H, W) arrays over the True pixels of ``mask``, ties sharing their mean rank; 0 if the
    prediction is constant, NaN if the target is, which has no order.

    Raises:
        ValueError: shapes differ or no pixel is valid.
    """
    p, t = _pair(prediction, target, mask)
    rank_p, rank_t = _ranks(p), _ranks(t)
    rank_p -= rank_p.mean()
    rank_t -= rank_t.mean()
    if t.min() == t.max():
        return float("nan")
    norm = np.sqrt((rank_p**2).sum() * (rank_t**2).sum())
    return float((rank_p * rank_t).sum() / norm) if norm > 0 else 0.0


def whdr(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike, has_zero: bool = True) -> float:
    """Share of random pixel pairs whose order in inverse depth is wrong.

    The disagreement rate of Chen et al. (1604.03901) with weight one. Pairs whose true inverse depths differ by less
    than 3 % of the larger are left out; a tie in the prediction is wrong. NaN if no pair is left.

    Pairs that differ by less than a thousandth of the truth's range are left out too: noise decides their order.

    Args:
        prediction: (H, W) relative inverse depth.
        target: (H, W) true inverse depth.
        mask: (H, W) bool, the pixels that count.
        has_zero: the truth's zero is real. Else a share of a value means nothing, and the 3 % are of the truth's
            spread, from its 2nd to its 98th percentile.

    Raises:
        ValueError: shapes differ or no pixel is valid.
    """
    p, t = _pair(prediction, target, mask)
    a, b = _random_pairs(len(p))
    difference = t[a] - t[b]
    if has_zero:
        clear = np.abs(difference) > _TIE * np.maximum(np.abs(t[a]), np.abs(t[b]))
    else:
        low, high = np.percentile(t, (2.0, 98.0))
        clear = np.abs(difference) > _TIE * (high - low)
    clear &= np.abs(difference) > 1e-3 * float(np.ptp(t))
    if not clear.any():
        return float("nan")
    return float((np.sign(p[a] - p[b]) != np.sign(difference))[clear].mean())


def sdr(pred_depth: ArrayLike, gt_depth: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """MegaDepth's disagreement with the order of structure-from-motion points (SDR, Li and Snavely, 1804.00607).

    A pair's relation is +1 if its depths' ratio is above 1.1, -1 below 1 / 1.1, else 0. Here the pairs are random
    valid pixels instead of reconstructed points.

    Args:
        pred_depth, gt_depth: (H, W) predicted and true depth in one unit.
        mask: (H, W) bool, the pixels that count.

    Returns:
        ``sdr`` share of pairs whose relation differs; ``sdr_equal`` and ``sdr_unequal`` of the pairs truly so; NaN
        where there are none.

    Raises:
        ValueError: shapes differ or no pixel is valid.
    """
    p, g = _pair(pred_depth, gt_depth, mask)
    a, b = _random_pairs(len(p))
    truth, found = _relation(g[a], g[b]), _relation(p[a], p[b])
    wrong, equal = truth != found, truth == 0
    return {"sdr": _mean(wrong), "sdr_equal": _mean(wrong[equal]), "sdr_unequal": _mean(wrong[~equal])}


def boundary_f1(pred_depth: ArrayLike, gt_depth: ArrayLike, mask: ArrayLike) -> float:
    """F1 of occluding contours, weighted to strong ones (Depth Pro, 2410.02073, section 3.3), on dense truth.

    Between neighbouring pixels there is a contour where the ratio of depths is above a threshold; precision and recall
    of the prediction's contours at the very same place, the farther side included, averaged over thresholds of 1.05 to
    1.25 with the excess over 1 as weight. NaN if the truth has no contour. Thresholds and averaging are not those of
    Depth Pro's own code, so figures compare with each other, not with published ones.

    Args:
        pred_depth, gt_depth: (H, W) predicted and true depth in one unit.
        mask: (H, W) bool, the pixels that count.

    Raises:
        ValueError: shapes differ.
    """
    p = np.maximum(np.asarray(pred_depth, dtype=np.float64), _SMALLEST_DEPTH)
    g = np.maximum(np.asarray(gt_depth, dtype=np.float64), _SMALLEST_DEPTH)
    valid = np.asarray(mask, dtype=bool)
    if not p.shape == g.shape == valid.shape:
        raise ValueError(f"shapes differ: prediction {p.shape}, truth {g.shape}, mask {valid.shape}")
    log_p, log_g = np.log(p), np.log(g)
    scores, weights = [], []
    for ratio in _CONTOUR_RATIOS:
        hits = found = wanted = 0
        for axis in (0, 1):
            both = _both(valid, axis)
            step_p, step_g = np.diff(log_p, axis=axis)[both], np.diff(log_g, axis=axis)[both]
            for sign in (1.0, -1.0):
                edge_p, edge_g = sign * step_p > np.log(ratio), sign * step_g > np.log(ratio)
                hits += int(np.count_nonzero(edge_p & edge_g))
                found += int(np.count_nonzero(edge_p))
                wanted += int(np.count_nonzero(edge_g))
        if wanted:
            scores.append(2.0 * hits / (found + wanted))
            weights.append(ratio - 1.0)
    return float(np.average(scores, weights=weights)) if scores else float("nan")


def _both(valid: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    return valid[1:] & valid[:-1] if axis == 0 else valid[:, 1:] & valid[:, :-1]


def _random_pairs(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the first and the second of each pair among ``count`` values."""
    rng = np.random.default_rng(0)
    return rng.integers(count, size=_PAIRS), rng.integers(count, size=_PAIRS)


def _relation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int8]:
    ratio = first / np.maximum(second, _SMALLEST_DEPTH)
    return (ratio > 1 + _EQUAL).astype(np.int8) - (ratio < 1 / (1 + _EQUAL)).astype(np.int8)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2.0)[inverse]


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _pair(first: ArrayLike, second: ArrayLike, mask: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    valid = np.asarray(mask, dtype=bool)
    if not a.shape == b.shape == valid.shape:
        raise ValueError(f"shapes differ: {a.shape}, {b.shape}, mask {valid.shape}")
    if not valid.any():
        raise ValueError("no valid pixel")
    return a[valid], b[valid]
