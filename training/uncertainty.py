"""What a network's own sigma is worth: ``python -m training.uncertainty --weights W --data ../shared/data/index.csv``.

Per image, after least squares of scale and shift in inverse depth, the sparsification error (AUSE) of the network's
log_sigma beside what needs no network: a sigma that is the same everywhere, one proportional to inverse depth, and
the local step at depth edges. Mean over scenes; smaller is better.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from depthnet_ros.errors import DepthNetError, WeightsError
from depthnet_ros.evaluation.alignment import align_scale_shift
from depthnet_ros.evaluation.sigma import sparsification_error
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.postprocess import DepthPrediction
from training.datasets.base import READERS, DepthDataset, Sample, open_dataset
from training.validation import ImageResult, macro_average, usable_samples

_STRIDE = 3


def sigmas(prediction: DepthPrediction, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Candidates by name, each (H, W) on the source image's grid, in any unit.

    Raises:
        WeightsError: the network has no log_sigma.
    """
    if prediction.log_sigma is None:
        raise WeightsError("these weights have no log_sigma channel: train with model.arguments log_sigma: true")
    height_px, width_px = prediction.source_size
    inverse = prediction.at_source()
    kernel = np.ones((5, 5), np.uint8)
    step = cv2.dilate(inverse, kernel) - cv2.erode(inverse, kernel)
    return {
        "network": np.asarray(cv2.resize(prediction.log_sigma, (width_px, height_px)), dtype=np.float32),
        "inverse depth": inverse,
        "edges": np.asarray(step, dtype=np.float32),
        "constant": rng.random(inverse.shape, dtype=np.float32),  # ties in random order
    }


def judge_sigma(prediction: DepthPrediction, sample: Sample, rng: np.random.Generator) -> dict[str, float]:
    """Sparsification error by candidate, for one image."""
    grid = slice(None, None, _STRIDE)
    inverse, target = prediction.at_source()[grid, grid], sample.inverse_depth()[grid, grid]
    mask = sample.valid_mask[grid, grid]
    scale, shift = align_scale_shift(inverse, target, mask)
    error = (scale * inverse + shift - target)[mask]
    return {
        name: sparsification_error(error, sigma[grid, grid][mask]) for name, sigma in sigmas(prediction, rng).items()
    }


def evaluate_sigma(estimator: DepthEstimator, dataset: DepthDataset) -> dict[str, float]:
    """Mean over scenes of every candidate's sparsification error."""
    rng = np.random.default_rng(0)
    results = []
    for sample in tqdm(usable_samples([dataset], []), total=len(dataset), unit="image", mininterval=5.0):
        figures = judge_sigma(estimator.infer(sample.rgb), sample, rng)
        results.append(ImageResult(sample.dataset, sample.scene, sample.name, figures))
    return macro_average(results)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.uncertainty", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reader", default="index_csv", choices=sorted(READERS))
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    args = parser.parse_args(argv)
    try:
        estimator = DepthEstimator.from_weights(args.weights, backend="torch", precision="float32")
        figures = evaluate_sigma(estimator, open_dataset(args.reader, args.data, args.split))
    except DepthNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, value in sorted(figures.items(), key=lambda item: item[1]):
        print(f"{name:<16}{value:8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
