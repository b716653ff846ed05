"""Pictures of an evaluation: the worst frames and a few at even steps, kept small while thousands stream past."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.frame import Frame, Judged
from depthnet_ros.visualization.color import INVALID_RGB, colorize_depth

WIDTH_PX = 320
_JPEG_QUALITY = 80
_ERROR_LIMIT = 0.3
_SPARSE_SHARE = 0.2
_NEAR_RGB, _FAR_RGB = np.array((38.0, 84.0, 214.0)), np.array((214.0, 52.0, 38.0))


@dataclass(frozen=True)
class Strip:
    """Four JPEG pictures of one frame, and what they show.

    ``index`` counts evaluated frames; ``score`` is the error that the frame was ranked by, of depth as published where
    ``in_metres``, else of aligned depth; ``limits_m`` are the depths of the nearest and the farthest colour.
    """

    index: int
    stamp_ns: int
    score: float
    in_metres: bool
    limits_m: tuple[float, float]
    camera: bytes
    depth: bytes
    reference: bytes
    error: bytes


class Album:
    """Keeps ``count`` strips of the worst frames, one for each second, and ``count`` at even steps of all frames."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._step = 1
        self._worst: dict[int, Strip] = {}
        self._even: list[Strip] = []

    def offer(self, index: int, frame: Frame, judged: Judged) -> None:
        """Show a frame; pictures are made only of those that are kept."""
        measures = judged.metric if judged.metric is not None else judged.aligned
        score = measures["abs_rel"]
        second = frame.stamp_ns // 1_000_000_000  # neighbours in a video look alike: one of them is enough
        even = self._count > 0 and index % self._step == 0
        bad = self._count > 0 and self._is_bad(second, score)
        if not (even or bad):
            return
        strip = make_strip(index, score, frame, judged)
        if even:
            self._even.append(strip)
            if len(self._even) > 2 * self._count:  # nobody knows how many will come
                self._step *= 2
                self._even = self._even[::2]
        if bad:
            self._worst[second] = strip
            if len(self._worst) > self._count:
                del self._worst[min(self._worst, key=lambda key: self._worst[key].score)]

    def _is_bad(self, second: int, score: float) -> bool:
        if second in self._worst:
            return score > self._worst[second].score
        return len(self._worst) < self._count or score > min(strip.score for strip in self._worst.values())

    @property
    def worst(self) -> list[Strip]:
        """The worst first."""
        return sorted(self._worst.values(), key=lambda strip: strip.score, reverse=True)

    @property
    def even(self) -> list[Strip]:
        """In order of time."""
        chosen = np.linspace(0, len(self._even) - 1, min(self._count, len(self._even))).round().astype(int)
        return [self._even[index] for index in chosen]


def make_strip(index: int, score: float, frame: Frame, judged: Judged) -> Strip:
    """Camera, depth as published (else aligned), reference and signed relative error, in one set of colours."""
    reference = frame.reference_m
    assert reference is not None
    depth = judged.aligned_m if judged.metric_m is None else judged.metric_m
    truth = np.where(judged.valid, reference, np.float32(np.nan))
    known = truth[judged.valid]
    near, far = (float(value) for value in np.percentile(known, (1, 99)))
    far = max(far, near * 1.05)
    limits = (1.0 / far, 1.0 / near)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = _error_colors(depth / truth - 1.0)
    sparse = judged.valid.mean() < _SPARSE_SHARE
    pictures = (frame.rgb, colorize_depth(depth, limits), colorize_depth(truth, limits), error)
    camera, shown, target, wrong = (
        _jpeg(picture, sparse and position >= 2) for position, picture in enumerate(pictures)
    )
    in_metres = judged.metric is not None
    return Strip(index, frame.stamp_ns, score, in_metres, (near, far), camera, shown, target, wrong)


def _error_colors(relative: NDArray[np.floating]) -> NDArray[np.uint8]:
    """White where right, blue too near, red too far, full colour from 30 % on; grey without a reference."""
    share = np.clip(np.nan_to_num(relative, nan=0.0, posinf=1.0, neginf=-1.0) / _ERROR_LIMIT, -1, 1)[..., None]
    white = np.full(3, 250.0)
    colors = np.where(share > 0, white + share * (_FAR_RGB - white), white - share * (_NEAR_RGB - white))
    colors[np.isnan(relative)] = INVALID_RGB
    return colors.astype(np.uint8)


def _jpeg(rgb: NDArray[np.uint8], sparse: bool) -> bytes:
    if sparse:
        rgb = _grown(rgb)
    height = max(1, round(rgb.shape[0] * WIDTH_PX / rgb.shape[1]))
    small = cv2.resize(rgb, (WIDTH_PX, height), interpolation=cv2.INTER_NEAREST if sparse else cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return np.asarray(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]).tobytes()


def _grown(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Single coloured pixels made wide enough to be seen after shrinking."""
    reach = max(1, rgb.shape[1] // WIDTH_PX)
    known = np.any(rgb != np.array(INVALID_RGB, dtype=np.uint8), axis=2)
    result = rgb.copy()
    rows, columns = np.nonzero(known)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            y, x = np.clip(rows + dy, 0, rgb.shape[0] - 1), np.clip(columns + dx, 0, rgb.shape[1] - 1)
            empty = ~known[y, x]
            result[y[empty], x[empty]] = rgb[rows[empty], columns[empty]]
    return result
