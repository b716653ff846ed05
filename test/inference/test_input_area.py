"""When the network's input shrinks and grows, and to what size, with made-up latencies."""

import math

import pytest

from depthnet_ros.inference.input_area import DegradePolicy, scaled_input
from depthnet_ros.models.spec import InputSpec


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
    with pytest.raises(ValueError, match="areas"):
        DegradePolicy(0.1, areas)


def test_scaled_input_keeps_the_aspect_and_the_multiple():
    spec = InputSpec(256, 320, keep_aspect=True)
    height, width = scaled_input(spec, 0.5).size_for(480, 640)
    assert height % 32 == 0
    assert width % 32 == 0
    assert height * width < 0.7 * math.prod(spec.size_for(480, 640))
    fixed = InputSpec(128, 128)
    assert scaled_input(fixed, 0.5) is fixed


def test_a_fifth_of_slow_frames_is_too_many():
    policy = DegradePolicy(limit_s=0.1, patience=20)
    assert any(policy.update(0.5 if index % 5 == 0 else 0.05) for index in range(20))
    assert policy.area == 0.7


@pytest.mark.parametrize(("latency_s", "comes_back"), [(0.064, False), (0.062, True)])
def test_the_full_input_comes_back_with_a_tenth_to_spare(latency_s, comes_back):
    """At 0.7 of the area: 0.064 s would be 0.091 s of the 0.1 s at all of it."""
    policy = DegradePolicy(limit_s=0.1, patience=10)
    run(policy, 0.12, 10)
    assert policy.area == 0.7
    assert any(policy.update(latency_s) for _ in range(50)) == comes_back


def test_after_a_step_the_count_starts_anew():
    """The slow frames of the larger input say nothing of the smaller one."""
    policy = DegradePolicy(limit_s=0.1, patience=10)
    assert [policy.update(0.2) for _ in range(10)] == [False] * 9 + [True]
    assert not any(policy.update(0.08) for _ in range(100)) and policy.area == 0.7


@pytest.mark.parametrize("limit_s", [0.0, -1.0])
def test_a_limit_is_a_time(limit_s):
    with pytest.raises(ValueError, match="positive seconds"):
        DegradePolicy(limit_s)


def test_a_quarter_of_the_area_is_half_of_each_side():
    scaled = scaled_input(InputSpec(256, 320, keep_aspect=True), 0.25)
    assert (scaled.height_px, scaled.width_px) == (128, 160)
