"""Steadying: flicker goes down by three at least, moving obstacles lag by no more than a frame."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from depthnet_ros.evaluation.flicker import flicker, warped_flicker
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler
from depthnet_ros.metric_scale.temporal import AffineStabilizer, PixelFilter

from .room import Room
from .world import CAMERA, FRAME_S, SIZE, World, run, smooth_noise


def pixel_filter() -> PixelFilter:
    config = MetricScaleConfig()
    return PixelFilter(config.temporal_gain, config.temporal_gate)


def test_flicker_of_a_static_scene_falls_by_three(rng):
    world, steadier, pixels = World(), AffineStabilizer(), pixel_filter()
    raw, steady = [], []
    for _ in range(40):
        scale, shift = 5.0 * np.exp(0.05 * rng.normal()), 0.3 * rng.normal()
        noisy = world.inverse_depth * (1 + 0.01 * rng.normal(size=(120, 160)) + 0.01 * smooth_noise(rng))
        relative = (scale * noisy + shift).astype(np.float32)
        steadier.update(relative)
        raw.append(5.0 / relative)
        steady.append(5.0 / pixels.update(steadier.steady(relative), 0.0))
    pairs = range(10, 39)
    before = np.mean([flicker(raw[i], raw[i + 1]) for i in pairs])
    after = np.mean([flicker(steady[i], steady[i + 1]) for i in pairs])
    assert after < before / 3


def test_an_obstacle_that_appears_is_there_at_once():
    world, pixels = World(), pixel_filter()
    for _ in range(10):
        pixels.update(world.inverse_depth, 0.0)
    block = world.inverse_depth.copy()
    block[30:70, 60:100] *= 2.0
    now = pixels.update(block, 0.0)
    assert now[40:60, 70:90] == pytest.approx(block[40:60, 70:90], rel=0.02)
    gone = pixels.update(world.inverse_depth, 0.0)
    assert gone[40:60, 70:90] == pytest.approx(world.inverse_depth[40:60, 70:90], rel=0.02)


def one_frame(speed: float) -> float:
    """What depth may be behind by: what a frame brings; slower than 1.5 % a frame, motion cannot be told from noise."""
    return max(speed, 0.02) + 1e-6


@pytest.mark.parametrize("speed", [0.01, 0.02, 0.04, 0.1])
def test_an_obstacle_that_comes_nearer_lags_by_a_frame_at_most(speed):
    """``speed``: share of its distance that it comes nearer in a frame; 0.02 is 1 m/s at 1.7 m and 30 frames/s."""
    pixels, frames = pixel_filter(), []
    base = np.full((120, 160), 0.3, np.float32)
    for index in range(30):
        inverse = base.copy()
        inverse[20:100, 40:120] = 0.4 * (1 + speed) ** index
        frames.append((inverse[60, 80], pixels.update(inverse, 0.0)[60, 80]))
    true, filtered = np.array(frames).T
    assert (true[10:] / filtered[10:] - 1).max() <= one_frame(speed)


@pytest.mark.parametrize("speed", [0.008, 0.012, 0.0175, 0.02, 0.03, 0.05])
def test_an_obstacle_that_starts_from_rest_lags_no_more(speed):
    """The same, from the first frame of motion on."""
    pixels, base = pixel_filter(), np.full((120, 160), 0.3, np.float32)
    for index in range(40):
        inverse = base.copy()
        inverse[20:100, 40:120] = 0.4 * (1 + speed) ** max(0, index - 10)
        behind = inverse[60, 80] / pixels.update(inverse, 0.0)[60, 80]
        assert behind - 1 <= one_frame(speed)


@pytest.mark.parametrize("width", [20, 80, 107, 160])
@pytest.mark.parametrize("speed", [0.01, 0.02, 0.04])
def test_an_obstacle_of_any_width_lags_no_more(speed, width):
    """From a post to a wall that fills the view, on a scene with relief: none may pass for a wander of the network."""
    pixels, base = pixel_filter(), 0.3 * (1.0 + 0.15 * smooth_noise(np.random.default_rng(0)))
    for index in range(40):
        inverse = base.astype(np.float32)
        inverse[:, :width] *= 1.33 * (1 + speed) ** max(0, index - 10)
        now = pixels.update(inverse, 0.0)
        place = np.s_[56:65, width // 2 - 4 : width // 2 + 5]
        behind = float(np.median(inverse[place] / now[place]))
        assert behind - 1 <= one_frame(speed)


def test_a_step_of_the_network_s_scale_is_taken_out_and_a_cut_is_seen():
    world, steadier = World(), AffineStabilizer()
    steadier.update(world.inverse_depth)
    steadier.update(3 * world.inverse_depth + 1)
    assert steadier.step == (pytest.approx(3.0), pytest.approx(1.0, abs=0.01))
    assert (steadier.gain, steadier.offset) == (1.0, 0.0)
    other = np.ascontiguousarray(world.inverse_depth[::-1]) + smooth_noise(np.random.default_rng(3))
    steadier.update(other.astype(np.float32))
    assert steadier.cut


def test_the_past_follows_the_image():
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (120, 400)).astype(np.uint8), (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    inverse = cv2.GaussianBlur(rng.uniform(0.2, 1.0, (120, 400)).astype(np.float32), (0, 0), 8)
    errors = {}
    for follow in (True, False):
        pixels = PixelFilter(0.2, 10.0)
        for index in range(12):
            cut = slice(4 * index, 4 * index + 160)
            image = np.ascontiguousarray(texture[:, cut]) if follow else None
            last = pixels.update(np.ascontiguousarray(inverse[:, cut]), 0.0, image)
        errors[follow] = float(np.abs(last - inverse[:, cut])[20:100, 20:140].mean())
    assert errors[True] < 0.4 * errors[False]


def test_warped_flicker_of_a_true_motion_is_nothing():
    depth = np.full((120, 160), 3.0, np.float32)
    motion = np.eye(4)
    motion[2, 3] = -0.3
    now = np.full((120, 160), 2.7, np.float32)
    assert warped_flicker(depth, now, depth, now, CAMERA, motion) == pytest.approx(0.0, abs=1e-6)
    assert warped_flicker(depth, 1.1 * now, depth, now, CAMERA, motion) == pytest.approx(0.1, abs=1e-5)


def test_warped_flicker_reads_between_pixels():
    """A slanted plane moves by a part of a pixel: to the nearest pixel it would seem to change."""
    columns, rows = np.meshgrid(np.arange(160), np.arange(120))
    rays = np.stack((CAMERA.ray_x[columns], CAMERA.ray_y[rows], np.ones((120, 160))), axis=-1)
    normal, motion = np.array([0.6, 0.6, 0.5]), np.eye(4)
    motion[:3, 3] = 0.011, 0.017, 0.0
    before = 1.0 / (rays @ normal / 2.0)
    now = 1.0 / (rays @ normal / (2.0 + normal @ motion[:3, 3]))
    before[before < 0.3], now[now < 0.3] = np.nan, np.nan
    assert warped_flicker(before, now, before, now, CAMERA, motion) < 1e-5


@pytest.mark.parametrize(("change", "share"), [(1.0, 1.0), (0.5, 0.166), (0.1, 0.11)])
def test_a_new_frame_enters_whole_from_the_gate_on_and_hardly_below_it(change, share):
    """``change``: of the whole view, as a share of the gate."""
    config, pixels = MetricScaleConfig(), pixel_filter()
    before = np.full((120, 160), 0.4, np.float32)
    step = np.float32(1.0 + change * config.temporal_gate)
    pixels.update(before, 0.0)
    now = pixels.update(before * step, 0.0)
    assert (now - before).mean() / (before * step - before).mean() == pytest.approx(share, abs=0.01)


def test_changes_count_from_infinity_wherever_the_network_puts_it():
    room, shifted = (pixel_filter() for _ in range(2))
    scene = Room()
    for frame in range(8):
        inverse, picture = scene.view(np.array([0.0, 0.0, 0.08 * frame]), np.zeros(3), block_m=2.5)
        found = room.update(inverse, 0.0, picture, CAMERA)
        offset = shifted.update(inverse + np.float32(3.0), 3.0, picture, CAMERA)
    np.testing.assert_allclose(offset - np.float32(3.0), found, atol=1e-3)


def test_after_a_cut_or_another_resolution_the_past_counts_nothing():
    world, pixels = World(), pixel_filter()
    pixels.update(world.inverse_depth, 0.0)
    pixels.reset()
    other = np.float32(1.01) * world.inverse_depth
    np.testing.assert_array_equal(pixels.update(other, 0.0), other)
    small = cv2.resize(world.inverse_depth, (80, 60))
    np.testing.assert_array_equal(pixels.update(small, 0.0), small)


def test_the_camera_s_turn_is_known_only_of_frames_that_show_it():
    scene, pixels = Room(), pixel_filter()
    for frame in range(6):
        inverse, picture = scene.view(np.zeros(3), np.array([0.0, 0.02 * frame, 0.0]))
        pixels.update(inverse, 0.0, picture, CAMERA)
        assert (pixels.turn is None) == (frame == 0)
    assert np.abs(pixels.turn) == pytest.approx([0.0, 0.02, 0.0], abs=0.006)
    pixels.update(inverse, 0.0)
    assert pixels.turn is None


def test_a_picture_turned_inside_out_is_a_cut_and_the_next_frame_is_none():
    world, steadier = World(), AffineStabilizer()
    steadier.update(world.inverse_depth)
    inside_out = np.float32(1.5) - world.inverse_depth
    steadier.update(inside_out)
    assert steadier.cut and (steadier.gain, steadier.offset) == (1.0, 0.0)
    steadier.update(inside_out)
    assert not steadier.cut and steadier.gain == pytest.approx(1.0)


def test_a_step_is_the_new_unit_and_a_wander_leaks_away():
    world, steadier = World(), AffineStabilizer()
    steadier.update(world.inverse_depth)
    steps = []
    for _ in range(60):
        steadier.update(3 * world.inverse_depth + 1)
        steps.append(steadier.step is not None)
    assert steps == [True, *[False] * 59]
    assert steadier.gain == pytest.approx(1.0, rel=1e-3) and steadier.offset == pytest.approx(0.0, abs=0.02)
    gains = []
    for _ in range(60):
        steadier.update(3.6 * world.inverse_depth + 1)
        gains.append(steadier.gain)
    assert gains[0] > 1.13 and 1.06 < gains[3] < 1.17 and gains[-1] == pytest.approx(1.0, rel=0.01)


def test_a_unit_that_steps_up_and_sinks_back_over_and_over_ends_nothing():
    """As where frames stop while the robot drives up to a wall, from which it backs slowly, again and again. Kept as a
    factor each step would stay, the way back would not, and numbers ran out of a float's range."""
    world = World(noise=0.01)
    s = MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    published = []
    for index in range(40 * 40):
        time_s = index * FRAME_S
        world.scale, world.shift = (factor * 2.0 ** (1.0 - (index % 40) / 40) for factor in (7.0, -1.5))
        s.add(world.points(time_s))
        published.append(s.update(world.prediction(), time_s).published)
    assert np.mean(published[-300:]) > 0.95


