"""A small data set on the disk, and a configuration that trains the deck's network on it in seconds."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from training.datasets.base import Sample, TargetKind

COLUMNS = ("dataset", "image", "gt", "kind", "scale", "invalid", "scene", "licence", "source", "split")


def write_index(folder: Path, rows: list[dict[str, Any]]) -> Path:
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({"licence": "", "source": "", **row} for row in rows)
    return folder / "index.csv"


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets: rooms (two scenes, depth in mm) and streets (one scene, disparity). A bright box stands nearer."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(10):
        image = rng.integers(0, 90, (96, 128, 3), dtype=np.uint8)
        depth = np.linspace(6000, 2000, 96)[:, None].repeat(128, axis=1)
        top, left = int(rng.integers(5, 50)), int(rng.integers(5, 80))
        image[top : top + 40, left : left + 40] += 140
        depth[top : top + 40, left : left + 40] = 1200
        depth[:4] = 0
        street = number % 5 == 4
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
        cv2.imwrite(
            str(folder / f"{number}.png"),
            (1e6 / np.maximum(depth, 500) * (depth > 0) if street else depth).astype(np.uint16),
        )
        rows.append({
            "dataset": "street" if street else "room", "image": f"{number}.jpg", "gt": f"{number}.png",
            "kind": "disparity_pseudo" if street else "depth", "scale": "0.0625" if street else "0.001", "invalid": "0",
            "scene": "road" if street else f"room{number % 2}", "split": "val" if number >= 8 else "train",
        })  # fmt: skip
    return write_index(folder, rows)


@pytest.fixture
def settings(index: Path) -> dict[str, Any]:
    """A configuration as plain YAML data."""
    source = {"reader": "index_csv", "path": str(index)}
    return {
        "model": {"architecture": "depthnet_deck", "height_px": 128, "width_px": 128, "keep_aspect": False},
        "data": {"train": [source], "workers": 0},
        "loss": {"ssitrim": 1.0, "gradient": 0.5, "relative": 0.2},
        "optim": {"name": "rmsprop", "lr": 1e-3, "warmup_steps": 2, "clip_norm": 1.0},
        "run": {
            "steps": 6, "batch_size": 4, "ema_decay": 0.9, "checkpoint_every": 2, "threads": 1, "picture_every": 3,
            "stages": [{"crops": [{"height_px": 128, "width_px": 128, "aspect": 1.333}]}],
        },
    }  # fmt: skip


def written(settings: dict[str, Any], folder: Path) -> Path:
    """The configuration as a file."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def environment() -> dict[str, str]:
    """For processes of a run: one thread each."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def sample(kind: TargetKind) -> Sample:
    """60 x 80 pixels, 1 to 4.5 in the kind's unit, a fifth of them without truth."""
    rng = np.random.default_rng(0)
    target = (np.linspace(4, 1, 60)[:, None] + rng.uniform(0, 0.5, (60, 80))).astype(np.float32)
    mask = rng.random(target.shape) < 0.8
    return Sample(np.zeros((60, 80, 3), np.uint8), target, mask, kind, None, "set", "scene", "name")
