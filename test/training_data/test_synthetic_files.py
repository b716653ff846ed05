"""Readers of game files, on small files of each format made here."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.synthetic.ac3d import read_ac
from training.synthetic.bsp import read_bsp, tessellate
from training.synthetic.errors import AssetError
from training.synthetic.images import is_cut_out, mip_levels
from training.synthetic.mesh import Surface, Texture, merged, placement, transformed, vertices
from training.synthetic.openarena import Packs, parse_shaders
from training.synthetic.spm import read_spm
from training.synthetic.supertuxkart import SceneReader, drive_line
from training.synthetic.torcs import centre_line

_TRACK = """AC3Db
OBJECT world
kids 2
OBJECT poly
name "TKMN1"
texture "road.rgb" base
texture "shadow2.rgb" tiled
numvert 4
0 0 0 0 1 0
0 0 8 0 1 0
10 0 0 0 1 0
10 0 8 0 1 0
numsurf 1
SURF 0x34
mat 0
refs 4
0 0 0
1 0 1
2 1 0
3 1 1
kids 0
OBJECT group
loc 100 0 0
kids 1
OBJECT poly
name "TKMN0"
loc 0 5 0
numvert 4
-10 0 0
-10 0 8
0 0 0
0 0 8
numsurf 1
SURF 0x10
mat 0
refs 4
0 0 0
1 0 1
3 1 1
2 1 0
kids 0
"""


def test_ac3d_strips_polygons_and_nested_places(tmp_path: Path) -> None:
    path = tmp_path / "a.acc"
    path.write_text(_TRACK)
    strip, polygon = read_ac(path)
    assert (strip.name, strip.texture) == ("TKMN1", "road.rgb")
    assert len(strip.triangles) == len(polygon.triangles) == 6
    np.testing.assert_allclose(np.abs(polygon.triangles[:, 4]), 1)  # normals made from the triangle
    np.testing.assert_allclose(polygon.points.min(axis=0), (90, 5, 0))
    areas = [
        np.linalg.norm(np.cross(t[1, :3] - t[0, :3], t[2, :3] - t[0, :3])) / 2
        for t in (*strip.triangles.reshape(-1, 3, 8), *polygon.triangles.reshape(-1, 3, 8))
    ]
    np.testing.assert_allclose(areas, 40)


def test_a_model_that_ends_early_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.acc"
    outcomes = set()
    for length in range(len(_TRACK)):
        path.write_text(_TRACK[:length])
        try:
            outcomes.add(len(read_ac(path)))
        except AssetError as error:
            assert "cut.acc" in str(error)
            outcomes.add(-1)
    assert outcomes == {-1, 0, 1, 2}


def test_centre_line_follows_the_numbers_of_the_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.acc"
    path.write_text(_TRACK)
    np.testing.assert_allclose(centre_line(read_ac(path)), [(90, 5, 4), (100, 5, 4), (0, 0, 4), (10, 0, 4)])


def _spm(texture: str, points: np.ndarray, colours: list[bytes], flags: int = 3) -> bytes:
    """A static model of one triangle list, as the game's exporter lays it out."""
    out = b"SP" + bytes([(1 << 3), flags]) + bytes(24)
    out += struct.pack("<H", 1) + bytes([len(texture)]) + texture.encode() + b"\0"
    out += struct.pack("<HH", 1, 1) + struct.pack("<IIH", len(points), len(points), 0)
    for point, colour in zip(points, colours, strict=True):
        out += struct.pack("<3f", *point) + struct.pack("<I", 511 << 10) + colour + struct.pack("<2e", 0.25, 0.75)
    return out + bytes(range(len(points)))


_TRIANGLE = np.array(((0, 0, 0), (1, 0, 0), (0, 0, 2)), np.float32)


def test_spm_with_short_and_long_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.spm"
    path.write_bytes(_spm("wood.png", _TRIANGLE, [b"\x80", b"\xff\xff\x00\x33", b"\x80"]))
    (part,) = read_spm(path)
    assert part.texture == "wood.png"
    np.testing.assert_allclose(part.position, _TRIANGLE)
    np.testing.assert_allclose(part.normal, [(0, 1, 0)] * 3)
    np.testing.assert_allclose(part.uv, [(0.25, 0.25)] * 3)
    np.testing.assert_allclose(part.colour, [(1, 1, 1), (1, 0, 0.2), (1, 1, 1)])


@pytest.mark.parametrize("content", [b"XX", _spm("a", _TRIANGLE, [b"\x80"] * 3)[:70]])
def test_damaged_spm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.spm").write_bytes(content)
    with pytest.raises(AssetError, match=r"a\.spm"):
        read_spm(tmp_path / "a.spm")


