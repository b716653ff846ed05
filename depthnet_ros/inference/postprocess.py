"""From a network's raw output to relative inverse depth on the image's own grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import NetworkOutputError
from depthnet_ros.models.spec import ModelSpec, OutputKind

_MIN_DEPTH = 1e-6
_MISSING_WORTH_SAYING = 0.01  # share of the image


@dataclass(frozen=True)
class DepthPrediction:
    """Depth of one image, still on the network's grid; :meth:`at` brings it to any other, and remembers the last.

    Attributes:
        inverse_depth: (h, w) float32, grows towards the camera; known up to scale and shift, but 1/m if ``metric``.
        log_sigma: (h, w) float32 log of the network's own standard deviation of ``inverse_depth``, or None.
        source_size: (height, width) of the image in pixels.
        metric: the network claims metres.
        zero_sigma: how well the network knows where infinity is, as ModelSpec has it; 0: not at all.
        unknown_share: share of the pixels that a network of depth gave zero or less, 0..1; they are NaN.
        block_averaged: (h', w', 3) uint8, the image as it was on its way to the network, with whole blocks averaged.
        stage_s: seconds by stage (preprocess, network, postprocess).
    """

    inverse_depth: NDArray[np.float32]
    source_size: tuple[int, int]
    log_sigma: NDArray[np.float32] | None = None
    metric: bool = False
    zero_sigma: float = 0.0
    unknown_share: float = 0.0
    block_averaged: NDArray[np.uint8] | None = field(default=None, repr=False)
    stage_s: dict[str, float] = field(default_factory=dict)
    _resized: dict[tuple[int, int], NDArray[np.float32]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def misses_much(self) -> bool:
        """The network gave no depth for so much of the image that it is worth saying."""
        return self.unknown_share > _MISSING_WORTH_SAYING

    def at(self, height_px: int, width_px: int) -> NDArray[np.float32]:
        """(height_px, width_px) float32 inverse depth, bilinear."""
        size = height_px, width_px
        if size == self.inverse_depth.shape:
            return self.inverse_depth
        if (known := self._resized.get(size)) is not None:
            return known
        resized = cv2.resize(self.inverse_depth, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
        self._resized.clear()
        self._resized[size] = made = np.asarray(resized, dtype=np.float32)
        return made

    def colours_at(self, rgb: NDArray[np.uint8], height_px: int, width_px: int) -> NDArray[np.uint8]:
        """(height_px, width_px, 3) uint8: ``rgb``, the (H, W, 3) image that this is the depth of, on another grid."""
        size = height_px, width_px
        if size == rgb.shape[:2]:
            return rgb
        if (
            self.block_averaged is not None
            and self.block_averaged.shape[:2] == size
            and rgb.shape[:2] == (2 * size[0], 2 * size[1])
        ):
            return self.block_averaged  # of two by two pixels linear interpolation makes the mean, too
        return np.asarray(cv2.resize(rgb, (width_px, height_px), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def shrunk(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h', w', 3) uint8: ``rgb``, the (H, W, 3) image that this is the depth of, as it was on its way to the
        network if that is still known, else as it is.
        """
        return rgb if self.block_averaged is None else self.block_averaged

    def at_source(self) -> NDArray[np.float32]:
        """(H, W) float32 inverse depth on the source image's grid."""
        return self.at(*self.source_size)


def decode(raw: NDArray[np.float32], spec: ModelSpec, source_size: tuple[int, int]) -> DepthPrediction:
    """(C, h, w) raw output of one image to a prediction.

    Raises:
        NetworkOutputError: the output is not finite, one number everywhere (a black image or a dead network, not a
            flat scene), or depth that is nowhere positive.
    """
    depth_channels = raw[:-1] if spec.log_sigma else raw
    value = depth_channels[0] if len(depth_channels) == 1 else depth_channels.mean(axis=0)
    low, high = float(value.min()), float(value.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise NetworkOutputError("the network returned NaN or infinity: try precision float32, or check the weights")
    if low == high and value.size > 1:
        raise NetworkOutputError(
            f"the network returned {low:g} for every pixel: is the image black (a lens cap, no light) or of one "
            "colour? If not, check the weights and their input specification"
        )
    if spec.log_sigma and not np.isfinite(raw[-1]).all():
        raise NetworkOutputError(
            "the network's log_sigma is NaN or infinity: try precision float32, or check the weights"
        )
    unknown_share = 0.0
    if spec.output_kind is not OutputKind.INVERSE_DEPTH:
        positive = value > _MIN_DEPTH
        unknown_share = 1.0 - float(positive.mean())
        if unknown_share == 1.0:
            raise NetworkOutputError(
                f"the network's depth is nowhere positive ({low:g} to {high:g}): is its output_kind inverse_depth?"
            )
        value = np.divide(1.0, value, out=np.full_like(value, np.nan), where=positive)
    return DepthPrediction(
        inverse_depth=np.ascontiguousarray(value, dtype=np.float32),
        source_size=source_size,
        log_sigma=np.ascontiguousarray(raw[-1]) if spec.log_sigma else None,
        metric=spec.output_kind is OutputKind.METRIC_DEPTH,
        zero_sigma=spec.zero_sigma,
        unknown_share=unknown_share,
    )


def with_mirror(own: DepthPrediction, mirrored: DepthPrediction) -> DepthPrediction:
    """Mean of an image's prediction and of its mirror image's, which errs in other places (2-fold test-time
    augmentation; MonoDepth, 1609.03677, averages so).

    Where the network does not claim metres the second is brought to the first's spread and mean, or, where the
    network's zero means something, to its mean alone, which keeps the zero. A pixel that only one of the two knows is
    that one's. A mirror image whose depth goes the other way counts nothing.
    """
    first, second = own.inverse_depth, mirrored.inverse_depth[:, ::-1]
    log_sigma: NDArray[np.float32] | None = None
    scale, shift = 1.0, 0.0
    both = np.isfinite(first) & np.isfinite(second)
    if not own.metric and both.any():
        x, y = second[both].astype(np.float64), first[both].astype(np.float64)
        if not float(np.mean((x - x.mean()) * (y - y.mean()))) > 0.0:
            return own
        if own.zero_sigma and min(x.mean(), y.mean()) > 0.0:
            scale = float(y.mean() / x.mean())
        else:
            scale = float(y.std() / x.std())
            shift = float(y.mean() - scale * x.mean())
    moved = second * np.float32(scale) + np.float32(shift)
    mean = np.where(both, 0.5 * (first + moved), np.where(np.isfinite(first), first, moved))
    if own.log_sigma is not None and mirrored.log_sigma is not None:
        other = mirrored.log_sigma[:, ::-1] + np.float32(np.log(scale))
        log_sigma = np.asarray(0.5 * (own.log_sigma + other), dtype=np.float32)
    return replace(
        own,
        inverse_depth=np.ascontiguousarray(mean, dtype=np.float32),
        log_sigma=log_sigma,
        unknown_share=float(1.0 - np.isfinite(mean).mean()),
    )


def without_holes(prediction: DepthPrediction) -> tuple[DepthPrediction, NDArray[np.bool_] | None]:
    """A prediction whose unknown pixels (NaN, of a network that gives depth) are as far as the farthest known one, and
    where they are: what is averaged over time and pixels would carry a NaN on for ever."""
    if prediction.unknown_share == 0.0:
        return prediction, None
    unknown = ~np.isfinite(prediction.inverse_depth)
    filled = np.where(unknown, np.nanmin(prediction.inverse_depth), prediction.inverse_depth)
    return replace(prediction, inverse_depth=filled), unknown
