"""The rasteriser against ray casting that shares nothing with it but the faces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation import SCENES, Renderer, create_scene
from depthnet_ros.simulation.scene import Scene
from depthnet_ros.simulation.solids import Solid, box, rotation
from depthnet_ros.simulation.sonar import Sonar
from depthnet_ros.simulation.textures import Texture

CAMERA = PinholeCamera.from_fov(96, 72, 1.2)


def world_faces(renderer, time_s):
    """(origin, u, v) of every face there is at a time, in the world: built from the scene, not by the renderer."""
    scene = renderer.scene
    for number, shift in enumerate(scene.offsets(time_s)):
        solid = scene.still if number < 2 or scene.distant is None else scene.distant
        for face in solid.faces:
            yield face.origin + np.array((shift, 0, 0)), face.edge_u, face.edge_v
    for mover in scene.movers:
        x, y, yaw = mover.pose(time_s)
        turn = np.eye(3)
        turn[:2, :2] = rotation(yaw)
        for face in mover.solid.faces:
            yield turn @ face.origin + np.array((x, y, 0)), turn @ face.edge_u, turn @ face.edge_v


def ray_cast(renderer, time_s, pixels):
    """Depth along optical Z at pixels (N, 2) u, v; +Inf where nothing is hit."""
    camera = renderer.camera
    pose = renderer.scene.camera_pose(time_s)
    rays = np.stack(
        (
            (pixels[:, 0] - camera.cx_px) / camera.fx_px,
            (pixels[:, 1] - camera.cy_px) / camera.fy_px,
            np.ones(len(pixels)),
        ),
        axis=1,
    )  # one metre along Z: the ray's parameter is the depth
    world = rays @ pose[:3, :3].T
    best = np.full(len(pixels), np.inf)
    for origin, u, v in world_faces(renderer, time_s):
        normal = np.cross(v, u)
        towards = world @ normal
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = ((origin - pose[:3, 3]) @ normal) / towards
            hit = pose[:3, 3] + depth[:, None] * world - origin
            inverse = np.linalg.inv(np.stack((u, v, normal), axis=1))
            s, t, _ = inverse @ hit.T
            good = (towards < 0) & (depth > 0.02) & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
        best = np.where(good & (depth < best), depth, best)
    return best


@pytest.mark.parametrize("name", sorted(SCENES))
@pytest.mark.parametrize("time_s", [0.0, 7.3, 33.1])
def test_depth_is_that_of_ray_casting(name, time_s):
    renderer = Renderer(create_scene(name), CAMERA)
    v, u = np.mgrid[: CAMERA.height_px, : CAMERA.width_px]
    pixels = np.stack((u.ravel(), v.ravel()), axis=1).astype(float)
    expected = ray_cast(renderer, time_s, pixels).reshape(u.shape)
    depth = renderer.frame(time_s).depth_m
    assert depth.dtype == np.float32
    same = np.isclose(depth, expected, rtol=2e-5)
    assert same.mean() > 0.9995, "only pixels whose centre lies on a border may differ"
    assert np.isinf(expected).any() == (name == "street")


@pytest.mark.parametrize("name", sorted(SCENES))
def test_the_camera_never_drives_into_anything(name):
    renderer = Renderer(create_scene(name), CAMERA)
    nearest = min(renderer.frame(float(t)).depth_m.min() for t in np.arange(0, 130, 1.0))
    assert nearest > 0.4


def test_the_same_seed_and_time_give_the_same_frame_and_others_do_not():
    first = Renderer(create_scene("room", seed=3), CAMERA, seed=5)
    first.frame(1.0)  # what was rendered before does not matter
    one, two = first.frame(4.2), Renderer(create_scene("room", seed=3), CAMERA, seed=5).frame(4.2)
    np.testing.assert_array_equal(one.rgb, two.rgb)
    np.testing.assert_array_equal(one.depth_m, two.depth_m)
    assert one.sonar_range_m == two.sonar_range_m
    assert (Renderer(create_scene("room", seed=4), CAMERA, seed=5).frame(4.2).rgb != one.rgb).any()
    assert (first.frame(4.3).depth_m != one.depth_m).any()


def test_unknown_scene_says_which_there_are():
    with pytest.raises(ConfigError, match=r"moon.*room, street"):
        create_scene("moon")


@given(
    distance=st.floats(0.5, 8, allow_subnormal=False),
    side=st.floats(-1, 1, allow_subnormal=False),
    yaw=st.floats(-0.7, 0.7, allow_subnormal=False),
    pitch=st.floats(-0.3, 0.3, allow_subnormal=False),
)
@settings(max_examples=25, deadline=None)
def test_the_front_of_a_box_lies_on_its_plane(distance, side, yaw, pitch):
    """A wall of known plane, seen by a pitched and turned camera: n . X = d for every pixel that shows it."""
    texture = Texture(np.full((8, 8, 3), 128, np.uint8))
    solid = box((distance + 0.5, side), (1.0, 40.0, 40.0), texture, texture, bottom_m=-20.0)
    scene = Scene("wall", solid, (), lambda _: (0.0, 0.0, yaw), 1.0, pitch, np.array((0.0, 0.0, 1.0)), 0.5)
    frame = Renderer(scene, CAMERA).frame(0.0)
    points = CAMERA.unproject(frame.depth_m).reshape(-1, 3) @ frame.pose[:3, :3].T + frame.pose[:3, 3]
    assert np.isfinite(points).all(axis=1).mean() > 0.5
    on_wall = np.abs(points[:, 1] - side) < 19
    np.testing.assert_allclose(points[on_wall, 0], distance, rtol=1e-4)


def test_ground_is_at_zero_below_the_camera():
    renderer = Renderer(create_scene("room"), CAMERA)
    frame = renderer.frame(2.0)
    points = CAMERA.unproject(frame.depth_m) @ frame.pose[:3, :3].T + frame.pose[:3, 3]
    assert frame.pose[2, 3] == renderer.scene.camera_height_m
    assert abs(np.median(points[-1, :, 2])) < 1e-4
    assert points[..., 2].min() > -1e-4
    assert points[..., 2].max() < 2.7 + 1e-4


class TestSonar:
    def test_true_range_is_the_nearest_point_of_the_cone(self):
        renderer = Renderer(create_scene("room"), CAMERA)
        frame = renderer.frame(5.0)
        points = CAMERA.unproject(frame.depth_m).reshape(-1, 3).astype(np.float64)
        distance = np.linalg.norm(points, axis=1)
        inside = np.arccos(points[:, 2] / distance) <= 0.5 * renderer.sonar.field_of_view_rad
        assert renderer.sonar.cone(CAMERA).nearest(frame.depth_m) == pytest.approx(distance[inside].min(), rel=1e-6)

    def test_noise_and_drop_outs_are_those_asked_for(self):
        sonar, rng = Sonar(noise=0.02, noise_m=0.0, drop_out=0.25), np.random.default_rng(1)
        readings = np.array([sonar.measure(3.0, rng) for _ in range(4000)])
        heard = readings[np.isfinite(readings)]
        assert len(heard) / len(readings) == pytest.approx(0.75, abs=0.03)
        assert heard.std() == pytest.approx(0.06, rel=0.1)
        assert heard.mean() == pytest.approx(3.0, abs=0.01)

    def test_a_cone_that_no_pixel_lies_in_is_refused(self):
        """It would hear nothing, which reads as free."""
        with pytest.raises(ConfigError, match="no pixel of 4x4 lies in the sonar's cone of 15 degrees"):
            Sonar().cone(PinholeCamera.from_fov(4, 4, 1.2))

    def test_limits_are_infinities(self):
        sonar, rng = Sonar(min_range_m=0.2, max_range_m=4.0, drop_out=0.0), np.random.default_rng(1)
        assert sonar.measure(9.0, rng) == np.inf
        assert sonar.measure(np.inf, rng) == np.inf
        assert sonar.measure(0.05, rng) == -np.inf


def test_faces_seen_edge_on_are_left_out():
    texture = Texture(np.full((8, 8, 3), 128, np.uint8))
    scene = Scene("edge", Solid(box((2, 1), (1, 2, 1), texture, texture).faces), (), lambda _: (0.0, 0.0, 0.0),
                  1.0, 0.0, np.array((0.0, 0.0, 1.0)), 0.5)  # fmt: skip
    depth = Renderer(scene, CAMERA).frame(0.0).depth_m
    assert np.isfinite(depth[CAMERA.height_px // 2 + 5, 5])
    assert np.isinf(depth[0]).all()
