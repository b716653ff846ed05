"""What robots meet between frames: pauses, frames out of order, trembling intrinsics, fast and dumb sensors."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler, RangeFinder, ScaleState, from_range
from depthnet_ros.metric_scale.buffer import AnchorBuffer
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import ScaleFit, ViewNormalisation
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .room import Room
from .world import CAMERA, FOV, FRAME_S, SIZE, World, run


def calibrated(**settings) -> tuple[World, MetricScaler]:
    world, scaler = World(), MetricScaler(MetricScaleConfig(mode="anchors", **settings), CAMERA)
    assert run(scaler, world, 30, anchors=lambda t: [world.points(t)])[-1].published
    return world, scaler


@pytest.mark.parametrize(("factor", "gap_s"), [(2.5, 60.0), (0.4, 300.0), (1.0, 5.0)])
def test_after_a_pause_scale_is_confirmed_before_it_is_given_out(factor, gap_s):
    """The robot was carried elsewhere while nobody looked: the picture is alike, the room is not."""
    world, scaler = calibrated()
    world.inverse_depth, world.scale = world.inverse_depth / factor, world.scale * factor
    frames = round(gap_s / FRAME_S)
    results = run(scaler, world, 6, start=30 + frames, anchors=lambda t: [world.points(t, count=20)])
    assert not results[0].published and results[-1].published
    for result in results:
        if result.published:
            assert np.median(result.depth_m(*SIZE) / world.depth_m) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("period_s", [0.95, 1.05, 3.0])
def test_a_slow_camera_keeps_its_metres_while_each_frame_brings_anchors(period_s):
    world, scaler = World(), MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    results = []
    for index in range(20):
        scaler.add(world.points(index * period_s))
        results.append(scaler.update(world.prediction(), index * period_s))
    assert all(result.published for result in results[3:])
    after = scaler.update(world.prediction(), 20 * period_s)  # and the first frame without is stale at once
    assert after.published == (period_s < 1.0)
    assert after.state is (ScaleState.DEGRADED if period_s < 1.0 else ScaleState.STALE)


def test_a_sensor_that_is_slower_than_stale_says_which_parameter_that_is():
    world, scaler = World(), MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    for index in range(120):
        if index % 40 == 0:
            scaler.add(world.points(index * FRAME_S))
        last = scaler.update(world.prediction(), index * FRAME_S)
    assert not last.published
    assert "1.33 s apart: scale.stale_after_s is 1" in last.message


def test_what_may_not_move_farther_in_one_frame_is_as_unsure_as_it_is_behind():
    view, scale = ViewNormalisation(0.0, 1.0), ScaleFilter(MetricScaleConfig(mode="anchors", max_change=0.25))
    scale.begin(np.array([1.0, 0.7]), np.diag([0.5**2, 0.35**2]), view)
    measured, information = np.array([2.0, 1.4]), np.diag([2500.0, 2500.0])
    scale.update(ScaleFit(measured, information, information @ measured, np.ones(9), 9, True, False), view, True)
    assert scale.state == pytest.approx([1.25, 0.875], rel=0.02)
    sigma = np.sqrt(np.diag(scale.reported_covariance))
    assert (np.abs(measured - scale.state) < 1.5 * sigma).all()


def test_a_frame_that_was_overtaken_silences_nothing():
    world, scaler = calibrated()
    states = []
    for index in (30, 30.7, 30.4, 31.7, 32.7):
        scaler.add(world.points(index * FRAME_S))
        states.append(scaler.update(world.prediction(), index * FRAME_S).state)
    assert set(states) == {ScaleState.CALIBRATED}


def test_time_that_ran_back_far_is_another_run():
    world, scaler = calibrated()
    scaler.update(world.prediction(), 100.0)
    assert scaler.update(world.prediction(), 50.0).state is ScaleState.CALIBRATING


def test_intrinsics_that_tremble_keep_the_anchors():
    world, scaler = calibrated()
    for index in range(30, 60):
        scaler.add(world.points(index * FRAME_S))
        focus = 1 + 1e-4 * (index % 2)
        scaler.set_camera(replace(CAMERA, fx_px=CAMERA.fx_px * focus, fy_px=CAMERA.fy_px * focus))
        last = scaler.update(world.prediction(), index * FRAME_S)
    assert last.state is ScaleState.CALIBRATED, last.message


def test_another_zoom_is_another_camera():
    world, scaler = calibrated()
    scaler.add(world.points(30 * FRAME_S))
    zoomed = replace(CAMERA, fx_px=1.2 * CAMERA.fx_px, fy_px=1.2 * CAMERA.fy_px)
    scaler.set_camera(zoomed)
    last = scaler.update(world.prediction(), 30 * FRAME_S)
    assert scaler.camera == zoomed and last.anchor_count == 0
    assert not any("silent" in trouble for trouble in last.troubles)


@pytest.mark.parametrize(("rate_hz", "late_s"), [(250, 0.4), (100, 0.8)])
def test_a_fast_range_finder_waits_for_a_slow_network(rate_hz, late_s):
    buffer, sent, met = AnchorBuffer(0.1), 0, 0
    for frame in range(10):
        stamp_s = 0.2 * frame
        while sent / rate_hz <= stamp_s + late_s:
            buffer.put(from_range(1.0, RangeFinder(FOV, 0.05, 6.0), CAMERA, OPTICAL_FROM_BODY, sent / rate_hz))
            sent += 1
        met += bool(buffer.take(stamp_s))
    assert met == 10


def test_a_sensor_that_never_spoke_is_missed():
    world = World()
    scaler = MetricScaler(MetricScaleConfig(mode="anchors", sources=("range", "points")), CAMERA)
    last = run(scaler, world, 60, anchors=lambda t: [world.points(t)])[-1]
    assert last.state is ScaleState.DEGRADED and "range: no message yet" in last.message
    both = run(scaler, world, 30, start=60, anchors=lambda t: [world.points(t), world.sonar(t)])[-1]
    assert both.state is ScaleState.CALIBRATED, both.message


def test_what_waits_for_a_later_picture_is_of_another_run_where_time_ran_back():
    """A recording that is played anew comes to that stamp again."""
    world, scaler = calibrated()
    later_s = 6.0
    scaler.add(world.points(later_s))
    for stamp_s in (1.0, *np.arange(-2.0, later_s, 0.1)):
        assert scaler.update(world.prediction(), stamp_s).anchor_count == 0
    assert scaler.update(world.prediction(), later_s).anchor_count == 0


def test_sensors_are_heard_while_the_lens_is_covered():
    world, scaler = calibrated(sources=["points"])
    covered, silent = np.full((*SIZE, 3), 8, np.uint8), []
    for index in range(30, 90):
        if index < 60:
            scaler.add(world.points(index * FRAME_S))
        last = scaler.update(world.prediction(), index * FRAME_S, covered)
        silent.append(any("silent" in trouble for trouble in last.troubles))
    assert not any(silent[:30]) and silent[-1]


def test_the_first_picture_after_the_dark_is_no_mean_with_the_last_before_it():
    world, scaler = World(noise=0.0), MetricScaler(MetricScaleConfig(mode="anchors"), CAMERA)
    _, grey = Room().view(np.zeros(3), np.zeros(3))
    picture = np.repeat(grey[..., None], 3, axis=2)
    for index in range(30):
        scaler.add(world.points(index * FRAME_S))
        scaler.update(world.prediction(), index * FRAME_S, picture)
    assert not scaler.update(world.prediction(), 30 * FRAME_S, np.full_like(picture, 8)).published
    world.inverse_depth[:, :40] *= 1.02  # less than what is let through at once
    after = scaler.update(world.prediction(), 31 * FRAME_S, picture)
    moved, rest = (
        np.median(after.inverse_depth[:, part] / world.inverse_depth[:, part]) for part in (np.s_[:40], np.s_[40:])
    )
    assert moved == pytest.approx(rest, rel=0.002)
