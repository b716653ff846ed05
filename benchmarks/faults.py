"""What a planner gets when things go wrong in mid drive: faults of camera, sensors and mounting in the rendered room.

    python -m benchmarks.faults                                          # all, two minutes; needs no data
    python -m benchmarks.faults --faults frozen feet --rigs sonar points

A robot drives for 2.5 s, then the fault sets in for 5.5 s. The sensors are simulated from the exact depth, with noise
and drop-outs, and what is judged is what the node would publish: AbsRel of metric depth, the states, after how long
something of it was told, and how much of what stands there is cleared: of the scan's rays that truly have an obstacle,
those that a clearing point passes it on by more than 0.2 m. What was told first is in ``faults.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metric_scale_data import Frame, Rig
from depthnet_ros.errors import DepthNetError
from depthnet_ros.evaluation.results import plain
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.metric_scale import AnchorError, GroundPlane, MetricDepth, MetricScaleConfig, MetricScaler
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.planner_view import PlannerView
from depthnet_ros.navigation.reach import height_band, within_depth
from depthnet_ros.navigation.scan import ScanProjector
from depthnet_ros.simulation.renderer import Renderer
from depthnet_ros.simulation.scenes import create_scene

CAP_M, FRAME_S = 10.0, 0.1
HEALTHY_FRAMES, FAULTY_FRAMES = 25, 55
RIGS = {"sonar": ("range",), "scan": ("scan",), "points": ("points",)}
"""Each together with the camera's declared height and pitch."""
_STRIDE = 2  # of the planner's grid
_BEYOND_M, _FARTHEST_M = 0.2, 6.0  # by which a cleared ray ends behind an obstacle that is no farther than this
_WALL_X_M = 4.9  # of the room's wall ahead, in the world

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Moment:
    """What is true at one moment: picture, depth (NaN where unknown), ground and pose, and the camera."""

    frame: Frame
    ground: GroundPlane
    camera: PinholeCamera


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: for the command line.
        says: what happens.
        picture: what the camera gives instead, by now and by the last healthy moment.
        sensed: what sensors measure instead.
        world: where the camera truly is instead, by now and by the last healthy moment.
        path: of the robot, where it is not the room's own.
    """

    name: str
    says: str
    picture: Callable[[Moment, Moment], Picture] = lambda now, last: now.frame.rgb
    sensed: Callable[[Moment], Frame] = lambda now: now.frame
    world: Callable[[Moment, Moment], Moment] = lambda now, last: now
    path: Callable[[float], tuple[float, float, float]] | None = None


def _painted(rows: slice, level: int) -> Callable[[Moment, Moment], Picture]:
    def picture(now: Moment, last: Moment) -> Picture:
        covered = now.frame.rgb.copy()
        height = len(covered)
        covered[int(rows.start * height / 100) : int(rows.stop * height / 100)] = level
        return covered

    return picture


def _white_wall(now: Moment, last: Moment) -> Picture:
    """The wall ahead painted plain, with a camera's noise."""
    pose, depth = now.frame.world_from_camera, np.nan_to_num(now.frame.true_m, nan=1.0)
    assert pose is not None
    ahead = (now.camera.unproject(depth) @ pose[:3, :3].T + pose[:3, 3])[..., 0] > _WALL_X_M
    picture = now.frame.rgb.copy()
    noise = np.random.default_rng(0).normal(225.0, 2.0, (*ahead.shape, 3))
    picture[ahead] = np.clip(noise, 0, 255).astype(np.uint8)[ahead]
    return picture


def _scaled(factor: float) -> Callable[[Moment], Frame]:
    return lambda now: replace(now.frame, true_m=(now.frame.true_m * np.float32(factor)))


def _upside_down(now: Moment, last: Moment) -> Moment:
    """The camera has rolled by half a turn, and nobody has told."""
    frame = replace(
        now.frame,
        rgb=np.ascontiguousarray(now.frame.rgb[::-1, ::-1]),
        true_m=np.ascontiguousarray(now.frame.true_m[::-1, ::-1]),
    )
    return replace(now, frame=frame, ground=GroundPlane(now.ground.down * (-1.0, -1.0, 1.0), now.ground.height_m))


def _at_rest(now: Moment, last: Moment) -> Moment:
    return replace(last, frame=replace(last.frame, stamp_s=now.frame.stamp_s))


def _towards_wall(time_s: float) -> tuple[float, float, float]:
    return min(1.0 + 0.35 * time_s, 4.5), -3.0, 0.0


def _mirrored(now: Moment, last: Moment) -> Picture:
    return np.ascontiguousarray(now.frame.rgb[:, ::-1])


