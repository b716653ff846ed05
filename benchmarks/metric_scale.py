"""Metric depth on real recordings without any alignment to the truth, against the best alignment of each single image.

    python -m benchmarks.metric_scale --data ../shared/data --out out/metric_scale

For each recording and sensor rig: AbsRel of the published depth, the same of the per-image least-squares alignment to
the whole truth (which no robot has), their ratio, the share of errors within one sigma, states, and flicker.
Ends with an error where a target is missed. `--speed` times fit and filter alone, against fitting each frame by plain
RANSAC.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.metric_scale_data import NAMES, Frame, Mounting, Rig, Sequence
from benchmarks.metric_scale_speed import measure_speed
from depthnet_ros.errors import DepthNetError
from depthnet_ros.evaluation.alignment import aligned_depth
from depthnet_ros.evaluation.flicker import warped_flicker
from depthnet_ros.evaluation.results import plain
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricDepth, MetricScaleConfig, MetricScaler

RIGS = (
    "points",
    "points_outliers",
    "scan",
    "scan_level",
    "scan_height",
    "scan_level_height",
    "sonar_height",
    "sonar",
    "height",
)
TARGETS = {
    "points": 1.15,
    "scan": 1.5,
    "scan_level": 1.5,
    "scan_height": 1.5,
    "scan_level_height": 1.5,
    "sonar_height": 2.0,
}
MOST_BY_OUTLIERS = 1.1
LEAST_REDUCTION = 3.0
CAP_M = 10.0


@dataclass
class Run:
    """What one rig did on one recording."""

    abs_rel: list[float] = field(default_factory=list)
    optimal: list[float] = field(default_factory=list)
    within_sigma: list[float] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    scales: list[tuple[float, float, float]] = field(default_factory=list)
    """(stamp, estimated, best) inverse depth that the median prediction stands for, 1/m."""
    estimates: list[tuple[float, float]] = field(default_factory=list)
    """Scale and shift of each published frame."""

    def add(self, other: Run) -> None:
        """The frames of another run with other noise; those for drawing stay this one's."""
        self.abs_rel += other.abs_rel
        self.optimal += other.optimal
        self.within_sigma += other.within_sigma
        self.states += other.states

    def median_estimate(self) -> tuple[float, float]:
        """Medians of scale and shift, of at least one frame."""
        scale, shift = np.median(np.array(self.estimates), axis=0)
        return float(scale), float(shift)

    def summary(self) -> dict[str, Any]:
        """Means over the published frames."""
        if not self.abs_rel:
            return {"published": 0.0, "states": dict(self.states)}
        return {
            "abs_rel": float(np.mean(self.abs_rel)),
            "optimal": float(np.mean(self.optimal)),
            "ratio": float(np.mean(self.abs_rel) / np.mean(self.optimal)),
            "within_sigma": float(np.mean(self.within_sigma)),
            "published": len(self.abs_rel) / sum(self.states.values()),
            "states": dict(self.states),
        }


class Predictor:
    """The network's predictions of a recording: by weights, or read from <name>.npy, (N, h, w) relative inverse
    depth.
    """

    def __init__(self, weights: str, predictions: Path | None) -> None:
        self._predictions = predictions
        if predictions is None:
            from depthnet_ros.inference.estimator import DepthEstimator

            self._estimator = DepthEstimator.from_weights(weights)

    def frames(self, sequence: Sequence) -> list[tuple[Frame, DepthPrediction]]:
        """All frames with their predictions."""
        size = (sequence.camera.height_px, sequence.camera.width_px)
        if self._predictions is None:
            return [(frame, self._estimator.infer(frame.rgb)) for frame in sequence]
        stored = np.load(self._predictions / f"{sequence.name}.npy").astype(np.float32)
        return [(f, DepthPrediction(p, size)) for f, p in zip(sequence, stored, strict=False)]


