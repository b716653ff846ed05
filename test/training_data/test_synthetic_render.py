"""The renderer against closed forms, and the worlds where their assets are installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from training.datasets.base import open_dataset
from training.synthetic import render
from training.synthetic.camera import Pose, looking_at
from training.synthetic.errors import AssetsMissingError, NoRendererError
from training.synthetic.lighting import random_lighting
from training.synthetic.mesh import Surface, Texture, vertices
from training.synthetic.procedural import ProceduralWorld
from training.synthetic.quality import Limits, fault_of_depth, planarity
from training.synthetic.renderer import Renderer, Shadows

_WIDTH, _HEIGHT = 96, 64
# Not in the middle, and not square: a mistake in the projection would show.
_CAMERA = PinholeCamera(_WIDTH, _HEIGHT, 70.0, 80.0, 40.0, 35.0)


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    pytest.importorskip("moderngl", reason="rendering needs moderngl (pip install moderngl pillow)")
    try:
        made = Renderer(_WIDTH, _HEIGHT)
    except NoRendererError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def _texture(key: str, pixel: tuple[int, int, int, int] = (200, 120, 60, 255)) -> Texture:
    return Texture(key, lambda: np.tile(np.array(pixel, np.uint8), (4, 4, 1)))


def _square(centre: np.ndarray, side_a: np.ndarray, side_b: np.ndarray, texture: Texture, **kind: bool) -> Surface:
    """Two triangles; the front is where side_a x side_b points to."""
    corners = [centre + i * side_a + j * side_b for i, j in ((-1, -1), (1, -1), (1, 1), (-1, -1), (1, 1), (-1, 1))]
    normal = np.cross(side_a, side_b)
    uv = np.array([(0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1)])
    data = vertices(np.array(corners), np.tile(normal / np.linalg.norm(normal), (6, 1)), uv)
    return Surface(data, texture, **kind)


@pytest.mark.parametrize(
    "pose", [Pose(np.array((1.0, 1.7, -2.0)), 0.4, -0.3, 0.2), Pose(np.array((0, 0.5, 0)), 2.0, -0.1)]
)
def test_depth_of_a_plane_is_exact_at_every_pixel(renderer: Renderer, pose: Pose) -> None:
    ground = _square(np.zeros(3), np.array((0, 0, 500.0)), np.array((500.0, 0, 0)), _texture("ground"))
    depth = renderer.depth([(renderer.upload([ground]), np.eye(4))], pose, _CAMERA)
    rays = np.stack(np.broadcast_arrays(_CAMERA.ray_x[None], _CAMERA.ray_y[:, None], np.float32(1)), axis=-1)
    to_world = np.diag((1.0, -1.0, -1.0)) @ pose.view_matrix()[:3, :3]  # optical frame: y down, z forward
    falling = rays @ to_world[:, 1]
    with np.errstate(divide="ignore"):
        expected = np.where(falling < 0, -pose.eye_m[1] / falling, np.inf)
    seen = expected < 300
    assert 0.2 < seen.mean() < 1.0
    np.testing.assert_allclose(depth[seen], expected[seen], rtol=2e-4)
    assert np.isinf(depth[falling > 1e-3]).all()


def test_colour_and_depth_show_the_same_thing(renderer: Renderer) -> None:
    rng = np.random.default_rng(0)
    wall = _square(
        np.array((6.0, 0, 0.5)), np.array((0, 1.0, 0)), np.array((0, 0, 1.5)), _texture("red", (250, 10, 10, 255))
    )
    pose = looking_at(np.zeros(3), np.array((6.0, 0, 0)))
    frame = renderer.render([(renderer.upload([wall]), np.eye(4))], pose, _CAMERA, random_lighting(rng, False), rng)
    red = frame.rgb[..., 0].astype(int) - frame.rgb[..., 2] > 30
    np.testing.assert_allclose(frame.depth_m[np.isfinite(frame.depth_m)], 6.0, rtol=1e-4)
    assert (red == np.isfinite(frame.depth_m)).mean() > 0.97
    columns = np.nonzero(np.isfinite(frame.depth_m))[1]
    assert columns.min() == pytest.approx(40 + 70 * -1.0 / 6, abs=1)  # +z is to the right of +x
    assert columns.max() == pytest.approx(40 + 70 * 2.0 / 6, abs=1)


def test_holes_of_a_cut_out_are_holes_in_depth(renderer: Renderer) -> None:
    def half() -> np.ndarray:
        image = np.full((8, 8, 4), 255, np.uint8)
        image[:, :4, 3] = 0
        return image

    sides = (np.array((0, 0, 1.5)), np.array((0, -1.5, 0)))
    for key, cut_out, share in (("holes", True, 0.5), ("glass", False, 1.0)):
        wall = _square(np.array((5.0, 0, 0)), *sides, Texture(key, half), cut_out=cut_out)
        depth = renderer.depth(
            [(renderer.upload([wall]), np.eye(4))], looking_at(np.zeros(3), np.array((5.0, 0, 0))), _CAMERA
        )
        full = (2 * 1.5 * 70 / 5) * (2 * 1.5 * 80 / 5)
        assert np.isfinite(depth).sum() == pytest.approx(share * full, rel=0.06)


def test_the_back_of_a_wall_is_told(renderer: Renderer) -> None:
    sides = (np.array((0, 0, 9.0)), np.array((0, 9.0, 0)))
    wall = _square(np.array((5.0, 0, 0)), *sides, _texture("wall"), one_sided=True)
    model = renderer.upload([wall])
    front, back = np.cross(*sides) / 81, -np.cross(*sides) / 81
    for side, sign in ((front, 1), (back, -1)):
        eye = np.array((5.0, 0, 0)) + 3 * side
        depth = renderer.depth([(model, np.eye(4))], looking_at(eye, np.array((5.0, 0, 0))), _CAMERA)
        np.testing.assert_allclose(depth, sign * 3.0, rtol=1e-4)


def test_a_thing_keeps_the_sun_off_the_floor_beside_it(renderer: Renderer) -> None:
    """The sun stands at 45 degrees, so a plate 1 m above the floor darkens the floor 1 m beside it."""
    floor = _square(np.zeros(3), np.array((0, 0, 9.0)), np.array((9.0, 0, 0)), _texture("floor"))
    plate = _square(np.array((0, 1.0, 0)), np.array((0, 0, 0.5)), np.array((0.5, 0, 0)), _texture("plate"))
    shell, thing = ((renderer.upload([surface]), np.eye(4)) for surface in (floor, plate))
    slope = float(np.sqrt(0.5))
    sunny = replace(
        random_lighting(np.random.default_rng(0), False),
        **{
            "sun_direction": (-slope, slope, 0.0),
            "sun": (2.0, 2.0, 2.0),
            "fog_density": 0.0,
            "noise": 0.0,
            "lamp": 0.0,
        },
        **dict.fromkeys(("fill_up", "fill_down"), (0.1, 0.1, 0.1)),
    )
    camera = PinholeCamera.from_fov(_WIDTH, _HEIGHT, 1.2)
    pose = Pose(np.array((0.001, 6.0, 0.0)), 0.0, -np.pi / 2 + 1e-4)  # from above; up in the picture is +x
    frames = [
        renderer.render([shell, thing], pose, camera, sunny, np.random.default_rng(0), shadows)
        for shadows in (None, Shadows([thing], np.zeros(3), 3.0), Shadows([shell, thing], np.zeros(3), 3.0))
    ]
    without, with_plate, with_all = (frame.rgb.astype(np.float64).mean(axis=2) for frame in frames)
    row, column = int(camera.cy_px - camera.fy_px / 6), int(camera.cx_px)  # 1 m towards +x, 6 m below
    assert with_plate[row, column] < 0.5 * with_plate[row, 8]
    assert without[row, column] == pytest.approx(without[row, 8], rel=0.05)
    assert with_plate[row, 8] / with_plate[-6, 8] == pytest.approx(1.0, rel=0.05)  # no stripes where all is lit
    np.testing.assert_allclose(with_all, with_plate, atol=12)  # the floor does not shade itself
    np.testing.assert_array_equal(frames[0].depth_m, frames[1].depth_m)


def test_what_is_out_of_sight_is_not_missed(renderer: Renderer) -> None:
    """A field of many triangles, drawn in pieces, equals the same field drawn piece by piece without a choice."""
    rng = np.random.default_rng(3)
    squares = [
        _square(rng.uniform((-150, 0, -150), (150, 6, 150)), rng.normal(size=3), rng.normal(size=3), _texture("t"))
        for _ in range(1200)
    ]
    whole = Surface(np.concatenate([square.vertices for square in squares]), _texture("t"))
    cut = renderer.upload([whole])
    assert len(cut) > 20
    single = [renderer.upload([square])[0] for square in squares]
    for yaw in (0.0, 1.0, 2.5, 4.0):
        pose = Pose(np.array((3.0, 2.0, 5.0)), yaw, -0.05, 0.1)
        one, other = (renderer.depth([(model, np.eye(4))], pose, _CAMERA) for model in (cut, single))
        assert np.isfinite(one).mean() > 0.01
        np.testing.assert_array_equal(one, other)


def test_a_second_renderer_does_not_disturb_the_first(renderer: Renderer) -> None:
    wall = _square(np.array((6.0, 0, 0)), np.array((0, 1.0, 0)), np.array((0, 0, 1.5)), _texture("wall"))
    model = renderer.upload([wall])
    pose = looking_at(np.zeros(3), np.array((6.0, 0, 0)))
    before = renderer.depth([(model, np.eye(4))], pose, _CAMERA)
    other = Renderer(32, 16)
    between = renderer.depth([(model, np.eye(4))], pose, _CAMERA)
    other.close()
    after = renderer.depth([(model, np.eye(4))], pose, _CAMERA)
    assert np.isfinite(before).any()
    np.testing.assert_array_equal(before, between)
    np.testing.assert_array_equal(before, after)


def test_dull_views_are_rejected() -> None:
    rows, columns = np.meshgrid(np.arange(64, dtype=np.float32), np.arange(96, dtype=np.float32), indexing="ij")
    slanted = 1 / (0.01 + 0.004 * rows + 0.001 * columns)
    assert planarity(slanted) == pytest.approx(1.0, abs=1e-6)
    assert fault_of_depth(slanted) == "a bare plane"
    assert fault_of_depth(np.full((64, 96), 3.0, np.float32)) == "facing a wall"
    assert fault_of_depth(np.where(rows < 45, np.inf, 3.0).astype(np.float32)) == "mostly sky"
    assert fault_of_depth(np.where(rows < 10, -1.0, slanted).astype(np.float32)) == "inside a wall"
    assert fault_of_depth(np.where(columns < 20, 0.1, slanted).astype(np.float32)) == "something touches the camera"
    near = np.where(rows < 30, 0.2, 0.2 + 0.002 * rows + 0.001 * (columns % 7) * rows).astype(np.float32)
    assert fault_of_depth(near) == "something touches the camera"
    assert fault_of_depth(near, Limits(nearest_m=0.15, min_range=1.5)) is None
    assert fault_of_depth(near, Limits(nearest_m=0.15, min_range=9.0)) == "facing a wall"
    box = np.where((rows > 15) & (rows < 50) & (columns > 30) & (columns < 60), 2.0, slanted).astype(np.float32)
    assert fault_of_depth(box) is None


@pytest.mark.parametrize("world", sorted(render.WORLDS))
def test_world_renders_into_the_layout_that_trains(renderer: Renderer, world: str, tmp_path: Path) -> None:
    try:
        made = render.WORLDS[world]()
    except AssetsMissingError as error:
        pytest.skip(str(error))
    named = {"torcs": "aalborg", "supertuxkart": "icy_soccer_field", "openarena": "oa_dm7"}
    scene_name = named.get(world, "0003")  # of the made-up worlds, any
    if scene_name not in made.scene_names():
        pytest.skip(f"{world} is installed without {scene_name}")
    scene = made.load(scene_name, renderer)
    faults: Counter[str] = Counter()
    frames = list(render.good_frames(scene, renderer, 3, np.random.default_rng(0), faults))
    assert len(frames) == 3
    for number, frame in enumerate(frames):
        render.write_pair(
            tmp_path / f"{world}-{scene_name}/dense0", f"{number}", frame.rgb, frame.depth_m, frame.camera
        )
    dataset = open_dataset("megadepth", tmp_path, "all", {"percentiles": None, "sky": "far", "min_valid_share": 0.1})
    for index in range(3):
        sample = dataset[index]
        sample.check()
        assert sample.valid_mask.mean() > 0.95
        assert sample.rgb.std() > 10
        assert sample.intrinsics is not None


def test_command_line_names_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.synthetic import torcs

    monkeypatch.setitem(render.WORLDS, "torcs", lambda: torcs.Torcs(tmp_path / "nothing"))  # type: ignore[arg-type]
    assert render.main(["--world", "torcs", "--out", str(tmp_path), "--frames", "3"]) == 1
    assert "apt-get install torcs-data" in capsys.readouterr().err


@pytest.fixture(scope="module", params=["stilllife", "street", "interior", "closeup"])
def made_up(request: pytest.FixtureRequest) -> ProceduralWorld:
    try:
        return render.WORLDS[request.param]()
    except AssetsMissingError as error:
        pytest.skip(str(error))


def test_a_made_up_scene_follows_from_its_name(renderer: Renderer, made_up: ProceduralWorld) -> None:
    names = made_up.scene_names()
    assert len(set(names)) == len(names) >= 1000
    depths = []
    for name in (names[5], names[5], names[6]):
        scene = made_up.load(name, renderer)
        view = scene.propose(np.random.default_rng(1))
        camera = PinholeCamera.from_fov(_WIDTH, _HEIGHT, view.horizontal_fov_rad)
        depths.append(renderer.depth(view.placed, view.pose, camera))
    np.testing.assert_array_equal(depths[0], depths[1])
    assert not np.array_equal(depths[0], depths[2])


@pytest.mark.parametrize("name", ["street", "interior"])
def test_the_ground_has_no_holes(renderer: Renderer, name: str) -> None:
    """What lies below the horizon on a street, or in a room, is never the sky; cracks show at a fine resolution."""
    try:
        world = render.WORLDS[name]()
    except AssetsMissingError as error:
        pytest.skip(str(error))
    with closing(Renderer(640, 480)) as fine:
        for scene_name in world.scene_names()[:4]:
            scene = world.load(scene_name, fine)
            for seed in range(4):
                view = scene.propose(np.random.default_rng(seed))
                camera = PinholeCamera.from_fov(640, 480, view.horizontal_fov_rad)
                depth = fine.depth(view.placed, view.pose, camera)
                rays = np.stack(np.broadcast_arrays(camera.ray_x[None], camera.ray_y[:, None], np.float32(1)), axis=-1)
                up = (rays @ np.diag((1.0, -1.0, -1.0)) @ view.pose.view_matrix()[:3, :3])[..., 1]
                low = up < -0.12 * np.linalg.norm(rays, axis=-1)
                assert np.isfinite(depth[low]).all(), (scene_name, seed)


def test_few_views_of_each_made_up_scene(renderer: Renderer, made_up: ProceduralWorld, tmp_path: Path) -> None:
    arguments = ["--world", made_up.name, "--out", str(tmp_path), "--size", "64x48"]
    frames = made_up.views_per_scene + 1
    assert render.main([*arguments, "--frames", str(frames), "--first-scene", "20"]) == 0
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == [f"{made_up.name}-0020", f"{made_up.name}-0021"]
    assert len(list(tmp_path.rglob("*.jpg"))) == len(list(tmp_path.rglob("*.h5"))) == frames
