"""A frame on its way from the camera to the network and on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.camera_input import CameraFrame


@dataclass(frozen=True)
class PreparedFrame:
    """A frame ready for the network.

    ``wanted``: the topics that somebody listened to when its turn came; asking takes long enough to do it once a frame.
    ``rgb``: (H, W, 3) uint8, rectified where that was asked for; then ``valid_mask`` is (H, W), False where there is no
    picture. ``camera``: its intrinsics, None without usable camera_info. ``stage_s``: seconds that it waited for its
    turn, and that decoding and rectifying took.
    """

    frame: CameraFrame
    wanted: frozenset[str]
    rgb: NDArray[np.uint8]
    camera: PinholeCamera | None = None
    valid_mask: NDArray[np.bool_] | None = None
    stage_s: Mapping[str, float] = field(default_factory=dict)
