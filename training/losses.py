"""Losses on relative inverse depth, by the names used in configurations.

Each takes prediction and target of inverse depth (B, h, w) and a mask (B, h, w), and returns one number per image (B,).
Means and medians run over an image's own valid pixels; one with fewer than ``MIN_VALID`` of them counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_VALID = 64
"""Valid pixels that an image must have: of fewer, median and least squares are mostly chance."""
_SMALL = 1e-6  # keeps divisions finite; the spread of real maps is far above it
_SCALES = 4  # MiDaS' K
_NMG_SPACINGS_PX = (2, 8, 32, 64)  # WSVD's
TRIM = 0.2
"""Share of the largest residuals of an image that ssitrim leaves out."""
_LEAST_SCALE = 0.1  # of nmg, in times of the ratio of the spreads
_LEAST_MEDIAN = 0.25  # of zero, in times of the spread: a median of zero or less would give no scale, or turn it over
_ORDINAL_TAU = 0.25  # MegaDepth's
_MIN_ORDINAL = 100  # pixels of each region; fewer are not trusted
_STRIDE = 1021  # prime, so no divisor of the number of pairs: each pick is taken once, in an order unlike its partner's
_LOG_SIGMA_RANGE = 12.0  # beyond it the exponential would overflow before it means anything


def masked_mean(values: Tensor, mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """(B, h, w) to (B,): mean over the pixels of ``mask``, 0 where an image has too few valid ones.

    ``valid``: those, where ``mask`` has only some of them.
    """
    count = mask.sum(dim=(1, 2))
    enough = (count if valid is None else valid.sum(dim=(1, 2))) >= MIN_VALID
    total = torch.where(mask, values, 0.0).sum(dim=(1, 2))
    return torch.where(enough, total / count.clamp(min=1), 0.0 * total)


def median_and_spread(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """MiDaS' robust shift and scale, each (B, 1, 1): median and mean absolute deviation from it, over valid pixels."""
    hidden = torch.where(mask, values, torch.nan).flatten(1)
    # Without a valid pixel the median is NaN: such an image counts nothing, but NaN would spread in the backward pass.
    shift = torch.nan_to_num(hidden.nanmedian(dim=1).values)[:, None, None]
    scale = masked_mean((values - shift).abs(), mask)[:, None, None]
    return shift, scale.clamp(min=_SMALL)


def normalised(values: Tensor, mask: Tensor) -> Tensor:
    """(B, h, w) less its median, over its spread: the same for every scale and shift of ``values``."""
    shift, scale = median_and_spread(values, mask)
    return (values - shift) / scale


