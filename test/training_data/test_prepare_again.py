"""Workers that die, runs that are ended, and what changes between two runs of training.prepare."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from test.training_data.conftest import picture, scene_depth
from training import prepare
from training.datasets.base import open_dataset
from training.datasets.megadepth_index import INDEX_NAME
from training.datasets.write_megadepth import write_pair
from training.outputs import LOCK_NAME, alone_in


def _many(root: Path, count: int) -> None:
    """As many pairs, all of them the first one's files."""
    folder = root / "0000/dense0"
    write_pair(folder, "p0000", picture(), scene_depth())
    for number in range(1, count):
        os.link(folder / "imgs/p0000.jpg", folder / f"imgs/p{number:04d}.jpg")
        os.link(folder / "depths/p0000.h5", folder / f"depths/p{number:04d}.h5")


DEADLY = ("p0007", "p0008", "p0029")


def check_deadly_pair(pair: prepare.Pair, root: Path) -> prepare.Entry:
    """As the check, but for pairs at which the kernel, short of memory, kills who reads them."""
    if pair.stem in DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare.check_pair(pair, root)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_pair_that_kills_its_reader_is_a_fault_and_the_rest_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    _many(tmp_path, 30)
    real = prepare.mapped
    monkeypatch.setattr(prepare, "mapped", lambda _, *others: real(partial(check_deadly_pair, root=tmp_path), *others))
    entries = prepare.check_folder(tmp_path, workers)
    assert [entry.image[-9:-4] for entry in entries] == [f"p{number:04d}" for number in range(30)]
    assert {e.image[-9:-4]: e.fault for e in entries if e.fault} == dict.fromkeys(DEADLY, "reader crashed")
    monkeypatch.undo()
    assert not any(entry.fault for entry in prepare.check_folder(tmp_path, workers))


@contextmanager
def _at_work(root: Path) -> Iterator[tuple[subprocess.Popen[str], list[Path]]]:
    """A run with two workers that has checked some of 4000 pairs, and its workers by their folders in /proc."""
    _many(root, 4000)
    command = [sys.executable, "-m", "training.prepare", "--path", str(root), "--workers", "2"]
    unfinished = root / f"{INDEX_NAME}.part"
    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup children ignore it, too
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGHUP, ignored)
        deadline = time.monotonic() + 60
        while not (unfinished.is_file() and unfinished.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) >= 2
        try:
            yield process, [Path(f"/proc/{child}") for child in children]
        finally:
            process.kill()


def _wait_until_gone(workers: list[Path]) -> None:
    deadline = time.monotonic() + 30
    while left := [worker for worker in workers if worker.exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_workers_too_and_what_was_checked_is_kept(tmp_path: Path, number: signal.Signals) -> None:
    with _at_work(tmp_path) as (process, workers):
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; run the same command again" in said
    assert "Traceback" not in said
    _wait_until_gone(workers)
    assert 0 < len((tmp_path / f"{INDEX_NAME}.part").read_text().splitlines()) < 4000
    assert not (tmp_path / INDEX_NAME).exists()


def test_a_second_run_ends_at_once_and_a_killed_one_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Workers whose parent was killed waited for work forever, deaf to SIGTERM."""
    with _at_work(tmp_path) as (process, workers):
        assert prepare.main(["--path", str(tmp_path)]) == 1
        assert f"error: {tmp_path}: another run is at work in it" in capsys.readouterr().err
        assert process.poll() is None
        process.kill()
        process.wait()
        _wait_until_gone(workers)
    with alone_in(tmp_path):
        pass


def test_two_runs_do_not_write_shards_to_one_folder(
    megadepth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One deleted the pixels that the other had finished, which said that all were written."""
    shards = tmp_path / "new" / "shards"
    command = ["--path", str(megadepth), "--shards", str(shards)]
    with alone_in(shards):
        assert prepare.main(command) == 1
        assert f"error: {shards}: another run is at work in it" in capsys.readouterr().err
        assert not (megadepth / INDEX_NAME).exists()  # told before hours are spent
    assert prepare.main(command) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--short-side", "5"], "short_side_px at least 32, got 0.3 and 5"),
        (["--options", "{percentiles: [98, 1]}"], "percentiles must be two growing numbers"),
        (["--shards", "A FILE"], "a_file cannot be written ("),
        (["--shards", "THE DATA"], "--shards must be a folder of its own, got that of the scenes"),
    ],
)
def test_what_cannot_be_is_told_before_hours_are_spent(
    megadepth: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    file = megadepth.with_name("a_file")
    file.touch()
    places = {"A FILE": str(file), "THE DATA": str(megadepth)}
    assert prepare.main(["--path", str(megadepth), *(places.get(word, word) for word in arguments)]) == 1
    assert told in capsys.readouterr().err
    assert not (megadepth / INDEX_NAME).exists()


def test_scenes_where_nothing_can_be_written_are_prepared_by_links(
    megadepth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (megadepth / LOCK_NAME).mkdir()  # stands for a folder that is only read, which root can write to
    assert prepare.main(["--path", str(megadepth)]) == 1
    assert "prepare a folder of your own with links to the scenes" in capsys.readouterr().err
    own = tmp_path / "own"
    own.mkdir()
    for scene in ("0000", "0001"):
        (own / scene).symlink_to(megadepth / scene)
    assert prepare.main(["--path", str(own)]) == 0
    assert len(open_dataset("megadepth", own, "all")) == 4


def test_what_has_changed_since_is_checked_again(megadepth: Path) -> None:
    """The index said "depth" of a pair whose depth was gone, and the training met it."""
    folder = megadepth / "0000/dense0"
    assert not any(entry.fault for entry in prepare.check_folder(megadepth, workers=1))
    (folder / "depths/photo_0.h5").unlink()
    image = folder / "imgs/photo_1.jpg"
    image.write_bytes(image.read_bytes()[:3000])
    damaged = megadepth / "0001/dense0/depths/photo_0.h5"
    size = damaged.stat().st_size
    damaged.write_bytes(b"\0" * size)
    found = {entry.image: entry.fault for entry in prepare.check_folder(megadepth, workers=1) if entry.fault}
    assert found == {
        "0000/dense0/imgs/photo_0.jpg": "missing depth",
        "0000/dense0/imgs/photo_1.jpg": "unreadable image",
        "0001/dense0/imgs/photo_0.jpg": "unreadable h5",
    }


def test_what_has_not_changed_is_not_read_again(megadepth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare.check_folder(megadepth, workers=1)
    read: list[prepare.Pair] = []
    monkeypatch.setattr(prepare, "mapped", lambda work, pairs, *_: read.extend(pairs) or ())
    assert prepare.check_folder(megadepth, workers=1) == first and not read
