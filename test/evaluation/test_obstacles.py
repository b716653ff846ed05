"""Obstacles missed and invented, worked out by hand: where an error begins, and what is counted at all."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.evaluation.obstacles import CELL_M, grid_rates, occupancy, scan_rates

MAX_M = 5.0
ANGLES = np.linspace(-0.5, 0.5, 100)


def beam(range_m: float, reference_m: float) -> tuple[float | None, float | None, float | None, int]:
    rates = scan_rates(np.array([range_m]), np.array([reference_m]), MAX_M)
    return rates.false_free, rates.false_obstacle, rates.unseen, rates.obstacles


@pytest.mark.parametrize(
    ("range_m", "false_free", "false_obstacle"),
    [(2.34, 0.0, 0.0), (2.36, 1.0, 0.0), (1.66, 0.0, 0.0), (1.64, 0.0, 1.0)],
)
def test_a_beam_is_right_within_15_cm_and_a_tenth_of_its_range(
    range_m: float, false_free: float, false_obstacle: float
) -> None:
    assert beam(range_m, 2.0) == (false_free, false_obstacle, 0.0, 1)


@pytest.mark.parametrize(("range_m", "false_obstacle"), [(3.0, 1.0), (4.3, 1.0), (4.4, 0.0), (5.1, 0.0), (np.inf, 0.0)])
def test_in_a_free_beam_an_obstacle_within_the_range_is_invented(range_m: float, false_obstacle: float) -> None:
    """To the range's end, 5 m, the reference is free: 65 cm before that a wall right behind it may be meant."""
    assert beam(range_m, np.inf) == (None, false_obstacle, None, 0)


def test_what_is_beyond_the_farthest_range_is_no_obstacle_to_either() -> None:
    assert beam(np.inf, 6.0) == (None, 0.0, None, 0)
    assert beam(5.5, 9.0) == (None, 0.0, None, 0)


def test_unseen_is_a_share_of_obstacles_and_invented_of_what_both_know() -> None:
    reference = np.array([2.0, 2.0, 4.0, 4.0, np.inf, np.inf, np.nan])
    ranges = np.array([2.0, np.nan, np.inf, np.nan, 1.0, np.nan, 1.0])
    rates = scan_rates(ranges, reference, MAX_M)
    assert (rates.obstacles, rates.unseen, rates.false_free) == (4, 0.5, 0.25)
    assert rates.false_obstacle == pytest.approx(1 / 3)


@pytest.mark.parametrize("range_m", [1.01, 1.05, 1.09])
def test_a_ray_clears_up_to_its_hit_and_says_nothing_of_what_is_behind(range_m: float) -> None:
    grid = occupancy(np.array([range_m]), np.array([0.0]), 2.0)
    column = grid[:, grid.shape[1] // 2]
    assert (column[:10] == 1).all() and column[10] == 2 and not column[11:].any()
    assert np.count_nonzero(grid) == np.count_nonzero(column)


def test_columns_of_the_grid_run_from_right_to_left() -> None:
    for angle in (0.5, 0.05, -0.05, -0.5):
        grid = occupancy(np.array([1.0]), np.array([angle]), 2.0)
        ((row, column),) = np.argwhere(grid == 2)
        assert row == np.floor(np.cos(angle) / CELL_M)
        assert column - grid.shape[1] // 2 == np.floor(np.sin(angle) / CELL_M)


def test_a_cell_that_one_ray_hits_and_another_passes_is_occupied() -> None:
    ranges, angles = np.array([1.05, np.inf]), np.array([0.02, 0.03])
    assert occupancy(ranges, angles, 2.0)[10].max() == 2


@pytest.mark.parametrize("range_m", [4.9, 5.01, 5.6, np.inf])
def test_an_obstacle_that_may_be_seen_just_beyond_the_range_is_not_judged(range_m: float) -> None:
    """Of one at 4.9 m an estimate up to 5.54 m is right, and all beyond 5 m is the same to a scan."""
    assert beam(range_m, 4.9) == (None, 0.0, None, 0)
    wall = np.full(100, 4.9)
    rates = grid_rates(np.full(100, range_m), wall, ANGLES, MAX_M)
    assert (rates.false_free, rates.false_obstacle, rates.unseen, rates.obstacles) == (None, 0.0, None, 0)


def test_the_farthest_obstacle_that_is_judged_is_missed_by_what_is_free() -> None:
    assert beam(np.inf, 4.4) == (1.0, 0.0, 0.0, 1)
    assert beam(np.inf, 4.42) == (None, 0.0, None, 0)
    wall = np.full(100, 4.4)
    missed = grid_rates(np.full(100, np.inf), wall, ANGLES, MAX_M).false_free
    assert missed == 1.0


@pytest.mark.parametrize("wall_m", [1.05, 3.05])
def test_the_grid_s_tolerance_grows_with_range_as_the_scan_s(wall_m: float) -> None:
    """25 cm at 1 m, 45 cm at 3 m, and one cell."""
    wall, margin = np.full(100, wall_m), 0.15 + 0.1 * wall_m
    for sign in (-1, 1):
        right = grid_rates(wall + sign * (margin - 0.01), wall, ANGLES, MAX_M)
        wrong = grid_rates(wall + sign * (margin + 2 * CELL_M), wall, ANGLES, MAX_M)
        assert (right.false_free, right.false_obstacle, right.unseen) == (0.0, 0.0, 0.0)
        assert (wrong.false_free if sign > 0 else wrong.false_obstacle) > 0.0


def test_a_wall_that_nobody_looks_at_is_unseen_not_free() -> None:
    wall, half = np.full(100, 2.05), np.full(100, 2.05)
    blind = grid_rates(np.full(100, np.nan), wall, ANGLES, MAX_M)
    assert (blind.unseen, blind.false_free, blind.false_obstacle) == (1.0, 0.0, None)
    half[:50] = np.nan
    seen = grid_rates(half, wall, ANGLES, MAX_M)
    assert seen.unseen == pytest.approx(0.5, abs=0.1) and seen.false_free == 0.0
    assert blind.obstacles == seen.obstacles == np.count_nonzero(occupancy(wall, ANGLES, MAX_M) == 2)


def test_what_is_invented_is_a_share_of_the_free_cells_that_were_looked_at() -> None:
    free, ranges = np.full(100, np.inf), np.full(100, np.nan)
    ranges[50:60] = 1.05
    rates = grid_rates(ranges, free, ANGLES, MAX_M)
    looked_at = occupancy(ranges, ANGLES, MAX_M)
    wanted = np.count_nonzero(looked_at == 2) / np.count_nonzero(looked_at)
    assert rates.false_obstacle == pytest.approx(wanted) and rates.obstacles == 0


def test_a_wall_one_cell_too_near_is_seen_and_one_far_behind_is_false_free() -> None:
    wall = np.full(100, 2.05)
    near, far = (grid_rates(wall + error, wall, ANGLES, MAX_M) for error in (-CELL_M, 0.6))
    assert (near.unseen, near.false_free) == (0.0, 0.0)
    assert far.unseen == 0.0 and far.false_free is not None and far.false_free > 0.95


@pytest.mark.parametrize(("range_m", "angle_rad"), [(2.05, 0.02), (1.0, 2.5)])
def test_what_is_beyond_the_range_or_behind_marks_no_cell(range_m: float, angle_rad: float) -> None:
    grid = occupancy(np.array([range_m]), np.array([angle_rad]), 2.0)
    assert not (grid == 2).any() and grid.any() == (angle_rad < 1.0)
