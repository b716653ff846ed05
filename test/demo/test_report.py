"""The report from a record, without a graph."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depthnet_ros.demo.record import Moment, Record, compare
from depthnet_ros.demo.report import REPORT_FILES, _metres, progress_line, remove_report, table_rows, write_report
from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.visualization.chart import line_chart

CAMERA = PinholeCamera.from_fov(64, 48, 1.1)


def moment(time_s: float, camera: PinholeCamera | None = CAMERA, metric: bool = False) -> Moment:
    truth = np.linspace(1.0, 5.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    rgb = np.full((48, 64, 3), 120, np.uint8)
    return Moment(time_s, rgb, 3.0 / truth, camera, 1.1 * truth if metric else None, truth if metric else None)


def test_error_and_scale_of_a_frame():
    truth = np.linspace(1.0, 5.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    truth[0] = np.inf
    depth = 1.2 * truth
    depth[:, 0] = np.nan
    relative = (1 / truth - 0.1) / 0.25
    relative[:, -8:] = np.nan  # border that the lens does not show
    sample = compare(1.0, relative, truth, depth, 0.3, 0.1)
    assert sample.abs_rel == pytest.approx(0.2, rel=1e-3)
    assert sample.true_scale == pytest.approx(0.25, rel=1e-3) and sample.estimated_scale == 0.3
    silent = compare(1.0, 1 / truth, truth, None, np.nan, np.nan)
    assert np.isnan(silent.abs_rel) and np.isnan(silent.true_scale)


def test_relative_runs_are_labelled_arbitrary(tmp_path):
    rows = dict(
        write_report(
            Record(moments=[moment(0.0), moment(1.0, None)], depth_count=9, duration_s=2.0), "pictures", tmp_path
        )
    )
    assert "arbitrary" in rows["point cloud in"] and "assumed" in rows["point cloud in"]
    assert rows["depth received here"] == "9 in 2.0 s, 4.0 Hz"
    assert not any("AbsRel" in name for name in rows)
    assert b"unit: arbitrary" in (tmp_path / "cloud.ply").read_bytes()[:200]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cloud.ply",
        "cloud.png",
        "side_by_side.png",
        "table.md",
    ]
    picture = cv2.imread(str(tmp_path / "side_by_side.png"))
    assert picture.shape[0] > 2 * 270 and picture.std() > 10


def test_metric_runs_show_error_and_scale(tmp_path):
    moments = [moment(float(t), metric=t > 0) for t in range(3)]
    errors = [
        compare(m.time_s, m.inverse_depth, m.truth_m, m.depth_m, 0.3, 0.0) for m in moments if m.truth_m is not None
    ]
    cloud = (CAMERA.unproject(moments[1].depth_m).reshape(-1, 3), moments[1].rgb.reshape(-1, 3))
    record = Record(moments, errors, cloud, depth_count=3, metric_count=2, duration_s=2.0)
    record.camera = {
        "frames_received": "5", "frames_published": "3", "frames_dropped_overload": "2",
        "frames_internal_error": "1", "message": "fine",
        **{f"stamp_to_publish_p{p}_ms": str(10 * p) for p in (50, 90, 99)}, "network_p50_ms": "250",
    }  # fmt: skip
    rows = dict(write_report(record, "scene", tmp_path))
    assert rows["point cloud in"] == "metres" and (tmp_path / "scale.png").is_file()
    assert rows["AbsRel against the true depth"].startswith("median 0.100")
    assert rows["frames dropped"] == "3 (overload 2, internal_error 1)"
    assert rows["stamp to publish p50 / p90 / p99"] == "500.0 / 900.0 / 990.0 ms"
    assert rows["network's share of stamp to publish"] == "50%"
    assert (tmp_path / "table.md").read_text().count("|\n") == len(rows) + 2
    assert {path.name for path in tmp_path.iterdir()} == set(REPORT_FILES)
    (tmp_path / "mine.png").touch()
    remove_report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
    (tmp_path / "scale.png").mkdir()
    with pytest.raises(ConfigError, match=r"cannot remove .*scale\.png of an earlier run"):
        remove_report(tmp_path)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ((1 / 6.0, 1 / 1.6), "1.6 (bright) to 6.0 m"),
        ((0.0, 1 / 1.6), "1.6 m (bright) to no return"),
        ((0.0, 0.0), "bright is near"),
        (None, "bright is near"),
    ],
)
def test_captions_say_how_far_colours_reach(limits, text):
    """Under a sky the farthest is no distance, but the nearest is."""
    assert _metres(limits) == text


def test_a_run_without_metres_says_why():
    record = Record([moment(0.0)], [compare(0.0, np.ones((4, 4)), np.ones((4, 4)), None, np.nan, np.nan)])
    record.camera = {"message": "no anchors yet"}
    assert ("metric depth", "none: no anchors yet") in table_rows(record, "scene", "metres")


def test_progress_says_how_it_goes():
    record = Record(depth_count=21, duration_s=4.0)
    assert progress_line(record).endswith("21 depth images, 5.0 Hz  relative depth only")
    truth = np.full((4, 4), 2.0, np.float32)
    record.camera = {"message": "no anchors yet"}
    record.errors.append(compare(1.0, np.full((4, 4), 2.0), truth, None, np.nan, np.nan))
    assert progress_line(record).endswith("no metres: no anchors yet")
    record.errors.append(compare(2.0, np.full((4, 4), 2.0), truth, 1.1 * truth, 0.3, 0.0))
    assert progress_line(record).endswith("AbsRel 0.100  scale 0.3, true 0.25")


class TestChart:
    def test_lines_follow_the_values_and_break_at_nan(self):
        x = np.linspace(0, 10, 101)
        y = np.where(x < 5, 1.0, 3.0)
        y[48:53] = np.nan
        picture = line_chart({"step": (x, y)}, "title", "s", (400, 200))
        columns = np.flatnonzero((picture[:, :, 0] > 200).sum(axis=0) > 0)
        rows = [np.flatnonzero(picture[35:, column, 0] > 200) for column in (100, 350)]
        assert rows[0].mean() > rows[1].mean() + 40, "larger is higher"
        assert not set(range(226, 230)) & set(columns[columns > 200])

    def test_the_largest_value_is_within_the_frame(self):
        x, y = np.arange(200.0), np.full(200, 0.08)
        y[100] = 0.5
        picture = line_chart({"error": (x, y)}, "title", "s", (400, 200))
        lit = [np.flatnonzero(picture[30:, column, 0] > 200) + 30 for column in (120, 64 + round(100 / 199 * 322))]
        bottom, top = 160, 30
        share = (bottom - lit[1].min()) / (bottom - lit[0].mean())
        assert lit[1].min() > top + 2 and share == pytest.approx(0.5 / 0.08, rel=0.1)

    def test_a_value_between_gaps_is_a_dot(self):
        x, y = np.arange(9.0), np.full(9, np.nan)
        empty = line_chart({"a": (x, y)}, "title", "s", (400, 200))
        y[4] = 2.0
        picture = line_chart({"a": (x, y)}, "title", "s", (400, 200))
        plot = picture[30:160, 66:384, 0] > 200
        assert 4 <= plot.sum() <= 40 and not (empty[30:160, 66:384, 0] > 200).any()

    def test_nothing_to_show_is_an_empty_frame(self):
        assert line_chart({"none": (np.empty(0), np.empty(0))}, "title", "s").std() > 0

    def test_constant_series(self):
        assert line_chart({"c": (np.arange(3.0), np.zeros(3))}, "title", "s").shape == (300, 960, 3)
