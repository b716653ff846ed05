"""Optical flow between the eyes of a stereo pair."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError


class Flow(Protocol):
    """Dense flow: ``flow(first, second)[y, x]`` is the (dx, dy) in pixels from ``first`` to ``second``."""

    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 2) float32 of two (H, W, 3) uint8 RGB images."""
        ...


class DisFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016) of OpenCV: the default, at home on a CPU."""

    def __init__(self, full_resolution: bool = False) -> None:
        """``full_resolution``: the finest step is the picture itself, not half of it: 3 to 4 times the time."""
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        if full_resolution:
            self._dis.setFinestScale(0)

    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`Flow`."""
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
        return np.asarray(self._dis.calc(grey[0], grey[1], None), dtype=np.float32)


def open_flow(name: str) -> Flow:
    """``dis``; ``dis_full``, in full resolution; or ``module:attribute`` of what gives a :class:`Flow` when called.

    So a learned flow (RAFT, GMFlow) that is installed can take the place of the default.

    Raises:
        ConfigError: there is no such module or attribute, or it gives no flow when called without arguments.
    """
    if name in ("dis", "dis_full"):
        return DisFlow(full_resolution=name == "dis_full")
    expected = f"flow must be dis, dis_full or module:attribute of what gives a flow when called, got {name!r}"
    module, _, attribute = name.partition(":")
    try:
        flow = getattr(import_module(module), attribute)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{expected}: {error}") from error
    if not callable(flow):
        raise ConfigError(f"{expected}, which gives {flow!r:.80}")
    return cast(Flow, flow)
