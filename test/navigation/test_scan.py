"""Scan, clearing points and nearest obstacle by analytic scenes; REP 117."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.corridor import nearest_in_corridor
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.scan import ScanProjector

CAMERA = PinholeCamera.from_fov(160, 120, 1.2)
BAND = HeightBand(0.1, 1.5, 0.2, 5.0)
ALL = np.ones((120, 160), bool)


def projector(height_m=0.5, pitch=0.0, roll=0.0):
    return ScanProjector(CAMERA, GroundPlane.from_height(height_m, pitch, roll).levelled_from_optical)


def wall_and_ground(plane: GroundPlane, distance_m: float) -> np.ndarray:
    """Depth of a wall across the way at ``distance_m`` ahead, standing on the ground."""
    level = plane.levelled_from_optical
    rays = CAMERA.unproject(np.ones((120, 160), np.float32)) @ level[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = np.where(rays[..., 0] > 0, distance_m / rays[..., 0], np.inf)
        floor = np.where(rays[..., 2] < 0, -plane.height_m / rays[..., 2], np.inf)
    return np.minimum(wall, floor).astype(np.float32)


@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (0.25, 0.0), (-0.1, 0.1)])
def test_a_wall_is_a_line_and_the_floor_is_not_there(pitch, roll):
    plane = GroundPlane.from_height(0.5, pitch, roll)
    depth = wall_and_ground(plane, 3.0)
    p = projector(0.5, pitch, roll)
    scan = p.scan(p.classify(depth, ALL, BAND))
    ahead = scan.ranges_m * np.cos(scan.angles_rad)
    assert np.isfinite(scan.ranges_m).mean() > 0.9
    assert ahead[np.isfinite(ahead)] == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("pitch", [0.0, 0.2])
def test_a_camera_that_hangs_upside_down_sees_the_same_scan(pitch):
    upright = GroundPlane.from_height(0.5, pitch)
    turned = GroundPlane(upright.down * (-1.0, -1.0, 1.0), 0.5)
    p, q = (ScanProjector(CAMERA, plane.levelled_from_optical) for plane in (upright, turned))
    depth = wall_and_ground(upright, 3.0)
    depth[:, :40] = np.where(np.isfinite(depth[:, :40]), 0.6 * depth[:, :40], np.inf)  # nearer on the left
    scan, other = p.scan(p.classify(depth, ALL, BAND)), q.scan(q.classify(depth[::-1, ::-1].copy(), ALL, BAND))
    assert other.angle_increment_rad > 0
    np.testing.assert_allclose(other.angles_rad, scan.angles_rad, atol=1e-6)
    np.testing.assert_allclose(other.ranges_m, scan.ranges_m, rtol=0.02)


def test_angles_are_the_camera_s_and_grow_to_the_left():
    p = projector()
    depth = np.full((120, 160), np.inf, np.float32)
    depth[:, :20] = 2.0  # on the left
    scan = p.scan(p.classify(depth, ALL, BAND))
    assert scan.angle_increment_rad > 0 and scan.angle_max_rad == pytest.approx(0.6, abs=0.02)
    assert np.isfinite(scan.ranges_m[-3:]).all() and np.isposinf(scan.ranges_m[:30]).all()


def test_free_too_near_and_unknown():
    p = projector()
    depth = np.full((120, 160), np.inf, np.float32)
    depth[:, 50:70] = -np.inf
    known = np.ones(depth.shape, bool)
    known[:, 100:] = False
    scan = p.scan(p.classify(depth, known, BAND))
    middle = scan.ranges_m[::-1]  # left to right, as the image
    assert np.isposinf(middle[2:10]).all() and np.isneginf(middle[14:16]).all() and np.isnan(middle[27:]).all()


def test_a_single_noisy_pixel_is_no_obstacle():
    p = projector()
    depth = np.full((120, 160), np.inf, np.float32)
    depth[60, 80] = 1.0
    scan = p.scan(p.classify(depth, ALL, BAND))
    assert np.isposinf(scan.ranges_m).all()


def test_floor_of_wrong_depth_is_no_obstacle_if_its_sigma_says_so():
    plane = GroundPlane.from_height(1.5)
    p = projector(1.5)
    floor = np.minimum(wall_and_ground(plane, 20.0), 20.0)
    wrong = (0.85 * floor).astype(np.float32)
    assert p.classify(wrong, ALL, BAND).obstacle.any()
    assert not p.classify(wrong, ALL, BAND, sigma_m=0.3 * wrong).obstacle.any()


@pytest.mark.parametrize("shape", [(120, 160), (240, 320)])
def test_no_cell_of_a_costmap_lies_between_the_lines_that_clear(shape: tuple[int, int]):
    """Cells of 5 cm, Nav2's default: what has left an open place would stand between the lines for good."""
    camera = PinholeCamera.from_fov(shape[1], shape[0], 1.2)
    p = ScanProjector(camera, GroundPlane.from_height(0.5).levelled_from_optical)
    pixels = p.classify(np.full(shape, np.inf, np.float32), np.ones(shape, bool), BAND)
    planar, lines = p.clearing_points(p.scan(pixels), 6.0, 0.8), lines_of_sight(p, pixels, 6.0)
    middle = lines[np.abs(lines[:, 1] / lines[:, 2]) < 0.5 / camera.fy_px + 0.02]
    for points in (planar, middle):
        azimuth = np.unique(np.round(np.arctan2(points[:, 0], points[:, 2]), 5))
        assert 0.02 < np.diff(azimuth).max() * 6.0 < 0.052  # a pixel of the smaller image is 0.051
    rise = np.unique(np.round(lines[:, 1] / lines[:, 2], 5))
    assert np.diff(rise).max() * 6.0 < 0.105


