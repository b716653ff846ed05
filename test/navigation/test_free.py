"""What may be called free: nothing that could hide an obstacle."""

import numpy as np
import pytest

from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.corridor import nearest_in_corridor
from depthnet_ros.navigation.scan import ScanProjector
from test.navigation.test_scan import ALL, BAND, CAMERA, projector, wall_and_ground

MOUNTINGS = [(0.4, 0.1), (0.4, 0.25), (0.6, 0.2), (0.8, 0.15), (1.0, 0.3)]


def seen(height_m: float, pitch: float, wall_m: float) -> np.ndarray:
    return wall_and_ground(GroundPlane.from_height(height_m, pitch), wall_m)


def box(height_m: float, pitch: float, distance_m: float, half_width_m: float, top_m: float) -> np.ndarray:
    """(120, 160) True where the front of a box that stands on the ground is seen."""
    p = projector(height_m, pitch)
    depth = distance_m / p.ahead_per_metre
    up = height_m + depth * p.up_per_metre
    return (p.ahead_per_metre > 0) & (np.abs(depth * p.left_per_metre) <= half_width_m) & (up >= 0) & (up <= top_m)


def assert_nothing_is_free(p, pixels, rays=slice(None)) -> None:
    scan = p.scan(pixels)
    assert not np.isposinf(scan.ranges_m[rays]).any()
    assert not np.isposinf(nearest_in_corridor(p, pixels, 0.6))
    if rays == slice(None):
        assert len(p.clearing_points(scan, 6.0, 0.5)) == 0


@pytest.mark.parametrize(("height_m", "pitch"), MOUNTINGS)
@pytest.mark.parametrize("guess", [np.nan, 5.5])
def test_the_floor_before_what_is_unknown_frees_nothing(height_m, pitch, guess):
    """A glass door at 2.5 m: the floor before it is sure, the rest is not, wherever the network puts it."""
    p, depth = projector(height_m, pitch), seen(height_m, pitch, 2.5)
    floor = p.heights_m(depth) < 0.02
    assert 0.2 < floor.mean() < 0.7
    depth = np.where(floor, depth, np.float32(guess))
    assert_nothing_is_free(p, p.classify(depth, floor, BAND, 0.1 * depth))


@pytest.mark.parametrize(("height_m", "pitch"), MOUNTINGS)
def test_a_guess_beyond_the_range_whose_sigma_reaches_into_it_frees_nothing(height_m, pitch):
    """A third of the far pixels are unsure, the others would be enough."""
    p, depth = projector(height_m, pitch), seen(height_m, pitch, 7.0)
    assert np.isposinf(p.scan(p.classify(depth, ALL, BAND, 0.1 * depth)).ranges_m[2:-2]).all()
    unsure = box(height_m, pitch, 5.5, 0.5, 0.7)
    depth, sigma = np.where(unsure, np.float32(5.5), depth), np.where(unsure, 3.0, 0.1 * depth).astype(np.float32)
    pixels = p.classify(depth, ~unsure, BAND, sigma)
    middle = slice(p.rays // 2 - 1, p.rays // 2 + 1)
    assert_nothing_is_free(p, pixels, middle)
    assert (p.scan(pixels).free_m[middle] <= 2.6).all()


@pytest.mark.parametrize(("height_m", "pitch"), [(0.4, 0.1), (0.8, 0.15), (1.0, 0.2)])
@pytest.mark.parametrize("wall_m", [4.0, 50.0])
@pytest.mark.parametrize("what", ["unknown", "unsure"])
def test_a_box_that_cannot_be_made_out_frees_nothing_whatever_is_behind(height_m, pitch, wall_m, what):
    """A sure wall behind it is still told, to mark it; the way to it is not free."""
    p, depth = projector(height_m, pitch), seen(height_m, pitch, wall_m)
    hidden = box(height_m, pitch, 1.5, 0.4, 0.5)
    depth = np.where(hidden, np.float32(np.nan if what == "unknown" else 1.5), depth)
    pixels = p.classify(depth, ~hidden, BAND, np.float32(0.1) * depth)
    middle = slice(p.rays // 2 - 2, p.rays // 2 + 2)
    assert_nothing_is_free(p, pixels, middle)
    scan = p.scan(pixels)
    assert (scan.free_m[middle] <= 1.6).all()
    nearest_m = nearest_in_corridor(p, pixels, 0.6)
    if wall_m == 4.0:
        assert scan.ranges_m[middle] == pytest.approx(4.0, rel=0.02)
        assert nearest_m == pytest.approx(4.0, rel=0.02)
    else:
        assert np.isnan(scan.ranges_m[middle]).all() and np.isnan(nearest_m)


@pytest.mark.parametrize(("width_m", "distance_m"), [(0.03, 1.5), (0.04, 2.0), (0.05, 3.0), (0.1, 4.0)])
def test_a_post_is_not_free_however_thin(width_m, distance_m):
    """Two columns of a coarse cloud are too few to mark it, but enough not to drive on."""
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 50.0)
    for aside in np.linspace(-0.2, 0.2, 9):
        ray = CAMERA.ray_x[None, :] * np.ones((120, 1))
        post = np.abs(-ray * distance_m - aside) <= 0.5 * width_m
        post &= p.heights_m(np.full((120, 160), distance_m, np.float32)) < 1.2
        if post.any(axis=0).sum() < 1:
            continue
        with_post = np.where(post, np.minimum(depth, np.float32(distance_m)), depth)
        pixels = p.classify(with_post, ALL, BAND, 0.02 * with_post)
        nearest_m = nearest_in_corridor(p, pixels, 0.6)
        assert not np.isposinf(nearest_m), aside
        if post.any(axis=0).sum() >= 1 and abs(aside) < 0.15:
            assert nearest_m == pytest.approx(distance_m, rel=0.1), aside  # sure as it is, it has its distance


@pytest.mark.parametrize("sigma_m", [0.52, 3.0, 3.9])
def test_an_unsure_edge_hides_no_obstacle_and_blocks_no_way_beside_it(sigma_m):
    """The far side of every depth edge is a column of unsure pixels, whose sigma reaches before the near side."""
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 4.0)
    front = box(0.4, 0.1, 1.0, 0.2, 0.8)
    depth = np.where(front, np.float32(1.0), depth)
    edge = np.zeros_like(front)
    edge[:, 1:] = front[:, :-1] & ~front[:, 1:]
    sigma = np.where(edge, sigma_m, 0.05 * depth).astype(np.float32)
    assert nearest_in_corridor(p, p.classify(depth, ~edge, BAND, sigma), 0.6) == pytest.approx(1.0, rel=0.03)
    aside, open_way = np.zeros_like(front), seen(0.4, 0.1, 50.0)
    aside[40:46, 10:13] = True  # 2 m to the left at its depth
    sigma = np.where(aside, sigma_m, 0.05 * open_way).astype(np.float32)
    open_way = np.where(aside, np.float32(4.0), open_way)
    assert nearest_in_corridor(p, p.classify(open_way, ~aside, BAND, sigma), 0.6) == np.inf


