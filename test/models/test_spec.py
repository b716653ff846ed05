"""Model specifications: sizes, checks and plain-type round trips."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from depthnet_ros.errors import WeightsError
from depthnet_ros.models.spec import InputSpec, ModelSpec, OutputKind


def test_round_trip_through_yaml():
    size = InputSpec(256, 320, keep_aspect=True)
    spec = ModelSpec("x", size, OutputKind.METRIC_DEPTH, True, {"a": 1}, {"b": "c"}, 0.25)
    assert ModelSpec.from_dict(yaml.safe_load(yaml.safe_dump(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": 1}, r"unknown keys \['colour'\]"),
        ({"output_kind": "distance"}, "output_kind must be one of inverse_depth, depth, metric_depth .or disparity"),
        ({"input": {"height_px": 3}}, r"missing keys \['width_px'\]"),
        ({"input": {"height_px": 3, "width_px": 0}}, "must be positive"),
        ({"input": {"height_px": 3, "width_px": 4, "std": [1, 0, 1]}}, "std must be positive"),
        ({"input": {"height_px": "3", "width_px": 4}}, "my.yaml: height_px must be an integer, got '3'"),
        ({"input": {"height_px": 3, "width_px": 4.5}}, "width_px must be an integer"),
        ({"input": {"height_px": 3, "width_px": 4, "mean": 0.5}}, "mean must be three numbers, got 0.5"),
        (
            {"input": {"height_px": 3, "width_px": 4, "mean": [123.675, 116.28, 103.53], "std": [58.4, 57.1, 57.4]}},
            "divide both by 255",
        ),
        ({"input": {"height_px": 3, "width_px": 4, "std": ["a", 1, 1]}}, "std must be three finite numbers"),
        ({"input": yaml.safe_load("{height_px: 3, width_px: 4, std: [1, 1e-30, 1]}")}, r"text, write 1\.0e-30"),
        ({"input": yaml.safe_load("{height_px: 3, width_px: 4, mean: [1, 2, 1.5e3]}")}, r"text, write 1\.5e\+3"),
        ({"input": {"height_px": 100000, "width_px": 320}}, "at most 8192, got 100000x320"),
        ({"input": {"height_px": 3, "width_px": 4, "multiple_of": 9999}}, "at most 8192"),
        ({"input": {"height_px": 3, "width_px": 4, "keep_aspect": "no"}}, "keep_aspect must be true or false"),
        ({"architecture": 5}, "architecture must be text"),
        ({"zero_sigma": -0.1}, r"zero_sigma must be 0 .not known. or lie in 0.05 .. 2.0, got -0.1"),
        ({"zero_sigma": 1e-200}, "zero_sigma must be 0"),
        ({"zero_sigma": True}, "zero_sigma must be 0"),
        ({"zero_sigma": "wide"}, "zero_sigma must be 0"),
        ({"zero_sigma": float("nan")}, "zero_sigma must be 0"),
        ({"arguments": None}, "arguments must be a mapping"),
        ({"input": 5}, "expected a mapping"),
    ],
)
def test_faults_are_named(change, complaint):
    data = {"architecture": "x", "input": {"height_px": 3, "width_px": 4}, **change}
    with pytest.raises(WeightsError, match=complaint):
        ModelSpec.from_dict(data, "my.yaml")


@pytest.mark.parametrize("text", ["1.0e-30", "1.5e+3"])
def test_the_numbers_that_are_advised_are_numbers_to_yaml(text):
    assert isinstance(yaml.safe_load(text), float)


def test_disparity_is_another_word_for_inverse_depth():
    spec = ModelSpec.from_dict(
        {"architecture": "x", "input": {"height_px": 3, "width_px": 4}, "output_kind": "disparity"}
    )
    assert spec.output_kind is OutputKind.INVERSE_DEPTH
    assert spec.to_dict()["output_kind"] == "inverse_depth"


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([(256, 320, 32), (70, 70, 14), (8, 8, 32)]))
def test_no_picture_makes_the_input_grow(height, width, size):
    spec = InputSpec(size[0], size[1], keep_aspect=True, multiple_of=size[2])
    h, w = spec.size_for(height, width)
    assert h % size[2] == 0 and w % size[2] == 0 and h > 0 and w > 0
    assert h * w <= max(1.4 * size[0] * size[1], size[2] ** 2)


@given(st.integers(16, 4000), st.integers(16, 4000))
def test_size_for_keeps_aspect_and_area(height, width):
    spec = InputSpec(256, 320, keep_aspect=True)
    h, w = spec.size_for(height, width)
    assert h % 32 == 0 and w % 32 == 0 and h >= 32 and w >= 32
    if 1 / 4 < width / height < 4:
        assert 0.75 < h * w / (256 * 320) < 1.3
        assert abs(math.log((w / h) / (width / height))) < 0.35


def test_size_for_without_aspect_is_the_size_itself():
    assert InputSpec(128, 128).size_for(480, 640) == (128, 128)
    assert InputSpec(256, 320, keep_aspect=True).size_for(480, 640) == (256, 320)
