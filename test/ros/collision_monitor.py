"""A small consumer that does what Nav2's collision monitor (jazzy) does with its sources and its polygons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import LaserScan, PointCloud2, Range

from depthnet_ros.messages.stamps import stamp_ns

KINDS = {"scan": LaserScan, "pointcloud": PointCloud2, "range": Range}


class CollisionMonitor:
    """Settings as in Nav2's parameter file; ``base_from`` stands for TF."""

    def __init__(self, settings: Mapping[str, Any], base_from: Mapping[str, NDArray[np.float64]]) -> None:
        self.settings, self._base_from = settings, base_from

    def action(self, newest: Mapping[str, Any], now_s: float) -> str:
        """``""``, the name of the polygon that acts, or ``invalid source``.

        Args:
            newest: the last message of each topic.
            now_s: Nav2's clock.
        """
        found: dict[str, NDArray[np.float64]] = {}
        for name in self.settings["observation_sources"]:
            source = self.settings[name]
            assert set(source) <= {
                "type", "topic", "enabled", "source_timeout", "obstacles_angle", "min_height", "max_height", "min_range"
            }  # fmt: skip
            timeout_s = source.get("source_timeout", self.settings["source_timeout"])
            points = self._points(source, newest.get(source["topic"]), now_s, timeout_s)
            if points is None and timeout_s != 0.0:
                return "invalid source"
            found[name] = np.empty((0, 3)) if points is None else points
        for name in self.settings["polygons"]:
            polygon = self.settings[name]
            corners = np.array(json.loads(polygon["points"]), np.float32)
            inside = sum(
                cv2.pointPolygonTest(corners, (float(x), float(y)), False) > 0
                for source in polygon.get("sources_names", self.settings["observation_sources"])
                for x, y in found[source][:, :2][np.isfinite(found[source][:, :2]).all(axis=1)]
            )
            if inside >= polygon["min_points"]:
                return str(name)
        return ""

    def _points(self, source: dict[str, Any], message: Any, now_s: float, timeout_s: float) -> NDArray | None:
        """(N, 3) points in the base's frame; None where Nav2's ``getData`` returns false."""
        if message is None:
            return None
        assert isinstance(message, KINDS[source["type"]])
        if timeout_s != 0.0 and now_s - 1e-9 * stamp_ns(message.header.stamp) > timeout_s:
            return None
        pose = self._base_from.get(message.header.frame_id)
        if isinstance(message, Range):
            if message.range < message.min_range or message.range > message.max_range:
                return None  # +Inf and -Inf too; NaN is neither
            half = 0.5 * message.field_of_view
            angles = np.append(np.arange(-half, half, source["obstacles_angle"]), half)
            points = _polar(np.full(len(angles), message.range), angles)
        elif isinstance(message, LaserScan):
            ranges = np.array(message.ranges)
            angles = message.angle_min + message.angle_increment * np.arange(len(ranges))
            keep = (ranges >= message.range_min) & (ranges <= message.range_max)
            points = _polar(ranges[keep], angles[keep])
        else:
            points = np.frombuffer(message.data, "<f4").reshape(-1, message.point_step // 4)[:, :3].astype(np.float64)
            points = points[~(np.linalg.norm(points, axis=1) < source.get("min_range", 0.0))]
        if pose is None:
            return None  # no transform
        points = points @ pose[:3, :3].T + pose[:3, 3]
        if isinstance(message, PointCloud2):
            low, high = source.get("min_height", 0.05), source.get("max_height", 0.5)
            points = points[(points[:, 2] >= low) & (points[:, 2] <= high)]
        return np.asarray(points)


def _polar(ranges: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack((ranges * np.cos(angles), ranges * np.sin(angles), np.zeros(len(ranges))), axis=1)
