"""What the monitor of sensors says, one reading at a time: how soon, how long, and of whom."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.metric_scale import MetricScaler
from depthnet_ros.metric_scale.buffer import AnchorBuffer
from depthnet_ros.metric_scale.cone import Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.health import SourceMonitor

from .world import CAMERA, World, run

CONFIG = MetricScaleConfig(mode="anchors", source_timeout_s=0.5, stuck_after_s=2.0, stuck_change=0.3)
PERIOD_S = 0.1


def monitor() -> SourceMonitor:
    return SourceMonitor(CONFIG)


def stuck_after(
    readings: np.ndarray,
    relative: np.ndarray,
    sigma_m: float | None = 0.05,
    watched: SourceMonitor | None = None,
    period_s: float = PERIOD_S,
    begin_s: float = 0.0,
) -> list[bool]:
    """Whether the sensor is stuck, after each of its readings; ``sigma_m`` None: of many points."""
    watched = monitor() if watched is None else watched
    said = []
    for step, (reading, level) in enumerate(zip(readings, relative, strict=True)):
        if sigma_m is None:
            watched.record_points("sensor", begin_s + period_s * step, float(reading), float(level))
        else:
            watched.record_range("sensor", begin_s + period_s * step, float(reading), sigma_m, float(level))
        watched.check_stuck("sensor")
        said.append(watched.is_stuck("sensor"))
    return said


def test_a_reading_that_was_overtaken_makes_nobody_silent() -> None:
    watched = monitor()
    watched.heard("range", 10.0)
    watched.heard("range", 9.0)
    assert not watched.troubles(10.4)
    assert watched.troubles(10.6) == ["range: silent for 0.60 s"]


class InBetween(AnchorBuffer):
    """A sonar without echo that speaks for the only time when a frame's readings are about to be taken."""

    spoke = False

    def take(self, stamp_s: float) -> list:
        if not self.spoke:
            self.spoke = True
            self.put(World().sonar(stamp_s, np.inf))
        return super().take(stamp_s)


def test_a_sensor_that_speaks_while_a_frame_is_under_way_is_missed_when_it_falls_silent() -> None:
    world, scaler = World(), MetricScaler(MetricScaleConfig(mode="anchors", sources=("points",)), CAMERA)
    run(scaler, world, 20, anchors=lambda stamp: [world.points(stamp)])
    scaler._buffer = InBetween(0.1)
    last = run(scaler, world, 60, start=20, anchors=lambda stamp: [world.points(stamp)])[-1]
    assert [trouble for trouble in last.troubles if trouble.startswith("range: silent for")], last.troubles


def test_a_sensor_that_first_speaks_late_is_silent_since_then() -> None:
    """What it says may be older than the first frame."""
    watched = monitor()
    watched.expect(["range"], 10.0)
    assert not watched.troubles(10.4)
    assert "no message yet" in watched.troubles(10.6)[0]
    watched.heard("range", 9.9)
    assert watched.troubles(10.6) == ["range: silent for 0.70 s"]


def test_after_time_ran_back_nobody_is_silent_or_stuck() -> None:
    watched = monitor()
    watched.heard("range", 10.0)
    assert stuck_after(np.full(40, 2.0), np.linspace(1.0, 2.0, 40), watched=watched)[-1]
    watched.forget()
    assert not watched.is_stuck("sensor") and not watched.troubles(1000.0)


def test_where_the_picture_shows_nothing_no_reading_counts() -> None:
    assert not any(stuck_after(np.full(40, 2.0), np.full(40, np.nan)))
    assert not any(stuck_after(np.full(40, 2.0), np.where(np.arange(40) % 2, np.inf, 1.0)))


@pytest.mark.parametrize("sigma_m", [0.05, None])
@pytest.mark.parametrize("to", [0.5, 2.0])
def test_a_constant_reading_under_a_changing_picture_is_stuck_after_its_time(sigma_m: float | None, to: float) -> None:
    """Whether the picture comes nearer or goes away."""
    said = stuck_after(np.full(40, 2.0), np.geomspace(1.0, to, 40), sigma_m)
    assert said[-1] and not any(said[:20])


@pytest.mark.parametrize("sigma_m", [0.05, None])
def test_a_few_readings_or_a_short_time_of_a_fast_picture_are_not_stuck(sigma_m: float | None) -> None:
    assert not any(stuck_after(np.full(7, 2.0), np.geomspace(1.0, 9.0, 7), sigma_m, period_s=0.5))
    assert not any(stuck_after(np.full(19, 2.0), np.geomspace(1.0, 9.0, 19), sigma_m))


