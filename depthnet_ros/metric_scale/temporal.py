"""Steadying a network over time, and measuring how much it flickers.

Two causes, two cures. The output of a network trained with scale-and-shift-invariant losses is known up to a scale and
a shift that differ from frame to frame: :class:`AffineStabilizer` ties each frame to the last one. What is left is
noise of each pixel: :class:`PixelFilter` averages it along the image's motion and the camera's, and lets through at
once what moves in depth by itself.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.contrast import SMALL_SIZE, small_grey
from depthnet_ros.metric_scale.egomotion import MotionFilter
from depthnet_ros.metric_scale.robust import median

_COARSE = (32, 24)  # width and height of what two frames are tied to each other by
_FIT_ITERATIONS = 4  # of reweighted least squares

# Tuning. Misfits are shares: of what changes within the picture, what the line from frame to frame leaves unexplained.
_LEAK = 0.9  # of the tie to the last frame, per frame
_JUMP = 0.35  # log of the gain from frame to frame, above which the network has stepped
_CUT = 0.35  # misfit above which the frame shows another scene
_GOOD, _POOR = 0.04, 0.12  # misfits up to which a tie is followed fully, and from which on not at all

_FLOW_SIZE = (80, 60)
"""Width and height of the flow: the finest scale that is searched of a picture of ``SMALL_SIZE``."""
_RIGID_PX = 0.5
"""In the flow's pixels: what differs by less from what the camera's motion explains is noise; what differs by twice as
much moves by itself. Chosen on the recording redkitchen of benchmarks/metric_scale.py."""


class AffineStabilizer:
    """Takes the wander of a network's own scale and shift out, frame to frame: ``raw = gain * steady + offset``.

    The tie to the last frame leaks away within some ten frames, as real change (coming nearer to a wall) must not be
    held for wander; a sudden large step with an unchanged picture is the network's own, and what it steps to is the
    steady unit from then on: kept as a factor, steps that are taken back slowly would pile up without a limit.

    Attributes:
        gain, offset: of the last frame.
        cut: the last frame shows another scene than the one before.
        step: gain and offset by which the steady unit has changed in the last frame, ``step[0] * old + step[1]``; None:
            it has not.
    """

    def __init__(self) -> None:
        self.gain = 1.0
        self.offset = 0.0
        self.cut = False
        self.step: tuple[float, float] | None = None
        self._last: NDArray[np.float64] | None = None

    def update(self, raw: NDArray[np.float32]) -> None:
        """Find ``gain`` and ``offset`` for an (h, w) relative inverse depth."""
        coarse = cv2.resize(raw, _COARSE, interpolation=cv2.INTER_AREA).ravel().astype(np.float64)
        self.cut, self.step = False, None
        self.gain, self.offset = 1.0, 0.0
        if self._last is None:
            self._last = coarse
            return
        gain, offset, misfit = _robust_line(self._last, coarse)
        self.cut = misfit > _CUT or gain <= 0
        if not self.cut and abs(np.log(gain)) > _JUMP:
            self.step = gain, offset
        elif not self.cut:
            # What the line does not explain bends it, too: a poor fit is followed little or not at all.
            keep = _LEAK * float(np.clip((_POOR - misfit) / (_POOR - _GOOD), 0.0, 1.0))
            self.gain, self.offset = gain**keep, keep * offset
        self._last = np.asarray((coarse - self.offset) / self.gain)

    def steady(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w) ``(raw - offset) / gain``."""
        if self.gain == 1.0 and self.offset == 0.0:
            return raw
        return np.asarray(raw * np.float32(1.0 / self.gain) - np.float32(self.offset / self.gain))


