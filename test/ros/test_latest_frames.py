"""The newest frame of each camera, one batch, nobody starved."""

import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthnet_ros.ros.latest_frames import LatestFrames


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=30))
def test_batch_is_the_newest_of_each(offers):
    frames = LatestFrames("abc")
    dropped = sum(frames.put(camera, frame) for camera, frame in offers)
    assert frames.waiting == bool(offers)
    assert frames.take(timeout_s=0) == dict(offers)
    assert not frames.waiting
    assert dropped == len(offers) - len(dict(offers))
    assert frames.take(timeout_s=0) == {}


def test_a_fast_camera_does_not_crowd_out_a_slow_one():
    """However many frames the fast one has had in between, each batch has the slow one's."""
    frames, served = LatestFrames(("fast", "slow")), Counter()
    for index in range(100):
        for _ in range(10):
            frames.put("fast", index)
        frames.put("slow", index)
        served.update(frames.take(timeout_s=0).keys())
    assert served == {"fast": 100, "slow": 100}


def test_take_waits_for_a_frame_and_close_releases_it():
    frames = LatestFrames(("front",))
    taken = []
    worker = threading.Thread(target=lambda: [taken.append(frames.take()) for _ in range(2)])
    worker.start()
    frames.put("front", 7)
    while not taken:
        time.sleep(0.001)
    frames.close()
    worker.join(5)
    assert not worker.is_alive()
    assert taken == [{"front": 7}, {}]
    frames.put("front", 8)
    assert frames.take(timeout_s=0) == {}, "nothing is kept once closed"


def test_clear_forgets_what_waits():
    frames = LatestFrames(("front",))
    frames.put("front", 1)
    assert frames.clear() == ["front"] and frames.clear() == []
    assert not frames.put("front", 2)
    assert frames.take(timeout_s=0) == {"front": 2}
    frames.put("front", 3)
    assert frames.close() == ["front"]


def test_gathering_puts_cameras_that_arrive_together_into_one_batch():
    frames = LatestFrames(("left", "right"), batch_wait_s=3600.0)  # longer than a test may take
    frames.put("left", 1)
    threading.Timer(0.05, frames.put, ("right", 2)).start()
    assert frames.take() == {"left": 1, "right": 2}


def test_gathering_ends_when_nothing_more_comes():
    frames = LatestFrames(("left", "right"), batch_wait_s=0.02)
    frames.put("left", 1)
    assert frames.take() == {"left": 1}


def test_names():
    with pytest.raises(ValueError, match="each its own"):
        LatestFrames(("a", "a"))
    with pytest.raises(ValueError, match="'b'"):
        LatestFrames(("a",)).put("b", 0)


def test_a_batch_has_the_cameras_order_whoever_came_first():
    frames = LatestFrames(("left", "right"))
    frames.put("right", 1)
    frames.put("left", 2)
    assert list(frames.take(timeout_s=0)) == ["left", "right"]


def test_closing_drops_what_waits():
    frames = LatestFrames(("front",))
    frames.put("front", 1)
    frames.close()
    assert frames.closed and not frames.waiting and frames.take() == {}


@pytest.mark.parametrize("settings", [{"cameras": ()}, {"cameras": ("a",), "batch_wait_s": -0.1}])
def test_no_camera_and_no_negative_wait(settings):
    with pytest.raises(ValueError):
        LatestFrames(**settings)
