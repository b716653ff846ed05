"""A camera that hangs while the robot drives on: no metres from its last picture; and who is not accused of it."""

from collections.abc import Callable

import numpy as np
import pytest

from depthnet_ros.metric_scale import MetricDepth, MetricScaleConfig, MetricScaler, ScaleState
from depthnet_ros.metric_scale.frozen import FrozenPicture

from .world import CAMERA, FRAME_S, SIZE, World

HANGS_AT, FRAMES = 40, 110


class Drive:
    """Towards the whole scene, which comes three times as near; the network sees what the camera sends.

    ``hangs``: from frame 40 on the camera sends the same picture; ``grain``: grey levels of a camera's noise;
    ``drives``: from frame 40 on; ``source``: what measures.
    """

    def __init__(self, source: str, hangs: bool = True, drives: bool = True, grain: float = 0.0, **settings) -> None:
        self.source, self.hangs, self.drives, self.grain = source, hangs, drives, grain
        config = MetricScaleConfig(mode="anchors", sources=("range" if source == "sonar" else source,), **settings)
        self.scaler = MetricScaler(config, CAMERA)
        self.world = World(noise=0.02)
        self.start = self.world.inverse_depth.copy()
        self.picture = self.world.rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        self.prediction = self.world.prediction()

    def frame(self, index: int) -> MetricDepth:
        stamp_s, late = index * FRAME_S, max(0, index - HANGS_AT)
        self.world.inverse_depth = self.start * (3.0 ** (late / 70) if self.drives else 1.0)
        self.scaler.add(getattr(self.world, self.source)(stamp_s))
        if index <= HANGS_AT or not self.hangs:
            self.prediction = self.world.prediction()
            self.picture = np.roll(self.picture, 3, axis=1)
        picture = self.picture + self.grain * self.world.rng.normal(size=self.picture.shape)
        return self.scaler.update(self.prediction, stamp_s, np.clip(picture, 0, 255).astype(np.uint8))

    def run(self, each: Callable[[int, MetricDepth], None] = lambda index, metric: None) -> list[MetricDepth]:
        metrics = []
        for index in range(FRAMES):
            metrics.append(self.frame(index))
            each(index, metrics[-1])
        return metrics


@pytest.mark.parametrize("source", ["points", "sonar"])
def test_a_picture_that_hangs_while_things_come_nearer_gives_no_metres(source):
    drive, nearer = Drive(source), []
    metrics = drive.run(lambda index, metric: nearer.append(float(drive.world.inverse_depth[0, 0] / drive.start[0, 0])))
    silent = next(index for index in range(HANGS_AT, FRAMES) if not metrics[index].published)
    assert nearer[silent] < 1.25 and not any(metric.published for metric in metrics[silent:])
    assert "bit-identical" in metrics[silent].message and "changed by a factor of 0." in metrics[silent].message
    assert metrics[-1].state is ScaleState.STALE


def test_a_camera_that_sends_pictures_again_is_believed_again():
    drive = Drive("points", drives=True)
    drive.run()
    drive.hangs = False
    again = [drive.frame(index) for index in range(FRAMES, FRAMES + 15)][-1]
    assert again.published and drive.world.abs_rel(again) < 0.1


@pytest.mark.parametrize("source", ["points", "sonar"])
@pytest.mark.parametrize("settings", [{"drives": False}, {"hangs": False}])
def test_a_simulated_robot_at_rest_and_a_camera_that_lives_are_not_accused(source, settings):
    metrics = Drive(source, **settings).run()
    assert all("bit-identical" not in metric.message for metric in metrics) and metrics[-1].published


def test_a_real_camera_before_a_still_scene_is_never_the_same_to_the_bit():
    """A person whom the sonar hears first is no reason to doubt a camera with noise."""
    metrics = Drive("sonar", grain=2.0).run()
    assert all("bit-identical" not in metric.message for metric in metrics)


GREY, FLAT = np.zeros((120, 160), np.uint8), np.ones((24, 32), np.float32)


def test_one_wrong_echo_a_repeated_stamp_and_noise_are_no_change():
    frozen = FrozenPicture()
    rng = np.random.default_rng(0)
    for index in range(60):
        frozen.look(GREY, index * FRAME_S, FLAT, (1.0, 0.0))
        frozen.record_range("one wrong", index * FRAME_S, 0.5 if index == 30 else 2.0, 0.02)
        frozen.record_range("noisier than told", index * FRAME_S, 2.0 * (1 + 0.05 * rng.normal()), 0.04)
        frozen.record_range("stopped", min(index, 4) * FRAME_S, 2.0 if index < 4 else 1.0, 0.02)
        assert not frozen.why(index * FRAME_S)


def test_what_goes_away_and_for_how_long_is_said():
    frozen = FrozenPicture()
    for index in range(20):
        frozen.look(GREY, 0.1 * index, FLAT, None)
        frozen.record_range("range", 0.1 * index, 1.0 if index < 10 else 2.0, 0.02)
    assert "for 1.9 s while distances measured by range changed by a factor of 2" in frozen.why(1.9)
    frozen.look(None, 2.0, FLAT, None)
    assert not frozen.why(2.0)


@pytest.mark.parametrize("count", [10, 30, 150])
def test_other_points_of_the_same_scene_are_no_change(count):
    """Of a robot at rest in a simulator: wherever they fall, on a ramp and in clutter."""
    world = World(noise=0.0)
    rng = np.random.default_rng(2)
    world.inverse_depth = (
        world.inverse_depth * np.where(rng.random((6, 8)) < 0.5, 1.0, 2.5).repeat(20, 0).repeat(20, 1)
    ).astype(np.float32)
    scaler = MetricScaler(MetricScaleConfig(mode="anchors", sources=("points",)), CAMERA)
    picture, prediction = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8), world.prediction()
    for index in range(150):
        scaler.add(world.points(index * FRAME_S, count))
        assert "bit-identical" not in scaler.update(prediction, index * FRAME_S, picture).message


def test_points_of_a_robot_that_turns_cease_to_fit_the_picture():
    """Half of the scene nearer, half farther: in the median nothing changes."""
    drive = Drive("points", drives=False)
    for index in range(HANGS_AT + 10):
        drive.frame(index)
    drive.world.inverse_depth = drive.start * np.where(np.arange(160) < 80, 1.6, 1 / 1.6).astype(np.float32)
    said = [drive.world.points(index * FRAME_S) for index in range(HANGS_AT + 10, HANGS_AT + 40)]
    told = []
    for points in said:
        drive.scaler.add(points)
        told.append(drive.scaler.update(drive.prediction, points.stamp_s, drive.picture).message)
    assert any("points ceased to fit it: has the camera" in message for message in told)


def test_time_that_runs_back_compares_no_readings_of_two_runs():
    scaler = MetricScaler(MetricScaleConfig(mode="anchors", sources=("range",)), CAMERA)
    world, picture = World(noise=0.0), np.random.default_rng(3).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    for start_s, reading_m in ((50.0, 3.0), (1.0, 2.0)):
        for index in range(20):
            scaler.add(world.sonar(start_s + index * FRAME_S, reading_m=reading_m))
            message = scaler.update(world.prediction(), start_s + index * FRAME_S, picture).message
            assert "bit-identical" not in message
