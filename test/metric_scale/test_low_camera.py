"""Small robots: a camera a hand above the floor sees it so near that the view spans a factor of ten to forty."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import (
    GroundPlane,
    MetricDepth,
    MetricScaleConfig,
    MetricScaler,
    RangeFinder,
    ScaleState,
    ScanGeometry,
    from_range,
    from_scan,
)
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

SIZE = 240, 320
CAMERA = PinholeCamera.from_fov(320, 240, 1.2)
ROWS, COLUMNS = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]


def last(
    height_m: float, pitch_rad: float, wall_m: float, sensor: str, **prior: float
) -> tuple[MetricDepth, np.ndarray]:
    """Two seconds before a wall, with a network that is affine to inverse depth; and the true depth."""
    plane = GroundPlane.from_height(height_m, pitch_rad)
    inverse = np.maximum(plane.inverse_depth(COLUMNS, ROWS, CAMERA), 1.0 / wall_m).astype(np.float32)
    config = MetricScaleConfig(mode="anchors", ground_height_m=height_m, ground_pitch_rad=pitch_rad, **prior)
    scaler = MetricScaler(config, CAMERA)
    norm = np.sqrt(1.0 + CAMERA.ray_x[None] ** 2 + CAMERA.ray_y[:, None] ** 2)
    level_in_optical = plane.levelled_from_optical[:3, :3].T
    pose = np.eye(4)
    pose[:3, :3] = level_in_optical
    angles = np.linspace(-0.5, 0.5, 90)
    beams = np.stack((np.cos(angles), np.sin(angles), 0.0 * angles), axis=1) @ level_in_optical.T
    for index in range(60):
        time_s = index / 30.0
        if sensor == "sonar":
            reading = float((norm / inverse)[norm < 1.0 / np.cos(0.13)].min())
            scaler.add(from_range(reading, RangeFinder(0.26, 0.05, 8.0), CAMERA, OPTICAL_FROM_BODY, time_s))
        else:
            ranges = wall_m / beams[:, 2]
            scaler.add(from_scan(ranges, ScanGeometry(-0.5, angles[1] - angles[0], 0.1, 30.0), CAMERA, pose, time_s))
        result = scaler.update(DepthPrediction(2.0 * inverse + 1.0, SIZE), time_s)
    return result, 1.0 / inverse


LOW = [(0.4, 0.1, 6.0), (0.25, 0.15, 6.0), (0.15, 0.15, 6.0), (0.1, 0.1, 5.0), (0.1, 0.2, 6.0)]


@pytest.mark.parametrize("sensor", ["sonar", "scan"])
@pytest.mark.parametrize(("height_m", "pitch_rad", "wall_m"), LOW)
def test_a_low_camera_gets_metres_that_err_to_the_near_side(height_m, pitch_rad, wall_m, sensor):
    """By the prior of views in general, which is that of higher cameras: never `calibrated` by the floor alone, never
    silent for ever, and what is far is told too near.
    """
    result, true_m = last(height_m, pitch_rad, wall_m, sensor)
    assert result.state is ScaleState.DEGRADED, result.message
    depth = result.depth_m(*SIZE)
    assert np.abs(depth - true_m)[ROWS > 200].max() < 0.1 * true_m[ROWS > 200].max()
    assert np.median(depth[np.isclose(true_m, wall_m)]) < 1.05 * wall_m


@pytest.mark.parametrize("sensor", ["sonar", "scan"])
@pytest.mark.parametrize(("height_m", "pitch_rad", "wall_m"), LOW[1:])
def test_told_that_views_are_wide_its_metres_are_right_within_what_they_claim(height_m, pitch_rad, wall_m, sensor):
    """As docs/navigation.md has it for small robots."""
    result, true_m = last(height_m, pitch_rad, wall_m, sensor, view_range=2.5, view_range_sigma=1.0)
    assert result.state is ScaleState.DEGRADED, result.message
    depth, sigma, wall = result.depth_m(*SIZE), result.sigma_m(*SIZE), np.isclose(true_m, wall_m)
    assert (np.abs(depth - wall_m) < 1.5 * sigma)[wall].all()
    assert np.median(depth[wall]) == pytest.approx(wall_m, rel=0.4)