class PixelFilter:
    """Recursive average of each pixel along the motion of the image; depth that changes is taken over at once.

    The past is moved to where its surfaces are now and, as far as the camera's own motion explains it, to the depth at
    which they are now: a wall that is approached does not lag, and a turn of the camera does not flicker. Where the
    innovation, smoothed over a neighbourhood, is small against ``gate`` (relative to inverse depth), the new
    frame enters with weight ``gain``. The weight grows to one as the innovation reaches the gate, with its fourth
    power, which is nearly a switch and has no step: noise of a pixel averages out in the neighbourhood, an obstacle
    that moves does not.

    Attributes:
        gain: weight of the new frame where nothing moves, 0..1.
        gate: relative change of inverse depth from which on the new frame counts alone.
        turn: (3,) rotation vector, rad, that the camera has turned by since the last frame; None where it is not known.
    """

    def __init__(self, gain: float, gate: float) -> None:
        self.gain = gain
        self.gate = gate
        self._last: NDArray[np.float32] | None = None
        self._last_grey: NDArray[np.uint8] | None = None
        self._flow = _dense_inverse_search()
        self._motion = MotionFilter()
        self.turn: NDArray[np.float32] | None = None

    def reset(self) -> None:
        """Forget the past: the scene was cut."""
        self._last = None
        self._last_grey = None
        self._motion.reset()

    def change_unit(self, gain: float, offset: float) -> None:
        """Steady relative inverse depth is ``gain * old + offset`` from now on."""
        if self._last is not None:
            self._last = np.asarray(np.float32(gain) * self._last + np.float32(offset))
        self._motion.change_unit(gain)

    def update(
        self,
        steady: NDArray[np.float32],
        zero: float,
        image: NDArray[np.uint8] | None = None,
        camera: PinholeCamera | None = None,
    ) -> NDArray[np.float32]:
        """(h, w) relative inverse depth to its average.

        Args:
            steady: relative inverse depth of this frame, of steadied scale and shift.
            zero: relative inverse depth that is infinitely far: changes are measured relative to the distance from it.
            image: (H, W, 3) or (H, W) uint8 of this frame; with it the past is moved along the image's motion.
            camera: of the image; with it the past is moved by the camera's own motion, too.
        """
        grey = None if image is None else small_grey(image)
        last, self.turn = self._last, None
        if last is None or last.shape != steady.shape:
            self._last, self._last_grey = steady, grey
            return steady
        if grey is not None and self._last_grey is not None:
            flow, ratio = self._flow_to(self._last_grey, grey), None
            if camera is not None:
                flow, ratio = self._explained(flow, grey, steady, zero, camera)
            last = _moved(last, flow, ratio, zero)
        innovation = steady - last
        self._last = last + self._weight(innovation, last, zero) * innovation
        self._last_grey = grey
        return self._last

    def _weight(self, innovation: NDArray[np.float32], last: NDArray[np.float32], zero: float) -> NDArray[np.float32]:
        """(h, w) of the new frame. In place where it can be: an array that is made anew costs more than a sum."""
        distance = np.abs(last - np.float32(zero))
        np.divide(innovation, np.maximum(distance, np.float32(1e-6), out=distance), out=distance)
        size = max(3, innovation.shape[1] // 26) | 1
        weight = cv2.blur(distance, (size, size))
        weight *= np.float32(1.0 / self.gate)
        np.square(np.square(weight, out=weight), out=weight)
        np.minimum(weight, np.float32(1.0), out=weight)
        weight *= np.float32(1.0 - self.gain)
        weight += np.float32(self.gain)
        return np.asarray(weight)

    def _flow_to(self, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 2) of ``_FLOW_SIZE``, in its pixels, from now to before."""
        flow = cv2.resize(self._flow.calc(now, before, None), _FLOW_SIZE, interpolation=cv2.INTER_AREA)
        flow *= np.float32(_FLOW_SIZE[0] / SMALL_SIZE[0])
        return np.asarray(flow, dtype=np.float32)

    def _explained(
        self,
        flow: NDArray[np.float32],
        grey: NDArray[np.uint8],
        steady: NDArray[np.float32],
        zero: float,
        camera: PinholeCamera,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The flow, without its noise where the camera's motion explains it; and how much nearer each pixel has come by
        that motion.
        """
        small = camera.resized(*_FLOW_SIZE)
        nearness = np.maximum(cv2.resize(steady, _FLOW_SIZE, interpolation=cv2.INTER_LINEAR) - np.float32(zero), 0.0)
        motion = self._motion.update(flow, cv2.resize(grey, _FLOW_SIZE, interpolation=cv2.INTER_AREA), nearness, small)
        self.turn = motion.turn
        rigid, ratio = motion.flow_and_ratio(nearness, small)
        off = rigid - flow
        share = np.clip(2.0 - cv2.magnitude(off[..., 0], off[..., 1]) / _RIGID_PX, 0.0, 1.0)
        return flow + share[..., None] * off, np.float32(1.0) + share * (ratio - np.float32(1.0))


def _dense_inverse_search() -> cv2.DISOpticalFlow:
    """Dense inverse search flow (Kroeger et al., 2016). On a scale finer than its fastest preset, which shifts the flow
    by a tenth of a pixel, enough to take a turn for a move; patches lie less densely in turn, for the time it takes.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(1)
    search.setPatchStride(6)
    search.setGradientDescentIterations(8)
    return search


def _moved(
    last: NDArray[np.float32], flow: NDArray[np.float32], ratio: NDArray[np.float32] | None, zero: float
) -> NDArray[np.float32]:
    """``last`` where its surfaces are now, by flow in pixels of ``_FLOW_SIZE`` from now to before, and with ``ratio``
    as near as they are now.
    """
    height, width = last.shape
    steps = flow * np.array((width / flow.shape[1], height / flow.shape[0]), np.float32)
    before = cv2.resize(steps, (width, height), interpolation=cv2.INTER_LINEAR)
    before += _pixels(height, width)
    moved = cv2.remap(last, before, None, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if ratio is not None:
        moved -= np.float32(zero)
        moved *= cv2.resize(ratio, (width, height), interpolation=cv2.INTER_LINEAR)
        moved += np.float32(zero)
    return np.asarray(moved, dtype=np.float32)


@lru_cache(maxsize=8)
def _pixels(height: int, width: int) -> NDArray[np.float32]:
    """(height, width, 2) column and row of each pixel."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _robust_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Gain and offset of ``y = gain * x + offset`` by Cauchy-weighted least squares; misfit as a share of y's
    deviation.
    """
    weights = np.ones_like(x)
    gain, offset, misfit = 1.0, 0.0, 1.0
    total = median(np.abs(y - median(y))) + 1e-12
    for _ in range(_FIT_ITERATIONS):
        mass = weights.sum()
        mean_x, mean_y = weights @ x / mass, weights @ y / mass
        dx = x - mean_x
        variance = weights @ (dx * dx)
        if variance <= 1e-18 * mass:
            return 1.0, 0.0, 1.0
        gain = float(weights @ (dx * (y - mean_y)) / variance)
        offset = float(mean_y - gain * mean_x)
        residual = np.abs(y - gain * x - offset)
        middle = median(residual)
        misfit = middle / total
        weights = 1.0 / (1.0 + np.square(residual / (2.0 * middle + 1e-12)))
    return gain, offset, misfit
