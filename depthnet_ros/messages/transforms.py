"""Transforms as messages hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.metric_scale.pose import pose_from_quaternion


def pose_of(transform: Any) -> NDArray[np.float64]:
    """(4, 4) of a geometry_msgs/Transform, translation in metres.

    Raises:
        ConfigError: the quaternion has no length or a number is not finite.
    """
    t, q = transform.translation, transform.rotation
    return pose_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
