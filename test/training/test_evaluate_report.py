"""What an evaluation says of itself: what was judged, what its figures can be at most, and what they do not equal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from test.training_data.conftest import picture, scene_depth
from training.datasets.base import DatasetError, Record, Sample, TargetKind, open_dataset
from training.datasets.index_csv import IndexCsvDataset
from training.datasets.write_megadepth import write_pair
from training.evaluate import crop_notes, evaluate, main, ramp, summary
from training.report import html_report
from training.validation import ImageResult, judge, truth_through_grid


def _boxes() -> Sample:
    """Four boxes of 13 x 17 pixels before a wall, in a picture of 120 x 160; a fifth of it has no truth."""
    depth = np.full((120, 160), 5.0, np.float32)
    for top, left in ((11, 9), (40, 87), (71, 33), (95, 131)):
        depth[top : top + 13, left : left + 17] = 2.0
    known = np.random.default_rng(0).random(depth.shape) > 0.2
    rgb = np.zeros((120, 160, 3), np.uint8)
    return Sample(rgb, depth, known, TargetKind.DEPTH, None, "set", "scene", "boxes")


def test_the_truth_through_a_networks_grid_loses_what_that_cannot_hold() -> None:
    truth = _boxes()
    same, half, coarse = (
        judge(truth_through_grid(truth, InputSpec(*size)), truth) for size in ((120, 160), (60, 80), (32, 32))
    )
    assert same["abs_rel"] == pytest.approx(0.0, abs=1e-5) and same["boundary_f1"] == pytest.approx(1.0, abs=1e-3)
    assert 0.02 < coarse["boundary_f1"] < half["boundary_f1"] < 0.9
    assert 0.0 < half["abs_rel"] < coarse["abs_rel"] < 0.1
    unknown = replace(truth, target=np.where(truth.valid_mask, truth.target, np.float32(1e-3)))
    np.testing.assert_array_equal(
        truth_through_grid(unknown, InputSpec(60, 80)), truth_through_grid(truth, InputSpec(60, 80))
    )


def _weights(folder: Path) -> Path:
    path = folder / "mine.safetensors"
    save_checkpoint(path, build("depthnet_deck").eval(), ModelSpec("depthnet_deck", InputSpec(128, 128)))
    return path


def test_the_report_says_what_was_judged(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    command = ["--weights", str(_weights(tmp_path)), "--data", str(index), "--out", str(out), "--cap-m", "7"]
    assert main([*command, "--split", "all", "--crop", "eigen", "--options", "{include: [room]}"]) == 0
    expected: dict[str, Any] = {
        "images": 8, "reader": "index_csv", "data": str(index), "split": "all", "options": "{include: [room]}",
        "crop": "eigen", "cap_m": 7.0,
    }  # fmt: skip
    figures = json.loads((out / "figures.json").read_text())
    assert figures["judged"] == expected
    best = figures["all"]["truth at 128x128"]
    assert best["abs_rel"] < figures["all"]["mine"]["abs_rel"] and best["boundary_f1"] < 1.0
    told = (
        f"judged: images 8, reader index_csv, data {index}, split all, options {{include: [room]}}, crop eigen, cap_m 7"
    )
    note = "--crop eigen is the window of NYU's benchmark, not of room's."
    said = capsys.readouterr().out
    for text in (said, (out / "report.html").read_text()):
        assert told in text and note in text.replace("&#x27;", "'")


def test_a_crop_belongs_to_the_data_set_of_its_benchmark() -> None:
    class Named:
        def __init__(self, *names: str) -> None:
            self.records = [Record(name, "scene") for name in names]

        def __len__(self) -> int:
            return len(self.records)

        def __getitem__(self, index: int) -> Sample:
            raise IndexError(index)

    assert crop_notes("none", Named("kitti")) == []
    assert crop_notes("eigen", Named("nyu", "nyuv2_train")) == []
    assert crop_notes("garg", Named("kitti_vo_sgbm")) == []
    assert crop_notes("eigen", Named("kitti", "nyu", "autumn")) == [
        "--crop eigen is the window of NYU's benchmark, not of autumn, kitti's."
    ]
    assert crop_notes("garg", Named("nyu")) == ["--crop garg is the window of KITTI's benchmark, not of nyu's."]


def test_sdr_of_random_pixels_is_not_megadepths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path / "data/0000/dense0", "photo", picture(), scene_depth())
    command = ["--weights", str(_weights(tmp_path)), "--data", str(tmp_path / "data"), "--reader", "megadepth"]
    assert main([*command, "--split", "all"]) == 0
    assert "sdr is of random pixels; MegaDepth's own is of its sparse features" in capsys.readouterr().out


def test_the_page_reads_its_own_pictures_alone(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It read a scene from its start for each of twelve pictures: for one long recording, thousands of files."""
    dataset = open_dataset("index_csv", index, "all")
    results = evaluate(dataset, {"ramp": ramp}).results["ramp"]
    read: list[int] = []
    real = IndexCsvDataset.__getitem__

    def noted(self: IndexCsvDataset, number: int) -> Sample:
        read.append(number)
        return real(self, number)

    monkeypatch.setattr(IndexCsvDataset, "__getitem__", noted)
    page = html_report("", dataset, results, ramp, "ramp")
    assert page.count("<img") == len(read) == 12
    for result in results:
        assert f"{result.dataset}/{dataset[result.index].name}" == f"{result.dataset}/{result.name}"
    with pytest.raises(DatasetError, match="judged, but not there any more"):
        html_report("", dataset, [replace(result, index=99) for result in results], ramp, "ramp")


def test_a_data_set_may_have_any_name() -> None:
    """Its figures do not take the place of the average, or of what was judged."""
    names = ("all", "judged", "all but b/s", "b")
    results = {"mine": [ImageResult(name, "s", "", {"abs_rel": float(at)}) for at, name in enumerate(names)]}
    groups = summary(results, ["b/s"])
    assert groups["all"]["mine"]["abs_rel"] == pytest.approx(1.5)
    assert groups["all but b/s"]["mine"]["abs_rel"] == pytest.approx(1.0)
    assert groups["data set all"]["mine"]["abs_rel"] == 0.0 and groups["data set judged"]["mine"]["abs_rel"] == 1.0
    assert groups["data set all but b/s"]["mine"]["abs_rel"] == 2.0 and groups["b"]["mine"]["abs_rel"] == 3.0
