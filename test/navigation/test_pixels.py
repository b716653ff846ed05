"""What pixels say of free view: known ones alone, on their own side, and of the band that was asked for."""

import numpy as np
import pytest

from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.corridor import nearest_in_corridor
from depthnet_ros.navigation.height_band import HeightBand
from test.navigation.test_scan import ALL, BAND, projector, wall_and_ground


@pytest.mark.parametrize("offset_m", [0.6, -0.6])
def test_the_corridor_looks_to_its_own_side_for_free_view(offset_m):
    """Nothing is known on one side of the picture: what lies along the other side is free all the same."""
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    known = ALL.copy()
    left = p.left_per_metre > 0
    known[~left if offset_m > 0 else left] = False
    assert nearest_in_corridor(p, p.classify(depth, known, BAND), 0.6, offset_m) == np.inf
    assert np.isnan(nearest_in_corridor(p, p.classify(depth, ~known, BAND), 0.6, offset_m))


def test_lines_of_sight_need_known_pixels_all_around():
    p = projector()
    depth, known = np.full((120, 160), 4.0, np.float32), ALL.copy()
    known[::3, ::3] = known[-1] = known[:, -1] = False  # one in every patch of three by three
    assert len(lines_of_sight(p, p.classify(depth, ALL, BAND), 6.0)) > 100
    assert len(lines_of_sight(p, p.classify(depth, known, BAND), 6.0)) == 0


def test_a_band_that_begins_at_the_ground_has_the_ground_in_it():
    """Whatever its sigma: maps that want the floor ask for it so."""
    p, plane = projector(0.5, 0.3), GroundPlane.from_height(0.5, 0.3)
    depth = wall_and_ground(plane, 50.0)
    band = HeightBand(-0.2, 1.5, 0.2, 5.0)
    assert p.place(depth, band, 0.3 * depth).marking().sum() == p.place(depth, band).marking().sum() > 1000


def test_what_is_nearer_than_the_least_range_is_marked_and_too_near_and_no_obstacle():
    """A cloud has what stands right before the robot, however near; a scan and the corridor give it no distance."""
    p, depth = projector(), np.full((120, 160), np.inf, np.float32)
    depth[40:80, 60:100] = 0.15
    near = np.isfinite(depth)
    assert p.place(depth, BAND).marking()[near].all()
    pixels = p.classify(depth, ALL, BAND)
    assert pixels.too_near[near].all() and not pixels.obstacle.any()


@pytest.mark.parametrize(("sigmas", "stands"), [(0.7, False), (1.5, True)])
def test_what_stands_is_above_the_ground_by_one_sigma_of_its_height(sigmas, stands):
    """Of its height, not of its depth: a far pixel near the horizon knows its height far better."""
    p = projector(0.5)
    depth = np.full((120, 160), 4.0, np.float32)
    placed = p.place(depth, BAND, (p.heights_m(depth) / (sigmas * np.abs(p.up_per_metre))).astype(np.float32))
    assert placed.in_band.any() and (placed.standing == (placed.in_band & stands)).all()


def test_lines_of_sight_reach_the_band_s_edge():
    p = projector(0.5)
    ends = lines_of_sight(p, p.classify(np.full((120, 160), np.inf, np.float32), ALL, BAND), 6.0)
    height_m = ends @ GroundPlane.from_height(0.5).levelled_from_optical[:3, :3].T[:, 2] + 0.5
    assert height_m.max() > 0.95 * BAND.max_height_m
