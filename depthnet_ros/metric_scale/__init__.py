"""Metric scale from the robot's own sensors: anchors, robust fit, filter with states, uncertainty. No ROS, no torch."""

from depthnet_ros.metric_scale.anchors import (
    AnchorError,
    OutOfViewError,
    PointAnchors,
    ScanGeometry,
    SensorNoise,
    from_depth_image,
    from_points,
    from_scan,
)
from depthnet_ros.metric_scale.cone import Anchor, ConeAnchor, RangeFinder, from_range
from depthnet_ros.metric_scale.config import (
    SOURCES,
    AnchorKind,
    MetricScaleConfig,
    ScaleMode,
    ScaleState,
)
from depthnet_ros.metric_scale.ground import GroundPlane
from depthnet_ros.metric_scale.pose import mounted, optical_from_sensor, pose_from_quaternion
from depthnet_ros.metric_scale.result import MetricDepth, ScaleEstimate
from depthnet_ros.metric_scale.scaler import MetricScaler

__all__ = [
    "SOURCES",
    "Anchor",
    "AnchorError",
    "AnchorKind",
    "ConeAnchor",
    "GroundPlane",
    "MetricDepth",
    "MetricScaleConfig",
    "MetricScaler",
    "OutOfViewError",
    "PointAnchors",
    "RangeFinder",
    "ScaleEstimate",
    "ScaleMode",
    "ScaleState",
    "ScanGeometry",
    "SensorNoise",
    "from_depth_image",
    "from_points",
    "from_range",
    "from_scan",
    "mounted",
    "optical_from_sensor",
    "pose_from_quaternion",
]
