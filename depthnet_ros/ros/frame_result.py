"""What is known of one frame when its outputs are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale.result import MetricDepth


@dataclass(frozen=True)
class FrameResult:
    """All that is known of one frame when it is published.

    ``rgb``: (H, W, 3) uint8, rectified where that was asked for. ``camera`` is None without usable camera_info.
    """

    header: Header
    rgb: NDArray[np.uint8]
    camera: PinholeCamera | None
    prediction: DepthPrediction
    metric: MetricDepth
