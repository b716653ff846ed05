"""A camera before a synthetic scene, and a network that is affine to its inverse depth but for noise."""

from __future__ import annotations

import cv2
import numpy as np

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricDepth, MetricScaler, RangeFinder, from_points, from_range
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

CAMERA = PinholeCamera.from_fov(160, 120, 1.1)
SIZE = (120, 160)
FRAME_S = 1.0 / 30.0
FOV = 0.4


def smooth_noise(rng: np.random.Generator) -> np.ndarray:
    """(120, 160) of standard deviation near one, as networks err: by surfaces."""
    return cv2.resize(rng.normal(size=(5, 7)).astype(np.float32), (160, 120), interpolation=cv2.INTER_CUBIC)


class World:
    """Inverse depth that grows downwards, with bumps; ``relative = scale * inverse_depth + shift`` and noise."""

    def __init__(self, seed: int = 0, noise: float = 0.05) -> None:
        self.rng = np.random.default_rng(seed)
        ramp = np.linspace(0.2, 1.2, 120, dtype=np.float32)[:, None]
        self.inverse_depth = np.clip(ramp + 0.1 * smooth_noise(self.rng), 0.1, 3.0).astype(np.float32)
        self.scale, self.shift, self.noise = 7.0, -1.5, noise

    @property
    def depth_m(self) -> np.ndarray:
        return 1.0 / self.inverse_depth

    def prediction(self, wander: float = 0.0) -> DepthPrediction:
        scale = self.scale * (1 + wander * self.rng.normal())
        noisy = self.inverse_depth * (1 + self.noise * smooth_noise(self.rng))
        shift = self.shift + wander * self.scale * self.rng.normal()
        return DepthPrediction((scale * noisy + shift).astype(np.float32), SIZE)

    def points(self, stamp_s: float, count: int = 150, outliers: float = 0.0, factor: float = 1.0):
        row, column = self.rng.integers(0, 120, count), self.rng.integers(0, 160, count)
        depth = factor * self.depth_m[row, column] * (1 + 0.02 * self.rng.normal(size=count))
        wrong = self.rng.random(count) < outliers
        depth[wrong] = self.rng.uniform(0.3, 9.0, int(wrong.sum()))
        points = np.stack((CAMERA.ray_x[column] * depth, CAMERA.ray_y[row] * depth, depth), axis=1)
        return from_points(points, CAMERA, np.eye(4), stamp_s)

    def true_range_m(self) -> float:
        norm = np.sqrt(1 + CAMERA.ray_x[None] ** 2 + CAMERA.ray_y[:, None] ** 2)
        return float((self.depth_m * norm)[norm < 1 / np.cos(0.5 * FOV)].min())

    def sonar(self, stamp_s: float, reading_m: float | None = None):
        reading = self.true_range_m() * (1 + 0.01 * self.rng.normal()) if reading_m is None else reading_m
        return from_range(reading, RangeFinder(FOV, 0.05, 6.0), CAMERA, OPTICAL_FROM_BODY, stamp_s)

    def abs_rel(self, metric: MetricDepth) -> float:
        depth = np.clip(metric.depth_m(*SIZE), 0.05, 50.0)
        return float(np.mean(np.abs(depth - self.depth_m) / self.depth_m))


def run(scaler: MetricScaler, world: World, frames: int, start: int = 0, wander: float = 0.0, anchors=None):
    """``frames`` frames; ``anchors(stamp)`` gives what the sensors say. Returns the frames' results."""
    results = []
    for index in range(start, start + frames):
        stamp = index * FRAME_S
        for anchor in [] if anchors is None else anchors(stamp):
            scaler.add(anchor)
        results.append(scaler.update(world.prediction(wander), stamp))
    return results