def test_kart_scene_has_no_collision_shapes_and_one_level_of_detail(tmp_path: Path) -> None:
    track = tmp_path / "tracks/t"
    track.mkdir(parents=True)
    for name, size in (("ground", 50.0), ("wall", 7.0), ("tree_high", 3.0), ("tree_low", 2.0), ("lamp", 1.0)):
        (track / f"{name}.spm").write_bytes(_spm(f"{name}.png", size * _TRIANGLE, [b"\x80"] * 3))
    library = tmp_path / "library/stklib_lamp_a"
    library.mkdir(parents=True)
    (library / "node.xml").write_text('<scene><object type="animation" xyz="0 1 0" model="lamp.spm"/></scene>')
    (track / "scene.xml").write_text(
        """<scene>
        <lod><group name="tree">
          <static-object lod_distance="90" lod_group="tree" model="tree_low.spm" xyz="0 0 0"/>
          <static-object lod_distance="30" lod_group="tree" model="tree_high.spm" xyz="0 0 0"/>
        </group></lod>
        <track model="ground.spm" x="0" y="0" z="0">
          <static-object model="wall.spm" xyz="0 0 0" interaction="physics-only"/>
          <static-object lod_instance="true" lod_group="tree" xyz="10 0 0" hpr="0 90 0" scale="2 2 2"/>
        </track>
        <library name="stklib_lamp_a" xyz="0 0 20"/>
        <particle-emitter kind="smoke.xml" xyz="0 0 0"/>
        </scene>"""
    )
    model = SceneReader(tmp_path).read(track)
    found = {surface.texture.key.removeprefix("missing:"): surface.vertices[:, :3] for surface in model}
    assert set(found) == {"ground.png", "tree_high.png", "lamp.png"}
    # Turned by 90 degrees about y, twice the size, ten to the side; x mirrored into a right-handed frame.
    np.testing.assert_allclose(found["tree_high.png"], [(-10, 0, 0), (-10, 0, -6), (-22, 0, 0)], atol=1e-5)
    np.testing.assert_allclose(found["lamp.png"][0], (0, 1, 20))


def test_drive_line_of_quads_that_share_corners(tmp_path: Path) -> None:
    (tmp_path / "quads.xml").write_text(
        '<quads><quad p0="0 0 0" p1="4 0 0" p2="4 0 2" p3="0 0 2"/>'
        '<quad p0="0:3" p1="0:2" p2="4 0 6" p3="0 0 6"/></quads>'
    )
    np.testing.assert_allclose(drive_line(tmp_path), [(-2, 0, 1), (-2, 0, 4)])


def test_a_damaged_track_is_one_that_can_be_left_out(tmp_path: Path) -> None:
    for name, text in (
        ("scene.xml", "<scene><object"),
        ("quads.xml", '<quads><quad p0="3:3" p1="0:2" p2="4 0 6" p3="0 0 6"/></quads>'),
    ):
        (tmp_path / name).write_text(text)
    with pytest.raises(AssetError, match=r"scene\.xml"):
        SceneReader(tmp_path).read(tmp_path)
    with pytest.raises(AssetError, match=r"quads\.xml"):
        drive_line(tmp_path)


def test_damaged_packs(tmp_path: Path) -> None:
    path = tmp_path / "pak0.pk3"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("maps/a.bsp", bytes(range(256)) * 20)
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(40) + whole[100:])
    with pytest.raises(AssetError, match=r"maps/a\.bsp"):
        Packs(tmp_path).read("maps/a.bsp")
    path.write_bytes(whole[:60])
    with pytest.raises(AssetError, match=r"pak0\.pk3"):
        Packs(tmp_path)


def test_bezier_patch_goes_through_its_corners_and_bulges() -> None:
    control = np.zeros((3, 3, 13), np.float32)
    control[..., 0], control[..., 2] = np.meshgrid((0, 1, 2), (0, 1, 2))
    control[1, 1, 1] = 4.0
    triangles = tessellate(control)
    points = triangles[:, :3]
    for corner in ((0, 0, 0), (2, 0, 0), (0, 0, 2), (2, 0, 2)):
        assert np.isclose(points, corner).all(axis=1).any()
    assert points[:, 1].max() == pytest.approx(1.0)  # B(1/2)^2 of the middle control point is 1/4


def test_map_that_is_none() -> None:
    with pytest.raises(AssetError, match="IBSP"):
        read_bsp(b"IBSP" + struct.pack("<i", 47) + bytes(200))


def _map(mesh_vertices: bytes, faces: bytes) -> bytes:
    """A map with nothing but these two of its seventeen tables."""
    tables = [(0, 0)] * 17
    start = 8 + 8 * len(tables)
    tables[11], tables[13] = (start, len(mesh_vertices)), (start + len(mesh_vertices), len(faces))
    head = b"IBSP" + struct.pack("<i", 46) + b"".join(struct.pack("<ii", *table) for table in tables)
    return head + mesh_vertices + faces


