"""How far a planner can be told anything: by its own ranges, and by how far depth goes."""

from __future__ import annotations

from dataclasses import replace

from depthnet_ros.geometry.height_band import HeightBand
from depthnet_ros.geometry.scan import ScanProjector
from depthnet_ros.metric_scale.config import NavigationConfig


def height_band(config: NavigationConfig) -> HeightBand:
    """The part of the configuration that says what an obstacle is."""
    return HeightBand(config.min_height_m, config.max_height_m, config.min_range_m, config.max_range_m)


def within_depth(
    config: NavigationConfig, max_depth_m: float, projector: ScanProjector
) -> tuple[NavigationConfig, str]:
    """The configuration with its ranges cut to where depth of no more than ``max_depth_m`` is told from free view; and
    why nothing can be said, where that is nowhere.
    """
    reach_m = max_depth_m * projector.band_view(height_band(config)).range_per_depth
    if reach_m >= max(config.max_range_m, config.clearing_range_m):
        return config, ""
    if reach_m <= config.min_range_m:
        return config, f"depth up to scale.max_depth_m, {max_depth_m:g}, is all nearer than nav.min_range_m"
    cut = {name: min(getattr(config, name), reach_m) for name in ("max_range_m", "clearing_range_m")}
    return replace(config, **cut), ""