def test_between_two_rays_is_free_what_is_free_in_both():
    """A post's ray is shorter than its neighbours: lines between them end before the post, too."""
    p = projector()
    scan = p.scan(p.classify(np.full((120, 160), np.inf, np.float32), ALL, BAND))
    free_m = scan.free_m.copy()
    free_m[10] = 2.0
    ends = p.clearing_points(replace(scan, free_m=free_m), 6.0, 0.8) @ p._rotation.T
    reach = np.hypot(ends[:, 0], ends[:, 1])
    short = np.arctan2(ends[:, 1], ends[:, 0])[reach < 3.0]
    assert np.ptp(short) > 1.5 * scan.angle_increment_rad
    assert np.abs(short - scan.angles_rad[10]).max() <= 0.5 * scan.angle_increment_rad + scan.angle_increment_rad


def test_clearing_points_are_finite_in_the_band_and_short_of_obstacles():
    plane = GroundPlane.from_height(0.5, 0.2)
    p = projector(0.5, 0.2)
    depth = wall_and_ground(plane, 3.0)
    depth[:, 100:] = np.inf
    scan = p.scan(p.classify(depth, ALL, BAND))
    level = plane.levelled_from_optical
    points = p.clearing_points(scan, 4.0, 0.8) @ level[:3, :3].T + level[:3, 3]
    assert np.isfinite(points).all() and points[:, 2] == pytest.approx(0.8, abs=1e-5)
    reach = np.hypot(points[:, 0], points[:, 1])
    assert reach.max() == pytest.approx(4.0, rel=1e-5)
    assert (points[points[:, 1] > 0.5][:, 0] < 3.0).all()


@pytest.mark.parametrize(("height_m", "pitch"), [(0.5, 0.0), pytest.param(1.2, 1.0, id="none of its pixels looks far")])
def test_unknown_rays_clear_nothing(height_m, pitch):
    p = projector(height_m, pitch)
    depth = np.full((120, 160), np.nan, np.float32)
    scan = p.scan(p.classify(depth, ~ALL, BAND))
    assert np.isnan(scan.ranges_m).all() and len(p.clearing_points(scan, 4.0, 0.8)) == 0


