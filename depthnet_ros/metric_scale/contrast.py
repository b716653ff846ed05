"""Whether a picture shows anything: of a covered lens, or of a bare wall, a network makes up what views mostly look
like, a floor among it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SMALL_SIZE = (160, 120)
"""Width and height of the grey picture in which edges, and the image's motion, are looked for."""
_EDGE = 32
"""Sum of the two Sobel derivatives: four of 256 greys from a pixel to the next. Shading and noise have less."""
_LEAST_EDGES = 0.003
"""Share of pixels. A machine part on an empty table has .018, rooms and streets have .13 and more."""


def small_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(120, 160) grey of an (H, W, 3) RGB or (H, W) image."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)  # first: one channel to resize
    return np.asarray(cv2.resize(grey, SMALL_SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shows_nothing(grey: NDArray[np.uint8], seen: NDArray[np.bool_] | None = None) -> str:
    """Why nothing can be told from a picture; empty if it has edges.

    Args:
        grey: of :func:`small_grey`.
        seen: (H, W) False where the image shows nothing, at a rectified one's borders say.
    """
    across, down = (cv2.Sobel(grey, cv2.CV_16S, *order) for order in ((1, 0), (0, 1)))
    edges = cv2.add(cv2.absdiff(across, 0.0), cv2.absdiff(down, 0.0)) > _EDGE
    total = edges.size
    if seen is not None:
        shown = cv2.resize(seen.view(np.uint8), SMALL_SIZE, interpolation=cv2.INTER_NEAREST)
        edges &= cv2.erode(shown, np.ones((3, 3), np.uint8)).view(np.bool_)
        total = max(cv2.countNonZero(shown), 1)
    share = np.count_nonzero(edges) / total
    if share >= _LEAST_EDGES:
        return ""
    return (
        f"the picture shows hardly anything (edges in {share:.2%} of it, mean grey {float(grey.mean()):.0f} of 255): a "
        "covered lens, darkness, or a bare surface before it"
    )
