"""Real sequences with true depth, and the sensors simulated from it: what benchmarks/metric_scale.py measures on.

From the truth nothing is taken but what a sensor of the robot would have said, with noise and drop-outs: random
points, one row as a planar laser scan, the nearest surface in a sonar's cone, and the mounting (height and tilt over
the ground).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import (
    ConeAnchor,
    GroundPlane,
    PointAnchors,
    RangeFinder,
    ScanGeometry,
    from_points,
    from_range,
    from_scan,
)
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

FRAME_S = 1.0 / 30.0
SONAR_FOV_RAD = 0.44
_SONAR = RangeFinder(SONAR_FOV_RAD, 0.05, 8.0)
_FOCAL_PX = {"redkitchen": 585.0, "pioneer": 520.9, "box": 615.0}
"""Published intrinsics of the recordings' cameras at 640x480 (7-Scenes, TUM fr2); box: a RealSense D415's, nominal."""
_DATASET = {"redkitchen": "7scenes_redkitchen", "pioneer": "tum_pioneer", "box": "box_realsense"}
_MAX_FRAMES = 150
_MAX_DEPTH_M = 10.0
_SCANNER_HEIGHT = 0.4
_BEAM_RAD = 0.005
_ECHO_SHARE, _ECHO_LENGTH = 0.02, 1.05
"""Share of a sonar's cone that a surface must fill to be heard, within this ratio of distances."""


NAMES = tuple(_DATASET)
"""Of the recordings."""


def read_index(root: Path) -> list[dict[str, str]]:
    """The rows of a folder's ``index.csv``; ends the program with one line where there is none."""
    path = root / "index.csv"
    if not path.is_file():
        raise SystemExit(f"no index.csv in {root}: --data is a folder of recordings (training/README.md has its form)")
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Frame:
    """One image with its true depth (NaN where unknown) and, where the recording has it, the camera's pose."""

    stamp_s: float
    rgb: NDArray[np.uint8]
    true_m: NDArray[np.float32]
    world_from_camera: NDArray[np.float64] | None


