"""The robot's own sensors coming in: messages to anchors of metric scale, tied to the camera by TF or by parameters."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.time import Time
from sensor_msgs.msg import Image, LaserScan, PointCloud2, Range

from depthnet_ros.bags.anchors import anchor_from_message
from depthnet_ros.errors import DepthNetError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import AnchorError, GroundPlane, MetricScaleConfig, MetricScaler, optical_from_sensor
from depthnet_ros.metric_scale.pose import pose_from_quaternion
from depthnet_ros.ros.camera_input import prefixed
from depthnet_ros.ros.conversions import stamp_ns

KINDS: dict[str, type] = {"range": Range, "scan": LaserScan, "points": PointCloud2, "depth": Image}
_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class TransformLookup(Protocol):
    """Where frames lie to each other."""

    def find(self, target: str, source: str, stamp: Any) -> NDArray[np.float64] | None:
        """(4, 4) from ``source`` to ``target`` at the stamp, else the newest; None if it is not known."""
        ...


class TfLookup:
    """TF of the graph, by tf2_ros.

    Raises:
        ImportError: tf2_ros is not installed (the Python wheels of ROS have none).
    """

    def __init__(self, node: LifecycleNode) -> None:
        from tf2_ros import Buffer, TransformException, TransformListener

        self._buffer: Any = Buffer()
        self._listener = TransformListener(self._buffer, node)
        self._unknown: type[Exception] = TransformException

    def find(self, target: str, source: str, stamp: Any) -> NDArray[np.float64] | None:
        """See :class:`TransformLookup`."""
        for time in (Time.from_msg(stamp), Time()):
            try:
                transform = self._buffer.lookup_transform(target, source, time).transform
            except self._unknown:
                continue
            t, q = transform.translation, transform.rotation
            return pose_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
        return None


def tf_lookup(node: LifecycleNode, config: MetricScaleConfig) -> TransformLookup | None:
    """TF, or None where it is off or not installed: then parameters hold."""
    try:
        return TfLookup(node) if config.use_tf else None
    except ImportError:
        return None


class SensorPoses:
    """Poses of sensors in the camera's optical frame, and of the ground: from TF where it is there, else parameters."""

    def __init__(self, config: MetricScaleConfig, transforms: TransformLookup | None) -> None:
        self._config = config
        self._transforms = transforms

    def lookup(self, source: str, sensor_frame: str, camera_frame: str, stamp: Any) -> NDArray[np.float64]:
        """(4, 4) from the sensor's frame to the camera's optical frame.

        Raises:
            AnchorError: TF does not know the frames and ``scale.<source>_pose`` is left at its default.
        """
        given = getattr(self._config, f"{source}_pose")
        if self._transforms is None:
            return optical_from_sensor(given)
        found = self._transforms.find(camera_frame, sensor_frame, stamp)
        if found is not None:
            return found
        if any(given):
            return optical_from_sensor(given)
        raise AnchorError(
            f"TF knows no way from {sensor_frame!r} to {camera_frame!r}: publish it, set scale.{source}_pose, or for a "
            "sensor at the camera itself scale.use_tf to false"
        )

    def ground(self, camera_frame: str, stamp: Any) -> GroundPlane | None:
        """The plane z = 0 of ``scale.ground_frame`` as the camera sees it; None where none is named.

        Raises:
            AnchorError: TF is off or not installed, or does not know the frames.
            ConfigError: the camera is not above that plane.
        """
        config = self._config
        if not config.ground_frame or config.ground_height_m > 0:
            return None
        if self._transforms is None:
            raise AnchorError(
                "scale.ground_frame needs scale.use_tf and an installed tf2_ros: set scale.ground_height_m and "
                "scale.ground_pitch_rad instead"
            )
        found = self._transforms.find(config.ground_frame, camera_frame, stamp)
        if found is None:
            raise AnchorError(f"TF knows no way from {camera_frame!r} to scale.ground_frame {config.ground_frame!r}")
        return GroundPlane.from_pose(found, config.ground_height_sigma, config.ground_tilt_sigma_rad)


class ScaleInputs:
    """Subscriptions ``anchors/<source>`` of one camera. Callbacks run in the executor's thread."""

    def __init__(self, node: LifecycleNode, prefix: str, config: MetricScaleConfig) -> None:
        self._node, self._config = node, config
        self._poses = SensorPoses(config, tf_lookup(node, config))
        self._lock = threading.Lock()
        self._view: tuple[MetricScaler, PinholeCamera, str] | None = None
        self.problems: dict[str, str] = {}
        """The last complaint about each source, for diagnostics; gone with its next usable reading."""
        options = QoSOverridingOptions.with_default_policies()
        self.topics = {
            source: node.resolve_topic_name(prefixed(prefix, f"anchors/{source}")) for source in config.sources
        }
        self._subscriptions = [
            node.create_subscription(
                KINDS[source], topic, partial(self._receive, source), _QOS, qos_overriding_options=options
            )
            for source, topic in self.topics.items()
        ]

    def look_through(self, scaler: MetricScaler, camera: PinholeCamera, frame_id: str, stamp: Any) -> None:
        """From now on anchors are tied to this camera and given to this scaler. From the worker's thread."""
        with self._lock:
            self._view = scaler, camera, frame_id
        try:
            plane = self._poses.ground(frame_id, stamp)
        except DepthNetError as error:
            self.problems["ground"] = str(error)
            return
        self.problems.pop("ground", None)
        if plane is not None and not plane.same_as(scaler.ground):
            scaler.set_ground(plane)

    def _receive(self, source: str, message: Any) -> None:
        with self._lock:
            view = self._view
        if view is None:  # no image yet: nothing to tie it to
            return
        scaler, camera, camera_frame = view
        header = message.header
        try:
            pose = self._poses.lookup(source, header.frame_id, camera_frame, header.stamp)
            scaler.add(anchor_from_message(source, message, camera, pose, self._config))
            self.problems.pop(source, None)
        except DepthNetError as error:
            scaler.hear(source, 1e-9 * stamp_ns(header.stamp))
            self.problems[source] = str(error)

    def destroy(self) -> None:
        """Take the subscriptions off the graph."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
