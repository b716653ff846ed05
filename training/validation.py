"""Judging a network on data sets, scene by scene: what the loop watches and what the evaluation reports."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depthnet_ros.errors import BackendError
from depthnet_ros.evaluation.alignment import MIN_PIXELS, aligned_depth, crop_window, depth_cap_m
from depthnet_ros.evaluation.metrics import boundary_f1, depth_metrics, sdr, spearman, whdr
from depthnet_ros.inference.postprocess import decode
from depthnet_ros.inference.preprocess import preprocess
from depthnet_ros.models.spec import InputSpec, ModelSpec
from training.datasets.base import READ_ERRORS, DepthDataset, Sample, TargetKind

_LOG = logging.getLogger(__name__)
Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(H, W, 3) RGB image to (H, W) relative inverse depth."""
_MIN_VALID = 100
_SMALL = 1e-9
_RANK_PIXELS = 40_000


@dataclass(frozen=True)
class ImageResult:
    """Figures of one image. Measures of depth are there only for targets whose zero is real.

    ``index``: of the item in its data set, where that is known; else -1.
    """

    dataset: str
    scene: str
    name: str
    figures: Mapping[str, float]
    index: int = -1


def judge(
    prediction: NDArray[np.float32], sample: Sample, stride: int = 1, cap_m: float | None = None, crop: str = "none"
) -> dict[str, float]:
    """Every measure that the sample's kind allows, after least squares of scale and shift in inverse depth.

    Where the prediction is not finite its median stands in: no measure may pass over what a network does not know.
    Depth in metres is capped: truth beyond is not looked at, predictions are brought back to it. Depth in a scene's own
    unit is not, and has no RMSE. Where too few pixels are left for a measure it is absent (or NaN).

    Args:
        prediction: (H, W) relative inverse depth.
        sample: the image's truth.
        stride: look at every so-many-th row and column only; above 1 no measure of neighbours (boundaries) is taken.
        cap_m: the cap in metres; None: by the data set's name (``depth_cap_m``).
        crop: the part of the picture that is looked at (``crop_window``).
    """
    grid = slice(None, None, stride)
    prediction, target = _filled(prediction[grid, grid]), sample.inverse_depth()[grid, grid]
    window = judged_window(crop, sample)
    inside = np.zeros_like(sample.valid_mask)
    inside[window] = sample.valid_mask[window]
    mask = inside[grid, grid]
    cap, finite = None, mask & (target > 0)
    truth = np.where(finite, 1.0 / np.maximum(target, 1e-9), 0.0)
    if sample.kind is TargetKind.DEPTH and sample.metric:
        cap = depth_cap_m(sample.dataset) if cap_m is None else cap_m
        mask = finite = finite & (truth <= cap)
    # Sorting a million pixels tells no more about their order than sorting some ten thousand on a regular grid.
    sparse = slice(None, None, max(1, math.isqrt(target.size // _RANK_PIXELS)))
    order = prediction[sparse, sparse], target[sparse, sparse], mask[sparse, sparse]
    if np.count_nonzero(order[2]) < MIN_PIXELS:
        return {}
    figures = {"spearman": spearman(*order), "whdr": whdr(*order, has_zero=sample.kind.has_zero)}
    if not sample.kind.has_zero or np.count_nonzero(finite) < MIN_PIXELS:
        return figures
    depth = aligned_depth(prediction, target, finite, cap)
    figures.update(depth_metrics(depth, truth, finite))
    if cap is None:
        del figures["rmse"]  # in a unit of its own: no mean with metres means anything
    figures.update(sdr(depth, truth, finite))
    if stride == 1:
        figures["boundary_f1"] = boundary_f1(depth, truth, finite)
    return figures


def _filled(prediction: NDArray[np.float32]) -> NDArray[np.float32]:
    known = np.isfinite(prediction)
    if known.all():
        return prediction
    return np.where(known, prediction, np.float32(np.median(prediction[known])) if known.any() else np.float32(0.0))


def judged_window(crop: str, sample: Sample) -> tuple[slice, slice]:
    """Rows and columns of a sample that a benchmark judges (``crop_window``), wherever its reader has cut it."""
    top, left, height, width = sample.cut or (0, 0, *sample.valid_mask.shape)
    rows, columns = crop_window(crop, height, width)
    if crop == "none":
        return rows, columns
    return (
        slice(max(rows.start - top, 0), max(rows.stop - top, 0)),
        slice(max(columns.start - left, 0), max(columns.stop - left, 0)),
    )


def truth_through_grid(sample: Sample, spec: InputSpec) -> NDArray[np.float32]:
    """(H, W) inverse depth: the truth averaged on the grid that a network has for this image, and back as its output.

    About the best that a network of this input can give, since it knows nothing finer.
    """
    weight = sample.valid_mask.astype(np.float32)
    height, width = spec.size_for(*weight.shape)

    def through(values: NDArray[np.float32]) -> NDArray[np.float32]:
        small = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, weight.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)

    known = through(weight)
    return np.asarray(through(sample.inverse_depth() * weight) / np.maximum(known, _SMALL), dtype=np.float32)


def judgeable(sample: Sample) -> bool:
    """Has enough valid pixels, and is no ordinal map."""
    return sample.kind is not TargetKind.ORDINAL and np.count_nonzero(sample.valid_mask) >= _MIN_VALID


def network_predictor(network: nn.Module, spec: ModelSpec) -> Predictor:
    """The network as a function of an image, through the very pre- and post-processing of use."""

    def predict(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        device = next(network.parameters()).device
        with torch.inference_mode():
            raw = network(torch.from_numpy(preprocess(image, spec.input))[None].to(device))
        return decode(raw[0].float().cpu().numpy(), spec, (image.shape[0], image.shape[1])).at_source()

    return predict


def usable_samples(
    datasets: Sequence[DepthDataset], left_out: list[str], rank: int = 0, world: int = 1
) -> Iterator[Sample]:
    """The samples of :func:`usable_items`."""
    return (sample for _, sample in usable_items(datasets, left_out, rank, world))


def usable_items(
    datasets: Sequence[DepthDataset],
    left_out: list[str],
    rank: int = 0,
    world: int = 1,
    unjudged: list[str] | None = None,
) -> Iterator[tuple[int, Sample]]:
    """Every sample that can be read and judged, of this ``rank``'s share: each ``world``-th item of all.

    Each with its index in its data set. One that cannot be read, or is not what it claims to be, is logged and its
    error appended to ``left_out``; ``unjudged`` gets the name of one with too few valid pixels or with an ordinal map.
    """
    items = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
    for dataset, index in items[rank::world]:
        try:
            sample = dataset[index]
            sample.check()
        except READ_ERRORS as error:
            _LOG.warning("left out: %s", error)
            left_out.append(str(error))
            continue
        if judgeable(sample):
            yield index, sample
        elif unjudged is not None:
            unjudged.append(f"{sample.dataset}/{sample.name}")


def predicted(predict: Predictor, sample: Sample, refused: list[str]) -> NDArray[np.float32]:
    """(H, W) relative inverse depth; a constant where the network gives nothing usable (``decode`` refuses it).

    What is refused is logged once and appended to ``refused``: left out, it would make the network's average better.
    """
    try:
        return predict(sample.rgb)
    except BackendError as error:
        if not refused:
            _LOG.warning("scored as a constant from here on, where it happens: %s: %s", sample.name, error)
        refused.append(f"{sample.dataset}/{sample.name}: {error}")
        return np.zeros(sample.rgb.shape[:2], dtype=np.float32)


def judge_all(
    predict: Predictor, samples: Iterable[Sample], stride: int = 1, refused: list[str] | None = None
) -> list[ImageResult]:
    """Figures of every sample that has enough valid pixels; ordinal maps are left out.

    ``refused`` gets a line for each output that could not be used and counts as a constant (:func:`predicted`).
    """
    refused = [] if refused is None else refused
    return [
        ImageResult(sample.dataset, sample.scene, sample.name, figures)
        for sample in samples
        if judgeable(sample) and (figures := judge(predicted(predict, sample, refused), sample, stride))
    ]


def macro_average(results: Sequence[ImageResult]) -> dict[str, float]:
    """Mean over images within each scene, then over scenes; NaN figures are left out."""
    by_scene: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for name, value in result.figures.items():
            if np.isfinite(value):
                by_scene[result.dataset, result.scene][name].append(value)
    by_name: dict[str, list[float]] = defaultdict(list)
    for figures in by_scene.values():
        for name, values in figures.items():
            by_name[name].append(float(np.mean(values)))
    return {name: float(np.mean(values)) for name, values in by_name.items()}


def validate(
    network: nn.Module, spec: ModelSpec, datasets: Sequence[DepthDataset], rank: int = 0, world: int = 1
) -> list[ImageResult]:
    """Figures of ``rank``'s share of everything in ``datasets``, on a third of the rows and columns: quick.

    Items that cannot be read are left out, and a dead network counts as a constant; both are counted in the log.
    """
    left_out: list[str] = []
    refused: list[str] = []
    samples = usable_samples(datasets, left_out, rank, world)
    results = judge_all(network_predictor(network, spec), samples, stride=3, refused=refused)
    if left_out or refused:
        _LOG.warning(
            "validation: %d images judged, %d of them as a constant, %d left out",
            len(results), len(refused), len(left_out),
        )  # fmt: skip
    return results