def test_nearest_in_the_corridor():
    p = projector()
    depth = np.full((120, 160), np.inf, np.float32)
    assert nearest_in_corridor(p, p.classify(depth, ALL, BAND), 0.6) == np.inf
    depth[50:70, 5:15] = 1.5  # beside the way
    assert nearest_in_corridor(p, p.classify(depth, ALL, BAND), 0.6) == np.inf
    depth[50:70, 75:85] = 2.0
    assert nearest_in_corridor(p, p.classify(depth, ALL, BAND), 0.6) == pytest.approx(2.0)
    assert np.isnan(nearest_in_corridor(p, p.classify(depth, ~ALL, BAND), 0.6))
    depth[50:70, 75:85] = -np.inf
    assert nearest_in_corridor(p, p.classify(depth, ALL, BAND), 0.6) == -np.inf


@pytest.mark.parametrize("width_m", [0.3, 0.6])
def test_a_block_across_a_corridor_of_a_pixel_or_two_is_in_it(width_m):
    """A grid of 20 columns, as of 160 pixels with a stride of 8."""
    coarse, plane = CAMERA.coarser(8), GroundPlane.from_height(0.5)
    p, depth = ScanProjector(coarse, plane.levelled_from_optical), np.full((15, 20), np.inf, np.float32)
    depth[5:9, 7:13] = 3.5  # too low for a post
    pixels = p.classify(depth, np.ones((15, 20), bool), BAND)
    assert np.nanmin(p.scan(pixels).ranges_m) == pytest.approx(3.5, abs=0.1)
    assert nearest_in_corridor(p, pixels, width_m) == pytest.approx(3.5)


@pytest.mark.parametrize("distance_m", [-np.inf, 0.1, 0.15, 0.19])
def test_nearer_than_the_least_range_is_too_near_and_never_free(distance_m):
    p = projector()
    depth = np.full((120, 160), np.inf, np.float32)
    depth[40:80, 60:100] = distance_m
    pixels = p.classify(depth, ALL, BAND)
    scan = p.scan(pixels)
    assert np.isneginf(scan.ranges_m[17:23]).all()
    assert np.isposinf(scan.ranges_m[[2, -3]]).all()  # beside it
    assert nearest_in_corridor(p, pixels, 0.6) == -np.inf
    ends = p.clearing_points(scan, 6.0, 0.5)
    assert len(ends) and not (np.abs(ends[:, 0] / ends[:, 2]) < 0.1).any()


def test_the_corridor_is_the_robots_not_the_cameras():
    """A camera 0.2 m to the left of the middle: a post before the robot's right side, beside the camera's own way."""
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    left = 0.2 + CAMERA.ray_x * -1.5  # of the robot's middle, at 1.5 m
    depth[:, (left > -0.29) & (left < -0.17)] = 1.5
    pixels = p.classify(depth, ALL, BAND)
    assert nearest_in_corridor(p, pixels, 0.6) == np.inf
    assert nearest_in_corridor(p, pixels, 0.6, -0.2) == pytest.approx(1.5)
    free = p.classify(np.full((120, 160), np.inf, np.float32), ALL, BAND)
    assert nearest_in_corridor(p, free, 0.6, -0.2) == np.inf
    assert np.isnan(nearest_in_corridor(p, free, 0.6, -8.0)), "not in view"


@pytest.mark.parametrize("min_range_m", [0.2, 0.5])
def test_what_is_measured_is_never_told_nearer_than_the_least_range(min_range_m):
    """Range says of less: discard. What stands aside at that range is less far ahead."""
    p, band = projector(), replace(BAND, min_range_m=min_range_m)
    azimuth = np.arctan2(p.left_per_metre, p.ahead_per_metre)
    aside = np.abs(azimuth + np.radians(28)) < np.radians(2)
    depth = np.where(aside, 1.03 * min_range_m / p.range_per_metre, np.float32(np.inf)).astype(np.float32)
    assert nearest_in_corridor(p, p.classify(depth, ALL, band), 2.0 * min_range_m) == pytest.approx(min_range_m)


def test_too_near_is_in_the_corridor_though_its_pixels_are_at_the_side():
    p = projector()
    depth = np.full((120, 160), np.inf, np.float32)
    depth[40:80, :40] = -np.inf
    assert nearest_in_corridor(p, p.classify(depth, ALL, BAND), 0.6) == -np.inf


