"""A self-contained HTML page on one network: its tables, and its best, median and worst pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.alignment import align_scale_shift
from training.datasets.base import READ_ERRORS, DatasetError, DepthDataset, Sample
from training.validation import ImageResult, Predictor, predicted

_WIDTH_PX = 300
_EACH = 4


def colour_map(
    values: NDArray[np.float32], low: float, high: float, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """(H, W) to (H, W, 3) RGB, near is red; black where ``mask`` is false or a value is not finite."""
    picture = cv2.applyColorMap(grey_levels(values, low, high), cv2.COLORMAP_TURBO)[..., ::-1]
    known = np.isfinite(values) if mask is None else np.isfinite(values) & mask
    return np.asarray(np.where(known[..., None], picture, 0), dtype=np.uint8)


def grey_levels(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Values of any shape to 0..255 for ``low``..``high``; 0 where they are not finite."""
    finite = np.where(np.isfinite(values), values, low).astype(np.float64)  # differences of float32 may be infinite
    shares = (finite - low) / max(high - low, 1e-12)
    return (np.clip(shares, 0.0, 1.0) * 255).astype(np.uint8)


def finite_range(values: NDArray[np.float32], least: float = 0.0, most: float = 100.0) -> tuple[float, float]:
    """Two percentiles of what is finite; 0 and 1 where nothing is."""
    known = values[np.isfinite(values)].astype(np.float64)
    low, high = np.percentile(known, (least, most)) if known.size else (0.0, 1.0)
    return float(low), float(high)


def picture_row(sample: Sample, prediction: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Image, truth, aligned prediction and their difference beside each other, (h, 4 w, 3) RGB."""
    target, mask = sample.inverse_depth(), sample.valid_mask
    scale, shift = align_scale_shift(prediction, target, mask)
    aligned = (scale * prediction + shift).astype(np.float32)
    low, high = (float(value) for value in np.percentile(target[mask], (2, 98)))
    difference = np.abs(aligned - target)
    tiles = (
        sample.rgb,
        colour_map(target, low, high, mask),
        colour_map(aligned, low, high),
        colour_map(difference, 0.0, 0.5 * (high - low), mask),
    )
    size = (_WIDTH_PX, round(_WIDTH_PX * target.shape[0] / target.shape[1]))
    return np.hstack([cv2.resize(tile, size, interpolation=cv2.INTER_AREA) for tile in tiles]).astype(np.uint8)


def ranked(results: Sequence[ImageResult], figure: str = "spearman") -> dict[str, list[int]]:
    """Indices of the best, median and worst images by rank correlation, which every kind of truth allows; an image
    whose truth is one number has none.
    """
    known = [index for index, result in enumerate(results) if np.isfinite(result.figures[figure])]
    order = sorted(known, key=lambda index: -results[index].figures[figure])
    middle = max(0, len(order) // 2 - _EACH // 2)
    return {"best": order[:_EACH], "median": order[middle : middle + _EACH], "worst": order[::-1][:_EACH]}


def html_report(
    table: str, dataset: DepthDataset, results: Sequence[ImageResult], predict: Predictor, name: str
) -> str:
    """The whole page; pictures are inside it, so ``results`` must have the indices that their images have.

    Raises:
        DatasetError: an image that was judged cannot be read any more.
    """
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{html.escape(name)}</title><style>body{{font-family:sans-serif;margin:2em}}pre{{font-size:12px}}"
        "img{display:block}</style>",
        f"<h1>{html.escape(name)}</h1><p>Per image: least squares of scale and shift in inverse depth. Mean over "
        "images of a scene, then over scenes. Measures of depth only where the truth's zero is real.</p>",
        f"<pre>{html.escape(table)}</pre>",
    ]
    for title, indices in ranked(results).items():
        parts.append(f"<h2>{title}</h2><p>image, truth, prediction, difference; red is near</p>")
        for index in indices:
            result = results[index]
            sample = _read_again(dataset, result)
            row = picture_row(sample, predicted(predict, sample, []))
            figures = ", ".join(f"{key} {value:.3f}" for key, value in result.figures.items() if key in _SHOWN)
            parts.append(f"<p>{html.escape(f'{result.dataset}/{result.name}')}: {figures}</p>{_embedded(row)}")
    return "\n".join(parts) + "</html>\n"


_SHOWN = ("abs_rel", "delta1", "spearman", "whdr")


def _read_again(dataset: DepthDataset, result: ImageResult) -> Sample:
    try:
        return dataset[result.index]
    except READ_ERRORS as error:
        raise DatasetError(f"{result.dataset}/{result.name}: judged, but not there any more: {error}") from error


def _embedded(picture: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'>"