def test_a_reading_within_noise_is_the_same_and_beyond_it_another() -> None:
    change = np.geomspace(1.0, 2.0, 60)
    assert stuck_after(2.0 + 0.1 * (np.arange(60) % 2), change)[-1]
    assert not any(stuck_after(2.0 + 0.3 * (np.arange(60) % 2), change))


def test_a_picture_that_goes_and_comes_back_has_changed() -> None:
    """As of a robot that looks aside for a second."""
    relative = np.concatenate((np.linspace(1.0, 2.0, 10), np.linspace(2.0, 1.0, 10), np.ones(5)))
    assert stuck_after(np.full(25, 2.0), relative)[-1]


def test_a_picture_that_changes_little_accuses_nobody() -> None:
    assert not any(stuck_after(np.full(60, 2.0), np.geomspace(1.0, 1.2, 60)))
    assert not any(stuck_after(np.full(60, 2.0), np.geomspace(1.0, 1.04, 60), sigma_m=None))
    assert stuck_after(np.full(60, 2.0), np.geomspace(1.0, 1.2, 60), sigma_m=None)[-1], "points never repeat themselves"


def test_a_sensor_that_moves_again_is_believed_again() -> None:
    readings = np.concatenate((np.full(40, 2.0), np.linspace(2.0, 1.0, 20)))
    said = stuck_after(readings, np.geomspace(1.0, 3.0, 60))
    assert said[39] and not said[-1]


def test_noise_alone_does_not_clear_a_sensor_that_was_stuck() -> None:
    readings = np.concatenate((np.full(40, 2.0), 2.0 + 0.05 * (np.arange(20) % 3)))
    assert stuck_after(readings, np.geomspace(1.0, 3.0, 60))[-1]


def test_a_cloud_that_once_differs_begins_anew() -> None:
    readings = np.full(40, 2.0)
    readings[25:] = 2.1
    assert not any(stuck_after(readings[:38], np.geomspace(1.0, 2.0, 40)[:38], sigma_m=None)[25:])


def test_a_cloud_is_compared_with_the_picture_of_its_own_first_repeat() -> None:
    """What changed before it came to repeat itself does not count."""
    readings = np.concatenate((np.linspace(1.0, 2.0, 20), np.full(40, 2.0)))
    relative = np.concatenate((np.linspace(1.0, 3.0, 20), np.full(40, 3.0)))
    assert not any(stuck_after(readings, relative, sigma_m=None))


@pytest.mark.parametrize("error", [0.93, 1.07])
def test_a_cloud_before_a_still_picture_is_no_liar_however_ill_the_step_of_its_unit_is_known(error: float) -> None:
    watched, still = monitor(), np.full(40, 2.0)
    assert not any(stuck_after(still, np.ones(40), None, watched))
    watched.change_unit(2.5)
    assert not any(stuck_after(still, np.full(40, 2.5 * error), None, watched, begin_s=4.0))
    assert stuck_after(still, np.geomspace(2.5, 5.0, 40), None, watched, begin_s=8.0)[-1], "it is still watched"


def test_a_cloud_that_was_found_stuck_is_not_believed_in_a_new_unit_but_once_it_moves() -> None:
    watched = monitor()
    assert stuck_after(np.full(40, 2.0), np.geomspace(1.0, 2.0, 40), None, watched)[-1]
    watched.change_unit(2.5)
    assert all(stuck_after(np.full(40, 2.0), np.full(40, 5.0), None, watched, begin_s=4.0))
    assert not any(stuck_after(np.linspace(2.1, 2.5, 40), np.full(40, 5.0), None, watched, begin_s=8.0))


def test_a_sonar_that_comes_to_rest_with_its_robot_is_not_stuck() -> None:
    readings = np.concatenate((np.linspace(4.0, 2.0, 40), np.full(60, 2.0)))
    assert not any(stuck_after(readings, 2.0 / readings))


def test_a_limit_that_is_broken_now_and_then_is_no_trouble() -> None:
    watched = monitor()
    watched.heard("range", 0.0)
    for frame in range(40):
        watched.breaks("range", Reading.FARTHER if frame % 4 == 0 else None)
        assert not watched.troubles(0.1)
    for _ in range(5):
        watched.breaks("range", Reading.FARTHER)
    watched.breaks("range", None)
    assert "no echo, though" in watched.troubles(0.1)[0], "which limit it was is still known"


def test_a_sensor_at_odds_with_the_others_is_told_in_time_and_forgiven() -> None:
    watched = monitor()
    watched.heard("range", 0.0)
    said = []
    for weight in [0.0] * 20 + [1.0] * 20:
        watched.agrees("range", weight)
        said.append(bool(watched.troubles(0.1)))
    assert not any(said[:8]) and said[19] and not said[-1]