def test_a_black_corner_of_a_rectified_picture_costs_its_rays_alone():
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 50.0)
    depth[:, :6] = np.nan
    pixels = p.classify(depth, ~np.isnan(depth), BAND, 0.1 * depth)
    scan = p.scan(pixels)
    assert np.isposinf(scan.ranges_m[2:-4]).all() and np.isnan(scan.ranges_m[-1])
    assert nearest_in_corridor(p, pixels, 0.6) == np.inf


@pytest.mark.parametrize(("known_share", "nearest_m"), [(0.4, np.nan), (0.7, np.inf)])
def test_the_corridor_is_free_where_more_than_half_of_what_looks_along_it_is_known(known_share, nearest_m):
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    known = np.random.default_rng(0).random(depth.shape) < known_share
    assert nearest_in_corridor(p, p.classify(depth, known, BAND), 0.6) == pytest.approx(nearest_m, nan_ok=True)


def test_a_floor_that_fills_most_of_the_picture_leaves_the_corridor_free():
    """A camera that looks down: what does not look far along the corridor has no say."""
    p, depth = projector(0.5, 0.2), seen(0.5, 0.2, 50.0)
    assert p.band_view(BAND).looks_far.mean() < 0.5
    assert nearest_in_corridor(p, p.classify(depth, ALL, BAND), 0.6) == np.inf


def test_a_ceiling_does_not_speak_for_what_is_ahead():
    """Sure pixels that look over the band, above ones that look along it and are not known."""
    p = projector(0.5, -0.2)
    above = (p.up_per_metre > 0) & ~p.band_view(BAND).looks_far
    assert above.mean() > 0.25
    scan = p.scan(p.classify(np.full((120, 160), np.inf, np.float32), above, BAND))
    assert np.isnan(scan.ranges_m).all() and not scan.free_m.any()


