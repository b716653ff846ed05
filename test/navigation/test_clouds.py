"""Clouds by analytic scenes: flying pixels, voxels, lines of sight, what marks."""

import numpy as np
import pytest

from depthnet_ros.geometry.edges import flying_pixels
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.voxel import voxel_mask
from test.navigation.test_scan import ALL, BAND, CAMERA, projector, wall_and_ground


def test_flying_pixels_between_near_and_far():
    depth = np.full((20, 20), 4.0, np.float32)
    depth[:, :8] = 1.0
    depth[:, 8:10] = 1.8
    flying = flying_pixels(1.0 / depth)
    assert flying[:, 8:10].all() and flying.sum() == 40


def test_a_slanted_plane_does_not_fly():
    plane = GroundPlane.from_height(0.5)
    rows, columns = np.mgrid[0:120, 0:160]
    inverse = plane.inverse_depth(columns, rows, CAMERA)
    floor = np.where(inverse > 0.15, 1 / np.maximum(inverse, 1e-6), np.nan).astype(np.float32)
    near = floor[100:]
    assert not flying_pixels(1.0 / near).any()


def test_voxels_keep_one_point_each(rng):
    points = rng.uniform(-1, 1, (30, 40, 3)).astype(np.float32)
    points[0, 0] = np.nan
    keep = voxel_mask(points, 0.25)
    cells = np.floor(points[keep] / 0.25).astype(int)
    assert len(np.unique(cells, axis=0)) == len(cells)
    every = np.floor(points.reshape(-1, 3)[1:] / 0.25).astype(int)
    assert len(np.unique(every, axis=0)) == len(cells)
    assert not keep[0, 0] and voxel_mask(points, 0.0).sum() == 30 * 40 - 1


def test_the_smallest_cubes_are_told_apart_as_far_as_depth_goes():
    size_m = NavigationConfig(voxel_size_m=0.001).voxel_size_m
    points = np.array([[[0.0005, 0.0005, z] for z in (0.0005, 0.0009, 0.0015, 999.0005, 999.0015)]])
    np.testing.assert_array_equal(voxel_mask(points, size_m), [[True, False, True, True, True]])


@pytest.mark.parametrize(("height_m", "pitch"), [(0.5, 0.0), (0.5, 0.2), (2.5, 0.3), (0.05, -0.1)])
def test_lines_of_sight_end_in_the_band_and_short_of_what_is_seen(height_m, pitch):
    p, plane = projector(height_m, pitch), GroundPlane.from_height(height_m, pitch)
    depth = wall_and_ground(plane, 4.0)
    ends = lines_of_sight(p, p.classify(depth, ALL, BAND), 6.0)
    assert len(ends) > 30 and np.isfinite(ends).all()
    level = ends @ plane.levelled_from_optical[:3, :3].T + (0.0, 0.0, height_m)
    assert level[:, 2].min() >= BAND.min_height_m and level[:, 2].max() <= BAND.max_height_m
    assert 3.0 < level[:, 0].max() < 3.7  # of 4 m
    u, v = CAMERA.fx_px * ends[:, 0] / ends[:, 2] + CAMERA.cx_px, CAMERA.fy_px * ends[:, 1] / ends[:, 2] + CAMERA.cy_px
    seen = depth[np.rint(v).astype(int), np.rint(u).astype(int)]
    assert (ends[:, 2] < 0.91 * seen).all()


def test_lines_of_sight_reach_the_clearing_range_where_nothing_stands():
    p = projector(0.5)
    depth = np.full((120, 160), np.inf, np.float32)
    depth[:, :40], depth[:, 40:80] = np.nan, -np.inf
    ends = lines_of_sight(p, p.classify(depth, ~np.isnan(depth), BAND), 6.0)
    assert (ends[:, 0] > 0).all()  # nothing from what is not known, and nothing from what is too near
    assert np.hypot(ends[:, 0], ends[:, 2]).max() == pytest.approx(6.0, rel=1e-3)


def test_where_lines_of_sight_cross_the_band():
    view = projector(2.5, 0.3).band_view(BAND)
    entry, end = view.entry_m, view.exit_m
    height = 2.5 + entry * projector(2.5, 0.3).up_per_metre
    inside = end > 0
    assert inside.any() and not inside.all()  # those that look up never get there
    assert height[inside] == pytest.approx(1.5, abs=1e-4)
    assert (entry[inside] < end[inside]).all()


def test_a_cloud_of_bare_floor_of_wrong_depth_marks_nothing_if_its_sigma_says_so():
    """A tall robot's floor that seems ten per cent nearer stands above the band's lower edge all over."""
    p = projector(1.2, 0.3)
    depth = np.minimum(wall_and_ground(GroundPlane.from_height(1.2, 0.3), 1e3), 15.0) / 1.1
    assert p.place(depth, BAND).marking().sum() > 2000
    assert p.place(depth, BAND, 0.18 * depth).marking().sum() == 0
    standing = np.minimum(depth, 2.0).astype(np.float32)
    assert p.place(standing, BAND, 0.18 * standing).marking().sum() > 2000
