"""Recordings that the tests read: a floor and a wall seen by a moving camera, written as a robot would."""

from __future__ import annotations

import numpy as np

from depthnet_ros.bags import messages
from depthnet_ros.bags.transforms import OPTICAL_IN_BODY
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.models.spec import InputSpec, ModelSpec

CAMERA = PinholeCamera(160, 120, 140.0, 140.0, 79.5, 59.5)
FRAME = "camera_optical_frame"
PERIOD_NS = 100_000_000
BRIGHT_M = 1.5
START_NS = 1_700_000_000_000_000_000


def scene_depth(index: int, camera: PinholeCamera = CAMERA) -> np.ndarray:
    """Depth of a wall that comes nearer by 5 cm a frame, and of the floor 0.8 m under the camera."""
    rays_y = np.broadcast_to(camera.ray_y[:, None], (camera.height_px, camera.width_px))
    wall = np.full_like(rays_y, 6.0 - 0.05 * index)
    floor = np.where(rays_y > 1e-3, 0.8 / np.maximum(rays_y, 1e-3), np.inf)
    return np.minimum(wall, floor).astype(np.float32)


def scene_rgb(index: int) -> np.ndarray:
    """Brightness is inverse depth: ``BRIGHT_M`` metres away is white."""
    return with_edges(255.0 * BRIGHT_M / scene_depth(index))


def with_edges(shade: np.ndarray) -> np.ndarray:
    """(H, W) to (H, W, 3) uint8 of that mean, with four squares, green and blue in turn: a picture without an edge
    shows nothing.
    """
    tint = np.zeros_like(shade)
    for index, column in enumerate(range(16, 144, 32)):
        tint[64:80, column : column + 16] = 30.0 * (-1) ** index
    tint = np.clip(tint, -np.minimum(shade, 255.0 - shade), np.minimum(shade, 255.0 - shade))
    return np.rint(np.stack((shade, shade + tint, shade - tint), axis=-1)).astype(np.uint8)


class BrightnessBackend:
    """A network that is right by construction: relative inverse depth is brightness, 0..1."""

    name, device, precision = "brightness", "cpu", "float32"

    def infer(self, batch: np.ndarray) -> np.ndarray:
        return batch.mean(axis=1, keepdims=True)

    def close(self) -> None:
        """Nothing to free."""


def brightness_estimator() -> DepthEstimator:
    """``1 / depth = brightness / BRIGHT_M`` on images of the scene, to the rounding of 8 bits."""
    spec = ModelSpec("brightness", InputSpec(CAMERA.height_px, CAMERA.width_px, keep_aspect=False))
    return DepthEstimator(BrightnessBackend(), spec)


def stamp_of(index: int) -> int:
    return START_NS + index * PERIOD_NS


def write_scene(writer: BagWriter, frames: int, depth_encoding: str = "32FC1") -> None:
    mount = np.eye(4)
    mount[:3, 3] = 0.1, 0.0, 0.8
    tf = messages.transforms([("base_link", FRAME, mount @ OPTICAL_IN_BODY)], START_NS)
    writer.write("/tf_static", tf, START_NS)
    for index in range(frames):
        now = stamp_of(index)
        writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now)
        writer.write("/camera_info", messages.camera_info(CAMERA, now, FRAME), now)
        writer.write("/depth", messages.depth_image(scene_depth(index), depth_encoding, now, FRAME), now + 1)
