"""From state to state, one frame at a time: each reason by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depthnet_ros.metric_scale.config import MetricScaleConfig, ScaleState
from depthnet_ros.metric_scale.state import FrameOutcome, StateMachine

CONFIG = MetricScaleConfig(mode="anchors", calibrate_frames=3, source_timeout_s=0.5, stale_after_s=1.0)
GOOD = FrameOutcome(accepted=True, rejected=0, well_posed=True, relative_sigma=0.05)
NOTHING = replace(GOOD, accepted=False, well_posed=None)
STEP_S = 0.1


def machine(frames: int = 10) -> tuple[StateMachine, float]:
    states, now_s = StateMachine(CONFIG), 0.0
    for _ in range(frames):
        now_s += STEP_S
        states.step(now_s, GOOD)
    return states, now_s


def test_good_frames_in_a_row_calibrate() -> None:
    states = StateMachine(CONFIG)
    seen = [states.step(STEP_S * frame, GOOD) for frame in range(4)]
    assert seen == [ScaleState.CALIBRATING] * 2 + [ScaleState.CALIBRATED] * 2


def test_a_rejected_frame_begins_the_row_anew() -> None:
    states = StateMachine(CONFIG)
    seen = []
    for frame, what in enumerate((GOOD, GOOD, replace(NOTHING, rejected=1), GOOD, GOOD, GOOD)):
        seen.append(states.step(STEP_S * frame, what))
    assert seen == [ScaleState.CALIBRATING] * 5 + [ScaleState.CALIBRATED]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (replace(NOTHING, rejected=2), "contradict the estimate in the last 2 frames"),
        (replace(GOOD, relative_sigma=0.2), "scale is known only to within 20%"),
        (replace(GOOD, troubles=["range: silent"]), "range: silent"),
    ],
)
def test_each_doubt_degrades_and_is_told(what: FrameOutcome, says: str) -> None:
    states, now_s = machine()
    assert states.step(now_s + STEP_S, what) is ScaleState.DEGRADED
    assert says in states.reason
    assert states.step(now_s + 2 * STEP_S, GOOD) is ScaleState.CALIBRATED


def test_silence_degrades_after_the_sensor_s_time_and_ends_metres_after_its_own() -> None:
    states, last_s = machine()
    seen = {round(age, 1): states.step(last_s + age, NOTHING) for age in (0.3, 0.7, 0.9, 1.2)}
    assert seen == {
        0.3: ScaleState.CALIBRATED, 0.7: ScaleState.DEGRADED, 0.9: ScaleState.DEGRADED, 1.2: ScaleState.STALE,
    }  # fmt: skip
    assert "no anchor accepted for 1.20 s" in states.reason


def test_what_determines_one_unknown_only_is_degraded_in_time() -> None:
    states, now_s = machine(40)
    seen = []
    for _ in range(30):
        now_s += STEP_S
        seen.append(states.step(now_s, replace(GOOD, well_posed=False)))
    assert seen[0] is ScaleState.CALIBRATED and seen[-1] is ScaleState.DEGRADED
    assert "the other comes from a prior or from earlier frames" in states.reason


def test_a_floor_alone_keeps_what_sensors_determined_for_no_longer_than_stale() -> None:
    """Frames without a measurement say nothing of how well posed measurements are; but the last one grows old."""
    states, now_s = machine(40)
    seen = [states.step(now_s + STEP_S * frame, replace(GOOD, well_posed=None)) for frame in range(1, 13)]
    assert seen[8] is ScaleState.CALIBRATED and seen[-1] is ScaleState.DEGRADED


def test_after_time_ran_back_scale_is_confirmed_as_if_nothing_had_determined_it() -> None:
    states, _ = machine()
    states.time_jumped()
    assert states.state is ScaleState.CALIBRATING and not states.look(0.0)
    seen = [states.step(STEP_S * frame, replace(GOOD, well_posed=None)) for frame in range(5)]
    assert seen[-1] is ScaleState.DEGRADED


def test_after_time_ran_back_frames_count_anew() -> None:
    states, _ = machine()
    states.time_jumped()
    seen = [states.step(STEP_S * frame, GOOD) for frame in range(4)]
    assert seen == [ScaleState.CALIBRATING] * 2 + [ScaleState.CALIBRATED] * 2


def test_before_any_anchor_time_may_run_back_unnoticed() -> None:
    states = StateMachine(CONFIG)
    states.time_jumped()
    assert states.step(0.0, NOTHING) is ScaleState.UNCALIBRATED
    assert "no usable anchor yet" in states.reason


def test_no_age_is_negative() -> None:
    """Of a frame that another one has overtaken."""
    states, now_s = machine()
    assert states.age_s(now_s - 0.05) == 0.0


def test_frames_without_anchors_in_between_do_not_begin_the_row_anew() -> None:
    """A sensor slower than the camera calibrates, too."""
    states = StateMachine(CONFIG)
    seen = [states.step(STEP_S * frame, (NOTHING if frame % 3 else GOOD)) for frame in range(7)]
    assert seen == [ScaleState.CALIBRATING] * 6 + [ScaleState.CALIBRATED]


def test_silence_begins_the_row_anew() -> None:
    states, now_s = machine()
    assert states.step(now_s + 1.5, NOTHING) is ScaleState.STALE
    seen = [states.step(now_s + 1.5 + STEP_S * frame, GOOD) for frame in range(1, 4)]
    assert seen == [ScaleState.CALIBRATING] * 2 + [ScaleState.CALIBRATED]


def test_before_a_frame_metres_end_with_the_anchors_and_not_before() -> None:
    """At one frame in 0.1 s; a camera that regularly comes slower than stale is another matter."""
    states, now_s = machine()
    assert states.look(now_s + 0.9) and not states.look(now_s + 1.1)
    assert states.state is ScaleState.STALE
    assert [states.step(now_s + 1.1 + STEP_S * frame, GOOD) for frame in range(3)][1] is ScaleState.CALIBRATING


def test_a_slow_camera_whose_last_frame_brought_no_anchor_has_no_metres() -> None:
    states, now_s = StateMachine(CONFIG), 0.0
    for _ in range(6):
        now_s += 2.0
        states.step(now_s, GOOD)
    assert states.state is ScaleState.CALIBRATED and states.look(now_s + 2.0)
    states.step(now_s + 0.9, NOTHING)
    assert not states.look(now_s + 1.2)


@pytest.mark.parametrize(
    ("sigma", "state"),
    [(0.11, ScaleState.CALIBRATED), (0.13, ScaleState.DEGRADED), (0.39, ScaleState.DEGRADED),
     (0.41, ScaleState.CALIBRATING)],
)  # fmt: skip
def test_how_well_scale_is_known_decides_what_it_is_good_for(sigma: float, state: ScaleState) -> None:
    states, now_s = machine()
    assert states.step(now_s + STEP_S, replace(GOOD, relative_sigma=sigma)) is state


def test_degraded_scale_is_not_calibrated_anew_for_a_rejected_frame() -> None:
    states, now_s = machine()
    doubt = replace(GOOD, troubles=["range: silent"])
    states.step(now_s + STEP_S, doubt)
    assert states.step(now_s + 2 * STEP_S, replace(NOTHING, rejected=1)) is ScaleState.DEGRADED
    assert states.step(now_s + 3 * STEP_S, GOOD) is ScaleState.CALIBRATED


def test_only_sensors_that_come_too_seldom_are_told_what_to_set() -> None:
    states, now_s = machine()
    states.step(now_s + 1.5, NOTHING)
    assert "stale_after_s" not in states.reason
    states.step(now_s + 3.0, GOOD)
    states.step(now_s + 4.5, NOTHING)
    assert "3.00 s apart: scale.stale_after_s is 1" in states.reason


def test_sensors_that_seldom_determine_both_unknowns_are_degraded_however_lately_they_did() -> None:
    states, now_s = machine(40)
    for frame in range(60):
        states.step(now_s + STEP_S * frame, replace(GOOD, well_posed=frame % 4 == 3))
    assert states.state is ScaleState.DEGRADED
    assert "the other comes from a prior or from earlier frames" in states.reason
