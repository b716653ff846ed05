"""Metric scale of one camera in the node: configuration from parameters, state to diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale.config import MetricScaleConfig, from_parameters
from depthnet_ros.metric_scale.result import MetricDepth
from depthnet_ros.metric_scale.scaler import MetricScaler
from depthnet_ros.ros import diagnostics


class MetricChannel:
    """One camera's :class:`MetricScaler` and what belongs to it on the graph."""

    def __init__(self, node: LifecycleNode, prefix: str, parameters: Mapping[str, Any]) -> None:
        self._scaler = MetricScaler(from_parameters(MetricScaleConfig, "scale.", parameters))
        self._last: MetricDepth | None = None
        self._reset_wanted = False

    def on_parameters(self, parameters: Mapping[str, Any], changed: frozenset[str]) -> None:
        """Take over changed parameters of scale; what was learnt about scale is learnt anew."""
        if any(name.startswith("scale.") for name in changed):
            self._scaler = MetricScaler(from_parameters(MetricScaleConfig, "scale.", parameters), self._scaler.camera)

    def reset(self) -> None:
        """Time jumped. Done by the worker before its next frame, which may be under way."""
        self._reset_wanted = True

    def wants_anything(self) -> bool:
        """Somebody listens to an output of metric scale itself."""
        return False

    def update(
        self, prediction: DepthPrediction, camera: PinholeCamera | None, rgb: NDArray[np.uint8], stamp_ns: int
    ) -> MetricDepth:
        """Scale one frame; the answer's ``published`` says whether metres may go out."""
        scaler = self._scaler
        if self._reset_wanted:
            self._reset_wanted = False
            scaler.reset()
        if camera is not None:
            scaler.set_camera(camera)
        self._last = scaler.update(prediction, 1e-9 * stamp_ns, rgb)
        return self._last

    def findings(self) -> list[tuple[bytes, str]]:
        """Why metric topics are silent, for diagnostics."""
        if self._last is None or not self._last.message:
            return []
        level = diagnostics.OK if self._last.published else diagnostics.WARN
        return [(level, self._last.message)]

    def values(self) -> dict[str, Any]:
        """State of the scale, for diagnostics."""
        if self._last is None:
            return {}
        values: dict[str, Any] = {"scale_state": self._last.state.value, "metric_published": self._last.published}
        if self._last.estimate is not None:
            values |= {"scale": self._last.estimate.scale, "shift": self._last.estimate.shift}
        return values

    def destroy(self) -> None:
        """Take what is its own off the graph."""