def least_squares(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(scale, shift), each (B, 1, 1), that minimise ``sum (scale * prediction + shift - target)^2``; closed form."""
    mean_p = masked_mean(prediction, mask)[:, None, None]
    mean_t = masked_mean(target, mask)[:, None, None]
    centred = prediction - mean_p
    variance = masked_mean(centred**2, mask)[:, None, None]
    scale = masked_mean(centred * (target - mean_t), mask)[:, None, None] / variance.clamp(min=_SMALL**2)
    return scale, mean_t - scale * mean_p


def ssimse(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error after least squares of scale and shift, halved (MiDaS, 1907.01341, eq. 1 and 4)."""
    scale, shift = least_squares(prediction, target, mask)
    return 0.5 * masked_mean((scale * prediction + shift - target) ** 2, mask)


def ssimae(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Absolute error of the two maps made alike by median and spread, halved (MiDaS, eq. 5 to 7)."""
    residual = normalised(prediction, mask) - normalised(target, mask)
    return 0.5 * masked_mean(residual.abs(), mask)


def ssitrim(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """As :func:`ssimae` without the largest 20 % of an image's residuals, still over all its M (MiDaS, eq. 8)."""
    residual = (normalised(prediction, mask) - normalised(target, mask)).abs()
    kept = _without_largest(residual, mask, TRIM)
    count = mask.sum(dim=(1, 2))
    total = torch.where(kept, residual, 0.0).sum(dim=(1, 2))
    return torch.where(count >= MIN_VALID, 0.5 * total / count.clamp(min=1), 0.0 * total)


def gradient(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Multi-scale gradient of the residual of the maps made alike by median and spread (MiDaS, eq. 11)."""
    return _gradient_of(normalised(prediction, mask) - normalised(target, mask), mask)


def edges(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """:func:`gradient` for targets whose edges are exact, rendered ones (Depth Pro, 2410.02073, sec. 3.2).

    A sensor's depth has its edges a few pixels beside the picture's, and holes along them: who learns edges from it
    learns to blur them.
    """
    return gradient(prediction, target, mask)


def nmg(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """WSVD's normalised multi-scale gradient (1904.11112): differences of ``scale * prediction`` against the target's,
    over 2, 8, 32 and 64 pixels, as far as the map is that large.

    The difference knows no shift; the scale is the least-squares one, at least a tenth of the ratio of the spreads: a
    prediction that is not correlated with the target, or the wrong way round, would get none and so never learn. In
    units of the target's spread, so that images of large disparity do not outweigh others.
    """
    scale, _ = least_squares(prediction, target, mask)
    _, spread = median_and_spread(target, mask)
    _, own_spread = median_and_spread(prediction, mask)
    scale = torch.maximum(scale, _LEAST_SCALE * spread / own_spread)
    residual = (scale * prediction - target) / spread
    total = residual.new_zeros(residual.shape[0])
    for spacing in _NMG_SPACINGS_PX:
        total = total + _differences(residual, mask, spacing)
    return torch.where(mask.sum(dim=(1, 2)) >= MIN_VALID, total, 0.0 * total)


def relative(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Trimmed relative error after least squares of scale and shift: what AbsRel and delta1 look at.

    Only for targets whose zero is real. The largest 20 % are left out, as in :func:`ssitrim`.
    """
    mask = mask & (target > 0)
    scale, shift = least_squares(prediction, target, mask)
    residual = ((scale * prediction + shift - target) / target.clamp(min=_SMALL)).abs()
    return masked_mean(residual, _without_largest(residual, mask, TRIM), mask)


def zero(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Trimmed relative error after a scale alone, the ratio of the medians: teaches where infinitely far is.

    Only for targets whose zero is real. All other losses leave the shift to whoever uses the prediction; with this one
    the prediction is nearly proportional to inverse depth, and what finds metric scale has one unknown less to find.
    Beyond ten times the median depth errors are not relative any more, else a street is all horizon.
    """
    mask = mask & (target > 0)
    median_t, _ = median_and_spread(target, mask)
    median_p, spread_p = median_and_spread(prediction, mask)
    least = _LEAST_MEDIAN * torch.maximum(spread_p, median_p.abs()).detach()
    scale = median_t / torch.maximum(median_p, least)
    residual = ((scale * prediction - target) / torch.maximum(target, 0.1 * median_t).clamp(min=_SMALL)).abs()
    return masked_mean(residual, _without_largest(residual, mask, TRIM), mask)


def deck(prediction: Tensor, target: Tensor, mask: Tensor, mean_colour: Tensor | None = None) -> Tensor:
    """The student deck's loss as written, ``L1Loss(pred, depth) / (2 * mean(images))``: no alignment, no mask.

    The factor was probably meant as MiDaS's 1 / (2M), M the number of pixels. Kept for comparison, never a default.
    ``mean_colour``: mean of the batch's images in 0..1; 0.5 if not given. ``mask`` is not used, on purpose.
    """
    colour = prediction.new_tensor(0.5) if mean_colour is None else mean_colour
    return (prediction - target).abs().mean(dim=(1, 2)) / (2.0 * colour)


def ordinal(prediction: Tensor, target: Tensor, mask: Tensor, pairs: int = 2048) -> Tensor:
    """MegaDepth's ordinal loss (1804.00607): random pairs of a nearer (target > 0) and a farther (target < 0) pixel.

    On P = -(difference of prediction), nearer minus farther, in units of the prediction's spread: ``log(1 + exp(P))``,
    and above tau = 0.25, where the order is clearly wrong, ``log(1 + exp(sqrt(P)))`` shifted to be continuous, so that
    wrong labels do not rule. Pairs are drawn evenly spaced from each region, so the loss is deterministic.
    """
    _, spread = median_and_spread(prediction, torch.ones_like(mask))
    values = []
    for index in range(prediction.shape[0]):
        near = prediction[index][mask[index] & (target[index] > 0)]
        far = prediction[index][mask[index] & (target[index] < 0)]
        if len(near) < _MIN_ORDINAL or len(far) < _MIN_ORDINAL:
            values.append(0.0 * prediction[index].sum())
            continue
        picks_near = torch.linspace(0, len(near) - 1, pairs, device=near.device).long()
        picks_far = torch.linspace(0, len(far) - 1, pairs, device=near.device).long()
        picks_far = picks_far[torch.arange(pairs, device=near.device) * _STRIDE % pairs]
        p = -(near[picks_near] - far[picks_far]) / spread[index].squeeze()
        root = torch.sqrt(p.clamp(min=_ORDINAL_TAU))
        step = F.softplus(p.new_tensor(_ORDINAL_TAU)) - F.softplus(p.new_tensor(_ORDINAL_TAU).sqrt())
        values.append(torch.where(p > _ORDINAL_TAU, F.softplus(root) + step, F.softplus(p)).mean())
    return torch.stack(values)


def unit_spread(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Square of the log of the prediction's spread: holds its scale near one, which no other loss here does.

    Left alone the scale drifts upwards without end: half precision overflows, and in a decoder that adds its skip
    connections the deep path drowns them, so that edges are never learnt.
    """
    _, spread = median_and_spread(prediction, mask)
    values = spread.flatten().log() ** 2
    return torch.where(mask.sum(dim=(1, 2)) >= MIN_VALID, values, 0.0 * values)


def laplace(prediction: Tensor, target: Tensor, mask: Tensor, log_sigma: Tensor) -> Tensor:
    """Negative log-likelihood of the error under a Laplace law whose standard deviation is the network's own
    (1703.04977, eq. 5, with the absolute error that the other losses minimise): ``|error| / b + log b``.

    ``log_sigma`` (B, h, w) is in units of ``prediction``, b = sigma / sqrt(2). The error, of the maps made alike by
    median and spread, is taken as given: this term teaches what the error will be, and never buys a smaller
    likelihood with worse depth.
    """
    with torch.no_grad():
        error = (normalised(prediction, mask) - normalised(target, mask)).abs()
        _, spread = median_and_spread(prediction, mask)
    log_b = log_sigma.clamp(-_LOG_SIGMA_RANGE, _LOG_SIGMA_RANGE) - 0.5 * math.log(2.0) - spread.log()
    return masked_mean(error * torch.exp(-log_b) + log_b, mask)


@dataclass(frozen=True)
class Loss:
    """A loss and the images that it is for; it judges depth, or order where ``ordinal``.

    ``needs_zero``: only targets whose zero is real. ``needs_exact_edges``: only those of ``data.exact_edges``.
    ``takes``: names of further arguments: ``mean_colour`` () of the batch's images in 0..1, ``log_sigma`` (B, h, w) of
    the network.
    """

    function: Callable[..., Tensor]
    ordinal: bool = False
    needs_zero: bool = False
    needs_exact_edges: bool = False
    takes: tuple[str, ...] = ()


LOSSES: dict[str, Loss] = {
    "deck": Loss(deck, takes=("mean_colour",)),
    "ssimse": Loss(ssimse),
    "ssimae": Loss(ssimae),
    "ssitrim": Loss(ssitrim),
    "gradient": Loss(gradient),
    "edges": Loss(edges, needs_exact_edges=True),
    "nmg": Loss(nmg),
    "relative": Loss(relative, needs_zero=True),
    "zero": Loss(zero, needs_zero=True),
    "ordinal": Loss(ordinal, ordinal=True),
    "unit_spread": Loss(unit_spread),
    "laplace": Loss(laplace, takes=("log_sigma",)),
}
"""Everything that a configuration may name."""


def _without_largest(residual: Tensor, mask: Tensor, share: float) -> Tensor:
    """``mask`` without the largest ``share`` of each image's valid residuals."""
    residual = residual.detach()
    if residual.is_cuda:  # one sort of all: the loop would wait for the device once an image
        return mask & (residual <= _limits(residual, mask, share))
    kept = mask.clone()
    for index in range(residual.shape[0]):
        valid = residual[index][mask[index]]
        keep = int((1.0 - share) * len(valid))
        if keep >= 1:
            kept[index] &= residual[index] <= valid.kthvalue(keep).values
    return kept


def _limits(residual: Tensor, mask: Tensor, share: float) -> Tensor:
    """(B, 1, 1): the largest residual of each image that stays, infinity where an image has none to leave out."""
    ordered = residual.masked_fill(~mask, math.inf).flatten(1).sort(dim=1).values
    keep = ((1.0 - share) * mask.sum(dim=(1, 2)).double()).long()
    limit = ordered.gather(1, (keep - 1).clamp(min=0)[:, None])
    return torch.where(keep[:, None] >= 1, limit, math.inf)[:, :, None]


def _gradient_of(residual: Tensor, mask: Tensor) -> Tensor:
    """Mean of |d/dx| + |d/dy| between valid neighbours, summed over four scales, each subsampled by two."""
    total = residual.new_zeros(residual.shape[0])
    for scale in range(_SCALES):
        step = 2**scale
        total = total + _differences(residual[:, ::step, ::step], mask[:, ::step, ::step], 1)
    return torch.where(mask.sum(dim=(1, 2)) >= MIN_VALID, total, 0.0 * total)


def _differences(residual: Tensor, mask: Tensor, spacing: int) -> Tensor:
    """(B,) sum of |r[x + spacing] - r[x]| and |r[y + spacing] - r[y]| where both are valid, over the valid pixels."""
    count, k = mask.sum(dim=(1, 2)).clamp(min=1), spacing
    both_x, both_y = mask[:, :, k:] & mask[:, :, :-k], mask[:, k:] & mask[:, :-k]
    sum_x = torch.where(both_x, (residual[:, :, k:] - residual[:, :, :-k]).abs(), 0.0).sum(dim=(1, 2))
    sum_y = torch.where(both_y, (residual[:, k:] - residual[:, :-k]).abs(), 0.0).sum(dim=(1, 2))
    return (sum_x + sum_y) / count
