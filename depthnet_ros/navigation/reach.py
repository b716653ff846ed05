"""How much of metric depth a planner can be told: by confidence, by the planner's ranges, by how far depth goes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.result import MetricDepth
from depthnet_ros.navigation.config import LEAST_RANGE_M, NavigationConfig
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.pixels import SHORT_OF_OBSTACLE
from depthnet_ros.navigation.scan import ScanProjector


def height_band(config: NavigationConfig) -> HeightBand:
    """The part of the configuration that says what an obstacle is."""
    return HeightBand(config.min_height_m, config.max_height_m, config.min_range_m, config.max_range_m)


def within_depth(
    config: NavigationConfig, max_depth_m: float, projector: ScanProjector
) -> tuple[NavigationConfig, str]:
    """The configuration with its ranges cut to where depth of no more than ``max_depth_m`` is told from free view; and
    why nothing can be said, where that is nowhere.
    """
    reach_m = projector.max_known_range_m(height_band(config), max_depth_m)
    if reach_m >= max(config.max_range_m, config.clearing_range_m):
        return config, ""
    if reach_m <= max(config.min_range_m, LEAST_RANGE_M):
        return config, f"depth up to scale.max_depth_m, {max_depth_m:g}, is all nearer than nav.min_range_m"
    cut = {name: min(getattr(config, name), reach_m) for name in ("max_range_m", "clearing_range_m")}
    return replace(config, **cut), ""


def free_share(metric: MetricDepth) -> float:
    """Share of the way to what is seen that may be cleared: up to one sigma before it, and no more than nine tenths; or
    as far as ``caution`` lets.

    What stands where depth errs by one sigma would else be cleared. Of inverse depth, whose sigma it is, the nearer end
    is ``depth / (1 + sigma)``.
    """
    if metric.estimate is None:
        return SHORT_OF_OBSTACLE
    sigma = math.hypot(metric.estimate.network_sigma, metric.estimate.relative_sigma)
    return min(SHORT_OF_OBSTACLE, 1.0 / (1.0 + sigma), SHORT_OF_OBSTACLE / metric.caution)


def trusted(metric: MetricDepth, depth_m: NDArray[np.float32], config: NavigationConfig) -> NDArray[np.bool_]:
    """(h, w) True where ``depth_m``, of ``metric`` on any grid, is confident; or is +Inf and, though not confident, no
    nearer than the planner's ranges by one sigma. Where things may be nearer (``caution``), +Inf is known by its
    distance alone.
    """
    known = ~(metric.unsure(*depth_m.shape, below=config.min_confidence) | np.isnan(depth_m))
    if (endless := np.isposinf(depth_m)).any():
        farthest_m = max(config.max_range_m, config.clearing_range_m)
        beyond = metric.beyond(*depth_m.shape, range_m=farthest_m)
        known = np.where(endless, beyond | (known & (metric.caution <= 1.0)), known)
    return np.asarray(known)
