"""How far what moves lags behind, through all of the scale: the figures that docs/accuracy.md has."""

import cv2
import numpy as np
import pytest

from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler, from_points

from .world import CAMERA, FRAME_S, SIZE, smooth_noise

RNG = np.random.default_rng(0)
STILL, START = 22, 30  # frames: from where on the error at rest is taken, and the first of motion


def texture(height: int, width: int) -> np.ndarray:
    blurred = cv2.GaussianBlur(RNG.integers(0, 255, (height, width)).astype(np.uint8), (0, 0), 1.0)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)


BACKGROUND, FRONT = texture(120, 160), texture(400, 400)


def scene(base: np.ndarray, near: float, half_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth and picture of a square of inverse depth ``near`` in the middle of the view."""
    half_px = round(CAMERA.fx_px * half_m * near)
    rows, columns = slice(max(60 - half_px, 0), 60 + half_px), slice(max(80 - half_px, 0), 80 + half_px)
    inverse, picture = base.copy(), BACKGROUND.copy()
    inverse[rows, columns] = near
    front = cv2.resize(FRONT, (2 * half_px, 2 * half_px), interpolation=cv2.INTER_AREA)
    cut = max(half_px - 60, 0), max(half_px - 80, 0)
    shown = picture[rows, columns].shape
    picture[rows, columns] = front[cut[0] : cut[0] + shown[0], cut[1] : cut[1] + shown[1]]
    return inverse, picture


def lags(speed: float, half_m: float, temporal: bool, seed: int) -> np.ndarray:
    """Share of its distance that an obstacle from 3 m on is told too far, frame by frame of its motion."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0.2, 1.0, 120, dtype=np.float32)[:, None]
    base = np.clip(ramp + 0.05 * smooth_noise(rng), 0.1, 3.0).astype(np.float32)
    scaler, off = MetricScaler(MetricScaleConfig(mode="anchors", temporal_filter=temporal), CAMERA), []
    for index in range(110):
        near = (1 + speed) ** max(0, index - START) / 3.0
        if near > 1.0:
            break
        inverse, picture = scene(base, near, half_m)
        row, column = rng.integers(0, 120, 150), rng.integers(0, 160, 150)
        depth = (1 + 0.02 * rng.normal(size=150)) / inverse[row, column]
        points = np.stack((CAMERA.ray_x[column] * depth, CAMERA.ray_y[row] * depth, depth), axis=1)
        scaler.add(from_points(points, CAMERA, np.eye(4), index * FRAME_S))
        told = scaler.update(DepthPrediction(7 * inverse - 1.5, SIZE), index * FRAME_S, np.dstack([picture] * 3))
        if index >= STILL:
            off.append(near / float(np.median(told.inverse_depth[56:65, 76:85])))
    moving = np.array(off[START - STILL + 3 :]) / np.median(off[: START - STILL])
    return moving - 1.0


@pytest.mark.parametrize(
    ("speed", "frames", "most"), [(0.003, 6.5, 0.025), (0.01, 2.5, 0.035), (0.02, 1.0, 0.045), (0.03, 0.7, 0.05)]
)
def test_what_moves_by_itself_lags_by_what_the_limits_say(speed: float, frames: float, most: float) -> None:
    """``frames``: on average; without the filter it hardly lags, so that it is the filter's doing."""
    with_filter = np.concatenate([lags(speed, half_m, True, seed) for half_m in (0.2, 0.6) for seed in range(2)])
    without = np.concatenate([lags(speed, 0.2, False, seed) for seed in range(2)])
    assert with_filter.mean() / speed < frames
    assert with_filter.max() < most
    assert abs(without.mean()) / speed < 1.0