def run_rig(
    rig_name: str,
    sequence: Sequence,
    frames: list[tuple[Frame, DepthPrediction]],
    mounting: Mounting,
    seed: int = 1,
    **settings: Any,
) -> tuple[Run, list[NDArray[np.float32]]]:
    """One rig, whose noise is drawn from ``seed``, over one recording; also the published depth images (NaN where
    none).
    """
    config = MetricScaleConfig(mode="anchors", max_depth_m=CAP_M, **settings)
    scaler = MetricScaler(config, sequence.camera)
    rig, run, depths = Rig(sequence.camera, seed), Run(), []
    size = (sequence.camera.height_px, sequence.camera.width_px)
    for frame, prediction in frames:
        for anchor in _anchors(rig_name, rig, frame, mounting):
            scaler.add(anchor)
        if "height" in rig_name:
            scaler.set_ground(mounting.plane(frame))
        metric = scaler.update(prediction, frame.stamp_s, frame.rgb)
        run.states[metric.state.value] += 1
        if metric.published:
            depths.append(np.clip(metric.depth_m(*size), 0.05, CAP_M))
            _judge(run, metric, frame, prediction, depths[-1])
        else:
            depths.append(np.full(size, np.nan, dtype=np.float32))
    return run, depths


def _anchors(rig_name: str, rig: Rig, frame: Frame, mounting: Mounting) -> Iterator[Any]:
    if rig_name.startswith("points"):
        yield rig.points(frame, outliers=0.3 if rig_name.endswith("outliers") else 0.0)
    elif rig_name.startswith("scan_level"):
        yield rig.level_scan(frame, mounting.true_plane(frame))
    elif rig_name.startswith("scan"):
        yield rig.scan(frame)
    elif rig_name.startswith("sonar") and (reading := rig.sonar(frame)) is not None:
        yield reading


def _judge(
    run: Run, metric: MetricDepth, frame: Frame, prediction: DepthPrediction, depth_m: NDArray[np.float32]
) -> None:
    truth, valid = frame.true_m, np.isfinite(frame.true_m)
    best = aligned_depth(prediction.at_source(), 1.0 / truth, valid, cap=CAP_M)
    error = np.abs(depth_m[valid] - truth[valid])
    run.abs_rel.append(float(np.mean(error / truth[valid])))
    run.optimal.append(float(np.mean(np.abs(best[valid] - truth[valid]) / truth[valid])))
    sigma = metric.sigma_m(*truth.shape)[valid]
    assert metric.estimate is not None
    run.estimates.append((metric.estimate.scale, metric.estimate.shift))
    run.within_sigma.append(float(np.mean(error <= sigma)))
    run.scales.append((frame.stamp_s, float(np.median(1.0 / depth_m[valid])), float(np.median(1.0 / truth[valid]))))


def measure_flicker(
    sequence: Sequence,
    frames: list[tuple[Frame, DepthPrediction]],
    depths: list[NDArray[np.float32]],
    scale_shift: tuple[float, float],
) -> dict[str, float]:
    """Warped flicker of published depth against that of the network's output under one fixed scale and shift for all.

    The two are the medians of what the filter found, so that both have the same contrast. Empty without poses, or where
    no two frames in a row have depth.
    """
    scale, shift = scale_shift
    raw: list[float] = []
    ours: list[float] = []
    for (before, p0), (now, p1), d0, d1 in zip(frames[:-1], frames[1:], depths[:-1], depths[1:], strict=True):
        if before.world_from_camera is None or now.world_from_camera is None:
            return {}
        motion = np.linalg.inv(now.world_from_camera) @ before.world_from_camera
        f0, f1 = (1.0 / np.maximum(scale * p.at_source() + shift, 1.0 / CAP_M) for p in (p0, p1))
        raw.append(warped_flicker(f0, f1, before.true_m, now.true_m, sequence.camera, motion))
        ours.append(warped_flicker(d0, d1, before.true_m, now.true_m, sequence.camera, motion))
    if not np.isfinite(ours).any():
        return {}
    result = {"raw": float(np.nanmean(raw)), "filtered": float(np.nanmean(ours))}
    return {**result, "reduction": result["raw"] / result["filtered"]}


def measure(
    data: Path,
    predictor: Predictor,
    rigs: tuple[str, ...],
    names: tuple[str, ...],
    mounting_error: float = 0.0,
    seeds: int = 1,
) -> dict[str, Any]:
    """All rigs on all recordings, each with the noise of so many ``seeds``."""
    results: dict[str, Any] = {}
    for name in names:
        sequence = Sequence(data, name)
        frames, mounting = predictor.frames(sequence), Mounting(sequence, mounting_error)
        for rig in rigs:
            run, depths = run_rig(rig, sequence, frames, mounting)
            for seed in range(2, seeds + 1):
                run.add(run_rig(rig, sequence, frames, mounting, seed)[0])
            results[f"{name}/{rig}"] = {**run.summary(), "scales": run.scales}
            if not run.estimates:
                continue
            if steadiness := measure_flicker(sequence, frames, depths, run.median_estimate()):
                results[f"{name}/{rig}"]["flicker"] = steadiness
    return results