FAULTS = (
    Fault("none", "nothing"),
    Fault("still", "nothing: it stands still, and its camera has no noise", world=_at_rest),
    Fault("frozen", "the camera repeats its last image", picture=lambda now, last: last.frame.rgb),
    Fault("black", "the lens is covered", picture=_painted(slice(0, 100), 8)),
    Fault("half", "the lower half of the lens is covered", picture=_painted(slice(50, 100), 8)),
    Fault("bright", "over-exposed four times", picture=lambda now, last: cv2.convertScaleAbs(now.frame.rgb, alpha=4.0)),
    Fault("blurred", "strong motion blur", picture=lambda now, last: cv2.blur(now.frame.rgb, (40, 1))),
    Fault("mirrored", "the driver mirrors the image", picture=_mirrored),
    Fault("upside_down", "the camera rolls by 180 degrees, undeclared", world=_upside_down),
    Fault("white_wall", "a drive up to a wall without texture", picture=_white_wall, path=_towards_wall),
    Fault("wall", "the same with its texture", path=_towards_wall),
    Fault("feet", "the sensor reports feet", sensed=_scaled(3.28)),
    Fault("half_range", "the sensor reports half of the range", sensed=_scaled(0.5)),
)


@dataclass
class Outcome:
    """What a planner got of one fault with one rig."""

    abs_rel: list[float] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    """Of published frames; `silent`: the others."""
    told_after_s: float | None = None
    told: str = ""
    rays: int = 0
    cleared: int = 0

    def row(self) -> dict[str, Any]:
        """For the table."""
        count = sum(self.states.values())
        return {
            "abs_rel": float(np.median(self.abs_rel)) if self.abs_rel else None,
            "abs_rel_most": max(self.abs_rel, default=None),
            "published": len(self.abs_rel) / count,
            "calibrated": self.states["calibrated"] / count,
            "told_after_s": self.told_after_s,
            "told": self.told,
            "rays": self.rays,
            "cleared": self.cleared,
        }


class Drive:
    """A path through the room, rendered once, with the network's predictions remembered."""

    def __init__(self, estimator: DepthEstimator) -> None:
        self._estimator = estimator
        self.camera = PinholeCamera.from_fov(320, 240, 1.2)
        self._moments: dict[Any, list[Moment]] = {}

    def moments(self, path: Callable[[float], tuple[float, float, float]] | None) -> list[Moment]:
        """All of them along a path, that of the scene itself by default."""
        if path not in self._moments:
            scene = create_scene("room", 1)
            scene = scene if path is None else replace(scene, path=path)
            renderer = Renderer(scene, self.camera)
            ground = GroundPlane.from_height(scene.camera_height_m, scene.camera_pitch_rad)
            self._moments[path] = []
            for index in range(HEALTHY_FRAMES + FAULTY_FRAMES):
                view = renderer.frame(index * FRAME_S)
                depth = np.where(view.depth_m <= CAP_M, view.depth_m, np.float32(np.nan))
                frame = Frame(index * FRAME_S, view.rgb, depth, view.pose)
                self._moments[path].append(Moment(frame, ground, self.camera))
        return self._moments[path]

    def run(self, fault: Fault, rig_name: str, seed: int = 1) -> Outcome:
        """One fault with one rig."""
        moments, outcome = self.moments(fault.path), Outcome()
        config = MetricScaleConfig(mode="anchors", max_depth_m=CAP_M, sources=RIGS[rig_name])
        scaler, rig = MetricScaler(config, self.camera), Rig(self.camera, seed)
        planner, usual = Planner(self.camera, moments[0].ground), set[str]()
        scaler.set_ground(moments[0].ground)
        for index, moment in enumerate(moments):
            faulty = index >= HEALTHY_FRAMES
            last = moments[HEALTHY_FRAMES - 1]
            now = fault.world(moment, last) if faulty else moment
            rgb = fault.picture(now, last) if faulty else now.frame.rgb
            scaler.hear(RIGS[rig_name][0], now.frame.stamp_s)
            for anchor in _anchors(rig, rig_name, fault.sensed(now) if faulty else now.frame, now.ground):
                scaler.add(anchor)
            metric = scaler.update(self._estimator.infer(np.ascontiguousarray(rgb)), now.frame.stamp_s, rgb)
            said = {re.sub(r"[\d.]+", "#", line) for line in metric.message.split("; ") if line}
            if not faulty:
                usual |= said
                continue
            outcome.states[metric.state.value if metric.published else "silent"] += 1
            if outcome.told_after_s is None and (new := said - usual):
                outcome.told_after_s = (index - HEALTHY_FRAMES) * FRAME_S
                outcome.told = next(x for x in metric.message.split("; ") if re.sub(r"[\d.]+", "#", x) in new)
            planner.judge(metric, now, outcome)
        return outcome


