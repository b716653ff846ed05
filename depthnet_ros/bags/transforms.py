"""Coordinate frames of a recording: /tf and /tf_static as a tree that answers for any stamp."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BagError, ConfigError
from depthnet_ros.messages.stamps import header_stamp_ns, stamp_ns
from depthnet_ros.messages.transforms import pose_of
from depthnet_ros.metric_scale import MetricScaleConfig, mounted
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY, pose_from_quaternion, rotation_from_rpy

Pose = NDArray[np.float64]
"""4 x 4 homogeneous transform."""
KEPT_NS = 30 * 1_000_000_000
"""Moving transforms are kept this long; what is older than that never meets a frame that is still waiting."""
_NOT_MOVING_NS = 500_000_000
_ALWAYS_NS = 1 << 63


class TransformTimeError(BagError):
    """A moving transform is known, but not near the time asked for."""


class TransformTree:
    """Poses of frames by stamp. Moving ones are interpolated (rotation by quaternion) between their neighbours."""

    def __init__(self) -> None:
        self._static: dict[str, tuple[str, Pose]] = {}
        self._moving: dict[str, tuple[str, deque[tuple[int, Pose]]]] = {}

    def forget_moving(self) -> None:
        """Time ran back: what moved has moved at other times."""
        self._moving.clear()

    def add(self, message: Any, static: bool) -> list[str]:
        """Take in a tf2_msgs/TFMessage; ``static`` for /tf_static. Returns what is wrong with those that are left out,
        as tf2 leaves them out.
        """
        problems = []
        for item in message.transforms:
            parent, child = item.header.frame_id.lstrip("/"), item.child_frame_id.lstrip("/")
            try:
                pose = pose_of(item.transform)
            except ConfigError as error:
                problems.append(f"{parent} to {child}: {error}")
                continue
            if static:
                self._static[child] = (parent, pose)
                continue
            stamp = stamp_ns(item.header.stamp)
            known, history = self._moving.get(child, (parent, deque()))
            if known != parent:
                history = deque()
            _insert(history, stamp, pose)
            self._moving[child] = (parent, history)
        return problems

    def lookup(
        self, target: str, source: str, stamp_ns: int, tolerance_ns: int = _NOT_MOVING_NS, remedy: str = ""
    ) -> Pose:
        """The pose of ``source`` in ``target``: it takes points of ``source`` to ``target``.

        The newest (or oldest) of a moving transform stands in for one that is missing, within ``tolerance_ns``. What
        helps beside recording transforms is ``remedy``.

        Raises:
            BagError: the frames are not connected, or (TransformTimeError) not at that time.
        """
        ends = (source.lstrip("/"), target.lstrip("/"))
        (to_root, late), (from_root, late_too) = (self._chain(frame, stamp_ns, tolerance_ns) for frame in ends)
        shared = next((frame for frame in to_root if frame in from_root), None)
        if shared is None:
            if gap := late or late_too:
                raise gap
            helps = f", or {remedy}" if remedy else ""
            if not all(ends):
                raise BagError(
                    f"no transform from {source!r} to {target!r}: a frame_id is empty. Let that sensor's driver set "
                    f"header.frame_id{helps}"
                )
            raise BagError(
                f"no transform from {source!r} to {target!r}: /tf and /tf_static know {self._names()}. "
                f"Record /tf_static{helps}"
            )
        pose: Pose = np.linalg.inv(from_root[shared]) @ to_root[shared]
        return pose

    def known_until_ns(self, target: str, source: str) -> int | None:
        """The stamp to which every moving transform between two frames has come; beyond all stamps where none of them
        moves, None where nothing connects them yet.
        """
        ours, theirs = (self._newest(frame.lstrip("/")) for frame in (source, target))
        shared = next((frame for frame in ours if frame in theirs), None)
        return None if shared is None else min(ours[shared], theirs[shared])

    def _newest(self, frame: str) -> dict[str, int]:
        """Every ancestor of ``frame`` with the stamp to which all that moves below it has come."""
        newest, until_ns = {}, _ALWAYS_NS
        while frame not in newest:
            newest[frame] = until_ns
            if frame in self._static:
                frame = self._static[frame][0]
            elif frame in self._moving:
                frame, history = self._moving[frame]
                until_ns = min(until_ns, history[-1][0])
        return newest

    def _chain(self, frame: str, stamp_ns: int, tolerance_ns: int) -> tuple[dict[str, Pose], TransformTimeError | None]:
        """Every ancestor of ``frame`` with the pose of ``frame`` in it, up to one that is not known at that time, and
        what to say of that: it may lie above all that is asked for.
        """
        chain = {frame: np.eye(4)}
        pose = np.eye(4)
        while True:
            try:
                step = self._step(frame, stamp_ns, tolerance_ns)
            except TransformTimeError as error:
                return chain, error
            if step is None:
                return chain, None
            frame, pose = step[0], step[1] @ pose
            if frame in chain:
                raise BagError(f"the transforms of {frame!r} go in a circle")
            chain[frame] = pose

    def _step(self, frame: str, stamp_ns: int, tolerance_ns: int) -> tuple[str, Pose] | None:
        if frame in self._static:
            return self._static[frame]
        if frame not in self._moving:
            return None
        parent, history = self._moving[frame]
        pose = _interpolate(history, stamp_ns, tolerance_ns)
        if pose is None:
            first, last = history[0][0] * 1e-9, history[-1][0] * 1e-9
            raise TransformTimeError(
                f"the transform {parent!r} to {frame!r} is known from {first:.3f} to {last:.3f} s, "
                f"but is needed at {stamp_ns * 1e-9:.3f} s"
            )
        return parent, pose

    def _names(self) -> str:
        links = [f"{parent}->{child}" for child, (parent, _) in {**self._static, **self._moving}.items()]
        return ", ".join(sorted(links)) or "no frames"


def sensor_pose(kind: str, message: Any, camera_frame: str, tree: TransformTree, config: MetricScaleConfig) -> Pose:
    """The sensor's pose in the optical frame: from TF, else from the parameter ``scale.<kind>_pose``.

    Raises:
        BagError: TF is asked for but does not know the frame, and the parameter is left at its default; or TF knows
            it, but not near that time.
    """
    given = getattr(config, f"{kind}_pose")
    if config.use_tf:
        try:
            stamp, tolerance = header_stamp_ns(message), round(1e9 * config.source_timeout_s)
            frame, remedy = message.header.frame_id, f"set scale.{kind}_pose"
            return tree.lookup(camera_frame, frame, stamp, tolerance, remedy)
        except BagError as error:
            if isinstance(error, TransformTimeError) or not any(given):
                raise
    return mounted(kind, given)


def _insert(history: deque[tuple[int, Pose]], stamp: int, pose: Pose) -> None:
    if history and stamp <= history[-1][0]:
        index = bisect_left(history, stamp, key=lambda item: item[0])
        if history[index][0] != stamp:
            history.insert(index, (stamp, pose))
        return
    history.append((stamp, pose))
    while history[-1][0] - history[0][0] > KEPT_NS:
        history.popleft()


def _interpolate(history: deque[tuple[int, Pose]], stamp_ns: int, tolerance_ns: int) -> Pose | None:
    index = bisect_right(history, stamp_ns, key=lambda item: item[0])
    if 0 < index < len(history):
        (early, first), (late, second) = history[index - 1], history[index]
        return _blend(first, second, (stamp_ns - early) / (late - early))
    nearest = history[0] if index == 0 else history[-1]
    return nearest[1] if abs(nearest[0] - stamp_ns) <= tolerance_ns else None


def _blend(first: Pose, second: Pose, share: float) -> Pose:
    a, b = quaternion(first[:3, :3]), quaternion(second[:3, :3])
    b = b if a @ b >= 0 else -b
    middle = (1 - share) * first[:3, 3] + share * second[:3, 3]
    return pose_from_quaternion(middle.tolist(), ((1 - share) * a + share * b).tolist())


def quaternion(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """3 x 3 rotation matrix to a (4,) unit quaternion x, y, z, w with w >= 0.

    The eigenvector of the largest eigenvalue of the symmetric matrix of Bar-Itzhack (2000), stable for every angle.
    """
    m = matrix
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    vector = np.linalg.eigh(k)[1][:, -1]
    return vector if vector[3] >= 0 else -vector


OPTICAL_IN_BODY: Pose = np.ascontiguousarray(OPTICAL_FROM_BODY.T)
"""The optical frame (x right, y down, z forward) in a body frame (x forward, y left, z up), REP 103."""


def parse_extrinsic(text: str) -> Pose:
    """``x y z roll pitch yaw`` (metres, radians, fixed axes as in URDF) or ``x y z qx qy qz qw`` to a pose.

    Raises:
        BagError: not six or seven numbers.
    """
    try:
        values = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) not in (6, 7):
        raise BagError(f"an extrinsic is 'x y z roll pitch yaw' or 'x y z qx qy qz qw', got {text!r}")
    if len(values) == 7:
        return pose_from_quaternion(values[:3], values[3:])
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_rpy(*values[3:])
    pose[:3, 3] = values[:3]
    return pose
