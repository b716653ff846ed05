import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation import SCENES, Renderer, create_scene
from depthnet_ros.simulation.occupancy import Grid, occupied_cells
from depthnet_ros.simulation.solids import Footprint, rotation

GRID = Grid(-6.0, -6.0, 0.1, 120, 120)


@given(
    st.floats(-3, 3, allow_subnormal=False),
    st.floats(-3, 3, allow_subnormal=False),
    st.floats(0.1, 2, allow_subnormal=False),
    st.floats(0.1, 2, allow_subnormal=False),
    st.floats(-3.2, 3.2, allow_subnormal=False),
)
@settings(max_examples=40, deadline=None)
def test_a_rectangle_covers_the_cells_of_its_points_and_about_its_area(x, y, length, width, yaw):
    corners = np.array(((1, -1), (1, 1), (-1, 1), (-1, -1))) * (length / 2, width / 2)
    footprint = Footprint(corners @ rotation(yaw).T + (x, y), 0.0, 1.0)
    cells = occupied_cells([footprint], GRID, (0.1, 0.5))
    grid = np.linspace(-0.499, 0.499, 60)
    inside = np.stack(np.meshgrid(grid * length, grid * width), axis=-1).reshape(-1, 2) @ rotation(yaw).T + (x, y)
    row, column, on_grid = GRID.index(inside)
    assert on_grid.all()
    assert cells[row, column].all()
    perimeter = 2 * (length + width)
    assert cells.sum() * 0.01 <= length * width + 0.15 * perimeter + 0.09


def test_cells_that_are_only_touched_are_free():
    square = Footprint(np.array(((0.0, 0.0), (0.2, 0.0), (0.2, 0.2), (0.0, 0.2))), 0.0, 1.0)
    assert occupied_cells([square], GRID, (0.1, 0.5)).sum() == 4


@pytest.mark.parametrize(("band", "cells"), [((0.1, 0.5), 4), ((1.0, 2.0), 0), ((-1.0, 0.0), 0), ((0.9, 5.0), 4)])
def test_only_what_reaches_into_the_height_band_counts(band, cells):
    square = Footprint(np.array(((0.0, 0.0), (0.2, 0.0), (0.2, 0.2), (0.0, 0.2))), 0.0, 1.0)
    assert occupied_cells([square], GRID, band).sum() == cells


def test_what_lies_off_the_grid_is_left_out():
    far = Footprint(np.array(((90.0, 0.0), (91.0, 0.0), (91.0, 1.0), (90.0, 1.0))), 0.0, 1.0)
    assert not occupied_cells([far], GRID, (0.1, 0.5)).any()


@pytest.mark.parametrize("name", sorted(SCENES))
@pytest.mark.parametrize("time_s", [1.0, 12.5])
def test_every_surface_that_the_camera_sees_stands_on_an_occupied_cell(name, time_s):
    """Footprints and faces are made together; this holds them together. Points are pushed in by a millimetre."""
    camera = PinholeCamera.from_fov(160, 120, 1.2)
    frame = Renderer(create_scene(name), camera).frame(time_s)
    points = camera.unproject(frame.depth_m)[np.isfinite(frame.depth_m)]
    points = (points * (1 + 2e-3)) @ frame.pose[:3, :3].T + frame.pose[:3, 3]
    x, y = frame.pose[0, 3], frame.pose[1, 3]
    grid = Grid(x - 12.0, y - 12.0, 0.1, 240, 240)
    cells = occupied_cells(create_scene(name).footprints(time_s), grid, (0.2, 1.2))
    points = points[(points[:, 2] > 0.25) & (points[:, 2] < 1.15)]
    row, column, on_grid = grid.index(points[:, :2])
    assert on_grid.sum() > 1000
    assert cells[row[on_grid], column[on_grid]].mean() > 0.995
