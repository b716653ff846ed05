"""Bands, sigma, obstacles, objects, thresholds and comparison on numbers that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthnet_ros.bags.boxes import KittiLabels, boxes_from_detections
from depthnet_ros.bags.types import decoder
from depthnet_ros.errors import BagError, ConfigError
from depthnet_ros.evaluation.bands import BANDS_M, BandTally, band_of
from depthnet_ros.evaluation.columns import Columns
from depthnet_ros.evaluation.objects import Box, ObjectTally, box_depth
from depthnet_ros.evaluation.obstacles import grid_rates, scan_rates
from depthnet_ros.evaluation.report import objects_section, obstacles_section
from depthnet_ros.evaluation.results import Results, ResultsError
from depthnet_ros.evaluation.sigma import SigmaTally
from depthnet_ros.evaluation.thresholds import parse_condition


def test_bands_pool_pixels_over_frames() -> None:
    tally = BandTally()
    frames = (
        (np.full(60, 1.1), np.full(60, 1.0)),
        (np.full(60, 1.3), np.full(60, 1.0)),
        (np.array([np.nan] * 50 + [33.0] * 150), np.full(200, 30.0)),
        (np.full(500, 1.0), np.full(500, 99.0)),
    )
    for depth, reference in frames:
        tally.add(depth, reference, band_of(reference))
    rows = {row["from_m"]: row for row in tally.to_list()}
    assert rows[0.0]["abs_rel"] == pytest.approx(0.2)
    assert rows[0.0]["rmse"] == pytest.approx(np.sqrt(0.05))
    assert rows[0.0]["delta1"] == pytest.approx(0.5)
    assert rows[20.0]["coverage"] == pytest.approx(0.75)
    assert rows[20.0]["bias"] == pytest.approx(0.1)
    assert rows[2.0]["abs_rel"] is None
    assert sum(row["pixels"] for row in rows.values()) == 320


def test_a_band_includes_its_near_end() -> None:
    ends = np.array([low for low, _ in BANDS_M] + [BANDS_M[-1][1]])
    assert band_of(ends).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert band_of(np.nextafter(ends[1:], 0)).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("factor", "ratio"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.5)])
def test_sigma_is_honest_too_small_or_too_large(factor: float, ratio: float, rng: np.random.Generator) -> None:
    tally = SigmaTally()
    sigma = rng.uniform(0.1, 2.0, 40_000)
    tally.add(rng.normal(0.0, sigma), sigma * factor)
    found = tally.to_dict()
    assert found["median_ratio"] == pytest.approx(ratio, rel=0.06)
    assert (found["calibration_error"] < 0.03) == (factor == 1.0)


def test_no_sigma_from_a_handful() -> None:
    tally = SigmaTally()
    tally.add(np.ones(10), np.ones(10))
    assert tally.to_dict() is None


def test_scan_rates_by_hand() -> None:
    reference = np.array([2.0, 2.0, 2.0, 2.0, np.inf, np.inf, 1.0, np.nan])
    estimate = np.array([2.1, np.inf, np.nan, 1.0, 1.0, np.inf, 1.1, 3.0])
    rates = scan_rates(estimate, reference, 5.0)
    assert rates.false_free == pytest.approx(1 / 5)  # of the five obstacles: with what is unseen and right they are all
    assert rates.false_obstacle == pytest.approx(2 / 6)  # beams 3 and 4, of six known in both
    assert rates.unseen == pytest.approx(1 / 5)


RANGES = st.lists(
    st.one_of(st.floats(0.3, 4.5, allow_subnormal=False), st.just(np.inf), st.just(np.nan)), min_size=20, max_size=20
)


@settings(max_examples=60, deadline=None)
@given(RANGES)
def test_what_is_equal_has_no_false_obstacle(values: list[float]) -> None:
    ranges, angles = np.array(values), np.linspace(-0.6, 0.6, 20)
    for rates in (scan_rates(ranges, ranges, 5.0), grid_rates(ranges, ranges, angles, 5.0)):
        assert rates.false_free in (0.0, None)
        assert rates.false_obstacle in (0.0, None)


def test_grid_forgives_what_the_scan_does_and_a_cell() -> None:
    """35 cm at 2 m; beyond it the cells on the way there, too."""
    angles = np.linspace(-0.5, 0.5, 100)
    wall = np.full(100, 2.05)
    for error in (-0.34, 0.34):
        rates = grid_rates(wall + error, wall, angles, 5.0)
        assert (rates.false_free, rates.false_obstacle, rates.unseen) == (0.0, 0.0, 0.0)
    assert grid_rates(wall + 0.6, wall, angles, 5.0).false_free > 0.95
    assert grid_rates(wall - 0.6, wall, angles, 5.0).false_obstacle > 0.01


def test_the_report_says_what_is_no_error_of_obstacles() -> None:
    rates = {"false_free": 0.1, "false_obstacle": 0.2, "unseen": None, "obstacles": 300.0}
    figures = {"obstacles": {"scan": rates, "grid": rates}}
    page = obstacles_section(Results(True, {}, {}, {}, {}, figures))
    assert "0.15 m plus 10 % of the range is no error, nor in the grid one cell more" in page


def test_box_depth_is_the_object_not_what_is_behind(rng: np.random.Generator) -> None:
    depth = np.full((100, 200), 30.0)
    depth[40:60, 80:120] = 8.0 + rng.uniform(0.0, 0.5, (20, 40))
    depth[50, 90:95] = 0.3  # stray pixels
    box = Box("car", 160.0, 80.0, 239.0, 119.0)  # in an image of twice that size
    assert box_depth(depth, box, (200, 400)) == pytest.approx(8.1, abs=0.15)
    assert np.isnan(box_depth(depth, Box("car", 500, 500, 600, 600), (200, 400)))
    assert np.isnan(box_depth(np.full((100, 200), np.nan), box, (200, 400)))


def test_objects_by_class_and_band() -> None:
    tally = ObjectTally()
    near, far = Box("car", 10, 10, 40, 40), Box("person", 60, 10, 90, 40)
    reference = np.full((60, 100), np.nan)
    reference[:, :50], reference[:, 50:] = 4.0, 15.0
    tally.add(0, (near, far, Box("car", 0, 0, 1, 1)), reference * 1.1, reference, (60, 100))
    found = tally.to_dict()
    assert [(row["name"], row["band"], row["count"]) for row in found["classes"]] == [
        ("car", "2-5", 1),
        ("person", "10-20", 1),
    ]
    assert all(row["abs_rel"] == pytest.approx(0.1) for row in found["classes"])
    assert (found["unmeasured"], found["beyond"]) == (1, 0)


def test_objects_beyond_all_bands_or_not_measured_are_counted_and_shown() -> None:
    tally, box = ObjectTally(), Box("car", 10, 10, 40, 40)
    assert tally.to_dict() is None
    tally.add(0, (box,), np.full((60, 100), 95.0), np.full((60, 100), 90.0), (60, 100))
    for _ in range(2):
        tally.add(0, (box,), np.full((60, 100), np.nan), np.full((60, 100), 90.0), (60, 100))
    found = tally.to_dict()
    assert (found["unmeasured"], found["beyond"], found["classes"]) == (2, 1, [])
    page = objects_section(Results(True, {}, {}, {}, {}, {}, objects=found))
    assert "2 boxes in which estimate or reference is not known" in page and "1 beyond 80 m" in page


def test_where_nothing_could_be_measured_the_boxes_are_counted() -> None:
    tally = ObjectTally()
    tally.add(0, (Box("car", 0, 0, 1, 1),), np.ones((60, 100)), np.ones((60, 100)), (60, 100))
    assert tally.to_dict()["unmeasured"] == 1


DETECTIONS = """std_msgs/Header header
vision_msgs/Detection2D[] detections
================================================================================
MSG: vision_msgs/Detection2D
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox2D bbox
================================================================================
MSG: vision_msgs/ObjectHypothesisWithPose
vision_msgs/ObjectHypothesis hypothesis
================================================================================
MSG: vision_msgs/ObjectHypothesis
string class_id
float64 score
================================================================================
MSG: vision_msgs/BoundingBox2D
vision_msgs/Pose2D center
float64 size_x
float64 size_y
================================================================================
MSG: vision_msgs/Pose2D
vision_msgs/Point2D position
float64 theta
================================================================================
MSG: vision_msgs/Point2D
float64 x
float64 y
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""


