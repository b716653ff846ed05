"""What fit and filter cost: ``python -m benchmarks.metric_scale --speed``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import GroundPlane, MetricScaleConfig, MetricScaler, RangeFinder, from_points, from_range
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.frame import Frame
from depthnet_ros.metric_scale.ground import GroundView
from depthnet_ros.metric_scale.observe import Observer
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY
from depthnet_ros.metric_scale.temporal import PixelFilter
from depthnet_ros.metric_scale.tracker import ScaleTracker

_ANCHORS = 500
_RUNS = 300


def measure_speed() -> dict[str, float]:
    """Median milliseconds of CPU time for one frame with ``_ANCHORS`` anchors.

    ``fit_and_filter_ms``: fit, gating, filter, and what is learnt from the frame. ``sonar_and_floor_ms``: the same of
    one cone and a floor, where all hypotheses are weighed. ``update_ms``: the whole update of a frame of 256 x 320, map
    scaled and corrected, without the temporal filter. ``pixel_filter_ms``: what that takes, on one thread as in
    the node. ``ransac_per_frame_ms``: 1000 pairs anew.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    camera = PinholeCamera.from_fov(640, 480, 1.1)
    ramp = np.linspace(0.2, 1.2, 256, dtype=np.float32)[:, None] + np.zeros((1, 320), np.float32)
    relative = 7.0 * ramp + 1.0
    prediction = DepthPrediction(relative, (480, 640))
    row, column = rng.integers(0, 480, _ANCHORS), rng.integers(0, 640, _ANCHORS)
    depth = 1.0 / ramp[row * 256 // 480, column // 2] * (1 + 0.1 * rng.standard_normal(_ANCHORS))
    points = np.stack((camera.ray_x[column] * depth, camera.ray_y[row] * depth, depth), axis=1)
    config = MetricScaleConfig(mode="anchors", temporal_filter=False)
    scaler, tracker, lesser = MetricScaler(config, camera), ScaleTracker(config), ScaleTracker(config)
    value, target = relative[row * 256 // 480, column // 2].astype(np.float64), 1.0 / depth
    view = ViewNormalisation.of(relative[::8, ::8])
    frame = Frame(0.0, prediction, relative, relative, None, None, view, None)
    observer = Observer(relative, (480, 640), None, config.network_sigma)
    observer.add_points(from_points(points, camera, np.eye(4), 0.0))
    ill = Observer(relative, (480, 640), None, config.network_sigma)
    ill.add_cone(from_range(1.5, RangeFinder(0.44, 0.05, 8.0), camera, OPTICAL_FROM_BODY, 0.0))
    floor = ill.floor(GroundView.of(GroundPlane.from_height(0.5, 0.2), camera))
    pixels = PixelFilter(config.temporal_gain, config.temporal_gate)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8), (0, 0), 4.0)
    names = ("fit_and_filter_ms", "sonar_and_floor_ms", "update_ms", "pixel_filter_ms", "ransac_per_frame_ms")
    times: dict[str, list[float]] = {name: [] for name in names}

    def clock(name: str, call: Callable[[], object]) -> None:
        start = time.thread_time()
        call()
        times[name].append(1e3 * (time.thread_time() - start))

    for index in range(_RUNS):
        tracker.predict(view, 1.0 / 30.0, False)
        clock("fit_and_filter_ms", lambda: tracker.update(frame, observer, None, running=True))
        clock("sonar_and_floor_ms", lambda: lesser.update(frame, ill, floor, running=True))
        scaler.add(from_points(points, camera, np.eye(4), index / 30.0))
        clock("update_ms", partial(scaler.update, prediction, index / 30.0))
        clock("pixel_filter_ms", partial(pixels.update, relative, 1.0, np.roll(picture, index, axis=1), camera))
        if index % 10 == 0:
            clock("ransac_per_frame_ms", lambda: _naive_ransac(value, target, rng))
    result = {name: float(np.median(values)) for name, values in times.items()}
    return {**result, "ratio": result["ransac_per_frame_ms"] / result["fit_and_filter_ms"], "anchors": _ANCHORS}


def _naive_ransac(value: NDArray[np.float64], target: NDArray[np.float64], rng: np.random.Generator) -> Any:
    best, chosen = -1, np.zeros(len(value), dtype=bool)
    for _ in range(1000):
        i, j = rng.integers(0, len(value), 2)
        if value[i] == value[j]:
            continue
        scale = (target[j] - target[i]) / (value[j] - value[i])
        inliers = np.abs(scale * (value - value[i]) + target[i] - target) < 0.1 * target
        if inliers.sum() > best:
            best, chosen = int(inliers.sum()), inliers
    return np.polyfit(value[chosen], target[chosen], 1)