def test_what_is_known_of_scale_is_the_same_in_the_new_unit():
    world = World(noise=0.0)
    s = MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    before = run(s, world, 30, anchors=lambda t: [world.points(t)])[-1]
    world.scale, world.shift = 3.0 * world.scale, 3.0 * world.shift + 1.0
    after = run(s, world, 1, start=30)[-1]  # no sensor speaks in the frame of the step
    assert after.published
    np.testing.assert_allclose(after.depth_m(*SIZE), before.depth_m(*SIZE), rtol=0.02)
    np.testing.assert_allclose(after.sigma_m(*SIZE), before.sigma_m(*SIZE), rtol=0.2)


@pytest.mark.parametrize(("width", "factor"), [(32, 2.0), (48, 2.0), (48, 3.0)])
def test_an_obstacle_over_a_part_of_the_picture_is_no_wander_of_the_network(width, factor):
    world, steadier = World(), AffineStabilizer()
    steadier.update(world.inverse_depth)
    near = world.inverse_depth.copy()
    near[:, :width] *= np.float32(factor)
    steadier.update(near)
    assert not steadier.cut
    assert steadier.gain == pytest.approx(1.0, abs=0.005) and steadier.offset == pytest.approx(0.0, abs=0.005)


def test_warped_flicker_of_a_turn_is_nothing():
    """Of a wall across the way: it is nearer on one side after it."""
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(np.array([0.05, 0.15, 0.0]))[0]
    columns, rows = np.meshgrid(np.arange(160), np.arange(120))
    rays = np.stack((CAMERA.ray_x[columns], CAMERA.ray_y[rows], np.ones((120, 160))), axis=-1)
    before, now = np.full((120, 160), 3.0), 3.0 / (rays @ motion[:3, 2])
    assert np.abs(now / before - 1).max() > 0.05
    assert warped_flicker(before, now, before, now, CAMERA, motion) < 1e-5


