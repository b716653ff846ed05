"""The facade over time: finding scale, following it, and saying when it is not to be trusted."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import (
    GroundPlane,
    MetricScaleConfig,
    MetricScaler,
    RangeFinder,
    ScaleState,
    from_points,
    from_range,
)
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .world import CAMERA, FOV, FRAME_S, SIZE, World, run


def scaler(**settings) -> MetricScaler:
    return MetricScaler(MetricScaleConfig(mode="anchors", **settings), CAMERA)


def test_points_give_metres():
    world, s = World(), scaler()
    results = run(s, world, 20, wander=0.05, anchors=lambda t: [world.points(t)])
    assert [r.state for r in results[:2]] == [ScaleState.CALIBRATING] * 2 and not results[1].published
    assert results[-1].state is ScaleState.CALIBRATED and results[-1].published
    assert world.abs_rel(results[-1]) < 0.08
    assert results[-1].estimate.scale * world.scale == pytest.approx(1.0, abs=0.2)


def test_a_third_of_lying_points_changes_little():
    errors = []
    for outliers in (0.0, 0.3):
        world, s = World(), scaler()
        results = run(s, world, 30, anchors=lambda t, w=world, o=outliers: [w.points(t, outliers=o)])
        errors.append(np.mean([world.abs_rel(r) for r in results[10:]]))
    assert errors[1] < 1.1 * errors[0] + 0.002


@pytest.mark.parametrize("temporal_filter", [True, False])
@pytest.mark.parametrize("metric", [True, False])
def test_pixels_that_the_network_does_not_know_stay_their_own(metric, temporal_filter):
    """A network of depth gives NaN where its depth is not positive: such a frame must not end all that follow."""
    world, s = World(), scaler(temporal_filter=temporal_filter, ground_height_m=0.5, ground_pitch_rad=0.3)
    if metric:
        world.scale, world.shift = 1.0, 0.0
    for index in range(40):
        stamp = index * FRAME_S
        s.add(world.points(stamp))
        prediction = replace(world.prediction(), metric=metric)
        holes = index in (0, 12)
        if holes:
            prediction.inverse_depth[:, :20] = np.nan
            prediction = replace(prediction, unknown_share=20 / 160)
        result = s.update(prediction, stamp)
        if result.published:
            depth = result.depth_m(*SIZE)
            assert np.isnan(depth[:, :18]).all() == holes
            assert np.isfinite(depth[:, 22:]).mean() > 0.95
    assert result.state is ScaleState.CALIBRATED and np.isfinite(result.estimate.scale)
    assert world.abs_rel(result) < 0.1


def test_a_sensor_that_knows_nothing_of_its_error_poisons_nothing():
    world, s = World(), scaler(ground_height_m=0.5, ground_pitch_rad=0.3)
    for index in range(20):
        stamp = index * FRAME_S
        variance = (float("inf"), float("nan"), 0.0)[index % 3]
        s.add(from_range(world.true_range_m(), RangeFinder(FOV, 0.05, 6.0), CAMERA, OPTICAL_FROM_BODY, stamp, variance))
        result = s.update(world.prediction(), stamp)
    assert result.estimate is not None and np.isfinite(result.estimate.covariance).all()


def test_a_fit_that_is_not_finite_is_rejected():
    config, view = MetricScaleConfig(mode="anchors"), ViewNormalisation(0.0, 1.0)
    scale = ScaleFilter(config)
    assert not scale.begin(np.array([np.nan, 1.0]), np.eye(2), view) and scale.state is None
    assert scale.begin(np.array([1.0, 1.0]), 0.01 * np.eye(2), view)
    assert not scale.fuse(np.array([np.nan, 1.0]), np.eye(2), view, False)
    assert not scale.fuse(np.array([1.0, 1.0]), np.full((2, 2), np.inf), view, False)
    assert scale.rejected == 2 and np.isfinite(scale.state).all() and np.isfinite(scale.covariance).all()


@pytest.mark.parametrize(("offset_s", "complaint"), [(-0.3, "0.3 s before"), (3600.0, "3.6e+03 s after")])
def test_readings_of_another_clock_are_told(offset_s, complaint):
    world, s = World(), scaler()
    results = run(s, world, 40, anchors=lambda t: [world.points(t + offset_s)])
    assert results[-1].state is ScaleState.UNCALIBRATED
    assert complaint in results[-1].message and "max_stamp_difference_s" in results[-1].message
    assert "clock" not in results[10].message  # which may be a late picture
    good = run(s, world, 5, start=40, anchors=lambda t: [world.points(t)])
    assert "clock" not in good[-1].message


def test_sonar_and_prior_give_degraded_metres():
    world, s = World(), scaler()
    last = run(s, world, 30, anchors=lambda t: [world.sonar(t)])[-1]
    assert last.state is ScaleState.DEGRADED and "scale and shift" in last.message
    assert world.abs_rel(last) < 0.4


def test_sonar_and_ground_determine_both():
    world, s = World(noise=0.0), scaler(ground_height_m=0.5, ground_pitch_rad=0.3)
    plane = GroundPlane.from_height(0.5, 0.3)
    rows, columns = np.mgrid[0:120, 0:160]
    ground = plane.inverse_depth(columns, rows, CAMERA).astype(np.float32)
    world.inverse_depth = np.maximum(ground, 0.4)
    last = run(s, world, 30, anchors=lambda t: [world.sonar(t)])[-1]
    assert last.state is ScaleState.CALIBRATED, last.message
    assert world.abs_rel(last) < 0.15


def test_height_alone_never_counts_as_confirmed():
    """What looks like the floor may be a table: no sensor says which."""
    world, s = World(noise=0.0), scaler(ground_height_m=0.5, ground_pitch_rad=0.3)
    rows, columns = np.mgrid[0:120, 0:160]
    table = GroundPlane.from_height(0.25, 0.3).inverse_depth(columns, rows, CAMERA).astype(np.float32)
    world.inverse_depth = np.maximum(table, 0.8)
    states = {r.state for r in run(s, world, 30)}
    assert ScaleState.CALIBRATED not in states and ScaleState.DEGRADED in states


@pytest.mark.parametrize("height_m", [0.6, 0.3])
def test_a_deaf_sonar_confirms_no_floor(height_m):
    """It hears nothing up to its limit, a bit beyond what the floor (or a table twice as near) says of its cone: an
    inequality that is broken, and no measurement.
    """
    world, s = World(noise=0.02), scaler(ground_height_m=0.6, ground_pitch_rad=0.25)
    rows, columns = np.mgrid[0:120, 0:160]
    seen = GroundPlane.from_height(height_m, 0.25).inverse_depth(columns, rows, CAMERA)
    world.inverse_depth = np.maximum(seen, 0.3 / height_m).astype(np.float32)

    def nothing(stamp_s: float):
        return [from_range(float("inf"), RangeFinder(FOV, 0.05, 2.0), CAMERA, OPTICAL_FROM_BODY, stamp_s)]

    results = run(s, world, 30, anchors=nothing)
    assert all(r.state is not ScaleState.CALIBRATED for r in results) and results[-1].anchor_count > 0


def test_a_floor_that_a_sonar_grazes_is_not_moved_by_its_silence():
    """A low camera and a sonar that look ahead: the floor is in the cone, well within its limit, and sends no echo."""
    plane = GroundPlane.from_height(0.3, 0.05)
    rows, columns = np.mgrid[0:120, 0:160]
    floor = np.maximum(plane.inverse_depth(columns, rows, CAMERA), 1.0 / 8.0).astype(np.float32)
    found = {}
    for name in ("silent", "none"):
        world, s = World(noise=0.02), scaler(ground_height_m=0.3, ground_pitch_rad=0.05)
        world.inverse_depth = floor

        def nothing(stamp_s: float):
            return [from_range(float("inf"), RangeFinder(FOV, 0.05, 6.0), CAMERA, OPTICAL_FROM_BODY, stamp_s)]

        run(s, world, 30, anchors=nothing if name == "silent" else None)
        last = s.update(world.prediction(), 30 * FRAME_S)
        assert last.inverse_depth is not None
        found[name] = float(np.median(last.inverse_depth[70:] / floor[70:]))
    assert found["silent"] == pytest.approx(found["none"], rel=0.02)
    assert found["silent"] == pytest.approx(1.0, abs=0.1)


def test_no_floor_in_view_and_no_sensor_is_no_anchor(rng):
    world, s = World(), scaler(ground_height_m=0.5, ground_pitch_rad=0.3)
    world.inverse_depth = np.abs(rng.normal(1.0, 0.4, (120, 160))).astype(np.float32) + 0.1
    results = run(s, world, 30)
    assert not any(r.published for r in results) and "ground: only" in results[-1].message


def test_a_network_that_draws_floor_over_everything_does_not_read_calibrated():
    """The picture is a ramp, as weak networks draw it; the truth is a wall with a sonar before it."""
    world, s = World(noise=0.0), scaler(ground_height_m=0.5, ground_pitch_rad=0.3)
    rows, columns = np.mgrid[0:120, 0:160]
    ramp = GroundPlane.from_height(0.5, 0.3).inverse_depth(columns, rows, CAMERA).astype(np.float32)
    world.inverse_depth = np.maximum(ramp, 0.4)
    results = run(s, world, 30, anchors=lambda t: [world.sonar(t, reading_m=0.3 + 0.01 * world.rng.normal())])
    assert all(r.state is not ScaleState.CALIBRATED for r in results), results[-1].message


def test_a_threefold_step_of_scale_is_recovered_within_ten_frames():
    world, s = World(), scaler()
    run(s, world, 20, anchors=lambda t: [world.points(t)])
    world.scale, world.shift = 3 * world.scale, 3 * world.shift
    results = run(s, world, 10, start=20, anchors=lambda t: [world.points(t)])
    assert world.abs_rel(results[-1]) < 0.08


@pytest.mark.parametrize("temporal", [True, False])
def test_a_threefold_step_with_sonar_alone(temporal):
    """The steadier takes it out at once; without it the filter doubts, then follows."""
    world, s = World(), scaler(temporal_filter=temporal)
    before = run(s, world, 30, anchors=lambda t: [world.sonar(t)])
    level = np.mean([np.median(r.inverse_depth) for r in before[20:]])
    world.scale, world.shift = 3 * world.scale, 3 * world.shift
    results = run(s, world, 10, start=30, anchors=lambda t: [world.sonar(t)])
    assert all(r.state is not ScaleState.CALIBRATED for r in results)
    assert np.median(results[-1].inverse_depth) == pytest.approx(level, rel=0.1)


def test_a_slow_drift_of_the_network_is_followed():
    world, s = World(), scaler()
    for start in range(0, 120, 5):
        last = run(s, world, 5, start=start, anchors=lambda t: [world.points(t)])[-1]
        world.scale, world.shift = 1.02 * world.scale, 1.02 * world.shift  # 12 % in a second
    assert np.median(last.inverse_depth / world.inverse_depth) == pytest.approx(1.0, abs=0.05)


def test_one_wild_frame_of_sonar_is_rejected():
    world, s = World(), scaler()
    before = run(s, world, 30, anchors=lambda t: [world.sonar(t)])[-1]
    wild = run(s, world, 1, start=30, anchors=lambda t: [world.sonar(t, reading_m=5.5)])[-1]
    ratio = np.median(wild.inverse_depth / before.inverse_depth)
    assert 0.8 < ratio < 1.25


def test_stamps_seconds_apart_are_not_paired():
    world, s = World(), scaler()
    results = run(s, world, 10, anchors=lambda t: [world.points(t - 3.0)])
    assert all(r.anchor_count == 0 and r.state is ScaleState.UNCALIBRATED for r in results)


def test_one_anchor_and_equal_anchors_do_not_determine_scale():
    world, s = World(), scaler()
    last = run(s, world, 20, anchors=lambda t: [world.points(t, count=1)])[-1]
    assert last.state is not ScaleState.CALIBRATED
    world, s = World(), scaler()
    world.inverse_depth[:] = 0.5
    world.noise = 0.0
    flat = run(s, world, 20, anchors=lambda t: [world.points(t)])[-1]
    assert flat.state is ScaleState.CALIBRATING and not flat.published and flat.estimate.relative_sigma > 0.3


def test_time_running_back_needs_confirmation():
    world, s = World(), scaler()
    run(s, world, 20, start=100, anchors=lambda t: [world.points(t)])
    again = run(s, world, 6, start=0, anchors=lambda t: [world.points(t)])
    assert again[0].state is ScaleState.CALIBRATING and not again[0].published
    assert again[-1].state is ScaleState.CALIBRATED


def test_sky_is_farther_than_any_number_and_nothing_is_negative():
    world, s = World(noise=0.0), scaler(max_depth_m=5.0)
    world.inverse_depth[:30] = 0.01
    last = run(s, world, 20, anchors=lambda t: [world.points(t)])[-1]
    depth = last.depth_m(*SIZE)
    assert np.isposinf(depth[:20]).mean() > 0.9 and (depth[np.isfinite(depth)] > 0).all()
    assert np.isposinf(last.sigma_m(*SIZE)[np.isposinf(depth)]).all()


def test_one_sigma_holds_about_68_percent_of_errors():
    world, s = World(noise=0.1), scaler()
    results = run(s, world, 40, anchors=lambda t: [world.points(t)])
    inside = [np.mean(np.abs(r.depth_m(*SIZE) - world.depth_m) <= r.sigma_m(*SIZE)) for r in results[20:]]
    assert 0.58 < np.mean(inside) < 0.82


def test_anchors_beyond_the_farthest_depth_change_nothing():
    """A lidar sees 80 m where depth is given out to 5: those points would rule the fit by their number."""
    near, mixed = scaler(max_depth_m=5.0), scaler(max_depth_m=5.0)
    worlds = World(), World()
    rng = np.random.default_rng(1)
    far = [from_points(rng.uniform([-30, -20, 60], [30, 20, 80], (400, 3)), CAMERA, np.eye(4), 0.0)]
    run(near, worlds[0], 10, anchors=lambda t: [worlds[0].points(t)])
    run(mixed, worlds[1], 10, anchors=lambda t: [replace(far[0], stamp_s=t, source="lidar"), worlds[1].points(t)])
    assert mixed._tracker.estimate == pytest.approx(near._tracker.estimate)


def test_without_camera_info_or_with_another_size():
    config = MetricScaleConfig(mode="anchors")
    assert "camera_info" in MetricScaler(config).update(World().prediction(), 0.0).message
    with pytest.raises(CameraInfoError, match="640x480"):
        MetricScaler(config, PinholeCamera.from_fov(640, 480, 1.0)).update(World().prediction(), 0.0)


def test_horizon_below_the_image_is_said():
    world, s = World(), scaler(ground_height_m=0.5, ground_pitch_rad=-1.0)
    last = run(s, world, 5)[-1]
    assert last.state is ScaleState.UNCALIBRATED and not last.published
    assert any("no ground is in view" in line for line in last.troubles)


def test_states_to_publish_are_a_parameter():
    world = World()
    s = scaler(publish_states=["calibrated"])
    assert not run(s, world, 30, anchors=lambda t: [world.sonar(t)])[-1].published


def test_the_estimate_is_in_the_network_s_own_unit_however_it_wanders():
    """Scale and shift as they are told belong to what this frame's network gave, not to what was steadied."""
    world, scaler = World(noise=0.02), MetricScaler(MetricScaleConfig(mode="anchors", sources=("points",)), CAMERA)
    for frame in range(40):
        prediction = world.prediction(wander=0.05)
        scaler.add(world.points(frame * FRAME_S))
        result = scaler.update(prediction, frame * FRAME_S)
        if frame > 20 and result.estimate is not None and result.inverse_depth is not None:
            told = result.estimate.scale * prediction.inverse_depth + result.estimate.shift
            assert np.median(np.abs(told / world.inverse_depth - 1.0)) < 0.06


def test_what_was_learnt_is_forgotten_when_asked():
    world, scaler = World(), MetricScaler(MetricScaleConfig(mode="anchors", sources=("points",)), CAMERA)
    assert run(scaler, world, 20, anchors=lambda t: [world.points(t)])[-1].state is ScaleState.CALIBRATED
    scaler.add(world.points(20 * FRAME_S))  # waits, and must not be taken for the new time's
    scaler.reset()
    after = scaler.update(world.prediction(), 20 * FRAME_S)
    assert after.state is ScaleState.UNCALIBRATED and after.estimate is None and not after.published
