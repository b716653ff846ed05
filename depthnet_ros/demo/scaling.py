"""What the demo's robot knows of its own size. No ROS."""

from __future__ import annotations

from typing import Any

from depthnet_ros.sources import Source
from depthnet_ros.sources.scene import RenderedScene

SONAR_REMAP = ("anchors/range", "sonar")
"""The node's anchor topic, and the topic camera_replay publishes its sonar on."""
LEVEL_FRAME = "camera_level"
"""At the camera, x ahead and z up: of scans, and of RViz's view."""


def scale_parameters(source: Source) -> dict[str, Any]:
    """The node's parameters of this robot: metres only where something measures them.

    The rendered robot has a sonar and knows the height and pitch of its camera; of other sources nothing is known, so
    their depth stays relative.
    """
    if not isinstance(source, RenderedScene):
        return {}
    scene, sonar = source.renderer.scene, source.renderer.sonar
    return {
        "scale.mode": "anchors",
        "scale.sources": ["range"],
        "scale.use_tf": False,  # the sonar sits at the camera and nobody publishes that
        "scale.ground_height_m": scene.camera_height_m,
        "scale.ground_pitch_rad": scene.camera_pitch_rad,
        "scale.sensor_sigma_m": sonar.noise_m,
        "scale.sensor_sigma_relative": sonar.noise,
        "nav.scan_frame": LEVEL_FRAME,  # the camera looks down a little, a scan does not
    }
