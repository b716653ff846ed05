"""Small but real data folders, made anew for each test."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from training.datasets.write_megadepth import write_pair


def scene_depth(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """(H, W) float32 of a ground plane with a box in front, 2 to about 40 m, with a little relief."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0.02, 0.5, height, dtype=np.float32)[:, None]
    depth = np.repeat(1 / rows, width, axis=1) + rng.uniform(0, 0.05, (height, width)).astype(np.float32)
    depth[height // 3 : height // 2, width // 4 : width // 2] = 3.0 + rng.uniform(0, 0.1)
    return depth.astype(np.float32)


def picture(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 of soft noise: structure at all scales, so that flow has something to hold on to."""
    import cv2

    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cell in (4, 8, 16, 32):
        noise = rng.uniform(0, 1, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    total -= total.min()
    return (255 * total / total.max()).astype(np.uint8)


def write_h5(path: Path, values: np.ndarray, key: str = "depth") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = values


@pytest.fixture
def megadepth(tmp_path: Path) -> Path:
    """Three scenes of two good pairs each."""
    root = tmp_path / "MegaDepth_v1"
    for scene in ("0000", "0001", "0022"):
        for number in range(2):
            seed = 10 * int(scene) + number
            write_pair(root / scene / "dense0", f"photo_{number}", picture(seed=seed), scene_depth(seed=seed))
    return root


@pytest.fixture
def film(tmp_path: Path) -> tuple[Path, Path]:
    """A list and a folder with one of its two videos: six frames, of which number 2 is flat."""
    from test.training_data.films import make_film

    return make_film(tmp_path)
