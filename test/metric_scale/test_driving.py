"""A robot that drives through a room of known shape, and sensors that fail or mislead it on the way."""

import numpy as np
import pytest

from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import (
    GroundPlane,
    MetricDepth,
    MetricScaleConfig,
    MetricScaler,
    RangeFinder,
    from_points,
    from_range,
)
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY
from depthnet_ros.metric_scale.uncertainty import inverse_depth_variance

from .world import CAMERA, FOV, SIZE, smooth_noise

HEIGHT_M, PITCH = 0.4, 0.1
_ROWS, _COLUMNS = np.mgrid[0:120, 0:160]
_NORM = np.sqrt(1 + CAMERA.ray_x[None] ** 2 + CAMERA.ray_y[:, None] ** 2)


def room(wall_m: float, side_m: float = 2.0) -> np.ndarray:
    """(120, 160) inverse depth of floor, side walls and a wall ahead."""
    ground = GroundPlane.from_height(HEIGHT_M, PITCH)
    rays = CAMERA.unproject(np.ones(SIZE, np.float32)) @ ground.levelled_from_optical[:3, :3].T
    ahead, aside = np.maximum(rays[..., 0], 1e-6) / wall_m, np.abs(rays[..., 1]) / side_m
    floor = np.maximum(ground.inverse_depth(_COLUMNS, _ROWS, CAMERA), 0.0)
    return np.maximum(np.maximum(ahead, aside), floor).astype(np.float32)


class Network:
    """Affine to inverse depth, but for errors that stay, errors that do not, and a scale that wanders."""

    def __init__(self, seed: int = 0, shift: float = -1.5, noise: float = 0.05) -> None:
        self.rng, self._shift, self._noise = np.random.default_rng(seed), shift, noise
        self._lasting = smooth_noise(self.rng)

    def __call__(self, inverse: np.ndarray, **known: object) -> DepthPrediction:
        error = 1.0 + self._noise * (self._lasting + 0.5 * smooth_noise(self.rng))
        scale = 7.0 * (1.0 + 0.02 * self.rng.normal())
        return DepthPrediction((scale * inverse * error + self._shift).astype(np.float32), SIZE, **known)


def points(inverse: np.ndarray, rng: np.random.Generator, stamp_s: float, count: int = 100, zeros: float = 0.0):
    row, column = rng.integers(0, 120, count), rng.integers(0, 160, count)
    depth = (1.0 + 0.01 * rng.normal(size=count)) / inverse[row, column]
    cloud = np.stack((CAMERA.ray_x[column] * depth, CAMERA.ray_y[row] * depth, depth), axis=1)
    cloud[rng.random(count) < zeros] = 0.0
    pose = np.eye(4)
    if zeros:  # its own place is in the picture: 0.35 m ahead, a little below
        pose[:3, 3] = 0.0, 0.1, 0.35
        cloud = np.where(cloud.any(axis=1, keepdims=True), cloud - pose[:3, 3], 0.0)
    return from_points(cloud, CAMERA, pose, stamp_s)


def sonar(inverse: np.ndarray, rng: np.random.Generator, stamp_s: float):
    nearest = float((_NORM / inverse)[1 / np.cos(0.5 * FOV) > _NORM].min())
    reading_m = nearest * (1 + 0.01 * rng.normal())
    return from_range(reading_m, RangeFinder(FOV, 0.05, 6.0), CAMERA, OPTICAL_FROM_BODY, stamp_s)


def scaler(**settings: object) -> MetricScaler:
    return MetricScaler(MetricScaleConfig(mode="anchors", **settings), CAMERA)


def factor(metric: MetricDepth, inverse: np.ndarray) -> float:
    """How many times too far the middle of the picture is told."""
    depth = np.nan_to_num(metric.depth_m(*SIZE), posinf=20.0, neginf=0.1)
    return float(np.median((depth * inverse)[40:80, 60:100]))


@pytest.mark.parametrize("speed_m_s", [0.1, 0.3, 1.0])
def test_a_cloud_that_repeats_itself_is_told_before_it_misleads(speed_m_s: float) -> None:
    """A driver that froze: to the last digit the same, while the robot drives towards a wall, however slowly."""
    robot, network, rate = scaler(sources=("points",)), Network(1), 15
    worst, told_after = 1.0, None
    for index in range(int((3 + 5.5 / speed_m_s) * rate)):
        stamp = index / rate
        inverse, frozen = room(7.0 - speed_m_s * max(stamp - 3.0, 0.0)), stamp > 3.0
        rng = np.random.default_rng(5 if frozen else index)
        robot.add(points(room(7.0) if frozen else inverse, rng, stamp))
        metric = robot.update(network(inverse), stamp)
        if metric.published and stamp > 1.0:
            worst = max(worst, factor(metric, inverse))
        if told_after is None and any("stuck at identical points" in line for line in metric.troubles):
            told_after = stamp - 3.0
    assert told_after is not None and worst < 1.35