def test_a_corridor_with_one_side_out_of_view_is_not_free():
    """A camera that leans: on the left the picture ends above the band."""
    p, depth = projector(0.9, -0.1, 0.1), wall_and_ground(GroundPlane.from_height(0.9, -0.1, 0.1), 50.0)
    free = p.band_view(BAND).free_to_end
    assert free[: p.rays // 2].all() and not free[-6:].any()
    pixels = p.classify(depth, ALL, BAND)
    assert nearest_in_corridor(p, pixels, 3.0) == np.inf
    assert np.isnan(nearest_in_corridor(p, pixels, 3.0, 1.0))


def test_what_is_too_near_beside_the_robot_s_own_way_is_not_in_it():
    """A camera at the robot's right side, and something right of the camera."""
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    depth[40:80, 120:] = -np.inf
    pixels = p.classify(depth, ALL, BAND)
    assert nearest_in_corridor(p, pixels, 0.6) == -np.inf
    assert nearest_in_corridor(p, pixels, 0.6, 0.5) == np.inf


@pytest.mark.parametrize("value", [-np.inf, 0.1, np.nan])
def test_a_single_wrong_pixel_neither_stops_the_robot_nor_blinds_it(value):
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    depth[60, 80] = value
    pixels = p.classify(depth, ~np.isnan(depth), BAND)
    assert nearest_in_corridor(p, pixels, 0.6) == np.inf
    assert np.isposinf(p.scan(pixels).ranges_m[2:-2]).all()


@pytest.mark.parametrize(("sigmas", "free"), [(0.7, False), (1.5, True)])
def test_a_guess_counts_as_an_obstacle_up_to_one_sigma_before_it(sigmas, free):
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 50.0)
    unsure = box(0.4, 0.1, 6.0, 0.5, 0.7)
    depth = np.where(unsure, np.float32(6.0), depth)
    sigma = np.where(unsure, (6.0 - BAND.max_range_m) / sigmas, 0.05 * depth).astype(np.float32)
    pixels = p.classify(depth, ~unsure, BAND, sigma)
    assert np.isposinf(p.scan(pixels).ranges_m[p.rays // 2]) == free
    assert np.isposinf(nearest_in_corridor(p, pixels, 0.6)) == free


def test_a_guess_beside_the_corridor_that_may_be_nearer_stands_in_it():
    """Half as far along its line of sight it is half as far aside."""
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 50.0)
    aside = box(0.4, 0.1, 5.5, 0.6, 0.7) & ~box(0.4, 0.1, 5.5, 0.4, 2.0)
    depth = np.where(aside, np.float32(5.5), depth)
    for sigma_m, free in ((0.1, True), (3.0, False)):
        sigma = np.where(aside, sigma_m, 0.05 * depth).astype(np.float32)
        assert np.isposinf(nearest_in_corridor(p, p.classify(depth, ~aside, BAND, sigma), 0.6)) == free


@pytest.mark.parametrize("side_m", [1.0, -1.0])
def test_a_guess_in_a_corridor_aside_stands_in_it_though_nearer_it_would_not(side_m):
    """The robot's middle is a metre beside the camera: half as far along its line of sight the guess is half as far."""
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    block = (np.abs(5.5 * p.left_per_metre - side_m) < 0.2) & (np.abs(p.up_per_metre) < 0.1)
    depth = np.where(block, np.float32(5.5), depth)
    for sigma_m, free in ((0.1, True), (2.5, False)):
        pixels = p.classify(depth, ~block, BAND, np.full_like(depth, sigma_m))
        assert np.isposinf(nearest_in_corridor(p, pixels, 0.6, side_m)) == free


@pytest.mark.parametrize("side_m", [3.0, -3.0])
def test_a_corridor_of_a_camera_that_looks_down_lies_along_the_ground(side_m):
    """Nothing is known but what looks along it: a metre of depth is more than one ahead there."""
    p, depth = projector(0.5, 0.3), np.full((120, 160), np.inf, np.float32)
    aside = np.abs(BAND.max_range_m * p.left_per_metre / p.ahead_per_metre - side_m)
    assert nearest_in_corridor(p, p.classify(depth, aside <= 0.12, BAND), 0.2, side_m) == np.inf
    assert np.isnan(nearest_in_corridor(p, p.classify(depth, aside > 0.12, BAND), 0.2, side_m))


@pytest.mark.parametrize("side_m", [3.8, -3.8])
def test_a_corridor_that_ends_beside_the_rays_is_not_free_though_a_corner_of_the_picture_sees_it(side_m):
    p = projector(0.5, 0.0, 0.3)
    along = np.abs(BAND.max_range_m * p.left_per_metre / p.ahead_per_metre - side_m) < 0.1
    assert (along & p.band_view(BAND).looks_far).any()
    assert np.isnan(nearest_in_corridor(p, p.classify(np.full((120, 160), np.inf, np.float32), ALL, BAND), 0.2, side_m))


def test_unsure_floor_that_is_below_the_band_within_its_sigma_frees_its_rays():
    p, depth = projector(0.5), seen(0.5, 0.0, 50.0)
    near = p.up_per_metre < -0.2  # not where it looks far
    assert not p.band_view(BAND).looks_far[near].any()
    pixels = p.classify(depth, ~near, BAND, 0.1 * depth)
    assert not pixels.all_trusted and np.isposinf(p.scan(pixels).ranges_m[2:-2]).all()


def test_nothing_is_in_the_way_before_its_line_of_sight_comes_into_the_band():
    p = projector(2.5, 0.5)
    depth = wall_and_ground(GroundPlane.from_height(2.5, 0.5), 4.0)
    pixels = p.classify(depth, ~ALL, BAND, 5.0 * depth)
    assert pixels.blocking.any() and pixels.view.entry_m[pixels.blocking].min() > 0.5
    assert (pixels.blocking_m >= pixels.view.entry_m)[pixels.blocking].all()


@pytest.mark.parametrize(("rows", "nearest_m"), [(4, np.inf), (5, 2.0)])
def test_a_sure_post_is_five_pixels_high_at_least(rows, nearest_m):
    """A scan does not mark one column of pixels, and does not call it free either."""
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    depth[60 : 60 + rows, 80] = 2.0
    pixels = p.classify(depth, ALL, BAND)
    assert nearest_in_corridor(p, pixels, 0.6) == pytest.approx(nearest_m)
    assert np.isnan(p.scan(pixels).ranges_m).sum() == (rows == 5)
    assert not np.isfinite(p.scan(pixels).ranges_m).any()


@pytest.mark.parametrize(("columns", "free"), [(4, True), (5, False)])
@pytest.mark.parametrize("wall_m", [4.0, 50.0])
def test_a_sure_rail_is_five_pixels_wide_at_least_and_has_no_range(columns, free, wall_m):
    """One row of pixels: what is behind is not cleared, and told as it is."""
    p, depth = projector(), seen(0.5, 0.0, wall_m)
    depth[60, 80 : 80 + columns] = 2.0
    pixels = p.classify(depth, ALL, BAND)
    scan, nearest_m = p.scan(pixels), nearest_in_corridor(p, pixels, 0.6)
    rail = pixels.range_m[60, 80]
    blocked = (scan.free_m < 1.01 * rail) | (scan.free_m == 0)
    assert blocked.any() != free and not blocked[:17].any() and not blocked[23:].any()
    if wall_m < BAND.max_range_m:
        assert nearest_m == pytest.approx(wall_m, rel=0.01)
        assert scan.ranges_m[17:23] == pytest.approx(wall_m, rel=0.02)
    else:
        assert np.isposinf(nearest_m) if free else np.isnan(nearest_m)
        assert np.isnan(scan.ranges_m[blocked]).all() and np.isposinf(scan.ranges_m[2:-2][~blocked[2:-2]]).all()


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_are_nearer_by_noise_make_no_obstacle(seed):
    """A floor in rows, each as wrong as the network has it there: what is one row high is marked nowhere."""
    p, floor = projector(0.8, 0.2), seen(0.8, 0.2, 50.0)
    rows = np.random.default_rng(seed).random(120) < 0.2
    rows[1:] &= ~rows[:-1]
    depth = np.where(rows[:, None], np.float32(0.6) * floor, floor)
    pixels = p.classify(depth, ALL, BAND)
    assert pixels.obstacle.any()
    assert not np.isfinite(p.scan(pixels).ranges_m).any()
    assert not np.isfinite(nearest_in_corridor(p, pixels, 0.6))


@pytest.mark.parametrize("where", [(slice(40, 80), 80), (60, slice(60, 100))])
def test_a_line_of_unsure_pixels_blocks_no_ray(where):
    """One is beside every edge."""
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    depth[where] = 2.0
    pixels = p.classify(depth, np.isposinf(depth), BAND, np.full_like(depth, 0.1))
    assert not pixels.all_trusted and np.isposinf(p.scan(pixels).ranges_m[2:-2]).all()


def test_what_is_guessed_before_the_band_and_may_stand_in_it_frees_nothing():
    """A camera above the band: a board at 4 m, taken for one at 2 m, where its line has not come down into the band."""
    p = ScanProjector(CAMERA, GroundPlane.from_height(1.8, 0.2).levelled_from_optical)
    depth = wall_and_ground(GroundPlane.from_height(1.8, 0.2), 50.0)
    true_m = 4.0 / p.ahead_per_metre
    height, aside = 1.8 + true_m * p.up_per_metre, true_m * p.left_per_metre
    board = (p.ahead_per_metre > 0) & (height > 1.2) & (height < 1.5) & (np.abs(aside) < 0.5)
    guess = np.where(board, 0.5 * true_m, depth).astype(np.float32)
    for sigma_m, free in ((2.5, False), (0.1, True)):
        pixels = p.classify(guess, ~board, BAND, np.where(board, sigma_m, 0.05 * depth).astype(np.float32))
        assert np.isposinf(nearest_in_corridor(p, pixels, 0.6)) == free
        assert np.isposinf(p.scan(pixels).ranges_m[p.rays // 2]) == free
