"""Bringing relative inverse depth to the truth's scale and shift before it is judged (MiDaS, 1907.01341, section 6)."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_PIXELS = 10
DEPTH_CAPS_M = {"nyu": 10.0, "tum": 10.0, "kitti": 80.0, "eth3d": 72.0, "sintel": 72.0, "diode": 150.0}
"""Largest depth that a prediction may take after alignment, by benchmark, as MiDaS and DPT have it."""
INDOOR_CAP_M, OUTDOOR_CAP_M = 10.0, 80.0
INDOOR = ("7scenes", "scannet", "binpick", "realsense", "misc")
"""Further data sets that are known to be indoors, where truth beyond ten metres is a sensor's noise."""
CROPS = ("none", "eigen", "garg")
# Rows and columns as shares of the picture: NYU's 45:471, 41:601 of 480 x 640, KITTI's as Garg et al. (1603.04992).
_WINDOWS = {
    "eigen": (45 / 480, 471 / 480, 41 / 640, 601 / 640),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}


def depth_cap_m(dataset: str) -> float:
    """Cap for a data set by its name, in metres: a benchmark's own, 10 where it is known to be indoors, else 80."""
    caps = {**dict.fromkeys(INDOOR, INDOOR_CAP_M), **DEPTH_CAPS_M}
    # A name begins a word: tum_pioneer is TUM's, autumn is not.
    return next((cap for key, cap in caps.items() if re.search(rf"(?<![a-z]){key}", dataset.lower())), OUTDOOR_CAP_M)


def crop_window(name: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a ``height`` x ``width`` picture that a benchmark judges; ``name`` is one of ``CROPS``.

    ``eigen``: NYU's, away from the white frame. ``garg``: KITTI's, where LiDAR reaches. Scaled to other sizes.

    Raises:
        ValueError: no crop of that name.
    """
    if name == "none":
        return slice(None), slice(None)
    if name not in _WINDOWS:
        raise ValueError(f"crop must be one of {', '.join(CROPS)}, got {name!r}")
    top, bottom, left, right = _WINDOWS[name]
    # Eigen et al.'s and Garg et al.'s code cuts to whole pixels; 1e-6 is for 45 / 480 * 480, which may be 44.99...
    rows = slice(int(top * height + 1e-6), int(bottom * height + 1e-6))
    return rows, slice(int(left * width + 1e-6), int(right * width + 1e-6))


def align_scale_shift(
    prediction: ArrayLike, target_inverse_depth: ArrayLike, valid_mask: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, float]:
    """(scale, shift) that minimise ``sum weights * (scale * prediction + shift - target)^2`` over valid pixels.

    Closed form, in float64, on centred values. A constant prediction gets scale 0 and the (weighted) mean as shift.

    Args:
        prediction: (H, W) relative inverse depth.
        target_inverse_depth: (H, W) inverse depth, 1/m or up to a scale.
        valid_mask: (H, W) bool.
        weights: (H, W), not negative, or None for one everywhere.

    Raises:
        ValueError: shapes differ, or fewer than ten valid pixels.
    """
    p, t, w = _select(prediction, target_inverse_depth, valid_mask, weights)
    total = w.sum()
    mean_p, mean_t = (w * p).sum() / total, (w * t).sum() / total
    centred = p - mean_p
    variance = (w * centred**2).sum()
    if variance <= 1e-14 * total * max(mean_p**2, 1e-30):
        return 0.0, float(mean_t)
    scale = (w * centred * (t - mean_t)).sum() / variance
    return float(scale), float(mean_t - scale * mean_p)


def aligned_depth(
    prediction: ArrayLike,
    target_inverse_depth: ArrayLike,
    valid_mask: ArrayLike,
    cap: float | None = None,
) -> NDArray[np.float64]:
    """(H, W) depth in the target's unit, from relative inverse depth aligned in inverse depth.

    Args:
        prediction: (H, W) relative inverse depth.
        target_inverse_depth: (H, W) inverse depth, 1/m or up to a scale.
        valid_mask: (H, W) bool.
        cap: largest depth; aligned inverse depth below 1 / cap, negative values too, is raised to it, as in MiDaS'
            protocol. None: the largest valid true depth, for truth whose unit is not known.

    Raises:
        ValueError: as :func:`align_scale_shift`.
    """
    scale, shift = align_scale_shift(prediction, target_inverse_depth, valid_mask)
    aligned = scale * np.asarray(prediction, dtype=np.float64) + shift
    if cap is None:
        valid = np.asarray(target_inverse_depth, dtype=np.float64)[np.asarray(valid_mask, dtype=bool)]
        cap = 1.0 / float(valid[valid > 0].min()) if (valid > 0).any() else 1e12
    return 1.0 / np.maximum(aligned, 1.0 / cap)


def _select(
    prediction: ArrayLike, target: ArrayLike, valid_mask: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    p, t = np.asarray(prediction, dtype=np.float64), np.asarray(target, dtype=np.float64)
    mask = np.asarray(valid_mask, dtype=bool)
    w = np.ones_like(t) if weights is None else np.asarray(weights, dtype=np.float64)
    if not p.shape == t.shape == mask.shape == w.shape:
        raise ValueError(f"shapes differ: prediction {p.shape}, target {t.shape}, mask {mask.shape}, weights {w.shape}")
    mask = mask & np.isfinite(p) & np.isfinite(t) & (w > 0)
    if np.count_nonzero(mask) < MIN_PIXELS:
        raise ValueError(f"alignment needs at least {MIN_PIXELS} valid pixels, got {np.count_nonzero(mask)}")
    return p[mask], t[mask], w[mask]
