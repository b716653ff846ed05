"""Generated geometry and textures against closed forms; no assets and no GPU needed."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from training.synthetic import shapes
from training.synthetic.assets import unit_model
from training.synthetic.errors import AssetError
from training.synthetic.facades import opened_wall
from training.synthetic.materials import PATTERNS, leaf_texture, net_texture, random_colour, wave_noise
from training.synthetic.md3 import read_md3
from training.synthetic.mesh import Surface, Texture, bounds, placement
from training.synthetic.vehicles import extruded


def _areas(mesh: shapes.Mesh, columns: slice = slice(0, 3)) -> np.ndarray:
    corners = mesh[:, columns].astype(np.float64).reshape(-1, 3, columns.stop - columns.start)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    if a.shape[1] == 2:
        return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return np.linalg.norm(np.cross(a, b), axis=1) / 2


def test_a_box_has_its_size_its_area_and_outward_normals() -> None:
    mesh = shapes.box((1.0, 2.0, 3.0))
    np.testing.assert_allclose(mesh[:, :3].min(axis=0), (-0.5, 0.0, -1.5))
    np.testing.assert_allclose(mesh[:, :3].max(axis=0), (0.5, 2.0, 1.5))
    assert _areas(mesh).sum() == pytest.approx(2 * (2 + 6 + 3))
    outward = ((mesh[:, :3] - (0, 1, 0)) * mesh[:, 3:6]).sum(axis=1)
    assert (outward > 0.49).all()


@pytest.mark.parametrize(
    ("mesh", "area"),
    [
        (shapes.cylinder(0.5, 2.0, 64), 2 * np.pi * 0.5 * 2 + 2 * np.pi * 0.25),
        (shapes.cone(0.5, 1.2, segments=64), np.pi * 0.5 * 1.3 + np.pi * 0.25),
        (shapes.ball(0.7, segments=64), 4 * np.pi * 0.49),
        (shapes.torus(1.0, 0.2, 96), 4 * np.pi**2 * 0.2),
    ],
    ids=["cylinder", "cone", "ball", "torus"],
)
def test_turned_bodies_have_the_area_of_the_true_ones(mesh: shapes.Mesh, area: float) -> None:
    assert _areas(mesh).sum() == pytest.approx(area, rel=0.01)
    assert mesh[:, 1].min() == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mesh[:, 3:6], axis=1), 1.0, atol=1e-4)


def test_normals_of_a_ball_point_away_from_its_middle() -> None:
    mesh = shapes.ball(0.7, segments=40)
    radial = (mesh[:, :3] - (0, 0.7, 0)) / 0.7
    assert ((radial * mesh[:, 3:6]).sum(axis=1) > 0.98).all()


def test_texture_coordinates_are_metres() -> None:
    wall = shapes.rectangle((1, 2, 3), (0, 0, 4.0), (0, 2.5, 0), (3, 2))
    for mesh in (shapes.box((1.0, 2.0, 3.0)), wall):
        np.testing.assert_allclose(_areas(mesh, slice(6, 8)), _areas(mesh), rtol=1e-5)
    twice = shapes.textured(wall, 2.0, (0.3, 0.7))
    np.testing.assert_allclose(_areas(twice, slice(6, 8)), 4 * _areas(wall), rtol=1e-5)
    x = np.linspace(0, 1, 30)
    hill = np.stack(np.broadcast_arrays(x[None], (x**2)[None], np.linspace(0, 2, 4)[:, None]), axis=2)
    np.testing.assert_allclose(_areas(shapes.sheet(hill), slice(6, 8)), _areas(shapes.sheet(hill)), rtol=1e-4)


def test_a_rod_goes_from_end_to_end() -> None:
    start, end = np.array((1.0, 2.0, 3.0)), np.array((-1.0, 2.5, 4.0))
    mesh = shapes.rod(start, end, 0.05, 24)
    axis = (end - start) / np.linalg.norm(end - start)
    along = (mesh[:, :3] - start) @ axis
    assert along.min() == pytest.approx(0.0, abs=1e-5)
    assert along.max() == pytest.approx(np.linalg.norm(end - start), abs=1e-5)
    aside = np.linalg.norm(mesh[:, :3] - start - along[:, None] * axis, axis=1)
    assert aside.max() == pytest.approx(0.05, abs=1e-5)


def test_moving_keeps_normals_upright_under_uneven_scale() -> None:
    slope = shapes.rectangle((0, 0, 0), (1, 1, 0), (0, 0, 1))
    moved = shapes.moved(slope, np.diag((1.0, 3.0, 1.0, 1.0)))
    edge = moved[1, :3] - moved[0, :3]
    np.testing.assert_allclose(np.linalg.norm(moved[:, 3:6], axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(moved[:, 3:6] @ edge, 0.0, atol=1e-5)


def test_contact_shadows_are_dark_at_the_foot_and_nowhere_else() -> None:
    floor = shapes.rectangle((-2, 0, -2), (4, 0, 0), (0, 0, 4), (40, 40))
    shaded = shapes.with_contact_shadows(floor, np.array([(0.5, -0.5, 0.3)]), strength=0.6)
    distance = np.hypot(shaded[:, 0] - 0.5, shaded[:, 2] + 0.5)
    assert (shaded[distance < 0.15, 10:] < 0.5).all()
    assert (shaded[distance > 1.2, 10:] > 0.98).all()
    assert (shaded[:, 10:] <= 1.0).all()
    np.testing.assert_array_equal(shaded[:, :10], floor[:, :10])


def test_a_wall_is_open_where_its_windows_are() -> None:
    holes = [(1.0, 0.5, 2.0, 1.5), (2.5, 0.0, 3.4, 2.0)]
    mesh = opened_wall(6.0, 3.0, holes)
    assert _areas(mesh).sum() == pytest.approx(18 - 1.0 - 1.8, rel=1e-4)
    middles = mesh[:, :3].reshape(-1, 3, 3).mean(axis=1) + np.array((3.0, 0, 0))
    for left, low, right, high in holes:
        inside = (middles[:, 0] > left) & (middles[:, 0] < right) & (middles[:, 1] > low) & (middles[:, 1] < high)
        assert not inside.any()
    np.testing.assert_allclose((mesh[:, 0].min(), mesh[:, 0].max()), (-3, 3), atol=1e-5)


def test_extruding_narrows_to_the_top() -> None:
    mesh = extruded(np.array(((0.0, 0.5), (4.0, 0.5), (3.0, 1.5), (1.0, 1.5))), 1.8, 1.2)
    for level, width in ((0.5, 1.8), (1.5, 1.2)):
        at = np.isclose(mesh[:, 1], level)
        assert np.ptp(mesh[at, 2]) == pytest.approx(width, abs=1e-5)


def test_noise_repeats_without_a_seam() -> None:
    for stretch in (1.0, 8.0):
        noise = wave_noise(np.random.default_rng(2), stretch=stretch)
        assert (noise.min(), noise.max()) == (0.0, 1.0)
        for rows in (noise, noise.T):
            inside = np.abs(np.diff(rows, axis=0)).mean()
            assert np.abs(rows[0] - rows[-1]).mean() < 2.5 * inside


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_patterns_show_something_and_differ(name: str) -> None:
    images = [PATTERNS[name](np.random.default_rng(seed)) for seed in range(6)]
    assert all(image.shape == (256, 256, 3) and image.dtype == np.uint8 for image in images)
    assert all(image.std() > 0.5 for image in images)
    assert len({image.tobytes() for image in images}) == 6


def test_cut_outs_have_holes_and_something_between() -> None:
    for make in (leaf_texture, net_texture):
        for seed in range(8):
            image = make(np.random.default_rng(seed)).load()
            assert image is not None
            assert 0.03 < (image[..., 3] < 128).mean() < 0.97


def test_colours_are_in_range_and_many() -> None:
    colours = np.array([random_colour(np.random.default_rng(seed)) for seed in range(300)])
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert np.ptp(colours.mean(axis=1)) > 150


def _model(mesh: shapes.Mesh) -> list[Surface]:
    return [Surface(mesh, Texture("t", lambda: None))]


def test_models_are_brought_to_a_unit_size() -> None:
    mesh = shapes.moved(shapes.box((2.0, 8.0, 4.0)), placement(np.array((5.0, -3.0, 1.0))))
    unit = unit_model(_model(mesh))
    assert unit is not None
    low, high = bounds(unit)
    np.testing.assert_allclose(low, (-0.125, 0.0, -0.25), atol=1e-6)
    np.testing.assert_allclose(high, (0.125, 1.0, 0.25), atol=1e-6)
    assert unit_model(_model(shapes.box((1.0, 1.0, 1.0))[:9])) is None  # a scrap
    assert unit_model(_model(shapes.box((5.0, 0.01, 0.01)))) is None  # a line


def _md3(triangle: np.ndarray) -> bytes:
    """One surface of one triangle whose normals point along the file's z."""
    packed = b"".join(struct.pack("<3hH", *(round(64 * v) for v in corner), 0) for corner in triangle)
    head = 108
    shaders, order, uv = head, head + 68, head + 68 + 12
    points = uv + 24
    surface = struct.pack(
        "<4s64siiiiiiiiii", b"IDP3", b"body", 0, 1, 1, 3, 1, order, shaders, uv, points, points + len(packed)
    )
    body = struct.pack("<64si", b"models/cup\0", 0) + struct.pack("<3i", 0, 1, 2) + struct.pack("<6f", 0, 0, 1, 0, 0, 1)
    header = struct.pack("<4si64siiiiiiiii", b"IDP3", 15, b"cup", 0, 1, 0, 1, 0, 108, 108, 108, 0)
    return header + surface + body + packed


def test_md3_is_turned_upright() -> None:
    data = _md3(np.array(((1.0, 2.0, 3.0), (2.0, 2.0, 3.0), (1.0, 4.0, 3.0))))
    (part,) = read_md3(data)
    assert part.shader == "models/cup"
    np.testing.assert_allclose(part.position, ((1, 3, -2), (2, 3, -2), (1, 3, -4)), atol=0.02)
    np.testing.assert_allclose(part.normal, np.tile((0, 1, 0), (3, 1)), atol=1e-6)
    np.testing.assert_allclose(part.uv, ((0, 1), (1, 1), (0, 0)))


def test_md3_that_is_none_or_ends_early() -> None:
    data = _md3(np.zeros((3, 3)))
    with pytest.raises(AssetError, match="IDP3"):
        read_md3(b"IDP2" + data[4:])
    with pytest.raises(AssetError, match="early"):
        read_md3(data[:-20])