def test_floor_under_the_least_range_is_not_too_near():
    p = projector(0.15, 0.7)
    depth = wall_and_ground(GroundPlane.from_height(0.15, 0.7), 20.0)
    scan = p.scan(p.classify(depth, ALL, BAND))
    assert not np.isneginf(scan.ranges_m).any()


def unsure_block(distance_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth of a floor with a block in the middle, and what is known: all but the block."""
    depth = wall_and_ground(GroundPlane.from_height(0.5), 50.0)
    known = ALL.copy()
    depth[30:70, 60:100], known[30:70, 60:100] = distance_m, False
    return depth, known


@pytest.mark.parametrize("distance_m", [2.0, 0.15, -np.inf])
def test_what_cannot_be_made_out_is_neither_free_nor_cleared(distance_m):
    """The floor in the same columns is sure: without the block it makes them known."""
    p = projector()
    depth, known = unsure_block(distance_m)
    assert known[:, 60:100].mean() > 0.6
    scan = p.scan(p.classify(depth, known, BAND))
    assert np.isnan(scan.ranges_m[17:23]).all() and np.isposinf(scan.ranges_m[[2, -3]]).all()
    assert np.isnan(nearest_in_corridor(p, p.classify(depth, known, BAND), 0.6))
    ends = p.clearing_points(scan, 6.0, 0.5)
    assert len(ends) and not (np.abs(ends[:, 0] / ends[:, 2]) < 0.15).any()


def test_unsure_floor_leaves_the_ray_free():
    p = projector()
    depth, known = unsure_block(50.0)
    known[80:100] = False  # floor of its right depth
    scan = p.scan(p.classify(depth, known, BAND))
    assert np.isposinf(scan.ranges_m[2:-2]).all()


def test_a_measured_obstacle_stays_where_something_unsure_stands_before_it():
    """It is marked where it is, and only the way up to the unsure one is cleared."""
    p = projector()
    depth, known = unsure_block(1.0)
    depth[30:50, 60:100], known[30:50, 60:100] = 3.0, True
    scan = p.scan(p.classify(depth, known, BAND))
    assert scan.ranges_m[17:23] == pytest.approx(3.0, rel=0.01)
    ends = p.clearing_points(scan, 6.0, 0.5)
    assert ends[np.abs(ends[:, 0] / ends[:, 2]) < 0.1][:, 2] == pytest.approx(0.9, rel=0.01)


def test_clearing_ends_before_what_is_beyond_the_marking_range():
    p = projector()
    depth = np.full((120, 160), 5.5, np.float32)
    scan = p.scan(p.classify(depth, ALL, BAND))
    assert np.isposinf(scan.ranges_m).all()
    assert p.clearing_points(scan, 6.0, 0.5)[:, 2].max() < 5.0


@pytest.mark.parametrize(
    ("height_m", "pitch", "distance_m"),
    [
        pytest.param(3.0, 0.0, 2.0, id="a drone"),
        pytest.param(2.0, 0.5, 0.3, id="a wall that hides the band"),
        pytest.param(1.2, -0.6, 50.0, id="a camera that looks over the band"),
        pytest.param(0.4, 0.5, 50.0, id="a camera that looks at the floor"),
    ],
)
def test_where_the_band_is_not_in_the_picture_nothing_is_free(height_m, pitch, distance_m):
    p = projector(height_m, pitch)
    pixels = p.classify(wall_and_ground(GroundPlane.from_height(height_m, pitch), distance_m), ALL, BAND)
    assert not pixels.obstacle.any()
    scan = p.scan(pixels)
    assert np.isnan(scan.ranges_m).all() and np.isnan(nearest_in_corridor(p, pixels, 0.6))
    assert len(p.clearing_points(scan, 6.0, 0.8)) == 0


def test_the_stretch_in_view_is_that_of_the_picture_s_edges():
    half = np.tan(np.arctan(59.5 / CAMERA.fx_px))  # of the rows' middles, about the horizon
    middle = projector().rays // 2
    view = projector(1.2).band_view(BAND)  # the middle of the band is in view all the way
    assert view.from_m[middle] == pytest.approx(1.1 / half, rel=0.01) and np.isposinf(view.to_m).all()
    view = projector(0.4).band_view(BAND)  # its lower edge is in view from 0.58 m on
    assert view.from_m[middle] == pytest.approx(0.4 / half, rel=0.01) and view.free_to_end.all()
    assert view.from_m.max() >= view.nearest_m > view.from_m[middle]  # the picture's edges see less
    wide = ScanProjector(PinholeCamera.from_fov(640, 480, 1.2), GroundPlane.from_height(0.4, 0.1).levelled_from_optical)
    view = wide.band_view(BAND)
    assert view.from_m.max() > 1.5 and view.nearest_m < 1.25  # the last column is nobody's measure, and clears nothing
    far = np.full((480, 640), np.inf, np.float32)
    scan = wide.scan(wide.classify(far, np.ones(far.shape, bool), BAND))
    assert len(wide.clearing_points(scan, 6.0, 0.8)) == (view.from_m <= view.nearest_m).sum() < wide.rays
    down = np.tan(0.6 - np.arctan(half))
    view = projector(1.2, 0.6).band_view(BAND)
    assert view.to_m[middle] == pytest.approx(0.4 / down, rel=0.02) and not view.free_to_end.any()
    view = projector(0.05).band_view(HeightBand(0.2, 0.4, 0.2, 5.0))  # a camera below the band sees all of it
    assert view.from_m[middle] == pytest.approx(0.25 / half, rel=0.01)
    view = projector(0.4, 0.5).band_view(BAND)
    assert np.isposinf(view.from_m).all() and np.isposinf(view.nearest_m) and not view.to_m.any()


def test_clearing_ends_where_the_band_leaves_the_picture():
    p = projector(1.2, 0.6)
    scan = p.scan(p.classify(wall_and_ground(GroundPlane.from_height(1.2, 0.6), 50.0), ALL, BAND))
    level = GroundPlane.from_height(1.2, 0.6).levelled_from_optical
    ends = p.clearing_points(scan, 6.0, 0.8) @ level[:3, :3].T
    assert len(ends) and (np.hypot(ends[:, 0], ends[:, 1]) <= scan.view.to_m.max() + 1e-4).all()
    assert (scan.view.to_m < 5.0).all()


def test_what_may_be_floor_by_its_sigma_is_neither_free_nor_cleared():
    """The cloud marks it: the clearing points must not take it away again."""
    plane = GroundPlane.from_height(1.0, 0.4)
    p = projector(1.0, 0.4)
    depth = wall_and_ground(plane, 50.0)
    level = plane.levelled_from_optical
    rays = CAMERA.unproject(np.ones((120, 160), np.float32)) @ level[:3, :3].T
    height = 1.0 + 2.0 / rays[..., 0] * rays[..., 2]
    box = (height >= 0) & (height <= 0.25) & (np.abs(rays[..., 1] / rays[..., 0]) < 0.2)
    depth[box] = (2.0 / rays[..., 0])[box]
    pixels = p.classify(depth, ALL, BAND, 0.35 * depth)
    assert p.place(depth, BAND).marking()[box].any() and not pixels.obstacle.any()
    scan = p.scan(pixels)
    middle = slice(p.rays // 2 - 2, p.rays // 2 + 3)
    assert np.isnan(scan.ranges_m[middle]).all() and not scan.free_m[middle].any()
    assert np.isnan(nearest_in_corridor(p, pixels, 0.6))


@pytest.mark.parametrize("pitch", [0.0, 0.2])
def test_free_view_is_told_no_farther_than_depth_is(pitch):
    p = projector(0.5, pitch)
    max_known_range_m = p.max_known_range_m(BAND, 3.9)
    assert 2.7 < max_known_range_m < 3.901
    depth = wall_and_ground(GroundPlane.from_height(0.5, pitch), 4.0)
    cut = HeightBand(BAND.min_height_m, BAND.max_height_m, BAND.min_range_m, max_known_range_m)
    depth[depth > 3.9] = np.inf
    scan = p.scan(p.classify(depth, ALL, cut))
    nearest = 4.0 / np.cos(scan.angles_rad)
    assert (np.where(np.isposinf(scan.ranges_m), cut.max_range_m, 0.0) < nearest).all()
