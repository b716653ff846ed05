"""Anchors on their way to their frame: met once, by the nearest frame, and told where they never meet one."""

from __future__ import annotations

from depthnet_ros.metric_scale import RangeFinder, from_range
from depthnet_ros.metric_scale.buffer import AnchorBuffer
from depthnet_ros.metric_scale.cone import ConeAnchor
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .world import CAMERA, FOV, FRAME_S


def reading(stamp_s: float, range_m: float = 1.0) -> ConeAnchor:
    return from_range(range_m, RangeFinder(FOV, 0.05, 6.0), CAMERA, OPTICAL_FROM_BODY, stamp_s)


def stamps(buffer: AnchorBuffer, stamp_s: float) -> list[float]:
    return [anchor.stamp_s for anchor in buffer.take(stamp_s)]


def test_a_reading_is_the_nearest_to_its_frame_and_used_once() -> None:
    buffer = AnchorBuffer(0.125)
    for stamp_s in (0.9, 1.02, 1.1, 1.4):
        buffer.put(reading(stamp_s))
    assert stamps(buffer, 1.0) == [1.02]
    assert stamps(buffer, 1.03) == [1.1], "not once more the one before"
    assert stamps(buffer, 1.1) == []
    assert stamps(buffer, 1.5) == [1.4]


def test_what_is_as_far_away_as_is_allowed_is_near_enough() -> None:
    for stamp_s, met in ((1.125, True), (0.875, True), (1.1251, False), (0.8749, False)):
        buffer = AnchorBuffer(0.125)
        buffer.put(reading(stamp_s))
        assert bool(buffer.take(1.0)) == met


def test_one_reading_that_came_too_late_is_no_sensor_of_another_clock() -> None:
    """It is silent, which others tell; each reading is missed once."""
    buffer = AnchorBuffer(0.1)
    buffer.put(reading(0.0))
    for index in range(100):
        assert not buffer.take(1.0 + index * FRAME_S)
    assert buffer.unmatched_sources() == []


def test_readings_that_all_miss_are_told_until_time_runs_back() -> None:
    buffer = AnchorBuffer(0.1)
    for index in range(40):
        buffer.put(reading(index * FRAME_S))
        buffer.take(index * FRAME_S + 5.0)
    (told,) = buffer.unmatched_sources()
    assert told.startswith("range: the nearest reading is 5 s before the image")
    buffer.clear()
    assert buffer.unmatched_sources() == []


def test_a_source_with_something_near_is_not_said_to_see_only_what_is_far() -> None:
    buffer = AnchorBuffer(0.1)
    for _ in range(40):
        buffer.miss("range", 0.0)
    assert len(buffer.beyond(5.0)) == 1
    buffer.put(reading(0.0))
    assert buffer.beyond(5.0) == ()
    for _ in range(40):
        buffer.miss("range", 0.0)
    buffer.clear()
    assert buffer.beyond(5.0) == ()


def test_who_spoke_is_told_once_with_the_newest_stamp() -> None:
    buffer = AnchorBuffer(0.1)
    for stamp_s in (10.0, 11.0, 10.5):
        buffer.hear("range", stamp_s)
    buffer.hear("scan", 9.0, known=False)
    assert dict(buffer.heard()) == {("range", True): 11.0, ("scan", False): 9.0} and not dict(buffer.heard())
