"""Where frames lie to each other: TF of the graph, by tf2_ros where that is installed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time

from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.messages.transforms import pose_of
from depthnet_ros.metric_scale import AnchorError, MetricScaleConfig, ScaleMode


class TransformLookup(Protocol):
    """Where frames lie to each other."""

    def find(self, target: str, source: str, stamp: Any, tolerance_s: float) -> NDArray[np.float64] | None:
        """(4, 4) from ``source`` to ``target`` at the stamp, or no longer than ``tolerance_s`` before or after; None if
        there is no way.

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

    A moving transform is published later than the readings it belongs to, so the newest one stands in for one that is
    not there yet, but only within a tolerance: when its publisher has died, a pose of long ago is no pose. One listener
    serves all cameras, as each costs time with every transform of the robot.

    Raises:
        ImportError: tf2_ros is not installed (the Python wheels of ROS have none).
    """

    def __init__(self, node: LifecycleNode) -> None:
        from tf2_ros import Buffer, TransformException, TransformListener

        self._buffer: Any = Buffer()
        self._listener: Any = TransformListener(self._buffer, node)
        self._unknown: type[Exception] = TransformException

    def find(self, target: str, source: str, stamp: Any, tolerance_s: float) -> NDArray[np.float64] | None:
        """See :class:`TransformLookup`."""
        try:
            return pose_of(self._buffer.lookup_transform(target, source, Time.from_msg(stamp)).transform)
        except self._unknown:
            pass
        try:
            newest = self._buffer.lookup_transform(target, source, Time())
        except self._unknown:
            return None
        gap_s = 1e-9 * (stamp_ns(stamp) - stamp_ns(newest.header.stamp))
        if abs(gap_s) > tolerance_s:
            relation = "older" if gap_s > 0 else "newer"
            raise AnchorError(
                f"TF's newest transform from {source!r} to {target!r} is {abs(gap_s):.3g} s {relation} than this "
                "stamp: is its publisher alive, and do both use the same clock?"
            )
        return pose_of(newest.transform)

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