def test_warped_flicker_leaves_out_what_something_else_hides_now():
    """Somebody steps before most of a wall."""
    before, now = np.full((120, 160), 3.0), np.full((120, 160), 3.0)
    now[:, :100] = 1.0
    assert warped_flicker(before, now, before, now, CAMERA, np.eye(4)) == pytest.approx(0.0, abs=1e-6)


def test_a_step_of_the_unit_ends_no_averaging():
    world, s = World(noise=0.02), MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    results = run(s, world, 30, anchors=lambda t: [world.points(t)])
    world.scale, world.shift = 2.0 * world.scale, 2.0 * world.shift
    results += run(s, world, 1, start=30)
    change = [flicker(a.depth_m(*SIZE), b.depth_m(*SIZE)) for a, b in pairwise(results[20:])]
    assert change[-1] < 2.0 * np.median(change)


def test_after_a_cut_each_pixel_is_the_new_picture_s():
    """Also where the two scenes happen to be nearly alike."""
    world, s = World(noise=0.0), MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    before = run(s, world, 20, anchors=lambda t: [world.points(t)])[-1]
    world.inverse_depth = np.ascontiguousarray(world.inverse_depth[::-1])
    world.inverse_depth[56:64] = np.float32(1.01) * world.inverse_depth[56:64][::-1]
    after = run(s, world, 1, start=20, anchors=lambda t: [world.points(t)])[-1]
    ratio = after.relative / before.relative
    assert np.median(np.abs(ratio - 1.0)) > 0.2 and np.median(ratio[57:63]) == pytest.approx(1.01, abs=0.05)
    np.testing.assert_allclose(after.relative, world.prediction().inverse_depth, rtol=1e-5)


def test_the_average_does_not_depend_on_where_the_network_puts_infinity():
    found = []
    for shift in (-1.5, 9.0):
        world, s = World(noise=0.03), MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
        world.shift = shift
        found.append([r.inverse_depth for r in run(s, world, 30, anchors=lambda t, w=world: [w.points(t)])[20:]])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2, atol=1e-3)


def test_a_step_down_is_a_step_and_the_frame_after_it_none():
    world, steadier = World(), AffineStabilizer()
    steadier.update(3 * world.inverse_depth + 1)
    steadier.update(world.inverse_depth)
    assert steadier.step is not None and steadier.step[0] == pytest.approx(1 / 3)
    steadier.update(world.inverse_depth)
    assert steadier.step is None and steadier.gain == pytest.approx(1.0)
