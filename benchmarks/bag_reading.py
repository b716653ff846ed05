"""Recordings: how fast they are read beside ``rosbags`` alone, and how much memory a long one takes.

``python -m benchmarks bag_reading bag_memory``. ``python -m benchmarks.bag_reading JOB RECORDING`` does one job in a
process of its own, because reading is ruled by page faults and so by what was allocated before.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from benchmarks.measure import Check, Part, Settings, Timing, run_module, timed
from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.frame_sources import RgbdFrame
from depthnet_ros.bags.make import DEPTH, IMAGE, INFO, MakeOptions, make_bag
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.backends.base import ChoiceReason
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.memory import keep_freed_memory
from depthnet_ros.models.spec import InputSpec, ModelSpec

TOPICS = (IMAGE, INFO, DEPTH)
STORAGES = {"mcap": ("mcap", "none"), "mcap zstd": ("mcap", "zstd"), "sqlite3": ("sqlite3", "none")}
LEAST_RATIO = 0.8
MOST_GROWTH = 1.25
_SHORT, _LONG = 1000, 10_000


def bag_reading(settings: Settings) -> Part:
    """Messages read and decoded per second, the project's reader beside rosbags' own, storage by storage."""
    frames = 40 if settings.quick else 120
    part = Part("bag_reading", f"reading and decoding {frames} frames of 640x480 with depth and camera_info")
    camera = PinholeCamera.from_fov(640, 480, 1.2)
    with tempfile.TemporaryDirectory() as folder:
        for name, (storage, compression) in STORAGES.items():
            path = Path(folder) / name.replace(" ", "_")
            _write(path, _frames(camera, frames), camera, storage, compression)
            seconds: dict[str, list[float]] = {reader: [] for reader in _READERS}
            for _ in range(settings.rounds):
                for reader in _READERS:
                    seconds[reader] += _in_own_process(reader, path)["seconds"]
            times = {reader: Timing.of(taken) for reader, taken in seconds.items()}
            part.rows += [{"reader": f"{reader}, {name}", **timing.row()} for reader, timing in times.items()]
            ratio = times["rosbags"].median_ms / times["BagReader"].median_ms
            part.checks.append(Check(f"speed against rosbags alone, {name}", ratio, LEAST_RATIO, at_most=False))
    return part


def bag_memory(settings: Settings) -> Part:
    """Peak memory of evaluating a short and a ten times longer recording."""
    title = "peak memory of evaluating a recording of 96x72, as `depthnet bag evaluate` with a stub for the network"
    part = Part("bag_memory", title, chart="peak MiB")
    camera = PinholeCamera.from_fov(96, 72, 1.2)
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in (_SHORT, _LONG // 5 if settings.quick else _LONG):
            path = Path(folder) / f"{frames}.mcap"
            _write(path, _frames(camera, frames), camera, "mcap", "zstd")
            answer = _in_own_process("evaluate", path)
            peaks.append(answer["peak MiB"])
            part.rows.append({"frames": str(frames), **answer})
    part.checks.append(Check("growth of peak memory with ten times the frames", peaks[1] / peaks[0], MOST_GROWTH))
    part.notes.append("The rest of the growth is the table of figures, about 300 bytes a frame, and its text as JSON")
    return part


class _Brightness:
    """Stands in for a network: this measures what is around it."""

    name = device = "none"
    precision = "float32"
    choice_reason = ChoiceReason()

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(batch.mean(axis=1, keepdims=True))

    def close(self) -> None:
        pass


def _frames(camera: PinholeCamera, count: int) -> Iterator[RgbdFrame]:
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 30, (camera.height_px, camera.width_px, 1), dtype=np.uint8)
    floor = 0.8 / np.maximum(camera.ray_y, 1e-3)[:, None]
    for index in range(count):
        depth = np.minimum(floor, 6.0 - 2.0 * np.sin(0.01 * index)) * np.ones((1, camera.width_px))
        grey = (200.0 / depth).clip(0, 220).astype(np.uint8)[..., None] + grain
        yield RgbdFrame(index / 30.0, np.repeat(grey, 3, axis=2), depth.astype(np.float32))


def _write(path: Path, frames: Iterator[RgbdFrame], camera: PinholeCamera, storage: str, compression: str) -> None:
    with BagWriter(path, storage, compression) as writer:
        make_bag(frames, camera, writer, MakeOptions(extras=()))


def _read_by_rosbags(path: Path) -> int:
    with AnyReader([path]) as reader:
        wanted = [connection for connection in reader.connections if connection.topic in TOPICS]
        total = 0
        for connection, _, data in reader.messages(wanted):
            total += getattr(reader.deserialize(data, connection.msgtype), "width", 0)
    return total


def _read_by_project(path: Path) -> int:
    with BagReader(path) as reader:
        return sum(item.message.width for item in reader.messages(TOPICS))


_READERS: dict[str, Callable[[Path], int]] = {"rosbags": _read_by_rosbags, "BagReader": _read_by_project}


def _in_own_process(job: str, path: Path) -> dict[str, Any]:
    return run_module("benchmarks.bag_reading", job, str(path))


def _evaluate(path: Path) -> dict[str, Any]:
    spec = ModelSpec("brightness", InputSpec(72, 96))
    with BagReader(path) as bag:
        topics = resolve_topics(bag, IMAGE, DEPTH)
        results, _ = evaluate_bag(bag, topics, DepthEstimator(_Brightness(), spec), EvaluateOptions())
    json.dumps(results.to_dict())
    return {"evaluated": results.counts["evaluated"], "peak MiB": round(_peak_mib(), 1)}


def _peak_mib() -> float:
    """Of this program. ru_maxrss of getrusage(2) is no less than the peak of whoever started it."""
    return int(re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)[0]) / 1024.0


def _main(job: str, path: Path) -> dict[str, Any]:
    keep_freed_memory()  # as the command `depthnet bag` does; the baseline has it, too
    if job == "evaluate":
        return _evaluate(path)
    return {"seconds": timed(lambda: _READERS[job](path), runs=3, most_s=20.0, warm_up=1)}


if __name__ == "__main__":
    print(json.dumps(_main(sys.argv[1], Path(sys.argv[2]))))