class Sequence:
    """One recording of the index, read frame by frame."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        rows = [row for row in read_index(root) if row["dataset"] == _DATASET[name]]
        if not rows:
            raise SystemExit(f"{root / 'index.csv'} has no recording named {_DATASET[name]}")
        self._root, self._rows = root, sorted(rows, key=lambda row: row["image"])[:_MAX_FRAMES]
        height, width = np.asarray(cv2.imread(str(root / rows[0]["image"]))).shape[:2]
        focal_px = _FOCAL_PX[name] * width / 640.0
        self.camera = PinholeCamera(width, height, focal_px, focal_px, 0.5 * (width - 1), 0.5 * (height - 1))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Frame]:
        for index, row in enumerate(self._rows):
            image = self._root / row["image"]
            raw = np.asarray(cv2.imread(str(self._root / row["gt"]), cv2.IMREAD_UNCHANGED))
            depth = raw.astype(np.float32) * np.float32(row["scale"])
            depth[np.isin(raw, [int(value) for value in row["invalid"].split(",")]) | (depth > _MAX_DEPTH_M)] = np.nan
            pose = image.with_name(image.name.split(".")[0] + ".pose.txt")
            yield Frame(
                index * FRAME_S,
                np.ascontiguousarray(np.asarray(cv2.imread(str(image)), dtype=np.uint8)[:, :, ::-1]),
                depth,
                np.loadtxt(pose) if pose.is_file() else None,
            )


class Rig:
    """The robot's sensors at the camera, simulated on true depth."""

    def __init__(self, camera: PinholeCamera, seed: int, noise: float = 0.02, drop_out: float = 0.1) -> None:
        self._camera, self._noise, self._drop_out = camera, noise, drop_out
        self._rng = np.random.default_rng(seed)
        self._norm = np.sqrt(1.0 + camera.ray_x[None, :] ** 2 + camera.ray_y[:, None] ** 2)
        self._in_cone = self._norm < 1.0 / math.cos(0.5 * SONAR_FOV_RAD)

    def points(self, frame: Frame, count: int = 150, outliers: float = 0.0) -> PointAnchors:
        """``count`` random pixels, as a visual-inertial odometry or a sparse lidar gives them."""
        row, column = (index.astype(np.intp) for index in np.nonzero(np.isfinite(frame.true_m)))
        chosen = self._rng.choice(len(row), count, replace=False)
        chosen = chosen[self._rng.random(count) >= self._drop_out]
        row, column = row[chosen], column[chosen]
        depth = self._noisy(frame.true_m[row, column].astype(np.float64))
        wrong = self._rng.random(len(depth)) < outliers
        depth[wrong] = self._rng.uniform(0.2, 8.0, int(wrong.sum()))
        x, y = self._camera.ray_x[column] * depth, self._camera.ray_y[row] * depth
        return from_points(np.stack((x, y, depth), axis=1), self._camera, np.eye(4), frame.stamp_s)

    def scan(self, frame: Frame) -> PointAnchors:
        """A planar lidar level with the camera: the image's middle row."""
        row = self._camera.height_px // 2
        angles = np.linspace(-0.45, 0.45, 180)
        column = np.rint(self._camera.cx_px - self._camera.fx_px * np.tan(angles)).astype(np.intp)
        inside = (column >= 0) & (column < self._camera.width_px)
        ranges: NDArray[np.float64] = np.full(len(angles), np.nan)
        ranges[inside] = frame.true_m[row, column[inside]] / np.cos(angles[inside])
        ranges = self._noisy(ranges)
        ranges[self._rng.random(len(ranges)) < self._drop_out] = np.inf
        geometry = ScanGeometry(float(angles[0]), float(angles[1] - angles[0]), 0.05, 10.0)
        return from_scan(ranges, geometry, self._camera, OPTICAL_FROM_BODY, frame.stamp_s)

    def level_scan(self, frame: Frame, plane: GroundPlane) -> PointAnchors:
        """A planar lidar that lies level, at 0.4 of the camera's height over the ground, as robots carry theirs: the
        nearest surface of that height in each direction (as far as the camera sees it).
        """
        height_m = _SCANNER_HEIGHT * plane.height_m
        level = plane.levelled_from_optical
        points = self._camera.unproject(frame.true_m)[::2, ::2].reshape(-1, 3).astype(np.float64)
        points = points[np.isfinite(points[:, 2])] @ level[:3, :3].T
        points[:, 2] += plane.height_m - height_m
        ranges, angles = np.hypot(points[:, 0], points[:, 1]), np.arctan2(points[:, 1], points[:, 0])
        beam = np.rint((angles + 0.45) / _BEAM_RAD).astype(np.intp)
        hit = (np.abs(points[:, 2]) < 0.01 * ranges) & (beam >= 0) & (beam <= 180)
        nearest: NDArray[np.float64] = np.full(181, np.inf)
        np.minimum.at(nearest, beam[hit], ranges[hit])
        nearest = self._noisy(nearest)
        nearest[self._rng.random(181) < self._drop_out] = np.inf
        lidar = np.eye(4)
        lidar[2, 3] = height_m
        pose = np.linalg.inv(level) @ lidar
        geometry = ScanGeometry(-0.45, _BEAM_RAD, 0.05, 10.0)
        return from_scan(nearest, geometry, self._camera, pose, frame.stamp_s, level=True)

    def sonar(self, frame: Frame) -> ConeAnchor | None:
        """The nearest surface in the cone about the optical axis; +Inf, no echo, for a drop-out.

        An echo needs a surface: the first distance beyond which, within the length of a pulse, lies the share of the
        cone that it takes to be heard. (Mismatches of the stereo camera that the truth is of, single pixels in mid air,
        are none.)
        """
        distance = (frame.true_m * self._norm)[self._in_cone]
        known = np.sort(distance[np.isfinite(distance)])
        if len(known) < 50:
            return None
        if self._rng.random() < self._drop_out:
            return from_range(math.inf, _SONAR, self._camera, OPTICAL_FROM_BODY, frame.stamp_s)
        enough = max(1, int(_ECHO_SHARE * len(known)))
        heard = known[enough:] <= _ECHO_LENGTH * known[:-enough]
        if not heard.any():
            return None
        reading = float(self._noisy(known[[int(heard.argmax())]])[0])
        return from_range(reading, _SONAR, self._camera, OPTICAL_FROM_BODY, frame.stamp_s)

    def _noisy(self, depth_m: NDArray[np.float64]) -> NDArray[np.float64]:
        return depth_m * (1.0 + self._noise * self._rng.standard_normal(depth_m.shape))


