"""Flicker between frames: what the scene itself does is taken out, and frames that do not follow are not compared."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.evaluation.flicker import Flicker, flicker

DEPTH = np.linspace(1.0, 8.0, 40 * 60, dtype=np.float32).reshape(40, 60)
FRAME_NS = 100_000_000


def test_depth_that_follows_its_reference_does_not_flicker() -> None:
    frames = Flicker()
    assert frames.update(0, DEPTH, DEPTH) is None
    assert frames.update(FRAME_NS, 0.5 * DEPTH, 0.5 * DEPTH) == pytest.approx(0.0, abs=1e-6)
    assert frames.update(2 * FRAME_NS, 0.5 * DEPTH, 0.6 * DEPTH) == pytest.approx(np.log(1.2), rel=1e-4)


def test_pixels_that_jump_up_and_down_flicker_though_their_mean_stays() -> None:
    noise = np.where(np.arange(40)[:, None] // 2 % 2, 1.1, 1 / 1.1).astype(np.float32)
    frames = Flicker()
    frames.update(0, DEPTH, DEPTH)
    assert frames.update(FRAME_NS, DEPTH * noise, DEPTH) == pytest.approx(np.log(1.1), rel=1e-4)


@pytest.mark.parametrize(("gap_ns", "compared"), [(499_000_000, True), (501_000_000, False), (0, False), (-1, False)])
def test_frames_are_compared_up_to_half_a_second_apart(gap_ns: int, compared: bool) -> None:
    frames = Flicker()
    frames.update(FRAME_NS, DEPTH, DEPTH)
    assert (frames.update(FRAME_NS + gap_ns, DEPTH, DEPTH) is not None) == compared


def test_each_frame_is_compared_with_the_one_right_before() -> None:
    frames = Flicker()
    values = [frames.update(index * FRAME_NS, factor * DEPTH, DEPTH) for index, factor in enumerate((1.0, 1.1, 1.1))]
    assert values[0] is None and values[1:] == pytest.approx([np.log(1.1), 0.0], rel=1e-4, abs=1e-6)


def test_another_resolution_and_another_run_follow_nothing() -> None:
    frames = Flicker()
    frames.update(0, DEPTH, DEPTH)
    assert frames.update(FRAME_NS, DEPTH[:20], DEPTH[:20]) is None
    frames.reset()
    assert frames.update(2 * FRAME_NS, DEPTH[:20], DEPTH[:20]) is None


def test_too_few_pixels_known_in_both_frames_tell_nothing() -> None:
    """A quarter of them is looked at."""
    for rows, told in ((2, False), (4, True)):
        frames, holed = Flicker(), DEPTH.copy()
        holed[rows:] = np.nan
        frames.update(0, DEPTH, DEPTH)
        assert (frames.update(FRAME_NS, holed, DEPTH) is not None) == told


def test_flicker_of_a_still_scene_is_a_share_of_what_was_before() -> None:
    before, now = DEPTH.copy(), 2.0 * DEPTH
    assert flicker(before, now) == pytest.approx(1.0)
    now[:39] = np.nan
    assert flicker(before, now) == pytest.approx(1.0)
    assert np.isnan(flicker(before, np.full_like(before, np.nan)))
