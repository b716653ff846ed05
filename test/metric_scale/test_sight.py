"""What of the ground is in view, when camera, plane or the way down change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.metric_scale.ground import GroundView
from depthnet_ros.metric_scale.sight import GroundSight

from .world import CAMERA

DOWN = GroundPlane.from_height(1.0, 0.3).down
ZOOMED = replace(CAMERA, fx_px=2.0 * CAMERA.fx_px, fy_px=2.0 * CAMERA.fy_px)


def seen(sight: GroundSight, down: np.ndarray | None = None) -> tuple[GroundView, bool]:
    found = sight.view(down)
    assert found is not None
    return found


def rows(view: GroundView) -> float:
    """The highest row that shows ground."""
    return float(view.v_px.min())


def test_a_known_height_counts_before_a_scanner_s_way_down() -> None:
    sight = GroundSight(GroundPlane.from_height(0.5, 0.3))
    assert sight.view(None) is None, "no camera yet"
    sight.set_camera(CAMERA)
    for down in (None, GroundPlane.from_height(1.0, 0.1).down):
        view, height_known = seen(sight, down)
        assert height_known
        np.testing.assert_array_equal(
            view.inverse_depth, GroundView.of(GroundPlane.from_height(0.5, 0.3), CAMERA).inverse_depth
        )


def test_without_a_height_the_way_down_shows_a_floor_of_unknown_height() -> None:
    sight = GroundSight(None)
    assert sight.view(DOWN) is None, "no camera yet"
    sight.set_camera(CAMERA)
    assert sight.view(None) is None
    view, height_known = seen(sight, DOWN)
    assert not height_known and seen(sight, DOWN)[0] is view


def test_the_horizon_follows_the_way_down_and_the_camera() -> None:
    sight = GroundSight(None)
    sight.set_camera(CAMERA)
    steep = rows(seen(sight, DOWN)[0])
    assert rows(seen(sight, GroundPlane.from_height(1.0, 0.1).down)[0]) > steep + 10
    assert rows(seen(sight, DOWN)[0]) == steep
    sight.set_camera(ZOOMED)
    assert rows(seen(sight, DOWN)[0]) != steep


def test_a_camera_that_looks_up_sees_no_floor() -> None:
    sight, up = GroundSight(None), GroundPlane.from_height(1.0, -1.2).down
    sight.set_camera(CAMERA)
    assert sight.view(up) is None and sight.view(up) is None
    assert sight.view(DOWN) is not None


def test_a_camera_that_tf_turns_up_is_in_order() -> None:
    sight = GroundSight(None)
    sight.set_camera(CAMERA)
    sight.set_plane(GroundPlane.from_height(0.5, -1.2))
    assert not sight.note and not sight.impossible and sight.view(None) is None


def test_why_a_known_plane_is_not_in_view_is_told_until_it_is() -> None:
    sight = GroundSight(GroundPlane.from_height(0.5, -1.2))
    sight.set_camera(CAMERA)
    assert "no ground is in view" in sight.note and sight.view(None) is None
    sight.set_plane(GroundPlane.from_height(0.5, 0.3))
    assert not sight.note and seen(sight)[1]
    before = rows(seen(sight)[0])
    sight.set_camera(ZOOMED)
    assert rows(seen(sight)[0]) != before


def test_a_plane_that_is_not_known_any_more_is_not_used() -> None:
    sight = GroundSight(GroundPlane.from_height(0.5, 0.3))
    sight.set_camera(CAMERA)
    assert seen(sight)[1]
    sight.set_plane(None)
    assert sight.view(None) is None and not seen(sight, DOWN)[1]


@pytest.mark.parametrize("height_m", [0.0, -0.1])
def test_a_camera_on_the_ground_or_below_has_no_ground_in_view(height_m: float) -> None:
    pose = GroundPlane.from_height(1.0, 0.3).levelled_from_optical
    pose[2, 3] = height_m
    with pytest.raises(ConfigError, match="must be above it"):
        GroundPlane.from_pose(pose)


def test_planes_are_the_same_within_half_a_percent_of_height_and_a_millirad() -> None:
    plane = GroundPlane.from_height(0.5, 0.3)
    assert not plane.same_as(None)
    for height_m, pitch_rad, roll_rad, same in (
        (0.5, 0.3, 0.0, True), (0.502, 0.3, 0.0, True), (0.504, 0.3, 0.0, False), (0.496, 0.3, 0.0, False),
        (0.5, 0.3005, 0.0, True), (0.5, 0.303, 0.0, False), (0.5, 0.3, 0.003, False),
    ):  # fmt: skip
        assert plane.same_as(GroundPlane.from_height(height_m, pitch_rad, roll_rad)) == same


@pytest.mark.parametrize("pitch_rad", [0.0, 0.3, -0.5, np.pi / 2, np.pi / 2 - 5e-4, np.pi / 2 + 5e-4])
@pytest.mark.parametrize("roll_rad", [0.0, 0.4])
def test_the_levelled_frame_is_one_however_the_camera_looks(pitch_rad: float, roll_rad: float) -> None:
    plane = GroundPlane.from_height(0.7, pitch_rad, roll_rad)
    pose = plane.levelled_from_optical
    turn = pose[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) > 0
    np.testing.assert_allclose(turn @ plane.down, (0.0, 0.0, -1.0), atol=1e-9)
    np.testing.assert_allclose(pose[:3, 3], (0.0, 0.0, 0.7))
    if abs(pitch_rad - np.pi / 2) < 1e-3 and roll_rad == 0.0:  # straight down: the picture's top is ahead
        np.testing.assert_allclose(turn @ (0.0, -1.0, 0.0), (1.0, 0.0, 0.0), atol=1e-3)


def test_how_much_ground_is_in_view_does_not_depend_on_height() -> None:
    low, high = (GroundView.of(GroundPlane.from_height(height_m, 0.1), CAMERA) for height_m in (0.1, 10.0))
    np.testing.assert_array_equal(low.v_px, high.v_px)
    np.testing.assert_allclose(low.inverse_depth, 100.0 * high.inverse_depth)
