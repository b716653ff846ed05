"""Quantiles, drops and the degrade policy, with made-up clocks."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthnet_ros.errors import ConfigError
from depthnet_ros.inference.latency import DegradePolicy, LatencyMonitor, RollingQuantiles, scaled_input
from depthnet_ros.models.spec import InputSpec


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.integers(1, 20))
def test_quantiles_look_at_the_last_window_only(values, window):
    rolling = RollingQuantiles(window)
    for value in values:
        rolling.add(value)
    assert len(rolling) == min(window, len(values))
    low, middle, high = rolling.at(0, 0.5, 1)
    last = values[-window:]
    assert (low, high) == (min(last), max(last))
    assert middle == pytest.approx(statistics.median(last))


def test_report_before_any_output():
    report = LatencyMonitor().report(10.0)
    assert math.isnan(report.p50_s)
    assert math.isnan(report.last_output_age_s)
    assert report.outputs == 0


def test_report():
    monitor = LatencyMonitor(max_age_s=0.5)
    assert not monitor.too_old(stamp_s=100.0, now_s=100.4)
    assert monitor.too_old(stamp_s=100.0, now_s=100.6)
    monitor.dropped("replaced", 3)
    monitor.dropped("replaced", 0)
    for index in range(101):
        monitor.published(stamp_s=200.0 + index, now_s=200.0 + index * 1.001, stages_s={"network": 0.02})
    report = monitor.report(now_s=302.0)
    assert report.p50_s == pytest.approx(0.05)
    assert report.p90_s == pytest.approx(0.09)
    assert report.p99_s == pytest.approx(0.099)
    assert report.last_output_age_s == pytest.approx(2.0)
    assert report.drops == {"too_old": 1, "replaced": 3}
    assert report.stages_p50_s == {"network": pytest.approx(0.02)}


def test_no_limit_on_age_unless_asked_for():
    assert not LatencyMonitor().too_old(0.0, 1e9)
    with pytest.raises(ConfigError, match="max_age"):
        LatencyMonitor(max_age_s=-1.0)


def run(policy, latency_at_full_area_s, frames):
    """Latency proportional to the input's area, as a network's mostly is."""
    changes = [policy.update(latency_at_full_area_s * policy.area) for _ in range(frames)]
    return sum(changes)


def test_degrades_until_the_contract_is_kept_then_stays():
    policy = DegradePolicy(limit_s=0.1, patience=10)
    assert run(policy, 0.09, 100) == 0
    assert not policy.degraded
    assert policy.reason == ""
    assert run(policy, 0.18, 200) == 2
    assert policy.area == 0.5
    assert "over the limit" in policy.reason
    assert run(policy, 0.18, 500) == 0, "must not swing"


def test_comes_back_when_there_is_room():
    policy = DegradePolicy(limit_s=0.1, patience=10)
    run(policy, 0.3, 100)
    assert policy.area == 0.35
    run(policy, 0.05, 100)
    assert not policy.degraded
    assert "leaves room" in policy.reason


def test_one_slow_frame_does_not_degrade():
    policy = DegradePolicy(limit_s=0.1, patience=20)
    for index in range(200):
        assert not policy.update(0.5 if index % 50 == 0 else 0.05)


@pytest.mark.parametrize("areas", [(), (0.9, 0.5), (1.0, 0.5, 0.7), (1.0, 0.0)])
def test_areas_must_fall_from_one(areas):
    with pytest.raises(ConfigError, match="areas"):
        DegradePolicy(0.1, areas)


def test_scaled_input_keeps_the_aspect_and_the_multiple():
    spec = InputSpec(256, 320, keep_aspect=True)
    height, width = scaled_input(spec, 0.5).size_for(480, 640)
    assert height % 32 == 0
    assert width % 32 == 0
    assert height * width < 0.7 * math.prod(spec.size_for(480, 640))
    fixed = InputSpec(128, 128)
    assert scaled_input(fixed, 0.5) is fixed
