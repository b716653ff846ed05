"""Messages of sensors as anchors: which of their fields count, and which of the settings."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.messages.anchors import SensorNames, anchor_from_message
from depthnet_ros.messages.measurements import depth_from_points, points_from_scan
from depthnet_ros.metric_scale import AnchorError, MetricScaleConfig, PointAnchors
from depthnet_ros.metric_scale.cone import ConeAnchor
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY
from test.bags.bag_scene import CAMERA, FRAME

STAMP_S = 5.25
HEADER = SimpleNamespace(stamp=SimpleNamespace(sec=5, nanosec=250_000_000), frame_id=FRAME)
CONFIG = MetricScaleConfig(mode="anchors")
SCAN_M = np.array([1.0, 2.0, 3.0, math.nan, math.inf, 0.05, 9.0], np.float32)


def sonar(**more: float) -> Any:
    return SimpleNamespace(header=HEADER, range=2.0, field_of_view=0.3, min_range=0.05, max_range=6.0, **more)


def scan() -> Any:
    return SimpleNamespace(
        header=HEADER, ranges=SCAN_M, angle_min=-0.03, angle_increment=0.01, range_min=0.1, range_max=8.0
    )


def anchors_of(kind: str, message: Any, rectified: Any = None, **settings: Any) -> PointAnchors | ConeAnchor:
    config = MetricScaleConfig(mode="anchors", **settings)
    pose = np.eye(4) if kind == "depth" else OPTICAL_FROM_BODY
    return anchor_from_message(kind, message, CAMERA, pose, config, rectified)


@pytest.mark.parametrize(("more", "sigma_m"), [({"variance": 0.04}, 0.2), ({"variance": 0.0}, 0.1), ({}, 0.1)])
def test_a_driver_s_variance_counts_and_else_the_settings_do(more: dict[str, float], sigma_m: float) -> None:
    """Messages of before Jazzy have no such field."""
    cone = anchors_of("range", sonar(**more), sensor_sigma_m=0.1, sensor_sigma_relative=0.0)
    assert isinstance(cone, ConeAnchor)
    assert cone.range_sigma_m == pytest.approx(sigma_m) and cone.stamp_s == pytest.approx(STAMP_S)
    relative = anchors_of("range", sonar(), sensor_sigma_m=1e-4, sensor_sigma_relative=0.1)
    assert isinstance(relative, ConeAnchor) and relative.range_sigma_m == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize("level", [True, False])
def test_a_scanner_tells_where_down_is_only_if_it_is_level(level: bool) -> None:
    anchors = anchors_of("scan", scan(), scan_is_level=level)
    assert isinstance(anchors, PointAnchors)
    assert (anchors.down is not None) == level


def test_a_scan_s_points_are_its_returns_within_its_limits() -> None:
    points = points_from_scan(scan())
    np.testing.assert_allclose(np.hypot(points[:, 0], points[:, 1]), [1.0, 2.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(np.arctan2(points[:, 1], points[:, 0]), [-0.03, -0.02, -0.01], atol=1e-6)


def test_only_depth_that_is_registered_to_the_image_is_rectified_with_it() -> None:
    """A depth camera of its own has its own lens."""
    message = messages.depth_image(np.full((60, 80), 2.0, np.float32), "32FC1", 0, FRAME)
    asked: list[tuple[int, ...]] = []

    def rectified(depth_m: np.ndarray) -> np.ndarray:
        asked.append(depth_m.shape)
        return depth_m

    for fov_rad, shapes in ((1.0, []), (0.0, [(60, 80)])):
        asked.clear()
        assert len(anchors_of("depth", message, rectified, depth_fov_rad=fov_rad)) > 10
        assert asked == shapes


def test_sensors_of_one_topic_are_told_apart_by_their_frames() -> None:
    name = SensorNames()
    heard = [("range", "left"), ("range", "right"), ("scan", "right"), ("range", "left"), ("range", "right")]
    assert [name(*one) for one in heard] == ["range", "range right", "scan", "range", "range right"]
    counted = {name("range", f"sonar_{number}") for number in range(1000)}
    assert len(counted) < 100 and "range of other frames" in counted
    assert name("range", "right") == "range right"


@pytest.mark.parametrize("kind", ["range", "scan", "points", "depth"])
def test_an_anchor_has_its_sensor_s_name_or_else_its_kind_s(kind: str) -> None:
    depth_m = np.full((60, 80), 2.0, np.float32)
    message = {
        "range": sonar(),
        "scan": scan(),
        "points": messages.point_cloud(np.array([[2.0, 0.0, 0.0], [3.0, 0.1, 0.0]]), 0, FRAME),
        "depth": messages.depth_image(depth_m, "32FC1", 0, FRAME),
    }[kind]
    pose = np.eye(4) if kind == "depth" else OPTICAL_FROM_BODY
    for sensor, name in (("", kind), (f"{kind} left", f"{kind} left")):
        assert anchor_from_message(kind, message, CAMERA, pose, CONFIG, sensor=sensor).source == name


def test_a_complaint_names_the_sensor() -> None:
    message = sonar()
    message.range = math.nan
    with pytest.raises(AnchorError, match=r"^range left: "):
        anchor_from_message("range", message, CAMERA, OPTICAL_FROM_BODY, CONFIG, sensor="range left")


def test_of_points_in_one_pixel_the_nearest_is_its_depth() -> None:
    for order in (slice(None), slice(None, None, -1)):
        points = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 2.05], [0.5, 0.0, 3.0]])[order]
        depth = depth_from_points(points, CAMERA, np.eye(4))
        assert np.sort(depth[np.isfinite(depth)]) == pytest.approx([2.0, 3.0])