def _anchors(rig: Rig, name: str, sensed: Frame, ground: GroundPlane) -> Iterator[Any]:
    try:
        if name == "points":
            yield rig.points(sensed)
        elif name == "scan":
            yield rig.level_scan(sensed, ground)
        elif (reading := rig.sonar(sensed)) is not None:
            yield reading
    except AnchorError:  # nothing of it is usable: it is heard, and that is all
        return


class Planner:
    """What of the published depth clears, held against what stands there."""

    def __init__(self, camera: PinholeCamera, declared: GroundPlane) -> None:
        self._camera = camera.coarser(_STRIDE)
        self._projector = ScanProjector(self._camera, declared.levelled_from_optical)
        self._config = NavigationConfig(max_range_m=4.5)

    def judge(self, metric: MetricDepth, now: Moment, outcome: Outcome) -> None:
        """Adds one frame to ``outcome``."""
        true, truth_m = now.frame.true_m, self._true_ranges_m(now)
        nearest_m = self._projector.band_view(height_band(self._config)).nearest_m
        stands = np.isfinite(truth_m) & (truth_m > nearest_m) & (truth_m < _FARTHEST_M)
        outcome.rays += int(stands.sum())
        if not metric.published:
            return
        known = np.isfinite(true)
        depth = np.clip(metric.depth_m(*true.shape), 0.05, CAP_M)
        outcome.abs_rel.append(float(np.mean(np.abs(depth[known] / true[known] - 1.0))))
        size = (self._camera.height_px, self._camera.width_px)
        config, lost = within_depth(self._config, metric.max_depth_m, self._projector)
        if lost:
            return
        view = PlannerView(metric, metric.depth_m(*size), self._projector, config)
        level = view.clearing_points() @ now.ground.levelled_from_optical[:3, :3].T.astype(np.float32)
        azimuth_rad = np.arctan2(level[:, 1], level[:, 0])
        ray = np.rint((azimuth_rad - view.scan.angle_min_rad) / view.scan.angle_increment_rad)
        there = np.clip(ray.astype(np.intp), 0, len(truth_m) - 1)
        passed = np.hypot(level[:, 0], level[:, 1]) > truth_m[there] + _BEYOND_M
        outcome.cleared += len(np.unique(there[stands[there] & passed]))  # a ray has several points

    def _true_ranges_m(self, now: Moment) -> NDArray[np.float32]:
        """(rays,) of the true nearest obstacle of each ray, over the true ground."""
        projector = ScanProjector(self._camera, now.ground.levelled_from_optical)
        size = (self._camera.width_px, self._camera.height_px)
        depth = np.asarray(cv2.resize(now.frame.true_m, size, interpolation=cv2.INTER_NEAREST), np.float32)
        pixels = projector.classify(depth, np.isfinite(depth), height_band(self._config))
        return np.asarray(projector.scan(pixels).ranges_m, np.float32)


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown of what each fault did with each rig; a cell has the rigs in their order."""
    rigs = " / ".join(next(iter(results.values())))
    lines = [
        f"| what happens ({rigs}) | AbsRel, median | published | calibrated, of these | reported after, s | cleared |",
        "|---|---|---|---|---|---|",
    ]
    for by_rig in results.values():
        rows = list(by_rig.values())
        cells = (
            [_told(row["abs_rel"], ".2f") for row in rows],
            [f"{row['published']:.0%}" for row in rows],
            [_told(row["calibrated"] / row["published"] if row["published"] else None, ".0%") for row in rows],
            [_told(row["told_after_s"], ".1f") for row in rows],
            [_told(row["cleared"] / row["rays"] if row["rays"] else None, ".1%") for row in rows],
        )
        lines.append(f"| {rows[0]['says']} | " + " | ".join(" / ".join(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _told(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main() -> None:
    """Command line."""
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="", help="checkpoint; empty: the default weights")
    parser.add_argument("--faults", nargs="+", default=names, choices=names, help="all by default")
    parser.add_argument("--rigs", nargs="+", default=list(RIGS), choices=list(RIGS), help="all by default")
    parser.add_argument("--out", type=Path, default=Path("out/faults"))
    arguments = parser.parse_args()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        drive = Drive(DepthEstimator.from_weights(arguments.weights))
    except (DepthNetError, OSError) as error:
        sys.exit(str(error))
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for fault in (fault for fault in FAULTS if fault.name in arguments.faults):
        print(f"{fault.name}: {fault.says}", file=sys.stderr)
        results[fault.name] = {rig: {"says": fault.says, **drive.run(fault, rig).row()} for rig in arguments.rigs}
    print(table(results))
    (arguments.out / "faults.json").write_text(json.dumps(plain(results), indent=1, allow_nan=False))


if __name__ == "__main__":
    main()
