"""A range finder's cone at its edges: limits of the sensor, of the picture, and of a floor within it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthnet_ros.metric_scale import AnchorError, OutOfViewError, RangeFinder, from_range, optical_from_sensor
from depthnet_ros.metric_scale.anchors import DEFAULT_NOISE
from depthnet_ros.metric_scale.cone import ConeAnchor, Reading
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .world import CAMERA, FOV


def sonar(
    reading: float, fov: float = FOV, low: float = 0.05, high: float = 6.0, variance: float = 0.0, yaw: float = 0.0
) -> ConeAnchor:
    pose = optical_from_sensor([0, 0, 0, 0, 0, yaw]) if yaw else OPTICAL_FROM_BODY
    return from_range(reading, RangeFinder(fov, low, high), CAMERA, pose, 0.0, variance)


@pytest.mark.parametrize(
    ("reading", "kind", "range_m"),
    [
        (5.99, Reading.MEASURED, 5.99),
        (6.01, Reading.FARTHER, 6.0),
        (0.06, Reading.MEASURED, 0.06),
        (0.05, Reading.NEARER, 0.05),
        (0.01, Reading.NEARER, 0.05),
    ],
)
def test_a_reading_at_or_beyond_a_limit_is_that_limit(reading: float, kind: Reading, range_m: float) -> None:
    cone = sonar(reading)
    assert cone.reading is kind and cone.range_m == range_m
    assert cone.inverse_depth[0] == pytest.approx(1.0 / range_m)


def test_too_near_for_a_sensor_without_a_least_range_says_nothing() -> None:
    with pytest.raises(AnchorError, match="min_range 0 says nothing"):
        sonar(-math.inf, low=0.0)
    assert sonar(0.1, low=0.0).reading is Reading.MEASURED


@pytest.mark.parametrize("high", [math.inf, math.nan, 0.0])
def test_a_sensor_without_a_farthest_range_is_refused(high: float) -> None:
    with pytest.raises(AnchorError, match="limits"):
        sonar(1.0, high=high)


@pytest.mark.parametrize("fov", [0.2, 0.6])
def test_a_cone_is_half_its_angle_wide_to_either_side_and_even_by_area(fov: float) -> None:
    cone = sonar(2.0, fov=fov)
    radius = np.hypot((cone.u_px - CAMERA.cx_px) / CAMERA.fx_px, (cone.v_px - CAMERA.cy_px) / CAMERA.fy_px)
    assert radius.max() == pytest.approx(math.tan(0.5 * fov), rel=0.06)
    assert np.median(radius) == pytest.approx(math.tan(0.5 * fov) / math.sqrt(2.0), rel=0.1)


@pytest.mark.parametrize(("variance", "sigma_m"), [(0.04, 0.2), (math.inf, None), (math.nan, None), (0.0, None)])
def test_a_driver_s_variance_counts_where_it_is_one(variance: float, sigma_m: float | None) -> None:
    cone, usual = sonar(2.0, variance=variance), math.sqrt(DEFAULT_NOISE.variance(2.0))
    assert cone.range_sigma_m == pytest.approx(usual if sigma_m is None else sigma_m)
    # to first order, sigma of 1/z is sigma of z over z squared
    np.testing.assert_allclose(np.sqrt(cone.variance), cone.range_sigma_m * cone.inverse_depth**2)


@pytest.mark.parametrize(("yaw", "seen"), [(0.45, True), (0.62, False)])
def test_a_cone_of_which_less_than_half_is_in_the_picture_is_refused(yaw: float, seen: bool) -> None:
    """A camera of 1.1 rad: its picture ends at 0.55."""
    if seen:
        cone = sonar(2.0, yaw=yaw)
        assert len(cone.u_px) < len(sonar(2.0).u_px) and cone.u_px.min() >= -0.5
    else:
        with pytest.raises(AnchorError, match="check the sensor's pose"):
            sonar(2.0, yaw=yaw)


def test_a_cone_above_the_picture_is_refused() -> None:
    with pytest.raises(AnchorError, match="the camera sees"):
        from_range(2.0, RangeFinder(FOV, 0.05, 6.0), CAMERA, optical_from_sensor([0, 0, 0, 0, -0.6, 0]), 0.0)


@pytest.mark.parametrize(
    ("reading", "floor", "left"),
    [
        (2.0, 1.05, True),  # the echo may be the floor's own
        (2.0, 1.15, False),
        (math.inf, 0.85, True),
        (math.inf, 0.95, False),  # silence is no evidence against what is not clearly before it
    ],
)
def test_what_a_floor_hides_says_nothing(reading: float, floor: float, left: bool) -> None:
    cone = sonar(reading)
    assert (cone.before(floor * cone.inverse_depth) is cone) == left
    assert (cone.before(floor * cone.inverse_depth) is None) != left


def test_of_a_cone_that_a_floor_hides_in_part_the_rest_speaks() -> None:
    cone = sonar(2.0)
    surface = np.where(cone.v_px > CAMERA.cy_px, 2.0, -1.0)
    rest = cone.before(surface)
    assert rest is not None and rest.v_px.max() <= CAMERA.cy_px and 0 < len(rest.u_px) < len(cone.u_px)
    assert len(rest.u_px) == len(rest.v_px) == len(rest.inverse_depth) == len(rest.variance)
    assert (rest.reading, rest.range_m) == (cone.reading, cone.range_m)


def test_a_single_noisy_pixel_is_not_the_nearest_surface() -> None:
    cone = sonar(2.0)
    relative = np.full(len(cone.u_px), 0.2)
    block = np.hypot(cone.u_px - 90, cone.v_px - 60) < 10
    relative[block] = 1.0
    stray = int(np.flatnonzero(~block)[0])
    relative[stray] = 3.0
    middle, top = cone.resolve(relative, 1.0, 0.0)
    assert stray in top and middle != stray and block[middle]


def test_the_nearest_surface_is_the_one_that_breaks_the_cap_most() -> None:
    """The cap is farther away, by depth, on the axis than at its rim: of a flat wall the axis is nearest to it."""
    cone = sonar(2.0, fov=1.0)
    middle, top = cone.resolve(np.full(len(cone.u_px), 0.5), 1.0, 0.0)
    aside = np.hypot(cone.u_px - CAMERA.cx_px, cone.v_px - CAMERA.cy_px)
    assert aside[middle] < np.median(aside) and aside[top].max() < np.median(aside)


@pytest.mark.parametrize(
    ("reading", "kind"), [(math.inf, Reading.FARTHER), (-math.inf, Reading.NEARER), (0.8, Reading.NEARER)]
)
def test_a_sensor_of_one_fixed_distance_says_nearer_or_farther_only(reading: float, kind: Reading) -> None:
    """REP 117: one that detects something says -Inf; drivers of before it give the distance."""
    assert sonar(reading, low=0.8, high=0.8).reading is kind


def test_a_sensor_that_looks_elsewhere_is_told_apart_from_one_that_is_half_in_view() -> None:
    with pytest.raises(OutOfViewError):
        sonar(2.0, yaw=2.0)
    with pytest.raises(AnchorError) as half:
        sonar(2.0, yaw=0.62)
    assert not isinstance(half.value, OutOfViewError)


def test_a_cap_s_depth_is_less_aside_of_the_axis() -> None:
    """All of it is at one range."""
    cone = sonar(2.0, fov=1.0)
    x, y = (cone.u_px - CAMERA.cx_px) / CAMERA.fx_px, (cone.v_px - CAMERA.cy_px) / CAMERA.fy_px
    np.testing.assert_allclose(np.sqrt(1.0 + x**2 + y**2) / cone.inverse_depth, 2.0, rtol=1e-6)