def test_detections_by_the_types_of_the_recording() -> None:
    from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    name = "vision_msgs/msg/Detection2DArray"
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(DETECTIONS, name))
    kinds = {key.rpartition("/")[2]: kind for key, kind in store.types.items()}
    header = kinds["Header"](kinds["Time"](1, 2), "camera")
    bbox = kinds["BoundingBox2D"](kinds["Pose2D"](kinds["Point2D"](50.0, 40.0), 0.0), 20.0, 10.0)
    guesses = [
        kinds["ObjectHypothesisWithPose"](kinds["ObjectHypothesis"](n, s)) for n, s in (("dog", 0.2), ("cat", 0.7))
    ]
    message = kinds["Detection2DArray"](header, [kinds["Detection2D"](guesses, bbox), kinds["Detection2D"]([], bbox)])
    data = bytes(store.serialize_cdr(message, name))
    read = decoder(name, MessageDefinition(MessageDefinitionFormat.MSG, DETECTIONS), "cdr")(data)
    first, second = boxes_from_detections(read)
    assert (first.name, first.score) == ("cat", 0.7)
    assert (first.left_px, first.top_px, first.right_px, first.bottom_px) == (40.0, 35.0, 60.0, 45.0)
    assert second.name == "object"
    with pytest.raises(BagError, match="not a vision_msgs"):
        boxes_from_detections(header)


