"""Depth and its reference as a planner would get them, and how the two differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import NavigationConfig


class ObstacleView:
    """Placeholder until geometry.scan is there."""

    def __init__(self, navigation: NavigationConfig) -> None:
        self._navigation = navigation

    def rates(
        self, depth_m: NDArray[np.float32], reference_m: NDArray[np.float32], camera: PinholeCamera
    ) -> dict[str, float | None]:
        return {}

    def summary(self, frames: Columns) -> dict[str, Any] | None:
        return None
