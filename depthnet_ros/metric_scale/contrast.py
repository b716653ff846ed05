"""Whether a picture shows anything, and where: of a covered lens, or of a bare wall, a network makes up what views
mostly look like, a floor among it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.masks import resized_mask
from depthnet_ros.metric_scale.robust import quantiles

SMALL_SIZE = (160, 120)
"""Width and height of the grey picture in which edges, and the image's motion, are looked for."""
_EDGE = 32
"""Sum of the two Sobel derivatives: four of 256 greys from a pixel to the next. Shading and noise have less."""
_LEAST_EDGES = 0.003
"""Share of pixels. A machine part on an empty table has .018, rooms and streets have .13 and more."""
_CELL_PX = 20
"""Side of the cells of the small picture that are bare or not."""
_BARE_EDGES = 0.005  # share of a cell's pixels, below which it is bare
_RANGE = (0.02, 0.98)  # quantiles of an image's greys, between which its range lies
_FULL_RANGE = 160.0  # greys of that range, by daylight: in the dark edges are fainter ...
_LEAST_RANGE = 0.3  # ... and noise is not: share of it below which they are looked for no more finely
_CELL_SHOWN = 0.5  # share of a cell that must show something, or it counts as outside
_LARGE_PATCH = 0.25
"""Share of the picture. Rooms, corridors and streets have patches of up to .21, a white wall that a robot drives up to
has .29 from three metres on."""


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
    edges, shown = _edges(grey, seen)
    total = edges.size if shown is None else max(cv2.countNonZero(shown), 1)
    share = np.count_nonzero(edges) / total
    if share >= _LEAST_EDGES:
        return ""
    return (
        f"the image shows hardly anything (edges in {share:.2%} of it, mean grey {float(grey.mean()):.0f} of 255): a "
        "covered lens, darkness, or a bare surface before it"
    )


def bare_patch(grey: NDArray[np.uint8], seen: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
    """(rows, columns) of cells, True in the largest connected part of a picture that has no edges; None if that is not
    large. Arguments as of :func:`shows_nothing`.
    """
    some = grey[::4, ::4] if seen is None else grey[::4, ::4][_shown(seen)[::4, ::4] > 0]
    if not some.size:
        return None
    dark, bright = quantiles(some.astype(np.float32), _RANGE)
    edges, shown = _edges(grey, seen, _EDGE * min(max((bright - dark) / _FULL_RANGE, _LEAST_RANGE), 1.0))
    grid = (SMALL_SIZE[0] // _CELL_PX, SMALL_SIZE[1] // _CELL_PX)
    cells = cv2.resize(edges.astype(np.float32), grid, interpolation=cv2.INTER_AREA) < _BARE_EDGES
    total = cells.size
    if shown is not None:
        in_view = cv2.resize(shown.astype(np.float32), grid, interpolation=cv2.INTER_AREA) > _CELL_SHOWN
        cells, total = cells & in_view, max(int(np.count_nonzero(in_view)), 1)
    if np.count_nonzero(cells) < _LARGE_PATCH * total:
        return None
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(cells.astype(np.uint8), connectivity=4)
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return labels == largest if statistics[largest, cv2.CC_STAT_AREA] >= _LARGE_PATCH * total else None


def _edges(
    grey: NDArray[np.uint8], seen: NDArray[np.bool_] | None, least: float = _EDGE
) -> tuple[NDArray[np.bool_], NDArray[np.uint8] | None]:
    """(120, 160) True at edges of more than ``least``; and where the picture shows something, None: everywhere."""
    across, down = (cv2.Sobel(grey, cv2.CV_16S, *order) for order in ((1, 0), (0, 1)))
    edges = cv2.add(cv2.absdiff(across, 0.0), cv2.absdiff(down, 0.0)) > least
    if seen is None:
        return edges, None
    shown = _shown(seen)
    return edges & cv2.erode(shown, np.ones((3, 3), np.uint8)).view(np.bool_), shown


def _shown(seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(120, 160) 1 where the picture shows something, else 0."""
    return resized_mask(seen, *SMALL_SIZE[::-1]).view(np.uint8)