class Mounting:
    """Height and tilt of the camera over the floor (box: the table), as transforms of the robot would give them.

    Found once in the true depth: for the robot's fixed camera from its first frame, for a hand-held one with known
    poses from one frame and the motion since, for one without poses frame by frame.
    """

    def __init__(self, sequence: Sequence, error_sigmas: float = 0.0) -> None:
        """``error_sigmas``: by how many standard deviations (the defaults of ``scale.ground_height_sigma`` and
        ``scale.ground_tilt_sigma_rad``) the robot has height and pitch wrong, all over the recording.
        """
        self._camera, self._fixed = sequence.camera, sequence.name == "pioneer"
        self._world: tuple[NDArray[np.float64], float] | None = None
        self._plane: GroundPlane | None = None
        usual = GroundPlane(np.zeros(3), 1.0)
        self._height_error = 1.0 + error_sigmas * usual.height_sigma
        self._tilt_error: NDArray[np.float64] = cv2.Rodrigues(np.array([error_sigmas * usual.tilt_sigma_rad, 0, 0]))[0]
        if sequence.name == "redkitchen":
            frame = list(sequence)[100]  # shows the floor and nothing else that is level
            plane, pose = self._find(frame), frame.world_from_camera
            assert pose is not None
            down = pose[:3, :3] @ plane.down
            self._world = (down, float(down @ pose[:3, 3]) + plane.height_m)

    def plane(self, frame: Frame) -> GroundPlane:
        """The ground of one frame, as the robot knows it."""
        true = self.true_plane(frame)
        return GroundPlane(self._tilt_error @ true.down, self._height_error * true.height_m)

    def true_plane(self, frame: Frame) -> GroundPlane:
        """The ground of one frame."""
        if self._world is not None:
            down, offset = self._world
            pose = frame.world_from_camera
            assert pose is not None
            return GroundPlane(pose[:3, :3].T @ down, offset - float(down @ pose[:3, 3]))
        if self._plane is None or not self._fixed:
            self._plane = self._find(frame)
        return self._plane

    def _find(self, frame: Frame) -> GroundPlane:
        """The plane with most points below the camera (RANSAC, least squares)."""
        rng = np.random.default_rng(0)
        lower = frame.true_m.copy()
        lower[: lower.shape[0] * 2 // 5] = np.nan
        points = self._camera.unproject(lower)[::6, ::6].reshape(-1, 3).astype(np.float64)
        points = points[np.isfinite(points[:, 2])]
        best = np.zeros(len(points), dtype=bool)
        for _ in range(300):
            a, b, c = points[rng.integers(0, len(points), 3)]
            normal = np.cross(b - a, c - a)
            length = float(np.linalg.norm(normal))
            if length < 1e-9 or abs(normal[1]) < 0.5 * length:
                continue
            distance = (points - a) @ (normal / length)
            inliers = np.abs(distance) < 0.015 * points[:, 2]
            if inliers.sum() > best.sum():
                best = inliers
        middle = points[best].mean(axis=0)
        normal = np.linalg.svd(points[best] - middle, full_matrices=False)[2][2]
        down = normal if normal @ middle > 0 else -normal
        return GroundPlane(down, float(down @ middle))