def test_map_that_ends_early_or_names_what_it_has_not() -> None:
    mesh = struct.pack("<26i", 0, 0, 3, 0, 0, 0, 3, *[0] * 19)  # of three vertices, of which there is none
    whole = _map(bytes(12), mesh)
    for damaged in (b"IBSP", whole[:100], whole):
        with pytest.raises(AssetError, match="damaged"):
            read_bsp(damaged)


def test_shader_scripts() -> None:
    shaders = parse_shaders(
        """
        textures/a/fence { cull none
            { map textures/a/fence.tga // bars
              alphaFunc GE128 }
            { map $lightmap
              blendfunc filter } }
        textures/a/sky { skyparms env/x 512 -
            surfaceparm sky }
        textures/a/glass { { map textures/a/glass.tga
            blendfunc add } }
        textures/a/wall { qer_editorimage textures/a/edit.tga
            { map $lightmap }
            { map textures/a/wall.tga
              blendFunc filter } }
        """
    )
    fence, sky, glass, wall = (shaders[f"textures/a/{name}"] for name in ("fence", "sky", "glass", "wall"))
    assert (fence.image, fence.cut_out, fence.two_sided, fence.drawn) == ("textures/a/fence.tga", True, True, True)
    assert not sky.drawn
    assert not glass.drawn
    assert (wall.image, wall.cut_out, wall.drawn) == ("textures/a/wall.tga", False, True)


def test_smaller_mip_levels_keep_as_much_of_a_tree() -> None:
    rng = np.random.default_rng(0)
    leaves = cv2.resize(rng.uniform(0, 1, (64, 64)).astype(np.float32), (256, 256)) > 0.62
    image = np.zeros((256, 256, 4), np.uint8)
    image[leaves] = (30, 200, 40, 255)
    assert is_cut_out(image)
    share = leaves.mean()
    for level in mip_levels(image)[1:5]:
        passing = level[..., 3] >= 128
        assert passing.mean() == pytest.approx(share, rel=0.35)
        assert level[passing][:, 1].mean() > 180  # the black of the holes has not bled in
    plain = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA)
    assert (plain[..., 3] >= 128).mean() < 0.65 * share  # what plain averaging leaves of it


def test_moving_a_model_and_joining_surfaces() -> None:
    texture = Texture("t", lambda: None)
    surface = Surface(vertices(_TRIANGLE, np.array([(0, 1, 0)] * 3), np.zeros((3, 2))), texture)
    moved = transformed([surface], placement(np.array((1.0, 2.0, 3.0)), np.pi / 2, 2.0))
    np.testing.assert_allclose(moved[0].vertices[:, :3], [(1, 2, 3), (1, 2, 1), (5, 2, 3)], atol=1e-6)
    (joined,) = merged([surface, *moved])
    assert len(joined.vertices) == 6


def test_household_models_are_read_as_they_are_seen(tmp_path: Path) -> None:
    """A textured square upright in MuJoCo's frame (z up), moved by its body; the collision box is not seen."""
    pytest.importorskip("mujoco", reason="household models need MuJoCo (pip install mujoco)")
    from training.synthetic.household import read_household

    (tmp_path / "square.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 1 0 2\nv 0 0 2\nv 0 0.5 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
        "f 1/1 2/2 3/3\nf 1/1 3/3 4/4\nf 1/1 5/4 2/2\n"
    )
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = (0, 0, 255)  # OpenCV's BGR: the upper half is red
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    path = tmp_path / "square.xml"
    path.write_text(
        '<mujoco><asset><texture name="t" type="2d" file="picture.png"/><material name="m" texture="t"/>'
        '<mesh name="square" file="square.obj" inertia="shell"/></asset><worldbody><body pos="10 20 30">'
        '<geom type="mesh" mesh="square" material="m" group="1" contype="0" conaffinity="0"/>'
        '<geom type="box" size="9 9 9" group="0"/></body></worldbody></mujoco>'
    )
    (surface,) = read_household(path)
    position, uv = surface.vertices[:, :3], surface.vertices[:, 6:8]
    np.testing.assert_allclose(position.min(axis=0), (10, 30, -20.5), atol=1e-5)  # x, up, towards us
    np.testing.assert_allclose(position.max(axis=0), (11, 32, -20), atol=1e-5)
    image = surface.texture.load()
    assert image is not None
    upper = uv[position[:, 1] > 31.9]  # the picture's upper half, whose v is near 1 as surfaces have it
    assert len(upper) and image[0, 0].tolist() == [255, 0, 0, 255] and (upper[:, 1] > 0.9).all()

    path.write_text("<mujoco><worldbody/></mujoco>")
    with pytest.raises(AssetError, match="shows 0 triangles"):
        read_household(path)
    path.write_text("<mujoco><nonsense/></mujoco>")
    with pytest.raises(AssetError, match=r"square\.xml"):
        read_household(path)