def table(results: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| recording / rig | AbsRel | optimal | ratio | target | in 1 sigma | published | calibrated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, row in results.items():
        target = TARGETS.get(key.split("/")[1], "")
        if "ratio" not in row:
            lines.append(f"| {key} | | | | {target} | | 0 % | 0 % |")
            continue
        calibrated = row["states"].get("calibrated", 0) / sum(row["states"].values())
        lines.append(
            f"| {key} | {row['abs_rel']:.3f} | {row['optimal']:.3f} | {row['ratio']:.2f} | {target} "
            f"| {row['within_sigma']:.0%} | {row['published']:.0%} | {calibrated:.0%} |"
        )
    return "\n".join(lines)


def missed_targets(results: dict[str, Any]) -> list[str]:
    """What is above its target, outliers among it; nothing published is a miss, too."""
    missed = []
    for key, row in results.items():
        name, rig = key.split("/")
        ratio, most = row.get("ratio", float("inf")), TARGETS.get(rig, float("inf"))
        if rig == "points_outliers" and f"{name}/points" in results:
            most = MOST_BY_OUTLIERS * results[f"{name}/points"].get("ratio", float("inf"))
        if not ratio <= most and rig in (*TARGETS, "points_outliers"):
            missed.append(f"{key} {ratio:.2f} of {most:.2f}")
        if rig == "points" and "flicker" in row and not row["flicker"]["reduction"] >= LEAST_REDUCTION:
            missed.append(f"flicker of {key} {row['flicker']['reduction']:.2f} of {LEAST_REDUCTION}")
    return missed


def draw(results: dict[str, Any], path: Path) -> None:
    """Estimated against true inverse depth of the median pixel over time, a panel for each recording and rig; without
    any published depth no picture.
    """
    shown = {key: row for key, row in results.items() if row.get("scales")}
    if not shown:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 3
    rows = -(-len(shown) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 2.4 * rows), squeeze=False, layout="constrained"
    )
    for axis, (key, row) in zip(axes.flat, shown.items(), strict=False):
        stamp, estimated, true = np.array(row["scales"]).T
        axis.plot(stamp, true, "k", label="true")
        axis.plot(stamp, estimated, "C1", label="estimated")
        axis.set(title=f"{key}: AbsRel {row['abs_rel']:.3f}, ratio {row['ratio']:.2f}", ylim=(0, 2 * true.max()))
        axis.title.set_size(9)
    axes[0, 0].set(xlabel="s", ylabel="median 1/depth, 1/m")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=80)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with index.csv (training/README.md)"
    )
    parser.add_argument("--weights", default="", help="checkpoint; empty: the default weights")
    parser.add_argument("--predictions", type=Path, help="folder of <recording>.npy instead of a network")
    parser.add_argument("--rigs", nargs="+", default=RIGS, choices=RIGS, help="sensors of the robot; all by default")
    parser.add_argument("--names", nargs="+", default=NAMES, choices=NAMES, help="recordings; all by default")
    parser.add_argument(
        "--mounting-error", type=float, default=0.0, help="standard deviations that height and pitch are wrong by"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how often each, with other noise: means are of all")
    parser.add_argument("--speed", action="store_true", help="time fit and filter alone")
    parser.add_argument("--out", type=Path, default=Path("out/metric_scale"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.speed:
        speed = measure_speed()
        print(speed)
        (arguments.out / "metric_scale_speed.json").write_text(json.dumps(speed, indent=1))
        return
    try:
        predictor = Predictor(arguments.weights, arguments.predictions)
    except DepthNetError as error:
        sys.exit(str(error))
    rigs, names = tuple(arguments.rigs), tuple(arguments.names)
    results = measure(arguments.data, predictor, rigs, names, arguments.mounting_error, arguments.seeds)
    print(table(results))
    for key, row in results.items():
        if "flicker" in row:
            print(f"flicker of {key}: {row['flicker']}")
    (arguments.out / "metric_scale.json").write_text(json.dumps(plain(results), indent=1, allow_nan=False))
    draw(results, arguments.out / "metric_scale.png")
    if missed := missed_targets(results):
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
