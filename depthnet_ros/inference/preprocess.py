"""The one place where an image becomes a network's input. Training, evaluation, node and command line all come here."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ImageError
from depthnet_ros.models.spec import InputSpec

_SHRINKS_WITHOUT_ALIASING = 1.5  # by linear interpolation


def check_rgb(image: NDArray[np.uint8]) -> None:
    """Raise ImageError unless ``image`` is H x W x 3 uint8 and not empty."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"expected a non-empty H x W x 3 uint8 RGB image, got shape {image.shape} of {image.dtype}")


def shrink_by_blocks(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 on its way to ``size`` (height, width): whole blocks averaged, as long as it stays no smaller.

    The first of two steps, since OpenCV averages whole blocks eight times faster than broken ones: 640x480 to 288x224
    by way of 320x240 takes 0.2 ms instead of 1.3, and the depth is as good (benchmarks/README.md). The image itself
    where nothing can be averaged.
    """
    blocks = _whole_shrink(image.shape[0], image.shape[1], *size)
    if blocks == 1:
        return image
    averaged_size = image.shape[1] // blocks, image.shape[0] // blocks
    return np.asarray(cv2.resize(image, averaged_size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def resize_to_input(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 to the network's size; what shrinks by much is averaged over areas, so that nothing aliases."""
    return resize(image, spec.size_for(image.shape[0], image.shape[1]))


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 to ``size`` (height, width), as every image is before a network sees it.

    The shipped weights were trained when crops were still resized by OpenCV's areas wherever their height shrank: on
    photographs a mean difference of 0.3 of 255 levels, so they were not trained again.
    """
    return _resized(shrink_by_blocks(image, size), size)


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    if size == image.shape[:2]:
        return image
    down, across = image.shape[0] / height, image.shape[1] / width
    aliases = max(down, across) > _SHRINKS_WITHOUT_ALIASING
    if aliases and min(down, across) < 1.0:  # OpenCV's areas are for what shrinks both ways
        kept = (width, image.shape[0]) if across > down else (image.shape[1], height)
        image, aliases = np.asarray(cv2.resize(image, kept, interpolation=cv2.INTER_AREA), dtype=np.uint8), False
    mode = cv2.INTER_AREA if aliases else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=mode), dtype=np.uint8)


def _whole_shrink(from_height: int, from_width: int, height: int, width: int) -> int:
    """The largest number that divides both sides and leaves them no smaller than wanted."""
    most = min(from_height // height, from_width // width)
    return next((n for n in range(most, 1, -1) if from_height % n == 0 and from_width % n == 0), 1)


def normalise(image: NDArray[np.uint8], spec: InputSpec, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """(h, w, 3) RGB uint8 to (3, h, w) float32 in the channel order, mean and standard deviation of ``spec``.

    ``out``, a contiguous (3, h, w) float32 array, is filled and returned when given: no allocation per frame.
    """
    if out is None:
        out = np.empty((3, image.shape[0], image.shape[1]), dtype=np.float32)
    planes = np.empty(out.shape, dtype=np.uint8)  # what OpenCV allocates itself costs it five times the splitting
    cv2.split(image, list(planes))
    ordered = planes if spec.color_order == "rgb" else planes[::-1]
    for plane, mean, std, target in zip(ordered, spec.mean, spec.std, out, strict=True):
        # value / (255 std) - mean / std, from bytes to floats in one pass; the second image has weight 0
        cv2.addWeighted(plane, 1.0 / (255.0 * std), plane, 0.0, -mean / std, dst=target, dtype=cv2.CV_32F)
    return out


def preprocess(
    image: NDArray[np.uint8], spec: InputSpec, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(H, W, 3) RGB uint8 image of any size to the network's (3, h, w) float32 input.

    Raises:
        ImageError: not an H x W x 3 uint8 image.
    """
    check_rgb(image)
    return normalise(resize_to_input(image, spec), spec, out)


def preprocess_in_steps(image: NDArray[np.uint8], spec: InputSpec, out: NDArray[np.float32]) -> NDArray[np.uint8]:
    """:func:`preprocess` of a checked (H, W, 3) image into ``out``, (3, h, w); returns what :func:`shrink_by_blocks`
    made on the way.
    """
    size = spec.size_for(image.shape[0], image.shape[1])
    block_averaged = shrink_by_blocks(image, size)
    normalise(_resized(block_averaged, size), spec, out)
    return block_averaged
