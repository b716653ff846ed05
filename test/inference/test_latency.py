"""Percentiles of a window, with made-up latencies."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthnet_ros.inference.latency import RollingPercentiles


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=60), st.integers(1, 20))
def test_percentiles_look_at_the_last_window_only(values, window):
    rolling = RollingPercentiles(window)
    for value in values:
        rolling.add(value)
    assert len(rolling) == min(window, len(values))
    found, last = rolling.percentiles(), values[-window:]
    assert found[50] == pytest.approx(statistics.median(last))
    rounding = 1e-12  # of the interpolation
    assert min(last) <= found[50] + rounding
    assert found[50] <= found[90] + rounding
    assert found[90] <= found[99] + rounding
    assert found[99] <= max(last) + rounding


def test_nothing_is_reported_before_it_happened():
    assert RollingPercentiles().percentiles() == {}