def test_a_cloud_that_repeats_itself_before_a_robot_that_stands_is_none() -> None:
    """In a simulator without noise, while the network's error flickers."""
    robot, network, inverse = scaler(sources=("points",)), Network(1), room(4.0)
    for index in range(150):
        robot.add(points(inverse, np.random.default_rng(5), index / 15))
        metric = robot.update(network(inverse), index / 15)
    assert metric.published and not metric.troubles


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 5.0])
def test_a_frozen_sonar_is_told_at_any_frame_rate(rate_hz: float) -> None:
    robot, network = scaler(sources=("range",), stale_after_s=3.0, source_timeout_s=2.0), Network(2)
    told = False
    for index in range(int(20 * rate_hz)):
        stamp = index / rate_hz
        inverse = room(6.0 - 0.25 * stamp)
        rng = np.random.default_rng(3 if stamp > 6.0 else index)
        robot.add(sonar(room(4.5) if stamp > 6.0 else inverse, rng, stamp))
        metric = robot.update(network(inverse), stamp)
        told |= any("while the image changes" in line for line in metric.troubles)
    assert told


@pytest.mark.parametrize("zeros", [0.3, 0.7])
def test_points_at_the_sensor_itself_are_no_measurements(zeros: float) -> None:
    """What many drivers give where nothing returns."""
    robot, network, inverse = scaler(sources=("points",)), Network(3), room(4.0)
    for index in range(40):
        robot.add(points(inverse, np.random.default_rng(index), index / 15, 200, zeros))
        metric = robot.update(network(inverse), index / 15)
    assert metric.state.value == "calibrated" and 0.9 < factor(metric, inverse) < 1.1


@pytest.mark.parametrize("wall_m", [0.6, 0.4, 0.3])
def test_a_wall_that_fills_the_view_is_where_the_sonar_has_it(wall_m: float) -> None:
    """The horizon behind it is twenty times farther: what is so much nearer than floor is still possible."""
    told = []
    for seed in range(2):
        robot = scaler(sources=("range",), ground_height_m=HEIGHT_M, ground_pitch_rad=PITCH)
        network = Network(seed, shift=0.0)
        for index in range(120):
            stamp = index / 10
            inverse = room(max(wall_m, 5.0 - 0.5 * max(stamp - 2.0, 0.0)))
            robot.add(sonar(inverse, np.random.default_rng(index), stamp))
            metric = robot.update(network(inverse, zero_sigma=0.3), stamp)
            if stamp > 11.0 and metric.published:
                told.append(factor(metric, inverse))
    assert len(told) > 10
    assert 0.85 < np.mean(told) < 1.12 and max(told) < 1.3


def test_a_scale_never_changes_its_sign(rng: np.random.Generator) -> None:
    """A mean weighted by matrices, as covariance intersection is, may lie outside of both that it is of."""
    relative = rng.normal(size=(40, 50)).astype(np.float32)
    view, flipped = ViewNormalisation.of(relative), 0
    for _ in range(300):
        scale = ScaleFilter(MetricScaleConfig(mode="anchors", gate_sigma=100.0))
        correlated = [_covariance(rng) for _ in range(2)]
        assert scale.begin(np.array([0.8, 1.0]), correlated[0], view)
        scale.fuse(np.array([0.5, 0.7]), correlated[1], view, limit_rate=False)
        flipped += (view.from_scale_shift() @ scale.state)[0] <= 0 or scale.smoothed[0] <= 0
    assert flipped == 0


def _covariance(rng: np.random.Generator) -> np.ndarray:
    """Of gain and level, strongly correlated."""
    sigma, correlation = rng.uniform(0.2, 1.0, 2), rng.uniform(0.9, 0.999) * rng.choice([-1.0, 1.0])
    return np.array([[sigma[0] ** 2, correlation * sigma.prod()], [correlation * sigma.prod(), sigma[1] ** 2]])


def test_a_network_s_own_doubt_is_not_overruled() -> None:
    """Good floor has taught a small error; on the glass behind it the network claims more than the depth itself."""
    inverse = room(4.0)
    log_sigma = np.log(0.05 * inverse)
    log_sigma[20:50, 60:100] = np.log(1.2 * inverse[20:50, 60:100])
    variance = inverse_depth_variance(inverse, inverse, np.zeros((2, 2)), 0.04, 0.0, log_sigma)
    relative = np.sqrt(variance) / inverse
    assert np.median(relative[25:45, 65:95]) > 0.5 and np.median(relative) == pytest.approx(0.04, rel=0.05)


def test_a_picture_of_one_depth_divides_by_nothing() -> None:
    robot, rng = scaler(sources=("points",)), np.random.default_rng(0)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        for index in range(12):
            flat = np.full(SIZE, 0.0 if index % 3 else 1e-9, np.float32)
            robot.add(points(room(4.0), rng, index / 15))
            metric = robot.update(DepthPrediction(flat, SIZE), index / 15)
            assert not metric.published
