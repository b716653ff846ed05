"""Pixels of a depth image as places over the ground, and what they are to a planner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.navigation.height_band import BandView, HeightBand
from depthnet_ros.navigation.patches import largest_where_filled

SHORT_OF_OBSTACLE = 0.9
"""Share of the way to what is seen that counts as free."""


@dataclass(frozen=True)
class PlacedPixels:
    """Where the surface of each pixel is, whatever its depth is worth; all arrays are (H, W).

    Attributes:
        depth_m: +Inf where nothing is near enough, -Inf where it is too near, NaN unknown.
        sigma_m: its standard deviation, or None.
        range_m: the same as horizontal range.
        in_band: measured, and within the heights of the band.
        standing: of these, what stands above the ground by one sigma of its own height.
        band: what counts as an obstacle.
        view: where the camera sees it.
    """

    depth_m: NDArray[np.float32]
    sigma_m: NDArray[np.float32] | None
    range_m: NDArray[np.float32]
    in_band: NDArray[np.bool_]
    standing: NDArray[np.bool_]
    band: HeightBand
    view: BandView

    def marking(self) -> NDArray[np.bool_]:
        """(H, W) what stands in the band no farther than its farthest range, however near."""
        return np.asarray(self.standing & (self.range_m <= self.band.max_range_m))

    def classified(self, known: NDArray[np.bool_], caution: float = 1.0) -> ClassifiedPixels:
        """What each pixel is to a planner.

        Args:
            known: (H, W) depth can be trusted (confident; or +Inf).
            caution: things may be as many times nearer as this, at least 1: what marks stays, but no pixel's line of
                sight is free beyond there.
        """
        band, no_range = self.band, np.isneginf(self.depth_m)
        sure = self.standing & known
        too_near = sure & (self.range_m < band.min_range_m) | no_range & known
        obstacle = sure & (self.range_m >= band.min_range_m) & (self.range_m <= band.max_range_m)
        inside = self.in_band | no_range
        if caution > 1.0:
            least_sigma_m = np.float32(1.0 - 1.0 / caution) * self.depth_m
            sigma_m = least_sigma_m if self.sigma_m is None else np.fmax(self.sigma_m, least_sigma_m)
            blocking, blocking_m, all_trusted = self._blocking(np.zeros_like(known), inside, sigma_m)
        else:
            blocking, blocking_m, all_trusted = self._blocking(known, inside, self.sigma_m)
        return ClassifiedPixels(
            depth_m=self.depth_m,
            range_m=self.range_m,
            known=known,
            obstacle=obstacle,
            too_near=too_near,
            blocking=blocking,
            blocking_m=blocking_m,
            all_trusted=all_trusted,
            band=band,
            view=self.view,
            caution=caution,
        )

    def _blocking(
        self, known: NDArray[np.bool_], inside: NDArray[np.bool_], sigma_m: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], bool]:
        """``blocking`` and ``blocking_m`` of :class:`ClassifiedPixels`, and whether none of them is in doubt.

        ``inside``: (H, W) in the band if its depth is right, or too near.
        """
        unsure = np.isfinite(self.depth_m) & ~known
        if sigma_m is None or not unsure.any():
            return inside, self.depth_m, True
        with np.errstate(invalid="ignore"):
            nearest_m = np.maximum(self.depth_m - sigma_m, self.view.entry_m)
            unsure &= (nearest_m <= self.view.exit_m) & (nearest_m <= self.depth_m + sigma_m)
        return inside | unsure, np.where(unsure, nearest_m, self.depth_m), False


@dataclass(frozen=True)
class ClassifiedPixels:
    """One depth image in a planner's eyes; all arrays are (H, W).

    Attributes:
        depth_m: +Inf where nothing is near enough, -Inf where it is too near, NaN unknown.
        range_m: the same as horizontal range.
        known: depth can be trusted (confident; or +Inf).
        obstacle: measured, in the band, between its ranges.
        too_near: measured, and nearer than the band's least range.
        blocking: in the way if its depth is right: the two above, at any distance, and all that may be in the band,
            be it unsure for its confidence or for its height.
        blocking_m: depth from which on a blocking pixel may be in the way: less than its depth by one sigma where that
            is not trusted.
        all_trusted: no pixel that is not trusted may be in the way; ``blocking_m`` is ``depth_m`` then.
        band: that they were classified by.
        view: where the camera sees it.
        caution: things may be as many times nearer as this.
    """

    depth_m: NDArray[np.float32]
    range_m: NDArray[np.float32]
    known: NDArray[np.bool_]
    obstacle: NDArray[np.bool_]
    too_near: NDArray[np.bool_]
    blocking: NDArray[np.bool_]
    blocking_m: NDArray[np.float32]
    all_trusted: bool
    band: HeightBand
    view: BandView
    caution: float = 1.0

    @cached_property
    def telling(self) -> NDArray[np.bool_]:
        """(H, W) pixels that say that their line of sight is free as far as it can matter."""
        with np.errstate(invalid="ignore"):
            through = self.depth_m >= np.float32(SHORT_OF_OBSTACLE * self.caution) * self.view.seen_to_m
        through &= self.known
        return np.asarray(np.logical_and(through, self.view.looks_far, out=through))

    @cached_property
    def hidden(self) -> NDArray[np.bool_] | None:
        """(H, W) pixels that look into the band and show nothing at all; None where every pixel shows something.

        Also where they look at its nearer part alone: those are the pixels of whatever is low and near.
        """
        if not np.isnan(self.depth_m.min()):
            return None
        return np.asarray(np.isnan(self.depth_m) & self.view.enters)

    def blocked(self, distance_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) of what blocks, the largest distance in its patch; +Inf elsewhere.

        Sure pixels need but be five above each other, a post, or beside each other, a rail or the edge of a table;
        unsure ones three by three: beside every edge there is a column of them.
        """
        blocking = self.blocking
        sure = blocking & self.known
        blocked = largest_where_filled(distance_m, sure, posts=True, rails=True)
        if np.array_equal(sure, blocking):
            return blocked
        return np.minimum(blocked, largest_where_filled(distance_m, blocking), out=blocked)
