"""From anchors to observations: the network's value at each anchor, and how far the two may differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.masks import resized_mask
from depthnet_ros.metric_scale.anchors import PointAnchors
from depthnet_ros.metric_scale.cone import ConeAnchor, Reading
from depthnet_ros.metric_scale.config import AnchorKind
from depthnet_ros.metric_scale.evidence import Cone, Floor, Points
from depthnet_ros.metric_scale.fit import Observations
from depthnet_ros.metric_scale.ground import GroundView

EFFECTIVE = {AnchorKind.RANGE: 1.0, AnchorKind.SCAN: 15.0, AnchorKind.POINTS: 40.0, AnchorKind.DEPTH: 40.0}
"""Independent observations that one frame of a sensor can be worth: a network errs by surfaces, not by pixels."""
_WEIGHED_EFFECTIVE = {AnchorKind.SCAN: 6.0, AnchorKind.POINTS: 20.0, AnchorKind.DEPTH: 20.0}
"""The same where hypotheses are weighed (:mod:`depthnet_ros.metric_scale.view_depth`)."""
_WEIGHED_POINTS = 64  # of a sensor, that hypotheses are weighed by: for the time it takes
_SIGMA_FLOOR = 0.3  # of the anchors' median inverse depth: far anchors must not rule by their small absolute error
_EDGE_SHARE = 0.5  # of the step between the network's pixels about an anchor, that counts as standard deviation
_MOST_SIGMA = 0.15  # relative error of a network that the gate for outliers goes by, at most
_CENSORED_SIGMA = 0.1  # relative standard deviation of a range finder's limit
_LEAST_SHOWN = 0.5  # share of a cone or of the ground that the picture must show
_LEAST_SEEN = 0.1  # share of the picture that a mask must leave, or it is passed over
_CLEARLY = 1.3  # times as near as a sensor's limit, which hears all that is within it


def sample(
    grid: NDArray[np.float32], u_px: NDArray[np.float64], v_px: NDArray[np.float64], source_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bilinear values of a (h, w) grid at pixels of an image of (height, width), and the step over their four
    corners.
    """
    height, width = grid.shape
    x = np.clip((u_px + 0.5) * (width / source_size[1]) - 0.5, 0.0, width - 1.001)
    y = np.clip((v_px + 0.5) * (height / source_size[0]) - 0.5, 0.0, height - 1.001)
    column, row = x.astype(np.intp), y.astype(np.intp)
    right, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    fx, fy = x - column, y - row
    corners = np.stack((grid[row, column], grid[row, right], grid[below, column], grid[below, right])).astype(
        np.float64
    )
    top, bottom = corners[0] + fx * (corners[1] - corners[0]), corners[2] + fx * (corners[3] - corners[2])
    return top + fy * (bottom - top), np.ptp(corners, axis=0)


