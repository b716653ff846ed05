"""Where the band is in view, at its edges: pixels that enter it late, look along it, or are not in it at all."""

import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.corridor import nearest_in_corridor
from depthnet_ros.navigation.height_band import BandView, HeightBand
from depthnet_ros.navigation.scan import ScanProjector
from test.navigation.test_scan import ALL, BAND, projector, wall_and_ground

OPEN = np.full((120, 160), np.inf, np.float32)


def test_what_enters_the_band_beyond_the_farthest_range_says_nothing_of_the_way_there() -> None:
    p = projector(2.0)
    view = p.band_view(BAND)
    enters_m = view.entry_m * p.range_per_metre
    late = (view.exit_m > view.entry_m) & (enters_m > BAND.max_range_m)
    assert late.any() and not view.looks_far[late].any()


def test_no_pixel_need_be_seen_through_to_beyond_the_farthest_range() -> None:
    p = projector()
    view = p.band_view(BAND)
    assert view.looks_far.any()
    assert ((view.seen_to_m * p.range_per_metre)[view.looks_far] <= BAND.max_range_m * (1.0 + 1e-6)).all()


def test_a_band_that_is_in_view_for_less_than_half_of_the_way_is_not_free() -> None:
    """What stands in the nearer half may be below the picture."""
    p = projector(1.2, -0.1)
    view, middle = p.band_view(BAND), slice(p.rays // 2 - 2, p.rays // 2 + 2)
    assert (view.from_m[middle] > 0.5 * BAND.max_range_m).all() and np.isposinf(view.to_m[middle]).all()
    pixels = p.classify(wall_and_ground(GroundPlane.from_height(1.2, -0.1), 50.0), ALL, BAND)
    assert np.isnan(p.scan(pixels).ranges_m[middle]).all()
    assert np.isnan(nearest_in_corridor(p, pixels, 0.6))


def test_a_camera_that_never_sees_the_band_is_cut_by_no_depth() -> None:
    assert np.isposinf(projector(3.0, -1.0).max_known_range_m(BAND, 1.0))


@pytest.mark.parametrize(
    ("height_m", "within"),
    [
        pytest.param(0.05, False, id="below the band"),
        pytest.param(0.1, True, id="at its lower edge"),
        pytest.param(0.8, True, id="in its middle"),
        pytest.param(1.5, True, id="at its upper edge"),
        pytest.param(1.6, False, id="above the band"),
    ],
)
def test_a_level_line_of_sight_is_in_the_band_all_the_way_or_never(height_m: float, within: bool) -> None:
    camera = PinholeCamera.from_fov(161, 121, 1.2)
    p = ScanProjector(camera, GroundPlane.from_height(height_m).levelled_from_optical)
    level = p.up_per_metre == 0
    assert level.any()
    view = p.band_view(BAND)
    assert (view.entry_m[level] == 0).all() and (view.exit_m[level] == (np.inf if within else 0.0)).all()
    assert (view.looks_far[level] == within).all()


def test_in_the_open_all_rays_clear_but_for_the_picture_s_last_columns() -> None:
    p = projector(0.4, 0.1)
    ends = p.clearing_points(p.scan(p.classify(OPEN, ALL, BAND)), 6.0, 0.8)
    assert len(ends) >= 0.95 * p.rays


def test_nothing_is_cleared_before_the_band_comes_into_view() -> None:
    p = projector(1.2)
    view, wall = p.band_view(BAND), wall_and_ground(GroundPlane.from_height(1.2), 2.2)
    assert (view.from_m > 0.9 * 2.2).all()
    scan = p.scan(p.classify(wall, ALL, BAND))
    assert np.isfinite(scan.ranges_m).any() and len(p.clearing_points(scan, 6.0, 0.8)) == 0


def test_the_last_ray_is_at_the_largest_angle() -> None:
    scan = projector().scan(projector().classify(OPEN, ALL, BAND))
    assert scan.angle_max_rad == pytest.approx(scan.angles_rad[-1])


def test_a_band_that_moves_with_a_drone_fills_no_memory() -> None:
    p = projector()
    bands = [HeightBand(0.1 + 0.01 * step, 1.5, 0.2, 5.0) for step in range(50)]
    views: list[BandView] = [p.band_view(band) for band in bands]
    ranges_m = [p.max_known_range_m(band, 4.0) for band in bands]
    assert len(p._band_views) < 10 and views[0].from_m[20] != views[-1].from_m[20]
    assert len(p._max_known_ranges_m) < 10 and ranges_m[0] == p.max_known_range_m(bands[0], 4.0)
