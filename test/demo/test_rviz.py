"""The RViz view asks for topics that exist and for a reliability that always matches, and shows what is ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthnet_ros.demo.scaling import LEVEL_FRAME
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.camera_outputs import METRIC_TOPICS, RELATIVE_TOPICS
from depthnet_ros.ros.navigation_outputs import NAVIGATION_TOPICS
from depthnet_ros.simulation import Renderer, create_scene

VIEW = Path(__file__).resolve().parents[2] / "rviz" / "depthnet.rviz"
FROM_REPLAY = {"image", "sonar"}


def manager() -> dict[str, Any]:
    return yaml.safe_load(VIEW.read_text())["Visualization Manager"]


def test_topics() -> None:
    topics = {
        display["Topic"]["Value"].removeprefix("/"): display for display in manager()["Displays"] if "Topic" in display
    }
    assert topics.keys() <= {*RELATIVE_TOPICS, *METRIC_TOPICS, *NAVIGATION_TOPICS, *FROM_REPLAY}
    assert {"image", "depth/preview", "points"} <= topics.keys()
    assert all(display["Topic"]["Reliability Policy"] == "Best Effort" for display in topics.values())


def test_the_opening_view_stands_behind_the_camera_and_holds_the_room() -> None:
    """By the formula of RViz's OrbitViewController::updateCamera, from which the follower is derived."""
    view = manager()["Views"]["Current"]
    assert manager()["Global Options"]["Fixed Frame"] == view["Target Frame"] == LEVEL_FRAME
    yaw, pitch, focus = view["Yaw"], view["Pitch"], np.array([view["Focal Point"][axis] for axis in "XYZ"])
    back = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    eye = focus + view["Distance"] * back
    assert eye[0] < -1.0 and abs(eye[1]) < 0.1 and eye[2] > 0.5, "behind the camera, above it, in x ahead and z up"
    camera, scene = PinholeCamera.from_fov(64, 48, 1.2), create_scene("room", 0)
    optical = camera.unproject(Renderer(scene, camera).frame(2.0).depth_m).reshape(-1, 3)
    sine, cosine = np.sin(scene.camera_pitch_rad), np.cos(scene.camera_pitch_rad)
    right, down, ahead = optical.T
    points = np.stack((cosine * ahead - sine * down, -right, -sine * ahead - cosine * down), axis=1)
    across = np.cross(-back, (0.0, 0.0, 1.0))
    across /= np.linalg.norm(across)
    seen = (points - eye) @ np.stack((across, np.cross(across, -back), -back), axis=1)
    half = np.tan(np.pi / 8)  # of Ogre's default, 45 degrees from top to bottom
    inside = (seen[:, 2] > 0) & (np.abs(seen[:, :2]) < half * seen[:, 2:]).all(axis=1)  # of a square at least
    assert inside.mean() > 0.7
