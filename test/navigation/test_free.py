"""What may be called free: nothing that could hide an obstacle."""

import numpy as np
import pytest

from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.corridor import nearest_in_corridor
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
    assert_nothing_is_free(p, p.sort(depth, floor, BAND, 0.1 * depth))


@pytest.mark.parametrize(("height_m", "pitch"), MOUNTINGS)
def test_a_guess_beyond_the_range_whose_sigma_reaches_into_it_frees_nothing(height_m, pitch):
    """A third of the far pixels are unsure, the others would be enough."""
    p, depth = projector(height_m, pitch), seen(height_m, pitch, 7.0)
    assert np.isposinf(p.scan(p.sort(depth, ALL, BAND, 0.1 * depth)).ranges_m[2:-2]).all()
    unsure = box(height_m, pitch, 5.5, 0.5, 0.7)
    depth, sigma = np.where(unsure, np.float32(5.5), depth), np.where(unsure, 3.0, 0.1 * depth).astype(np.float32)
    pixels = p.sort(depth, ~unsure, BAND, sigma)
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
    pixels = p.sort(depth, ~hidden, BAND, np.float32(0.1) * depth)
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
        pixels = p.sort(with_post, ALL, BAND, 0.02 * with_post)
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
    assert nearest_in_corridor(p, p.sort(depth, ~edge, BAND, sigma), 0.6) == pytest.approx(1.0, rel=0.03)
    aside, open_way = np.zeros_like(front), seen(0.4, 0.1, 50.0)
    aside[40:46, 10:13] = True  # 2 m to the left at its depth
    sigma = np.where(aside, sigma_m, 0.05 * open_way).astype(np.float32)
    open_way = np.where(aside, np.float32(4.0), open_way)
    assert nearest_in_corridor(p, p.sort(open_way, ~aside, BAND, sigma), 0.6) == np.inf


def test_a_black_corner_of_a_rectified_picture_costs_its_rays_alone():
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 50.0)
    depth[:, :6] = np.nan
    pixels = p.sort(depth, ~np.isnan(depth), BAND, 0.1 * depth)
    scan = p.scan(pixels)
    assert np.isposinf(scan.ranges_m[2:-4]).all() and np.isnan(scan.ranges_m[-1])
    assert nearest_in_corridor(p, pixels, 0.6) == np.inf