class SeenMask:
    """Where something is learnt from a picture, on the network's grid; the last mask of the image is remembered."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.bool_], tuple[int, ...], NDArray[np.bool_] | None] | None = None

    def on_grid(
        self, seen: NDArray[np.bool_] | None, unknown: NDArray[np.bool_] | None, shape: tuple[int, ...]
    ) -> NDArray[np.bool_] | None:
        """(h, w) False where nothing is learnt; None where that is nowhere, or all but everywhere.

        Args:
            seen: (H, W) False where the image shows nothing, or None.
            unknown: (h, w) True where the network knows nothing, or None: what fills these holes is no depth.
            shape: (h, w).
        """
        small = None if seen is None else self._resized(seen, shape)
        if unknown is None:
            return small
        return ~unknown if small is None else small & ~unknown

    def _resized(self, seen: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        if self._last is None or self._last[0] is not seen or self._last[1] != shape:
            small = resized_mask(seen, *shape)
            self._last = seen, shape, small if _LEAST_SEEN < small.mean() < 1.0 else None
        return self._last[2]


class Observer:
    """Collects observations of one frame; made anew for each.

    Attributes:
        spans: rows of :meth:`observations` that came from each source.
        anchors: point anchors that are used.
        points, cones: the same observations, as :class:`depthnet_ros.metric_scale.evidence.Evidence` has them.
        down: towards the ground in the optical frame, as a level scanner tells; or None.
        spread_out: some come from a sensor whose points lie all over the image.
        looked_at: sources of all anchors, used or not.
        broken: for each range finder the limit that the estimate clearly breaks; None where it breaks none.
    """

    def __init__(
        self,
        grid: NDArray[np.float32],
        source_size: tuple[int, int],
        estimate: tuple[float, float] | None,
        network_sigma: float,
        seen: NDArray[np.bool_] | None = None,
    ) -> None:
        """``estimate``: scale and shift on ``grid``, None where unknown; ``network_sigma``: relative error of the
        network; ``seen``: False on the grid where the picture shows nothing, and what is measured there is left out.
        """
        self._grid, self._size, self._estimate = grid, source_size, estimate
        self._seen = seen
        self._sigma = network_sigma
        self._rows: list[tuple[NDArray[np.float64], ...]] = []
        self._count = 0
        self.anchors: list[PointAnchors] = []
        self.points: list[Points] = []
        self.cones: list[Cone] = []
        self.spread_out = False
        self.down: NDArray[np.float64] | None = None
        self.spans: dict[str, slice] = {}
        self.looked_at: list[str] = []
        self.broken: dict[str, Reading | None] = {}

    @property
    def measured(self) -> bool:
        """A sensor measured; limits of a range finder are inequalities."""
        return bool(self.points) or any(cone.measured for cone in self.cones)

    def add_points(self, anchors: PointAnchors, use: bool = True) -> float:
        """Point anchors: one row each. Returns their mean relative inverse depth, NaN where none is left;
        ``use=False``: look only.
        """
        if not (shown := self._shown(anchors.u_px, anchors.v_px)).all():
            anchors = anchors.only(np.flatnonzero(shown))
        if len(anchors) == 0:
            return math.nan
        relative, step = sample(self._grid, anchors.u_px, anchors.v_px, self._size)
        self.looked_at.append(anchors.source)
        if not use:
            return float(relative.mean())
        self._append(anchors.source, anchors.kind, relative, step, anchors.inverse_depth, anchors.variance)
        self.anchors.append(anchors)
        some = np.linspace(0, len(anchors) - 1, min(len(anchors), _WEIGHED_POINTS)).astype(np.intp)
        worth = min(_WEIGHED_EFFECTIVE[anchors.kind], float(len(anchors)))
        self.points.append(Points(relative[some], anchors.inverse_depth[some], step[some], worth))
        self.spread_out |= anchors.kind is not AnchorKind.SCAN
        self.down = self.down if anchors.down is None else anchors.down
        return float(relative.mean())

    def add_cone(self, cone: ConeAnchor, use: bool = True) -> float:
        """A range finder: one row for the nearest surface. A censored reading is no number and gives none, but is
        weighed where the estimate breaks it.

        Returns the nearest surface's relative inverse depth, NaN where the picture shows too little of the cone.
        ``use=False``: look, but take nothing from it.
        """
        shown = self._shown(cone.u_px, cone.v_px)
        if shown.mean() < _LEAST_SHOWN:
            return math.nan
        cone = cone if shown.all() else cone.only(np.flatnonzero(shown))
        relative, _ = sample(self._grid, cone.u_px, cone.v_px, self._size)
        scale, shift = self._estimate or (1.0, 0.0)
        middle, top = cone.resolve(relative, scale, shift)
        value = float(relative[middle])
        self.looked_at.append(cone.source)
        limit, variance = float(cone.inverse_depth[middle]), float(cone.variance[middle])
        if not use:
            return value
        if cone.reading is not Reading.MEASURED:
            if self._estimate is not None:
                ratio = (scale * value + shift) / limit
                broken = ratio > _CLEARLY if cone.reading is Reading.FARTHER else ratio < 1.0 / _CLEARLY
                self.broken[cone.source] = cone.reading if broken else None
            if self._estimate is not None or cone.reading is Reading.NEARER:
                self.cones.append(Cone(relative, cone.inverse_depth, _CENSORED_SIGMA, cone.reading))
            return value
        self.broken[cone.source] = None
        step = np.array([float(np.ptp(relative[top]))])
        row = (np.array([value]), step, np.array([limit]), np.array([variance]))
        self._append(cone.source, AnchorKind.RANGE, *row)
        self.cones.append(Cone(relative, cone.inverse_depth, float(np.sqrt(variance)) / limit))
        return value

    def floor(self, view: GroundView, height_known: bool = True) -> Floor | None:
        """What the prediction shows where the ground would be; None where that is not in the picture."""
        shown = self._shown(view.u_px, view.v_px)
        if shown.mean() < _LEAST_SHOWN:
            return None
        relative, _ = sample(self._grid, view.u_px[shown], view.v_px[shown], self._size)
        plane, inverse = view.plane, view.inverse_depth[shown]
        tilt = plane.tilt_sigma_rad / plane.height_m
        sigma = np.hypot(plane.height_sigma, tilt / inverse)
        return Floor(relative, inverse, sigma, height_known, plane.height_sigma, tilt)

    def _shown(self, u_px: NDArray[np.float64], v_px: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether the picture shows something at these pixels."""
        if self._seen is None:
            return np.ones(len(u_px), dtype=np.bool_)
        height, width = self._seen.shape
        row = np.clip((v_px + 0.5) * (height / self._size[0]), 0, height - 1).astype(np.intp)
        column = np.clip((u_px + 0.5) * (width / self._size[1]), 0, width - 1).astype(np.intp)
        return np.asarray(self._seen[row, column])

    def observations(self) -> Observations | None:
        """All rows so far, or None without any."""
        if not self._rows:
            return None
        relative, step, inverse, variance, effective = (
            np.concatenate(column) for column in zip(*self._rows, strict=True)
        )
        floor = _SIGMA_FLOOR * float(np.median(inverse))
        scale = self._estimate[0] if self._estimate else 0.0
        # The gate for outliers must not widen with the residuals, or it lets in what widens them; certainty does
        # shrink.
        gate = min(self._sigma, _MOST_SIGMA)
        effective = effective * (gate / self._sigma) ** 2
        sigma = np.sqrt(variance + (gate * np.maximum(inverse, floor)) ** 2 + (_EDGE_SHARE * scale * step) ** 2)
        return Observations(relative, inverse, sigma, effective)

    def _append(
        self,
        source: str,
        kind: AnchorKind,
        relative: NDArray[np.float64],
        step: NDArray[np.float64],
        inverse: NDArray[np.float64],
        variance: NDArray[np.float64],
    ) -> None:
        count = len(relative)
        effective = np.full(count, min(1.0, EFFECTIVE[kind] / count))
        self._rows.append((relative, step, inverse, variance, effective))
        self.spans[source] = slice(self._count, self._count + count)
        self._count += count


def thin(batches: Sequence[PointAnchors], limit: int) -> list[PointAnchors]:
    """No more than ``limit`` anchors in all, each sensor cut by the same share."""
    total = sum(len(batch) for batch in batches)
    if total <= limit:
        return list(batches)
    return [batch.thinned(max(3, len(batch) * limit // total)) for batch in batches]
