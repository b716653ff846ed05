"""Training data: one worker against h5py + cv2 per item, and the data path against the optimiser.

``python -m benchmarks.data_path [--data ../shared/data]``
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.measure import ROOT, Check, Part, Settings, Timing, in_turn, machine, timed
from depthnet_ros.inference.backends.hardware import usable_cores
from training import prepare
from training.datasets.base import DepthDataset, open_dataset
from training.datasets.disparity_png import write_disparity
from training.datasets.write_megadepth import write_pair
from training.datasets.wsvd_build import NOTES_NAME, Note

_SHORT_SIDE_PX = 288
_PHOTO_PX = (1200, 1600)
"""A usual (height, width) of MegaDepth's photographs."""
_DATA_PATH_MARGIN = 1.5
_IMAGES = 12

Pixels = tuple[NDArray[np.uint8], NDArray[np.float32]]


@dataclass(frozen=True)
class _Case:
    """One data set: the project's reader, and the plain way to the same arrays."""

    name: str
    dataset: DepthDataset
    naive: Callable[[int], Pixels]


def _pictures(data: Path) -> list[Pixels]:
    """Real images with metric depth, as many as needed, from the folder's index."""
    dataset = open_dataset("index_csv", data / "index.csv", "all", {"include": ["nyuv2_train"]})
    step = max(1, len(dataset) // _IMAGES)
    samples = [dataset[index * step] for index in range(min(_IMAGES, len(dataset)))]
    return [(sample.rgb, np.where(sample.valid_mask, sample.target, 0).astype(np.float32)) for sample in samples]


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    rgb = cv2.resize(pixels[0], size[::-1], interpolation=cv2.INTER_CUBIC)
    depth = cv2.resize(pixels[1], size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(rgb, dtype=np.uint8), np.asarray(depth, dtype=np.float32)


def _shrunk(rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> Pixels:
    scale = min(1.0, _SHORT_SIDE_PX / min(depth.shape))
    return _resized((rgb, depth), (round(depth.shape[0] * scale), round(depth.shape[1] * scale)))


def _naive_megadepth(image: Path, official_filter: bool) -> Pixels:
    """Everything at full size first, as most loaders do it."""
    bgr = cv2.imread(str(image))
    with h5py.File(image.parents[1] / "depths" / f"{image.stem}.h5", "r") as file:
        depth = np.asarray(file["depth"][()], dtype=np.float32)
    if official_filter:
        low, high = np.percentile(depth[depth > 0], (1, 98))
        depth[(depth < low) | (depth > high)] = 0
    return _shrunk(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8), depth)


def _megadepth_cases(pictures: list[Pixels], folder: Path) -> list[_Case]:
    root = folder / "megadepth"
    for number, pixels in enumerate(pictures):
        rgb, depth = _resized(pixels, _PHOTO_PX)
        write_pair(root / f"{number:04d}/dense0", "photo", rgb, depth)
        with h5py.File(root / f"{number:04d}/dense0/depths/photo.h5", "w") as file:
            file["depth"] = depth  # the published files are not compressed
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        shards, side = folder / "shards", str(_SHORT_SIDE_PX)
        prepare.main(["--path", str(root), "--shards", str(shards), "--short-side", side])
    images = sorted(root.rglob("*.jpg"))
    plain = lambda index: _naive_megadepth(images[index], official_filter=True)  # noqa: E731
    size = f"{_PHOTO_PX[1]}x{_PHOTO_PX[0]}"
    return [
        _Case(
            f"megadepth, photographs of {size}",
            open_dataset("megadepth", root, "all", {"short_side_px": _SHORT_SIDE_PX}),
            plain,
        ),
        _Case("megadepth, the same as shards", open_dataset("shards", shards, "all"), plain),
    ]


def _world_case(pictures: list[Pixels], folder: Path) -> _Case:
    root = folder / "world"
    for number, pixels in enumerate(pictures):
        write_pair(root / f"{number:04d}/dense0", "view", *_resized(pixels, (240, 320)))
    images = sorted(root.rglob("*.jpg"))
    dataset = open_dataset("megadepth", root, "all", {"percentiles": None, "sky": "far"})
    return _Case("rendered worlds, 320x240", dataset, lambda index: _naive_megadepth(images[index], False))


def _nyu_case(pictures: list[Pixels], folder: Path) -> _Case:
    path = folder / "nyu_depth_v2_labeled.mat"
    full = [_resized(pixels, (480, 640)) for pixels in pictures]
    with h5py.File(path, "w") as file:
        file["images"] = np.stack([rgb.transpose(2, 1, 0) for rgb, _ in full])
        file["depths"] = np.stack([depth.T for _, depth in full])

    def naive(index: int) -> Pixels:
        with h5py.File(path, "r") as file:
            return file["images"][index].transpose(2, 1, 0).copy(), file["depths"][index].T.copy()

    return _Case("nyu .mat, 640x480", open_dataset("nyu", path, "all"), naive)


def _wsvd_case(pictures: list[Pixels], folder: Path) -> _Case:
    video = folder / "wsvd" / "video"
    video.mkdir(parents=True)
    lines = []
    for number, pixels in enumerate(pictures):
        rgb, depth = _resized(pixels, (576, 1024))
        disparity = np.where(depth > 0, 60 / np.maximum(depth, 0.1), 0).astype(np.float32)
        write_disparity(video / f"{number:06d}.png", disparity, depth > 0)
        cv2.imwrite(str(video / f"{number:06d}.jpg"), rgb[..., ::-1])
        with h5py.File(video / f"{number:06d}.h5", "w") as file:
            file.create_dataset("disparity", data=disparity, compression="gzip")
        lines.append(json.dumps(asdict(Note(number, "val", "", 0.0, 50.0, 1.0))))
    (video / NOTES_NAME).write_text("".join(f"{line}\n" for line in lines))

    def naive(index: int) -> Pixels:
        with h5py.File(video / f"{index:06d}.h5", "r") as file:
            disparity = np.asarray(file["disparity"][()])
        bgr = cv2.imread(str(video / f"{index:06d}.jpg"))
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8), disparity

    return _Case("wsvd cache, 1024x576", open_dataset("wsvd", folder / "wsvd", "val"), naive)


def _per_data_set(settings: Settings, folder: Path, part: Part) -> None:
    pictures = _pictures(settings.data)
    cases = [
        *_megadepth_cases(pictures, folder),
        _world_case(pictures, folder),
        _nyu_case(pictures, folder),
        _wsvd_case(pictures, folder),
    ]
    for case in cases:
        turn, naive_turn = cycle(range(len(case.dataset))), cycle(range(len(case.dataset)))
        ways: dict[str, Callable[[], object]] = {
            "reader": lambda case=case, turn=turn: case.dataset[next(turn)],  # type: ignore[misc]
            "naive": lambda case=case, turn=naive_turn: case.naive(next(turn)),  # type: ignore[misc]
        }
        times = in_turn(ways, settings.rounds, runs=60, most_s=1.0, warm_up=3)
        reader, naive = times["reader"], times["naive"]
        part.rows.append(
            {
                "what": case.name,
                **reader.row(),
                "items/s": 1e3 / reader.median_ms,
                "naive ms": naive.median_ms,
                "naive / reader": naive.median_ms / reader.median_ms,
            }
        )


def _against_the_optimiser(settings: Settings, part: Part) -> None:
    """Batches of the small network's configuration: made by one worker, and consumed by its optimiser step."""
    import torch

    from training.config import load_config
    from training.data import BatchSource
    from training.networks import make_network, model_spec, set_train_mode
    from training.optim import make_optimizer
    from training.step import train_step

    source = {"reader": "index_csv", "path": str(settings.data / "index.csv")}
    config = load_config(ROOT / "training/configs/small_real.yaml", {"data.train": [source], "data.val": []})
    config = replace(config, model=replace(config.model, pretrained_encoder=False))
    batches = BatchSource(config, model_spec(config).input)
    size = config.run.batch_size
    steps = 4 if settings.quick else 16
    network = make_network(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_train_mode(network, config.model)
    optimizer = make_optimizer(network, config.optim)
    first, again = cycle(range(steps)), cycle(range(steps))
    cores = usable_cores()
    # One thread for both sides, and perfect scaling to all cores granted to the optimiser: threads that wait for each
    # other would be slowed by anything else that runs, and flatter the data path.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        from_disk = timed(lambda: batches[next(first)], runs=steps, most_s=20, warm_up=0)
        for step in range(steps):
            batches[step]
        ready = cycle([batches[step] for step in range(4)])
        ways: dict[str, Callable[[], object]] = {
            "memory": lambda: batches[next(again)],
            "step": lambda: train_step(network, optimizer, next(ready), config.loss, config, None),
        }
        times = in_turn(ways, settings.rounds, runs=steps, most_s=6, warm_up=1)
    finally:
        torch.set_num_threads(threads)
    rows = {
        "batches from disk, one worker": Timing.of(from_disk),
        "batches from the worker's memory": times["memory"],
        "optimiser step, one thread": times["step"],
    }
    for name, timing in rows.items():
        part.rows.append({"what": f"{name}, {size} images", **timing.row(), "items/s": 1e3 * size / timing.median_ms})
    for name, timing in (("from disk", Timing.of(from_disk)), ("from memory", times["memory"])):
        ratio = times["step"].median_ms / cores / timing.median_ms
        what = f"one worker's batches {name} / optimiser step on all {cores} cores"
        part.checks.append(Check(what, ratio, _DATA_PATH_MARGIN, at_most=False))


def data_path(settings: Settings) -> Part:
    """See the module."""
    cv2.setNumThreads(1)  # as in a worker
    part = Part("data_path", "Training data: one worker against h5py + cv2 per item, and against the optimiser's step")
    part.notes.append(
        f"Photographs are shrunk to a short side of {_SHORT_SIDE_PX} px on both ways; files are in the page cache"
    )
    folder = Path(tempfile.mkdtemp(prefix="depthnet_data_path_"))
    try:
        _per_data_set(settings, folder, part)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _against_the_optimiser(settings, part)
    return part


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure the data path of training.")
    parser.add_argument("--out", type=Path, default=Path("out/bench_data_path"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real images, with index.csv")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    part, about = data_path(Settings(arguments.data, arguments.quick)), machine()
    report.write([part], about, arguments.out)
    print(report.markdown([part], about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
