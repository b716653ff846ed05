"""The benchmark of faults: what is healthy is judged healthy, what is black is silent, what contradicts is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import faults
from depthnet_ros.inference.estimator import DepthEstimator


@pytest.fixture(scope="module")
def drive() -> faults.Drive:
    return faults.Drive(DepthEstimator.from_weights(""))


def outcome(drive: faults.Drive, name: str, rig: str) -> dict:
    return drive.run(next(fault for fault in faults.FAULTS if fault.name == name), rig).row()


def test_a_drive_without_a_fault_is_calibrated_and_nothing_is_told(drive: faults.Drive):
    row = outcome(drive, "none", "points")
    assert row["published"] == row["calibrated"] == 1.0 and row["told_after_s"] is None
    assert row["abs_rel"] < 0.15 and row["cleared"] < 0.1 * row["rays"]


def test_a_covered_lens_is_silent_at_once(drive: faults.Drive):
    row = outcome(drive, "black", "sonar")
    assert row["published"] == row["calibrated"] == 0.0 and row["told_after_s"] == 0.0 and row["abs_rel"] is None


def test_a_frozen_picture_and_feet_are_told_and_feet_clear_nothing_that_stands(drive: faults.Drive):
    frozen, feet = outcome(drive, "frozen", "points"), outcome(drive, "feet", "points")
    assert "bit-identical" in frozen["told"] and frozen["published"] < 0.5
    assert feet["abs_rel"] > 1.0 and feet["calibrated"] == 0.0 and feet["told_after_s"] < 0.5
    assert feet["cleared"] <= 3


def test_the_command_writes_table_and_json(tmp_path: Path, monkeypatch, capsys):
    words = ["faults", "--faults", "black", "--rigs", "scan", "--out", str(tmp_path / "new")]
    monkeypatch.setattr(sys, "argv", words)
    faults.main()
    assert "| the lens is covered | - | 0% | - | 0.0 | 0.0% |" in capsys.readouterr().out
    row = json.loads((tmp_path / "new/faults.json").read_text())["black"]["scan"]
    assert row["says"] == "the lens is covered" and row["published"] == 0.0


def test_weights_that_are_not_there_end_it_with_a_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["faults", "--weights", "nowhere.safetensors"])
    with pytest.raises(SystemExit, match="nowhere"):
        faults.main()
