"""Two evaluations side by side: differences are found, noise is not, and intervals hold as often as they say."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest

from depthnet_ros.evaluation.blocks import block_length
from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.compare import compare, to_table
from depthnet_ros.evaluation.results import Results, ResultsError


def results_of(abs_rel: np.ndarray, start: float = 0.0) -> Results:
    """Ten frames a second."""
    stamps = (start + 0.1 * np.arange(len(abs_rel))).tolist()
    columns = {"stamp_s": stamps, "aligned.abs_rel": abs_rel.tolist(), "aligned.delta1": (1.0 - abs_rel).tolist()}
    return Results(True, {}, {}, {}, {}, {}, frames=Columns.from_lists(columns))


def test_comparison_finds_small_differences_in_pairs_and_none_in_noise(rng: np.random.Generator) -> None:
    hard = 0.2 + 0.15 * np.sin(np.arange(400) / 17.0)
    a = results_of(hard + rng.normal(0, 0.01, 400))
    same = results_of(hard + rng.normal(0, 0.01, 400))
    better = results_of(hard - 0.004 + rng.normal(0, 0.01, 400))
    assert {item.verdict for item in compare(a, same).differences} == {"same"}
    assert {item.verdict for item in compare(a, better).differences} == {"better"}
    assert {item.verdict for item in compare(better, a).differences} == {"worse"}
    assert compare(a, better) == compare(a, better)
    elsewhere = compare(a, results_of(hard - 0.004, start=1e6))
    assert not elsewhere.paired
    assert {item.verdict for item in elsewhere.differences} == {"same"}


def test_other_recordings_and_settings_are_told_apart() -> None:
    """Recordings that were made begin at the same moment: their frames are not each other's."""
    base = results_of(np.linspace(0.1, 0.3, 50))
    a = replace(
        base,
        source={"recording": "room.mcap", "info_topic": ""},
        settings={"max_depth_m": 80.0, "scale": {"mode": "none"}},
    )
    source = {"recording": "street.mcap", "info_topic": "/info"}
    b = replace(base, source=source, settings={"max_depth_m": 2.0, "scale": {"mode": "fixed"}})
    found = compare(a, b)
    assert not found.paired
    assert set(found.notes[:4]) == {
        "info_topic differs: A none, B /info",
        "recording differs: A room.mcap, B street.mcap",
        "max_depth_m differs: A 80.0, B 2.0",
        "scale.mode differs: A none, B fixed",
    }
    same = compare(a, a)
    assert same.paired and not same.notes


def test_bias_is_compared_by_its_size() -> None:
    def of_bias(value: float) -> Results:
        frames = Columns()
        for index in range(60):
            frames.append({"stamp_s": 0.1 * index, "metric.bias": value + 0.001 * (index % 3)})
        return Results(True, {}, {}, {}, {}, {}, frames=frames)

    found = compare(of_bias(-0.13), of_bias(-0.06))
    (bias,) = found.differences
    assert bias.low <= bias.change <= bias.high and bias.change == pytest.approx(-0.07) and bias.verdict == "better"
    assert f"{bias.change:+.4f}" in to_table(found)


def drifting(rng: np.random.Generator, seconds: float, correlation_s: float, rate_hz: float = 10.0) -> np.ndarray:
    """AR(1) noise of unit variance without a mean, (N,); the correlation falls to 1/e within ``correlation_s``."""
    kept = math.exp(-1.0 / (rate_hz * correlation_s)) if correlation_s else 0.0
    noise = rng.normal(0.0, math.sqrt(1.0 - kept**2), round(seconds * rate_hz))
    noise[0] = rng.normal()
    return np.array(list(accumulate(noise, lambda last, new: kept * last + new)))


@pytest.mark.parametrize("correlation_s", [0.0, 1.0, 3.0])
def test_intervals_cover_as_often_as_they_claim(rng: np.random.Generator, correlation_s: float) -> None:
    """Without a difference 5 of 100 may miss zero: of 200, 16 is 2 sigma above. In blocks of 3 s some 24 and 50 do."""
    seconds = 180.0 * max(1.0, correlation_s)
    level, missed = results_of(np.full(round(10 * seconds), 0.3)), 0
    for seed in range(200):
        noise = 0.3 + 0.05 * drifting(rng, seconds, correlation_s)
        missed += compare(results_of(noise), level, seed=seed, resamples=400).differences[0].verdict != "same"
    assert 3 <= missed <= 16


def test_noise_of_its_own_in_each_frame_costs_no_width(rng: np.random.Generator) -> None:
    noise = drifting(rng, 60.0, 0.0)
    (found, *_) = compare(results_of(0.3 + 0.05 * noise), results_of(np.full(600, 0.3))).differences
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.05 / math.sqrt(600), rel=0.15)


def test_blocks_grow_with_correlation_and_stay_short_without(rng: np.random.Generator) -> None:
    lengths = [np.median([block_length(drifting(rng, 120.0, s)) for _ in range(20)]) for s in (0.0, 0.3, 1.0, 3.0)]
    assert lengths == sorted(lengths)
    assert lengths[0] <= 5 and 40 <= lengths[2] <= 200
    assert block_length(np.ones(50)) == 1


def test_a_side_without_frames_is_too_few() -> None:
    for first, second in ((np.zeros(9), np.zeros(0)), (np.zeros(0), np.zeros(9))):
        with pytest.raises(ResultsError, match="at least 5 frames"):
            compare(results_of(first), results_of(second))


def test_too_few_frames_to_compare() -> None:
    with pytest.raises(ResultsError, match="at least 5 frames"):
        compare(results_of(np.zeros(3)), results_of(np.zeros(3)))
