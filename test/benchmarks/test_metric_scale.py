"""The benchmark of metric scale on a short rendered recording, and what its commands say to wrong words."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import metric_scale, view_range, wsvd_truth
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation import Renderer, create_scene

FRAMES = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the index describes one, with a recording that is named like the benchmark's ``box``; in
    ``predictions`` a network that knows the truth.
    """
    folder = tmp_path_factory.mktemp("data")
    camera = PinholeCamera.from_fov(160, 120, 1.1)
    renderer = Renderer(create_scene("room", 1), camera)
    rows, inverse = [], []
    for index in range(FRAMES):
        frame = renderer.frame(index / 15.0)
        assert cv2.imwrite(str(folder / f"{index:02}.png"), frame.rgb[..., ::-1])
        depth = np.where(frame.depth_m < 60.0, frame.depth_m, 0.0)
        assert cv2.imwrite(str(folder / f"{index:02}.depth.png"), np.rint(1000 * depth).astype(np.uint16))
        np.savetxt(folder / f"{index:02}.pose.txt", frame.pose)
        row = {"dataset": "box_realsense", "image": f"{index:02}.png", "gt": f"{index:02}.depth.png"}
        rows.append({**row, "scale": "0.001", "invalid": "0", "split": "val", "kind": "depth"})
        inverse.append(1.0 / frame.depth_m)
    with (folder / "index.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "predictions").mkdir()
    np.save(folder / "predictions" / "box.npy", np.array(inverse, np.float32))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, module: object, *words: object) -> object:
    """Its exit: None where it ended by itself, else status or message."""
    monkeypatch.setattr(sys, "argv", ["program", *map(str, words)])
    try:
        module.main()  # type: ignore[attr-defined]
    except SystemExit as error:
        return error.code
    return None


def test_flicker_is_told_of_every_rig(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", data, "--predictions", data / "predictions", "--names", "box", "--out", tmp_path]
    rigs = ["points", "scan_level_height"]
    run(monkeypatch, metric_scale, *words, "--rigs", *rigs)
    said = capsys.readouterr().out
    for rig in rigs:
        assert f"flicker of box/{rig}: " in said
    assert set(json.loads((tmp_path / "metric_scale.json").read_text())) == {f"box/{rig}" for rig in rigs}
    assert (tmp_path / "metric_scale.png").is_file()


def test_where_nothing_is_published_that_is_missed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one frame alone."""
    np.save(tmp_path / "box.npy", np.load(data / "predictions" / "box.npy")[:1])
    words = ["--data", data, "--predictions", tmp_path, "--names", "box", "--rigs", "points", "--out", tmp_path / "out"]
    assert run(monkeypatch, metric_scale, *words) == "missed: box/points inf of 1.15"
    assert "| box/points | | | | 1.15 | | 0 % | 0 % |" in capsys.readouterr().out
    assert not (tmp_path / "out" / "metric_scale.png").exists()


@pytest.mark.parametrize(
    ("module", "words", "says"),
    [
        (metric_scale, ["--names", "nope"], "invalid choice: 'nope'"),
        (metric_scale, ["--weights", "/nonexistent.onnx"], "/nonexistent.onnx"),
        (view_range, ["--data", "/nonexistent"], "no index.csv in /nonexistent"),
        (wsvd_truth, ["--data", "/nonexistent"], "no folder kitti_stereo_sgbm nor stereo_web in /nonexistent"),
    ],
)
def test_wrong_words_are_told_in_a_line(
    module: object,
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--out", tmp_path] if module is metric_scale else []
    code = run(monkeypatch, module, *words, *out)
    assert code not in (None, 0)
    assert says in f"{code} {capsys.readouterr().err}"
