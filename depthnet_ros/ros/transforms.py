"""Where frames lie to each other: TF of the graph, by tf2_ros where that is installed."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time

from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.messages.transforms import pose_of
from depthnet_ros.metric_scale import AnchorError, MetricScaleConfig, ScaleMode

_STILL_RAD, _STILL_M = 0.003, 0.005
"""Motion over the time that is missing that makes no difference: three metres away it lifts the floor by 1 cm."""
_POLL_S = 0.002


class TransformLookup(Protocol):
    """Where frames lie to each other."""

    def find(
        self, target: str, source: str, stamp: Any, tolerance_s: float, wait_s: float = 0.0
    ) -> NDArray[np.float64] | None:
        """(4, 4) from ``source`` to ``target`` at the stamp, or no longer than ``tolerance_s`` before or after; None if
        there is no way. Where the source's height or tilt over the target's plane z = 0 changes, waits for no longer
        than ``wait_s`` for the transform of the stamp, if that is behind by no more.

        Raises:
            AnchorError: the frames are connected, but not at any time near the stamp.
        """
        ...

    def forget(self) -> None:
        """Time jumped: what moved is not known any more."""
        ...

    def destroy(self) -> None:
        """Listen no more."""
        ...


class TfLookup:
    """TF of the graph, by tf2_ros.

    A moving transform is published later than the readings it belongs to. Who cannot wait for it takes the newest one
    instead, but only within a tolerance: when its publisher has died, a pose of long ago is no pose. The executor's
    thread, which receives transforms, must not wait. One listener serves all cameras, as each costs time with every
    transform of the robot.

    Raises:
        ImportError: tf2_ros is not installed (the Python wheels of ROS have none).
    """

    def __init__(self, node: LifecycleNode) -> None:
        from tf2_ros import Buffer, TransformException, TransformListener

        self._buffer: Any = Buffer()
        self._listener: Any = TransformListener(self._buffer, node)
        self._unknown: type[Exception] = TransformException

    def find(
        self, target: str, source: str, stamp: Any, tolerance_s: float, wait_s: float = 0.0
    ) -> NDArray[np.float64] | None:
        """See :class:`TransformLookup`."""
        wanted_ns = stamp_ns(stamp)
        if (found := self._pose(target, source, wanted_ns)) is not None:
            return found
        try:
            newest = self._buffer.lookup_transform(target, source, Time())
        except self._unknown:
            return None
        gap_s = 1e-9 * (wanted_ns - stamp_ns(newest.header.stamp))
        if abs(gap_s) > tolerance_s:
            relation = "older" if gap_s > 0 else "newer"
            raise AnchorError(
                f"TF's newest transform from {source!r} to {target!r} is {abs(gap_s):.3g} s {relation} than this "
                "stamp: is its publisher alive, and do both use the same clock?"
            )
        pose = pose_of(newest.transform)
        # A transform that is later than that will hardly come in time, nor will one whose publisher is dead.
        may_come = 0.0 < gap_s <= wait_s
        if may_come and self._sways(target, source, pose, stamp_ns(newest.header.stamp), gap_s):
            return self._awaited(target, source, wanted_ns, wait_s)
        return pose

    def _pose(self, target: str, source: str, at_ns: int) -> NDArray[np.float64] | None:
        """(4, 4) at that time, interpolated between transforms; 0: the newest. None if there is none."""
        try:
            return pose_of(self._buffer.lookup_transform(target, source, Time(nanoseconds=at_ns)).transform)
        except self._unknown:
            return None

    def _sways(self, target: str, source: str, newest: NDArray[np.float64], newest_ns: int, gap_s: float) -> bool:
        """The newest pose would stand in badly: over as long a time as is missing, height or tilt has changed."""
        before_ns = newest_ns - round(1e9 * gap_s)  # not above zero where simulated time has just begun
        if before_ns <= 0 or (before := self._pose(target, source, before_ns)) is None:
            return True
        change = np.abs(newest[2] - before[2])  # of the target's z axis as the source sees it, and of the height
        return bool((change > (_STILL_RAD, _STILL_RAD, _STILL_RAD, _STILL_M)).any())

    def _awaited(self, target: str, source: str, at_ns: int, wait_s: float) -> NDArray[np.float64] | None:
        """The pose at that time as soon as TF has it; the newest one if it does not come in time."""
        end_s = time.monotonic() + wait_s
        while time.monotonic() < end_s:
            time.sleep(_POLL_S)
            if (found := self._pose(target, source, at_ns)) is not None:
                return found
        return self._pose(target, source, 0)

    def forget(self) -> None:
        """See :class:`TransformLookup`. Static transforms stay: tf2 keeps them, and nobody would send them again."""
        self._buffer.clear()

    def destroy(self) -> None:
        """See :class:`TransformLookup`."""
        self._listener.unregister()


def tf_lookup(node: LifecycleNode, config: MetricScaleConfig) -> TransformLookup | None:
    """TF, or None where it is off, not needed or not installed: then parameters hold.

    There is no listener for who asks nothing of it.
    """
    asked = config.ground_frame or (config.sources and config.scale_mode is ScaleMode.ANCHORS)
    try:
        return TfLookup(node) if config.use_tf and asked else None
    except ImportError:
        return None
