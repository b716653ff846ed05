"""A disk that takes nothing more, or a file where a folder should be: one line, and what was there stays."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from test.training.conftest import written
from test.training_data.conftest import picture, scene_depth
from test.training_data.full_disk import files_of_at_most
from training import average, evaluate, prepare, search, train
from training.datasets.megadepth_index import INDEX_NAME, read_index
from training.datasets.write_megadepth import write_pair
from training.outputs import LOCK_NAME, OutputError, alone_in


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "deck.safetensors"
    save_checkpoint(path, build("depthnet_deck"), ModelSpec("depthnet_deck", InputSpec(128, 128)))
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line of the error, but for bars of progress."""
    return capsys.readouterr().err.splitlines()[-1]


def test_an_average_leaves_the_one_before(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out" / "mean.safetensors"
    command = [str(weights), str(weights), "--out", str(out)]
    assert average.main(command) == 0
    before = out.read_bytes()
    with files_of_at_most(20_000):
        assert average.main(command) == 1
    assert f"error: {out} cannot be written" in said(capsys)
    assert out.read_bytes() == before and list(out.parent.iterdir()) == [out]


def test_a_report_leaves_the_one_before(tmp_path: Path, weights: Path, index: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "report"
    command = ["--weights", str(weights), "--data", str(index), "--out", str(out)]
    assert evaluate.main(command) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with files_of_at_most(300):
        assert evaluate.main(command) == 1
    assert "figures.json cannot be written" in said(capsys)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_was_checked_stays_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(4):
        write_pair(tmp_path / "0000/dense0", f"p{number}", picture(seed=number), scene_depth(seed=number))
    unfinished = tmp_path / f"{INDEX_NAME}.part"
    with files_of_at_most(500):
        assert prepare.main(["--path", str(tmp_path)]) == 1
    assert "cannot be written" in said(capsys)
    there = list(read_index(unfinished))
    assert 1 <= len(there) < 4
    with files_of_at_most(30):
        assert prepare.main(["--path", str(tmp_path)]) == 1
    assert list(read_index(unfinished)) == there
    shards = ["--path", str(tmp_path), "--shards", str(tmp_path / "shards")]
    assert prepare.main(shards[:2]) == 0
    with files_of_at_most(20_000):
        assert prepare.main(shards) == 1
    assert f"{tmp_path / 'shards'} cannot be written" in said(capsys)
    assert prepare.main(shards) == 0


@pytest.mark.parametrize("mode", [0o644, 0o666], ids=["of an earlier version", "as it is made"])
def test_a_folder_that_users_share_is_for_each_of_them_to_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
):
    """The first one's umask made the lock a file that nobody else could open."""
    monkeypatch.chdir(tmp_path)  # whose parents may be this user's alone
    tmp_path.chmod(0o777)
    before = os.umask(0o022)
    try:
        with alone_in(Path()):
            assert stat.S_IMODE(Path(LOCK_NAME).stat().st_mode) == 0o666
    finally:
        os.umask(before)
    is_root = os.geteuid() == 0
    Path(LOCK_NAME).chmod(mode if is_root else mode & 0o444)
    if is_root:
        os.seteuid(4001)
    try:
        with alone_in(Path()), pytest.raises(OutputError, match="another run is at work"), alone_in(Path()):
            pass
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("command", [train.main, search.main, evaluate.main])
def test_a_file_in_the_place_of_a_folder_is_said(
    settings: dict[str, Any], tmp_path: Path, weights: Path, index: Path, capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
):  # fmt: skip
    settings["data"]["val"] = [{"reader": "index_csv", "path": str(index)}]
    settings["search"] = {"optim.lr": {"low": 1e-4, "high": 1e-2}}
    arguments = ["--config", str(written(settings, tmp_path))]
    if command is evaluate.main:
        arguments = ["--weights", str(weights), "--data", str(index)]
    assert command([*arguments, "--out", str(weights)]) == 1
    assert f"error: {weights} cannot be written" in said(capsys)
