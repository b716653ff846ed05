"""How far objects are: one distance from the depth inside a box, against the reference, by class and distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.bands import BANDS_M, band_name

PERCENTILE = 20.0
"""The front of an object is near the low end of the depths in its box; lower still are outliers."""
INNER_SHARE = 0.7
"""Of the box's sides; the margin shows what is behind and the ground before."""
MIN_PIXELS = 12
_METHOD = (
    f"Distance of an object: the {PERCENTILE:g}th percentile of depth in the inner {INNER_SHARE:.0%} of its box, in "
    "the estimate and in the reference alike; from a label's own position where the reference is silent."
)


@dataclass(frozen=True)
class Box:
    """An object in the image; pixels from the centre of the top left one. ``depth_m``: of its label, NaN if unknown."""

    name: str
    left_px: float
    top_px: float
    right_px: float
    bottom_px: float
    score: float = 1.0
    depth_m: float = float("nan")


@dataclass(frozen=True)
class ObjectDistance:
    """One object's distance along the optical axis in metres, estimated and true."""

    stamp_ns: int
    name: str
    estimate_m: float
    reference_m: float


def box_depth(depth_m: NDArray[np.floating], box: Box, image_size: tuple[int, int]) -> float:
    """A robust depth of what fills a box; NaN where fewer than :data:`MIN_PIXELS` of it are known.

    Args:
        depth_m: (h, w) metres; values that are not finite are unknown.
        box: in pixels of the image.
        image_size: (height, width) of the image, which ``depth_m`` covers at any size.
    """
    scale_y, scale_x = depth_m.shape[0] / image_size[0], depth_m.shape[1] / image_size[1]
    margin_x = 0.5 * (1 - INNER_SHARE) * (box.right_px - box.left_px)
    margin_y = 0.5 * (1 - INNER_SHARE) * (box.bottom_px - box.top_px)
    columns = _range(box.left_px + margin_x, box.right_px - margin_x, scale_x, depth_m.shape[1])
    rows = _range(box.top_px + margin_y, box.bottom_px - margin_y, scale_y, depth_m.shape[0])
    inside = depth_m[rows, columns]
    inside = inside[np.isfinite(inside)]
    return float(np.percentile(inside, PERCENTILE)) if inside.size >= MIN_PIXELS else float("nan")


def _range(low: float, high: float, scale: float, size: int) -> slice:
    first, last = ((value + 0.5) * scale - 0.5 for value in (low, high))
    return slice(max(0, int(np.ceil(first))), max(0, min(size, int(np.floor(last)) + 1)))


class ObjectTally:
    """Collects objects over frames: a few numbers each."""

    def __init__(self) -> None:
        self.distances: list[ObjectDistance] = []
        self.unmeasured = 0
        """Boxes for which estimate or truth were unknown."""

    def add(
        self,
        stamp_ns: int,
        boxes: tuple[Box, ...],
        depth_m: NDArray[np.floating],
        reference_m: NDArray[np.floating],
        image_size: tuple[int, int],
    ) -> None:
        """Take in one frame's boxes.

        Args:
            stamp_ns: of the frame.
            boxes: in pixels of the image.
            depth_m: (h, w) estimated metres, NaN where unknown, of any size.
            reference_m: (h, w) true metres, NaN where unknown, of any size.
            image_size: (height, width) of the image in pixels.
        """
        for box in boxes:
            estimate = box_depth(depth_m, box, image_size)
            truth = box_depth(reference_m, box, image_size)
            truth = box.depth_m if np.isnan(truth) else truth
            if np.isnan(estimate) or np.isnan(truth):
                self.unmeasured += 1
            else:
                self.distances.append(ObjectDistance(stamp_ns, box.name, estimate, truth))

    def to_dict(self) -> dict[str, Any] | None:
        """Errors by class and by band of true distance; None without any object.

        ``unmeasured`` and ``beyond`` count those that are in no class: nothing known, or beyond the last band.
        """
        if not self.distances and not self.unmeasured:
            return None
        truth = np.array([item.reference_m for item in self.distances])
        error = np.array([item.estimate_m for item in self.distances]) - truth
        names = np.array([item.name for item in self.distances])
        rows = []
        for name in sorted(set(names.tolist())):
            for index, (low, high) in enumerate(BANDS_M):
                chosen = (names == name) & (truth >= low) & (truth < high)
                if chosen.any():
                    relative = error[chosen] / truth[chosen]
                    rows.append(
                        {
                            "name": name,
                            "band": band_name(index),
                            "count": int(chosen.sum()),
                            "abs_rel": float(np.abs(relative).mean()),
                            "bias": float(relative.mean()),
                            "median_error_m": float(np.median(np.abs(error[chosen]))),
                        }
                    )
        beyond = int(np.count_nonzero(truth >= BANDS_M[-1][1]))
        return {"method": _METHOD, "unmeasured": self.unmeasured, "beyond": beyond, "classes": rows}
