"""What a sigma is worth: ``python -m training.uncertainty --weights W --data ../shared/data/index.csv``.

Per image, after least squares of scale and shift in inverse depth, the sparsification error (AUSE) of the network's
log_sigma, or of several networks' disagreement about what their mean says, beside what needs no network: a sigma that
is the same everywhere, one proportional to inverse depth, and the local step at depth edges. Mean over scenes; smaller
is better.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from depthnet_ros.errors import WeightsError
from depthnet_ros.evaluation.alignment import MIN_PIXELS, align_scale_shift
from depthnet_ros.evaluation.sigma import sparsification_error
from depthnet_ros.inference.ensemble import consensus
from depthnet_ros.inference.estimator import DepthEstimator
from training.command import command
from training.datasets.base import READERS, DatasetError, DepthDataset, Sample, open_dataset, reader_options
from training.evaluate import open_estimator
from training.validation import ImageResult, macro_average, usable_items

_LOG = logging.getLogger(__name__)
_STRIDE = 3
_ROUNDING = 1e-6
"""Largest error, as a share of the largest inverse depth, that float32 alone may leave of a perfect fit."""
_WHY_NOT = "too few valid pixels, ordinal maps only, or no error at all"


def plain_sigmas(inverse: NDArray[np.float32], rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """What needs no network: candidates by name, each (H, W) as ``inverse``, relative inverse depth; in any unit."""
    kernel = np.ones((5, 5), np.uint8)
    step = cv2.dilate(inverse, kernel) - cv2.erode(inverse, kernel)
    return {
        "inverse depth": inverse,
        "edges": np.asarray(step, dtype=np.float32),
        "constant": rng.random(inverse.shape, dtype=np.float32),  # ties in random order
    }


def with_sigma(
    estimators: Sequence[DepthEstimator], image: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """(H, W) relative inverse depth of one image, and its sigmas by name: the network's own, or the disagreement of
    several, each with its mirror image's.

    Raises:
        WeightsError: one network, without log_sigma.
    """
    if len(estimators) > 1:
        mean, spread = consensus([estimator.infer_with_mirror(image).at_source() for estimator in estimators])
        return mean, {"disagreement": spread}
    prediction = estimators[0].infer(image)
    if prediction.log_sigma is None:
        raise WeightsError(
            "these weights have no log_sigma channel: train with model.arguments log_sigma: true, or name several"
        )
    height_px, width_px = prediction.source_size
    resized = cv2.resize(prediction.log_sigma, (width_px, height_px))
    return prediction.at_source(), {"network": np.asarray(resized, dtype=np.float32)}


def judge_sigma(estimators: Sequence[DepthEstimator], sample: Sample, rng: np.random.Generator) -> dict[str, float]:
    """Sparsification error by candidate, for one image; none where too few pixels are valid or the fit has no error."""
    grid = slice(None, None, _STRIDE)
    inverse, sigmas = with_sigma(estimators, sample.rgb)
    sigmas |= plain_sigmas(inverse, rng)
    seen, target = inverse[grid, grid], sample.inverse_depth()[grid, grid]
    mask = sample.valid_mask[grid, grid] & np.isfinite(seen)
    if np.count_nonzero(mask) < MIN_PIXELS:
        return {}
    scale, shift = align_scale_shift(seen, target, mask)
    error = (scale * seen + shift - target)[mask]
    if np.abs(error).max() <= _ROUNDING * np.abs(target[mask]).max():  # of a wall, say, whose depth is one number
        return {}
    return {name: sparsification_error(error, sigma[grid, grid][mask]) for name, sigma in sigmas.items()}


def evaluate_sigma(estimators: Sequence[DepthEstimator], dataset: DepthDataset) -> dict[str, float]:
    """Mean over scenes of every candidate's sparsification error. Images that cannot be judged are counted in the log.

    Raises:
        DatasetError: not one image can be judged.
    """
    rng = np.random.default_rng(0)
    left_out: list[str] = []
    unjudged: list[str] = []
    results: list[ImageResult] = []
    items = usable_items([dataset], left_out, unjudged=unjudged)
    for _, sample in tqdm(items, total=len(dataset), unit="image", mininterval=5.0):
        if figures := judge_sigma(estimators, sample, rng):
            results.append(ImageResult(sample.dataset, sample.scene, sample.name, figures))
        else:
            unjudged.append(f"{sample.dataset}/{sample.name}")
    if not results:
        reason = f"; the first: {left_out[0]}" if left_out else f": {_WHY_NOT}"
        raise DatasetError(f"none of the {len(dataset)} images can be judged{reason}")
    for what, images in (("left out", left_out), (f"not judged ({_WHY_NOT})", unjudged)):
        if images:
            _LOG.warning("%d of %d images %s, the first: %s", len(images), len(dataset), what, images[0])
    return macro_average(results)


@command()
def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.uncertainty", description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="of several, their disagreement")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reader", default="index_csv", choices=sorted(READERS))
    parser.add_argument("--options", default="{}", help="the reader's, as the training had them: {val_list: FILE}")
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    args = parser.parse_args(argv)
    estimators = [open_estimator(path) for path in args.weights]
    dataset = open_dataset(args.reader, args.data, args.split, reader_options(args.options))
    figures = evaluate_sigma(estimators, dataset)
    for name, value in sorted(figures.items(), key=lambda item: item[1]):
        print(f"{name:<16}{value:8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