def test_kitti_labels_that_do_not_fit(tmp_path) -> None:
    (tmp_path / "0.txt").write_text("Car 0 0 0 1 2 3\n")
    with pytest.raises(BagError, match="1 label files"):
        KittiLabels(tmp_path, 2)
    with pytest.raises(BagError, match=r"0\.txt:1: a KITTI label has 15 fields"):
        KittiLabels(tmp_path, 1).boxes(0)


def test_labels_are_those_of_their_images_by_number(tmp_path: Path) -> None:
    for index in range(12):
        row = f"Car 0 0 0 {index} 0 20 20 1.5 1.6 4.0 0 1 10 0"
        (tmp_path / f"{index}.txt").write_text(row)
    labels = KittiLabels(tmp_path, 12)
    assert [labels.boxes(index)[0].left_px for index in range(12)] == list(range(12))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("abs_rel > 0.1", True),
        ("abs_rel>0.2", False),
        ("abs_rel>0.2 or delta1<=.9", True),
        ("abs_rel>0.1 and delta1<0.5", False),
        ("abs_rel>1 or abs_rel>0.1 and delta1>0.5", True),
        ("metric.bands.2-5.bias < -1e-3", True),
        ("unknown_value > 5", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    figures = {"abs_rel": 0.15, "delta1": 0.9, "metric.bands.2-5.bias": -0.01, "unknown_value": None}
    assert parse_condition(text).holds(figures) is holds


@pytest.mark.parametrize("text", ["", "abs_rel", "abs_rel > x", "1 > 2", "a > 1 xor b > 2", "a > 1; b", "a > (1)"])
def test_conditions_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the condition"):
        parse_condition(text)


COMPARISONS = st.tuples(
    st.sampled_from(["abs_rel", "delta1", "b"]), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.sampled_from(["0", ".5", "1.", "-2e-1", "1.5"]),
).map("".join)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(COMPARISONS, min_size=1, max_size=3).map(" and ".join), min_size=1, max_size=3))
def test_conditions_mean_what_they_mean_in_python(alternatives: list[str]) -> None:
    text, figures = " or ".join(alternatives), {"abs_rel": 0.5, "delta1": 1.0, "b": -0.2}
    assert parse_condition(text).holds(figures) is eval(text, {}, figures)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ConfigError:
        return
    assert condition.names and isinstance(condition.holds(dict.fromkeys(condition.names, 0.5)), bool)


def test_columns_keep_gaps_and_late_names() -> None:
    table = Columns()
    table.append({"a": 1.0})
    table.append({"a": None, "b": 2.0})
    table.append({"b": 3.0})
    assert table.to_lists() == {"a": [1.0, None, None], "b": [None, 2.0, 3.0]}
    assert table.mean("b") == 2.5
    assert table.mean("c") is None
    assert Columns.from_lists(table.to_lists()).to_lists() == table.to_lists()
    with pytest.raises(ValueError, match="different lengths"):
        Columns.from_lists({"a": [1.0], "b": []})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "no record"),
        ({"format": "depthnet_ros/evaluation", "version": 99}, "version 99"),
        ({"format": "depthnet_ros/evaluation", "version": 2}, "is of version 2, this program reads 3"),
        ({"format": "depthnet_ros/evaluation", "version": 3}, "lacks"),
    ],
)
def test_what_is_no_record(data: dict, says: str) -> None:
    with pytest.raises(ResultsError, match=says):
        Results.from_dict(data, "x.json")
