"""Uniform drawing: each image once an epoch, whoever shares the batches and wherever a run goes on."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from test.training.conftest import environment, written
from training import data
from training.config import load_config
from training.data import BatchSource
from training.networks import model_spec

ROOT = Path(__file__).parents[2]
_IMAGES = 8  # of the split train


def _source(settings: dict[str, Any], folder: Path, *shares: int, **changes: Any) -> BatchSource:
    """Eight images in batches of six, so that a batch has the end of one epoch and the beginning of the next."""
    change = {"data.sampling": "uniform", "run.batch_size": 6, "run.steps": 0, "run.epochs": 6, **changes}
    config = load_config(written(settings, folder), change)
    return BatchSource(config, model_spec(config).input, *shares)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Indices of all items, as they are put into batches."""
    indices: list[int] = []
    real = data.Pool.read_first

    def noted(self: data.Pool, candidates: Any) -> Any:
        item = real(self, candidates)
        indices.append(item[0])
        return item

    monkeypatch.setattr(data.Pool, "read_first", noted)
    return indices


def _epochs(indices: list[int]) -> list[list[int]]:
    return [indices[start : start + _IMAGES] for start in range(0, len(indices), _IMAGES)]


def test_each_image_is_seen_once_an_epoch_in_another_order(
    settings: dict[str, Any], tmp_path: Path, drawn: list[int]
) -> None:
    source = _source(settings, tmp_path)
    assert len(source) == 8
    for step in range(len(source)):
        source[step]
    epochs = _epochs(drawn)
    assert len(epochs) == 6
    assert all(sorted(epoch) == list(range(_IMAGES)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    first = epochs[0]
    drawn.clear()
    other = _source(settings, tmp_path, **{"run.seed": 1})
    other[0], other[1]
    assert drawn[:_IMAGES] != first and sorted(drawn[:_IMAGES]) == sorted(first)


def test_the_order_is_that_of_one_process_from_the_start(
    settings: dict[str, Any], tmp_path: Path, drawn: list[int]
) -> None:
    whole = _source(settings, tmp_path)
    expected = [whole[step] for step in range(len(whole))]
    in_order = list(drawn)
    later = BatchSource(whole.config, model_spec(whole.config).input)
    torch.testing.assert_close(dict(later[5]), dict(expected[5]))  # as a run that goes on at its sixth step
    drawn.clear()
    halves = [_source(settings, tmp_path, rank, 2) for rank in (0, 1)]
    for step, batch in enumerate(expected):
        shares = [half[step]["image"] for half in halves]
        torch.testing.assert_close(torch.cat(shares), batch["image"])
    assert Counter(drawn) == Counter(in_order)


_WITH_WORKERS = """
import sys, cv2, torch
cv2.setNumThreads(0)  # as train does: OpenCV's threads do not survive a fork
from training.config import load_config
from training.data import BatchSource, batches
from training.networks import model_spec
config = load_config(sys.argv[1])
source = BatchSource(config, model_spec(config).input)
torch.save([batch["image"] for batch in batches(source, config.data, 0, len(source))], sys.argv[2])
"""


def test_worker_processes_change_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    """In a process of its own: this one has libraries' threads, which a fork leaves behind."""
    settings["data"] |= {"sampling": "uniform", "workers": 2}
    settings["run"] |= {"batch_size": 6, "steps": 0, "epochs": 3}
    out = tmp_path / "images.pt"
    command = [sys.executable, "-c", _WITH_WORKERS, str(written(settings, tmp_path)), str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    one = _source(settings, tmp_path, **{"data.workers": 0, "run.epochs": 3})
    images = torch.load(out, weights_only=True)
    assert len(images) == len(one)
    for step, image in enumerate(images):
        torch.testing.assert_close(image, one[step]["image"])


def test_another_image_takes_the_place_of_one_that_cannot_be_read(
    settings: dict[str, Any], tmp_path: Path, drawn: list[int]
) -> None:
    source = _source(settings, tmp_path)
    source.pool._known_unusable[3] = True
    for step in range(len(source)):
        source[step]
    for epoch in _epochs(drawn):
        assert len(epoch) == _IMAGES and 3 not in epoch
        assert set(epoch) == set(range(_IMAGES)) - {3}
