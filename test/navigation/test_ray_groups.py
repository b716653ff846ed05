"""Pixels to rays, against a loop over all of them."""

import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.ray_groups import RayGroups, ViewError
from depthnet_ros.navigation.scan import ScanProjector
from test.navigation.test_scan import BAND


@pytest.mark.parametrize("turn_rad", [0.0, 0.3])
@pytest.mark.parametrize("count", [7, 70_000])  # more than 16 bits can count
def test_reduces_as_a_loop_does(turn_rad: float, count: int) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-0.4:0.4:12j, -0.6:0.6:16j]
    azimuth = np.arctan2(-(x * np.cos(turn_rad) - y * np.sin(turn_rad)), np.ones_like(x)).astype(np.float32)
    values = rng.random(azimuth.shape).astype(np.float32)
    mask = values > 0.8
    groups = RayGroups(azimuth, count)
    low = groups.angle_min_rad - 0.5 * groups.angle_increment_rad
    smallest = np.full(count, np.inf, np.float32)
    members = np.zeros(count, np.int64)
    hits = np.zeros(count, np.int64)
    for angle, value in zip(azimuth.ravel(), values.ravel(), strict=True):
        ray = int(np.floor((angle - np.float32(low)) / np.float32(groups.angle_increment_rad)))
        if 0 <= ray < count:
            smallest[ray] = min(smallest[ray], value)
            members[ray] += 1
            hits[ray] += value > 0.8
    assert 0 < members.sum() <= azimuth.size
    np.testing.assert_array_equal(groups.pixels, members)
    np.testing.assert_array_equal(groups.reduce(np.minimum, values, np.inf), smallest)
    np.testing.assert_array_equal(groups.sum(mask), hits)
    np.testing.assert_array_equal(groups.any(mask), hits > 0)
    assert not groups.any(np.zeros_like(mask)).any()
    spread = groups.spread(np.arange(count), -1)
    assert spread.shape == azimuth.shape
    np.testing.assert_array_equal(np.bincount(spread[spread >= 0], minlength=count), members)
    np.testing.assert_array_equal(groups.reduce(np.maximum, spread, -1), np.where(members, np.arange(count), -1))


def test_covers_what_every_row_of_the_middle_half_sees() -> None:
    azimuth = np.repeat(np.array([[0.5, 0.0, -0.5]], np.float32), 8, axis=0)
    azimuth[0] *= 2.0  # a row far from the middle
    groups = RayGroups(azimuth, 4)
    assert groups.angle_min_rad == pytest.approx(-0.375)
    assert groups.angle_increment_rad == pytest.approx(0.25)
    upside_down = RayGroups(azimuth[::-1, ::-1], 4)
    assert upside_down.angle_min_rad == groups.angle_min_rad


@pytest.mark.parametrize(
    ("width_px", "height_px", "roll_rad"),
    [
        pytest.param(100, 400, 0.7, id="tall and rolled"),
        pytest.param(100, 400, -0.5, id="rolled the other way"),
        pytest.param(1, 90, 0.0, id="one column"),
    ],
)
def test_rows_without_a_direction_in_common_give_no_scan(width_px: int, height_px: int, roll_rad: float) -> None:
    camera = PinholeCamera.from_fov(width_px, height_px, 1.2)
    with pytest.raises(ViewError, match=f"{width_px}x{height_px} points whose rows share 0.0 degrees"):
        ScanProjector(camera, GroundPlane.from_height(0.5, 0.1, roll_rad).levelled_from_optical)
    wide = PinholeCamera.from_fov(2 * height_px, height_px, 1.2)
    assert ScanProjector(wide, GroundPlane.from_height(0.5, 0.1, roll_rad).levelled_from_optical).rays > 10


@pytest.mark.parametrize(("asked", "given"), [(0, 40), (79, 79), (80, 80), (81, 80), (10_000, 80)])
@pytest.mark.parametrize("fov_rad", [0.5, 1.2, 2.2])
def test_no_ray_is_without_pixels_however_many_are_asked_for(asked: int, given: int, fov_rad: float) -> None:
    camera = PinholeCamera.from_fov(160, 120, fov_rad)
    p = ScanProjector(camera, GroundPlane.from_height(0.5).levelled_from_optical, asked)
    assert p.rays == given
    pixels = p.classify(np.full((120, 160), np.inf, np.float32), np.ones((120, 160), bool), BAND)
    assert p.band_view(BAND).far.min() > 0 and np.isposinf(p.scan(pixels).ranges_m).all()
