"""One frame's metric depth as planners get it: the same steps in the node, in evaluations and in benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.result import MetricDepth
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.corridor import nearest_in_corridor
from depthnet_ros.navigation.pixels import ClassifiedPixels, PlacedPixels
from depthnet_ros.navigation.reach import free_share, height_band, trusted
from depthnet_ros.navigation.scan import PlanarScan, ScanProjector


@dataclass(frozen=True)
class PlannerView:
    """What a planner gets of one frame; each step is computed at most once, and only when it is asked for.

    Attributes:
        metric: metric depth of the frame.
        depth_m: (H, W) float32 of it on the projector's grid; also NaN where the image has no pixel.
        projector: of the camera on that grid, mounted as it is now.
        config: with the ranges that :func:`~depthnet_ros.navigation.reach.within_depth` has cut.
    """

    metric: MetricDepth
    depth_m: NDArray[np.float32]
    projector: ScanProjector
    config: NavigationConfig

    @cached_property
    def sigma_m(self) -> NDArray[np.float32]:
        """(H, W) standard deviation of depth in metres."""
        return self.metric.sigma_m(*self.depth_m.shape, depth_m=self.depth_m)

    @cached_property
    def placed(self) -> PlacedPixels:
        """Where the surface of each pixel is."""
        return self.projector.place(self.depth_m, height_band(self.config), self.sigma_m)

    @cached_property
    def pixels(self) -> ClassifiedPixels:
        """What each pixel is to a planner."""
        return self.placed.classified(trusted(self.metric, self.depth_m, self.config), self.metric.caution)

    @cached_property
    def scan(self) -> PlanarScan:
        """The nearest obstacle of each ray."""
        return self.projector.scan(self.pixels)

    def clearing_points(self) -> NDArray[np.float32]:
        """(N, 3) points in the optical frame that clear a planar map: :meth:`ScanProjector.clearing_points`."""
        range_m, height_m = self.config.clearing_range_m, height_band(self.config).middle_m
        return self.projector.clearing_points(self.scan, range_m, height_m, free_share(self.metric))

    def lines_of_sight(self) -> NDArray[np.float32]:
        """(N, 3) points in the optical frame that clear a map of voxels: :func:`lines_of_sight`."""
        share = free_share(self.metric)
        return lines_of_sight(self.projector, self.pixels, self.config.clearing_range_m, free_share=share)

    def nearest_m(self) -> float:
        """Distance of the nearest obstacle ahead: :func:`nearest_in_corridor`."""
        config = self.config
        return nearest_in_corridor(self.projector, self.pixels, config.corridor_width_m, config.corridor_offset_m)
