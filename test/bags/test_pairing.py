"""Messages brought together by their stamps: which one is nearest, which stamp is doubted, and how long images wait."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.pairing import NearestInTime, Stamped, WaitingImages

SECOND_NS = 1_000_000_000


def ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def item(stamp_s: float, time_s: float | None = None) -> Stamped:
    return Stamped(ns(stamp_s), ns(stamp_s if time_s is None else time_s), f"{stamp_s:g}")


def of(*stamps_s: float) -> tuple[NearestInTime, list[bool]]:
    """Messages recorded a tenth of a second apart, whatever their stamps, and whether each was taken in."""
    near = NearestInTime()
    return near, [near.add(item(stamp, 0.1 * number)) for number, stamp in enumerate(stamps_s)]


def found(near: NearestInTime, stamp_s: float, tolerance_s: float = 0.01) -> str | None:
    best = near.nearest(ns(stamp_s), ns(tolerance_s))
    return None if best is None else best.message


def test_the_nearest_is_before_or_after_and_within_the_tolerance() -> None:
    near, _ = of(1.0, 2.0)
    assert (found(near, 1.4, 1.0), found(near, 1.6, 1.0), found(near, 1.5, 1.0)) == ("1", "2", "1")
    assert (found(near, 0.9, 0.1), found(near, 2.1, 0.1)) == ("1", "2")
    assert found(near, 0.9, 0.099) is None and found(near, 2.1, 0.099) is None
    assert found(NearestInTime(), 1.0, 9.0) is None


def test_stamps_a_little_out_of_order_are_sorted() -> None:
    near, taken = of(10.0, 9.9, 10.4, 10.2)
    assert all(taken)
    assert [found(near, stamp) for stamp in (9.9, 10.0, 10.2, 10.4)] == ["9.9", "10", "10.2", "10.4"]
    assert near.span_text == "9.900 to 10.400 s" and near.last_ns == ns(10.4)


def test_what_was_stamped_ahead_is_left_out_once_two_others_say_so() -> None:
    near, taken = of(10.0, 99.0, 10.2, 10.3, 10.4)
    assert taken == [True, True, False, True, True]
    assert [found(near, stamp) for stamp in (10.0, 10.2, 10.3, 10.4, 99.0)] == ["10", "10.2", "10.3", "10.4", None]
    assert near.last_ns == ns(10.4)


def test_single_messages_stamped_too_early_are_never_believed() -> None:
    near, taken = of(10.0, 3.0, 10.1, 3.1, 10.2)
    assert taken == [True, False, True, False, True]
    assert found(near, 3.0) is None and found(near, 3.1) is None and found(near, 10.2) == "10.2"


def test_two_wrong_stamps_of_different_minds_change_nothing() -> None:
    near, taken = of(10.0, 3.0, 6.0, 10.1)
    assert taken == [True, False, False, True]
    assert found(near, 10.0) == "10" and found(near, 6.0) is None


def test_until_it_is_told_which_stamp_is_wrong_either_may_be_met() -> None:
    near, _ = of(10.0, 3.0)
    assert found(near, 10.0) == "10" and found(near, 3.0) == "3"


def test_what_was_recorded_long_ago_is_forgotten() -> None:
    near = NearestInTime(keep_ns=ns(4.0))
    for stamp_s in (0.0, 2.0, 5.0):
        near.add(item(stamp_s))
    assert found(near, 0.0) is None and found(near, 2.0) == "2"


def test_only_what_is_older_is_forgotten() -> None:
    near, _ = of(0.1, 0.2, 0.3)
    near.forget_before(ns(0.2))
    assert [found(near, stamp) for stamp in (0.1, 0.2, 0.3)] == [None, "0.2", "0.3"]


def test_after_time_ran_back_nothing_is_left() -> None:
    near, _ = of(10.0, 10.1, 3.0)
    near.clear(ns(1.0))
    assert near.span_text == "none" and found(near, 10.0) is None and found(near, 3.0) is None
    assert near.add(item(1.0)) and near.span_text == "1.000 to 1.000 s"


def test_what_was_doubted_is_of_the_time_that_the_clock_ran_back_to() -> None:
    near, _ = of(10.0, 10.1, 3.0)
    near.clear(ns(3.1))
    assert found(near, 3.0) == "3" and found(near, 10.0) is None and near.span_text == "3.000 to 3.000 s"
    assert near.add(item(3.1, 0.3)) and near.add(item(9.0, 0.4)) and found(near, 9.0) == "9"


def image(stamp_s: float, time_s: float) -> Stamped:
    return Stamped(
        ns(stamp_s), ns(time_s), messages.image(np.zeros((2, 2, 3), np.uint8), "rgb8", ns(stamp_s), "camera")
    )


def ready(waiting: WaitingImages, now_s: float, finished: bool = False) -> list[float]:
    return [one.stamp_ns / SECOND_NS for one in waiting.ready(ns(now_s), finished)]


def test_an_image_waits_for_all_topics_that_may_belong_to_it() -> None:
    depth, info = NearestInTime(), NearestInTime()
    waiting = WaitingImages([depth, info])
    waiting.add(image(1.0, 1.0))
    waiting.add(image(1.1, 1.1))
    assert ready(waiting, 1.2) == []
    info.add(item(1.1))
    depth.add(item(0.9))
    assert ready(waiting, 1.2) == []
    depth.add(item(1.0))
    assert ready(waiting, 1.2) == [], "the info of 1.0 may follow that of 1.1"
    info.add(item(1.0, 1.2))
    assert ready(waiting, 1.2) == [1.0]
    assert ready(waiting, 1.2, finished=True) == [1.1] and waiting.hurried == 0


@pytest.mark.parametrize(("now_s", "out"), [(2.9, []), (3.1, [1.0])])
def test_an_image_waits_two_seconds_of_recording_for_what_never_comes(now_s: float, out: list[float]) -> None:
    waiting = WaitingImages([NearestInTime()])
    waiting.add(image(1.0, 1.0))
    assert ready(waiting, now_s) == out
    assert waiting.hurried == 0


def test_images_that_went_leave_their_memory_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthnet_ros.bags.pairing.MOST_WAITING_BYTES", 30)
    depth = NearestInTime()
    waiting = WaitingImages([depth])
    for number in range(20):
        waiting.add(image(float(number), float(number)))
        waiting.add(image(number + 0.5, number + 0.5))
        depth.add(item(number + 0.5))
        assert ready(waiting, number + 0.6) == [number, number + 0.5]
    assert waiting.hurried == 0, "twelve bytes each"


def test_only_images_that_had_to_go_before_their_time_are_counted_as_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthnet_ros.bags.pairing.MOST_WAITING_BYTES", 30)
    depth = NearestInTime()
    waiting = WaitingImages([depth])
    for number in range(3):
        waiting.add(image(float(number), float(number)))
    depth.add(item(0.5))
    assert ready(waiting, 1.9) == [0.0] and waiting.hurried == 0, "its depth had come"
    waiting.add(image(3.0, 3.0))
    assert ready(waiting, 2.9) == [1.0] and waiting.hurried == 1


def test_stamps_of_a_clock_that_is_not_the_recorder_s_keep_their_messages_and_their_patience() -> None:
    """A simulator's begins at zero."""
    near = NearestInTime(keep_ns=ns(4.0))
    for number in range(5):
        near.add(item(5.0 + number, 1000.0 + number))
    assert (found(near, 5.0), found(near, 9.0)) == ("5", "9")
    waiting = WaitingImages([NearestInTime()])
    waiting.add(image(5.0, 1000.0))
    assert ready(waiting, 1001.9) == [] and ready(waiting, 1002.1) == [5.0]


def test_an_image_whose_partner_is_missing_goes_once_its_topic_is_well_past_it() -> None:
    depth = NearestInTime()
    waiting = WaitingImages([depth])
    waiting.add(image(1.0, 1.0))
    for stamp_s, out in ((0.9, []), (1.1, []), (1.19, []), (1.2, [1.0])):
        depth.add(item(stamp_s))
        assert ready(waiting, stamp_s) == out
