"""Counters, faults and timings of one camera's frames."""

import pytest

from depthnet_ros.errors import (
    BackendError,
    CameraInfoError,
    ConfigError,
    ImageError,
    MessageError,
    NetworkOutputError,
)
from depthnet_ros.metric_scale import AnchorError
from depthnet_ros.ros.frame_statistics import FrameCount, FrameStatistics, count_of


def test_nothing_is_reported_before_it_happened():
    frames = FrameStatistics()
    assert frames.output_age_s() is None
    assert frames.counts() == frames.stages() == frames.errors() == {}


def test_frame_statistics():
    frames = FrameStatistics()
    for index in range(101):
        frames.time({"network": index * 1e-3, "stamp_to_publish": index * 2e-3})
    frames.output()
    for _ in range(3):
        frames.count(FrameCount.RECEIVED)
    for message in ("first", "last"):
        frames.fault(FrameCount.BAD_IMAGE, message)
    assert frames.counts() == {"received": 3, "bad_image": 2, "published": 1}
    assert frames.errors() == {"bad_image": "last"}
    assert frames.stages()["network"] == {50: pytest.approx(0.05), 90: pytest.approx(0.09), 99: pytest.approx(0.099)}
    assert 0 <= frames.output_age_s() < 60


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (ImageError("x"), "bad_image"),
        (CameraInfoError("x"), "bad_camera_info"),
        (BackendError("x"), "backend_error"),
        (NetworkOutputError("x"), "backend_error"),
        (MessageError("x"), "bad_input"),
        (ConfigError("x"), "bad_input"),
        (AnchorError("x"), "bad_input"),
        (ValueError("x"), "internal_error"),
    ],
)
def test_a_frame_that_is_lost_is_counted_by_what_was_wrong(error, count):
    assert count_of(error) == count


def test_counts_that_were_asked_for_stay_as_they_were():
    """A report of what is new compares them with the next ones."""
    frames = FrameStatistics()
    frames.fault(FrameCount.BAD_IMAGE, "first")
    counts, errors = frames.counts(), frames.errors()
    frames.fault(FrameCount.BAD_IMAGE, "second")
    assert (counts, errors) == ({"bad_image": 1}, {"bad_image": "first"})
