"""Workers that die, runs that are ended, and what changes between two runs of training.prepare."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from test.training_data.conftest import picture, scene_depth
from training import prepare
from training.datasets.megadepth_index import INDEX_NAME
from training.datasets.write_megadepth import write_pair


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


def test_sigterm_ends_the_workers_too_and_what_was_checked_is_kept(tmp_path: Path) -> None:
    _many(tmp_path, 4000)
    command = [sys.executable, "-m", "training.prepare", "--path", str(tmp_path), "--workers", "2"]
    unfinished = tmp_path / f"{INDEX_NAME}.part"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (unfinished.is_file() and unfinished.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; run the same command again" in said
    assert "Traceback" not in said
    assert len(workers) >= 2
    while left := [worker for worker in workers if Path(f"/proc/{worker}").exists()]:
        assert time.monotonic() < deadline + 30, left
        time.sleep(0.05)
    assert 0 < len(unfinished.read_text().splitlines()) < 4000
    assert not (tmp_path / INDEX_NAME).exists()


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
