"""The whole network side in one call: ``DepthEstimator.infer(rgb)``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends import create_backend
from depthnet_ros.inference.backends.base import Backend, input_memory
from depthnet_ros.inference.input_area import scaled_input
from depthnet_ros.inference.postprocess import DepthPrediction, decode, with_mirror
from depthnet_ros.inference.preprocess import check_rgb, preprocess_in_steps
from depthnet_ros.inference.weights import DEFAULT_NAME
from depthnet_ros.models.spec import ModelSpec

_MOST_BATCHES = 4  # several cameras' shapes


class DepthEstimator:
    """Pre-processing, a backend and post-processing for one network. Not thread-safe: one worker calls it."""

    def __init__(self, backend: Backend, spec: ModelSpec) -> None:
        self.backend = backend
        self.spec = spec
        self.name = spec.architecture
        """Of the weights, for logs and reports."""
        self._input = spec.input
        self._batches: dict[tuple[int, ...], NDArray[np.float32]] = {}

    @property
    def can_shrink(self) -> bool:
        """The network takes other input sizes than its own."""
        return self.spec.input.keep_aspect

    def set_input_area(self, area: float) -> None:
        """From now on give the network ``area`` (0..1) times its full number of pixels: less accurate, but sooner done.

        A network of one fixed input size stays as it is.
        """
        self._input = scaled_input(self.spec.input, area)

    def warm_up(self, area: float, sizes: Sequence[tuple[int, int]]) -> None:
        """Have the backend ready for images of these (height, width), together and alone, at ``area`` of the input:
        what it compiles for a shape that it has not seen takes up to a second.

        Raises:
            BackendError: as :meth:`infer_batch`.
        """
        spec = scaled_input(self.spec.input, area)
        shapes = Counter(spec.size_for(*size) for size in sizes)
        for shape, count in shapes.items():
            for images in {1, count}:
                self.backend.infer(np.zeros((images, 3, *shape), dtype=np.float32))

    @classmethod
    def from_weights(
        cls,
        weights: str | Path = "",
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> DepthEstimator:
        """Load a checkpoint (.safetensors) or an exported network (.onnx with its YAML); empty: the default weights.

        Raises:
            WeightsError: the file is missing, damaged or of another architecture.
            BackendError: the backend is not installed or the device not there.
        """
        made = cls(*create_backend(weights, backend=backend, device=device, precision=precision, threads=threads))
        path = Path(weights or DEFAULT_NAME)
        made.name = path.stem if path.suffix in (".safetensors", ".onnx") else path.name
        return made

    def infer(self, image: NDArray[np.uint8]) -> DepthPrediction:
        """Relative inverse depth of one (H, W, 3) RGB uint8 image.

        Raises:
            ImageError, BackendError: as :meth:`infer_batch`.
        """
        return self.infer_batch([image])[0]

    def infer_with_mirror(self, image: NDArray[np.uint8]) -> DepthPrediction:
        """As :meth:`infer`, but the mean of the image's and of its mirror image's: better, and twice the work.

        Raises:
            ImageError: not an H x W x 3 uint8 image.
            BackendError: the device failed or the output is not finite.
        """
        check_rgb(image)
        batch = self._memory((2, 3, *self._input.size_for(image.shape[0], image.shape[1])))
        start = time.perf_counter()
        block_averaged = preprocess_in_steps(image, self._input, batch[0])
        batch[1] = batch[0, ..., ::-1]
        own, mirrored = _without_errors(self._run(batch, [image, image], [block_averaged, None], start))
        return with_mirror(own, mirrored)

    def infer_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[DepthPrediction]:
        """Several images in one pass of the network; those of another aspect ratio go in a pass of their own.

        Raises:
            ImageError: an image is not H x W x 3 uint8.
            BackendError: the device failed or the output is not finite.
        """
        return _without_errors(self.infer_each(images))

    def infer_each(self, images: Sequence[NDArray[np.uint8]]) -> list[DepthPrediction | BackendError]:
        """As :meth:`infer_batch`, but what fails of one image, a covered lens say, leaves the others theirs.

        Raises:
            ImageError: an image is not H x W x 3 uint8.
        """
        results: dict[int, DepthPrediction | BackendError] = {}
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            check_rgb(image)
            groups.setdefault(self._input.size_for(image.shape[0], image.shape[1]), []).append(index)
        for size, members in groups.items():
            try:
                outcomes = self._infer_same_size([images[i] for i in members], size)
            except BackendError as error:  # of the pass
                outcomes = [error] * len(members)
            results.update(zip(members, outcomes, strict=True))
        return [results[i] for i in range(len(images))]

    def _infer_same_size(
        self, images: list[NDArray[np.uint8]], size: tuple[int, int]
    ) -> list[DepthPrediction | BackendError]:
        batch = self._memory((len(images), 3, *size))
        start = time.perf_counter()
        averaged = [preprocess_in_steps(image, self._input, row) for image, row in zip(images, batch, strict=True)]
        return self._run(batch, images, averaged, start)

    def _run(
        self,
        batch: NDArray[np.float32],
        images: Sequence[NDArray[np.uint8]],
        averaged: Sequence[NDArray[np.uint8] | None],
        start: float,
    ) -> list[DepthPrediction | BackendError]:
        """The network on a batch (N, 3, h, w) of ``images``, whose pre-processing began at ``start`` and ends now;
        ``averaged``: as :attr:`DepthPrediction.block_averaged` of each.
        """
        ready = time.perf_counter()
        raw = self.backend.infer(batch)
        done = time.perf_counter()
        outcomes = [self._decoded(output, image) for output, image in zip(raw, images, strict=True)]
        end = time.perf_counter()
        stage_s = {"preprocess": ready - start, "network": done - ready, "postprocess": end - done}
        return [
            outcome if isinstance(outcome, BackendError) else replace(outcome, block_averaged=small, stage_s=stage_s)
            for outcome, small in zip(outcomes, averaged, strict=True)
        ]

    def _memory(self, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
        if (memory := self._batches.get(shape)) is None:
            if len(self._batches) >= _MOST_BATCHES:  # a folder of photographs, of all shapes
                self._batches.clear()
            memory = self._batches[shape] = input_memory(self.backend, shape)
        return memory

    def _decoded(self, output: NDArray[np.float32], image: NDArray[np.uint8]) -> DepthPrediction | BackendError:
        try:
            return decode(output, self.spec, (image.shape[0], image.shape[1]))
        except BackendError as error:
            return error

    def close(self) -> None:
        """Free the backend."""
        self.backend.close()


def _without_errors(outcomes: Sequence[DepthPrediction | BackendError]) -> list[DepthPrediction]:
    """All of them; raises the first error."""
    predictions = []
    for outcome in outcomes:
        if isinstance(outcome, BackendError):
            raise outcome
        predictions.append(outcome)
    return predictions
