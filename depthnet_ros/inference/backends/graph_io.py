"""Inputs and outputs of ONNX graphs as people export them: layouts, fixed and free sizes, one output or several."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.inference.backends.faults import is_want_of_memory
from depthnet_ros.inference.network_files import GRAPH_ARGUMENTS, made_from
from depthnet_ros.inference.parity import TOLERANCE, difference, parity_image
from depthnet_ros.inference.preprocess import normalise
from depthnet_ros.models.spec import InputSpec, ModelSpec

_MOST_CHANNELS = 4  # of depth outputs: a longer axis is an image side
_INTEGERS = {f"{sign}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)}
_DTYPES = {
    **{"float": "float32", "double": "float64", "f16": "float16", "f32": "float32", "f64": "float64"},
    **{name.replace("int", "i").replace("ui", "u"): name for name in _INTEGERS},
}
_READABLE = {"float16", "float32", "float64"} | _INTEGERS
"""What comes out of a graph as numpy's own type; bfloat16 comes as bytes that only look like one."""
_LOG = logging.getLogger(__name__)
_Network = Callable[[NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True)
class TensorInfo:
    """One input or output; free axes are None, ``dtype`` is numpy's name."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        axes = "unknown" if self.shape is None else "x".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name} ({axes} {self.dtype})"


def dtype_name(written: str) -> str:
    """numpy's name of a type as OpenVINO writes it, ``f32``, or ONNX Runtime, ``tensor(float)``; else as written."""
    name = written.removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(name, name)


def _bright_and_dark(shape: tuple[int, ...], spec: InputSpec) -> NDArray[np.float32]:
    """A batch of that shape, (N, 3, h, w), of the parity image, every second one a quarter as bright."""
    image = np.asarray(cv2.resize(parity_image(), (shape[3], shape[2]), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return np.stack([normalise(image // (4 if index % 2 else 1), spec) for index in range(shape[0])])


class GraphIo:
    """Brings (N, 3, h, w) float32 batches to what a graph takes, and what it returns to (N, C, h, w) float32.

    ``splits_batches``: the network that is run gives the graph the images of a batch one by one.

    Raises:
        WeightsError: the graph does not fit the specification; says what to change.
    """

    def __init__(
        self,
        spec: ModelSpec,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        path: Path,
        splits_batches: bool = False,
    ) -> None:
        self._spec, self._path = spec, path
        self._nhwc = spec.input.layout == "nhwc"
        if len(inputs) != 1:
            names = ", ".join(map(str, inputs))
            raise WeightsError(f"{path}: expected one input, the image; the graph takes {len(inputs)}: {names}")
        self.input = inputs[0]
        self._is_ours = bool(made_from(spec))
        self._check_arguments()
        self.output = self._choose_output(outputs)
        self._check_input(self.input)
        self._one_by_one = self.input.shape is not None and self.input.shape[0] == 1
        self._batch_proven = self._is_ours or splits_batches
        self._note = ""

    def _check_arguments(self) -> None:
        """Of an export of ours they are its architecture's."""
        unknown = sorted(set(self._spec.arguments) - GRAPH_ARGUMENTS, key=str)
        if unknown and not self._is_ours:
            raise WeightsError(
                f"{self._path}: unknown arguments {unknown}; an ONNX network's may be "
                f"{', '.join(sorted(GRAPH_ARGUMENTS))}"
            )
        channel = self._channel = self._spec.arguments.get("channel")
        if channel is not None and (type(channel) is not int or channel < 0):
            raise WeightsError(f"{self._path}: arguments: channel must be an integer, 0 for the first, got {channel!r}")

    def _choose_output(self, outputs: Sequence[TensorInfo]) -> TensorInfo:
        wanted = self._spec.arguments.get("output")
        chosen = outputs[0] if wanted is None else next((found for found in outputs if found.name == wanted), None)
        if chosen is None:
            raise WeightsError(f"{self._path}: no output named {wanted!r}; there are {', '.join(map(str, outputs))}")
        if chosen.dtype not in _READABLE:
            raise WeightsError(
                f"{self._path}: expected an output of float16, float32, float64 or integers, the graph returns "
                f"{chosen}: end it with a Cast to float32"
            )
        return chosen

    def _check_input(self, tensor: TensorInfo) -> None:
        if tensor.dtype not in ("float32", "float16"):
            raise WeightsError(f"{self._path}: expected a float32 or float16 input, the graph takes {tensor}")
        if tensor.shape is None:
            return
        if len(tensor.shape) != 4:
            raise WeightsError(f"{self._path}: expected an input of four axes, the graph takes {tensor}")
        count, *sides = tensor.shape
        if count not in (1, None):
            raise WeightsError(f"{self._path}: the graph takes {count} images at a time, {tensor}: export it with one")
        channels = sides.pop(2 if self._nhwc else 0)
        where_the_other_has_them = sides[0 if self._nhwc else -1]
        if channels == 1 and where_the_other_has_them != 3:
            raise WeightsError(
                f"{self._path}: the graph takes grey images, {tensor}, and networks get three colours here: begin it "
                "with what makes grey of them, a 1x1 convolution with weights of .299, .587 and .114"
            )
        if channels not in (3, None) or (channels is None and where_the_other_has_them == 3):
            other = "nchw" if self._nhwc else "nhwc"
            raise WeightsError(
                f"{self._path}: expected 3 channels in layout {self._spec.input.layout}, the graph takes {tensor}: "
                f"is it layout {other}?"
            )
        spec = self._spec.input
        expected = (spec.height_px, spec.width_px)
        misfits = [have is not None and have != want for have, want in zip(sides, expected, strict=True)]
        fixed = any(side is not None for side in sides)
        if any(misfits) or (fixed and spec.keep_aspect):
            raise WeightsError(
                f"{self._path}: the graph takes images of a fixed size, {tensor}, but its specification says "
                f"{expected[0]}x{expected[1]}{' with keep_aspect' if spec.keep_aspect else ''}: set height_px and "
                "width_px to the graph's, keep_aspect to false, or export it with free sizes"
            )

    def run(
        self, batch: NDArray[np.float32], network: _Network, tolerance: float = TOLERANCE["float32"]
    ) -> NDArray[np.float32]:
        """``network`` on a batch (N, 3, h, w), image by image where the graph takes one at a time; (N, C, h, w).

        Exporters write a free batch over graphs that were traced with one image and reshape to it, or divide by the
        largest of all there is. Which these are shows when the first batch fails, and images one by one do not, or
        gives more than ``tolerance`` (as :data:`TOLERANCE`) else; from then on images go one by one.
        """
        feed = self._fed(batch)
        if len(feed) > 1 and not self._one_by_one:
            try:
                if not self._batch_proven:
                    self._prove_batch(batch.shape, network, tolerance)
                if self._batch_proven:
                    return self._unpack(network(feed), len(feed))
            except (BackendError, RuntimeError) as error:
                outputs = self._each(feed, network)
                once = is_want_of_memory(error)  # there may be more the next time
                self._go_one_by_one(f"a batch of {len(feed)} failed: {error}", once)
                return outputs
        return self._each(feed, network)

    def _fed(self, batch: NDArray[np.float32]) -> NDArray[np.floating]:
        """(N, 3, h, w) float32 in the graph's layout and type."""
        feed: NDArray[np.floating] = batch
        if self._nhwc:
            feed = np.ascontiguousarray(feed.transpose(0, 2, 3, 1))
        return feed.astype(np.float16) if self.input.dtype == "float16" else feed

    def _prove_batch(self, shape: tuple[int, ...], network: _Network, tolerance: float) -> None:
        """Whether images of a batch leave each other alone, on bright and dark ones in turn; nobody looks at those."""
        probe = self._fed(_bright_and_dark(shape, self._spec.input))
        together, alone = self._unpack(network(probe), len(probe)), self._each(probe, network)
        known = np.isfinite(alone)
        found = difference(*(np.where(known, one, 0).swapaxes(0, 1).reshape(1, -1, 1) for one in (together, alone)))
        self._batch_proven = found <= tolerance
        if not self._batch_proven:
            self._go_one_by_one("in a batch one's depth depends on the others'", once=False)

    def _go_one_by_one(self, why: str, once: bool) -> None:
        _LOG.warning("%s: images go one by one, as %s", self._path, why)
        self._one_by_one = not once
        self._note = "" if once else f"images go one by one, as {why}"

    def take_note(self) -> str:
        """What people should know since the last call; mostly nothing."""
        note, self._note = self._note, ""
        return note

    def _each(self, feed: NDArray[np.floating], network: _Network) -> NDArray[np.float32]:
        return np.concatenate([self._unpack(network(feed[i : i + 1]), 1) for i in range(len(feed))])

    def _unpack(self, output: NDArray[np.floating], count: int) -> NDArray[np.float32]:
        shape = output.shape
        if output.ndim == 2 and count == 1 and shape[0] > 1:
            output = output[None, None]
        elif output.ndim == 3 and shape[0] == count:
            output = output[:, None]
        elif output.ndim == 4 and shape[0] == count and shape[1] > _MOST_CHANNELS >= shape[3]:
            output = output.transpose(0, 3, 1, 2)
        if output.ndim != 4 or output.shape[0] != count or output.shape[1] > _MOST_CHANNELS:
            raise BackendError(
                f"{self._path}: output {self.output.name} has shape {shape} for {count} image(s); expected (N, h, w), "
                "(N, C, h, w) or (N, h, w, C) with few channels: name another with `arguments: {output: ...}`"
            )
        if self._spec.log_sigma and output.shape[1] < 2:
            raise BackendError(f"{self._path}: log_sigma needs two output channels, the graph returns shape {shape}")
        return np.asarray(self._chosen(output), dtype=np.float32)

    def _chosen(self, output: NDArray[np.floating]) -> NDArray[np.floating]:
        """(N, C, h, w) with the one channel of depth that is wanted; with all that a network of ours has."""
        depths = output.shape[1] - int(self._spec.log_sigma)
        if self._channel is None:
            if depths == 1 or self._is_ours:
                return output
            raise WeightsError(
                f"{self._path}: output {self.output.name} has {depths} channels beside log_sigma's, if any, and one is "
                f"depth: say which with `arguments: {{channel: 0}}`, 0 to {depths - 1}"
            )
        if self._channel >= depths:
            raise WeightsError(f"{self._path}: arguments: channel must be 0 to {depths - 1}, got {self._channel}")
        return output[:, [self._channel, *range(depths, output.shape[1])]]
