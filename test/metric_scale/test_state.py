"""From state to state, one frame at a time: each reason by itself."""

from __future__ import annotations

import pytest

from depthnet_ros.metric_scale.config import MetricScaleConfig, ScaleState
from depthnet_ros.metric_scale.state import StateMachine

CONFIG = MetricScaleConfig(mode="anchors", calibrate_frames=3, source_timeout_s=0.5, stale_after_s=1.0)
GOOD = {"accepted": True, "rejected": 0, "well_posed": True, "relative_sigma": 0.05, "troubles": []}
NOTHING = {**GOOD, "accepted": False, "well_posed": None}
STEP_S = 0.1


def machine(frames: int = 10) -> tuple[StateMachine, float]:
    states, now_s = StateMachine(CONFIG), 0.0
    for _ in range(frames):
        now_s += STEP_S
        states.step(now_s, **GOOD)
    return states, now_s


def test_good_frames_in_a_row_calibrate() -> None:
    states = StateMachine(CONFIG)
    seen = [states.step(STEP_S * frame, **GOOD) for frame in range(4)]
    assert seen == [ScaleState.CALIBRATING] * 2 + [ScaleState.CALIBRATED] * 2


def test_a_rejected_frame_begins_the_row_anew() -> None:
    states = StateMachine(CONFIG)
    seen = []
    for frame, what in enumerate((GOOD, GOOD, {**NOTHING, "rejected": 1}, GOOD, GOOD, GOOD)):
        seen.append(states.step(STEP_S * frame, **what))
    assert seen == [ScaleState.CALIBRATING] * 5 + [ScaleState.CALIBRATED]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({**NOTHING, "rejected": 2}, "contradict the estimate in the last 2 frames"),
        ({**GOOD, "relative_sigma": 0.2}, "scale is known to 20% only"),
        ({**GOOD, "troubles": ["range: silent"]}, "range: silent"),
    ],
)
def test_each_doubt_degrades_and_is_told(what: dict, says: str) -> None:
    states, now_s = machine()
    assert states.step(now_s + STEP_S, **what) is ScaleState.DEGRADED
    assert says in states.reason
    assert states.step(now_s + 2 * STEP_S, **GOOD) is ScaleState.CALIBRATED


def test_silence_degrades_after_the_sensor_s_time_and_ends_metres_after_its_own() -> None:
    states, last_s = machine()
    seen = {round(age, 1): states.step(last_s + age, **NOTHING) for age in (0.3, 0.7, 0.9, 1.2)}
    assert seen == {
        0.3: ScaleState.CALIBRATED, 0.7: ScaleState.DEGRADED, 0.9: ScaleState.DEGRADED, 1.2: ScaleState.STALE,
    }  # fmt: skip
    assert "no anchor accepted for 1.20 s" in states.reason


def test_what_determines_one_unknown_only_is_degraded_in_time() -> None:
    states, now_s = machine(40)
    seen = []
    for _ in range(30):
        now_s += STEP_S
        seen.append(states.step(now_s, **{**GOOD, "well_posed": False}))
    assert seen[0] is ScaleState.CALIBRATED and seen[-1] is ScaleState.DEGRADED
    assert "the other is a prior or remembered" in states.reason


def test_a_floor_alone_keeps_what_sensors_determined_for_no_longer_than_stale() -> None:
    """Frames without a measurement say nothing of how well posed measurements are; but the last one grows old."""
    states, now_s = machine(40)
    seen = [states.step(now_s + STEP_S * frame, **{**GOOD, "well_posed": None}) for frame in range(1, 13)]
    assert seen[8] is ScaleState.CALIBRATED and seen[-1] is ScaleState.DEGRADED


def test_after_time_ran_back_scale_is_confirmed_as_if_nothing_had_determined_it() -> None:
    states, _ = machine()
    states.time_jumped()
    assert states.state is ScaleState.CALIBRATING and not states.look(0.0)
    seen = [states.step(STEP_S * frame, **{**GOOD, "well_posed": None}) for frame in range(5)]
    assert seen[-1] is ScaleState.DEGRADED
