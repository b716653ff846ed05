"""The robot's own sensors coming in: messages to anchors of metric scale, tied to the camera by TF or by parameters."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs import msg as sensor_msgs

from depthnet_ros.errors import DepthNetError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.messages.anchors import SensorNames, anchor_from_message
from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.metric_scale import (
    SOURCES,
    AnchorError,
    GroundPlane,
    MetricScaleConfig,
    MetricScaler,
    OutOfViewError,
    ScaleMode,
    mounted,
)
from depthnet_ros.ros.camera_input import prefixed
from depthnet_ros.ros.qos import best_effort
from depthnet_ros.ros.rclpy_private import take_waiting
from depthnet_ros.ros.transforms import TransformLookup

_LOG_PERIOD_S = 10.0


def message_type(source: str) -> Any:
    """The class of the messages of a source of metric scale."""
    return getattr(sensor_msgs, SOURCES[source].rpartition("/")[2])


class SensorPoses:
    """Poses of sensors in the camera's optical frame, and of the ground: from TF where it is there, else parameters."""

    def __init__(self, config: MetricScaleConfig, transforms: TransformLookup | None) -> None:
        self.config = config
        self._transforms = transforms

    def lookup(self, source: str, sensor_frame: str, camera_frame: str, stamp: Any) -> NDArray[np.float64]:
        """(4, 4) from the sensor's frame to the camera's optical frame.

        Raises:
            AnchorError: TF does not know the frames and ``scale.<source>_pose`` is left at its default; or it knows
                them, but of another time than the stamp's.
        """
        given = getattr(self.config, f"{source}_pose")
        if self._transforms is None:
            return mounted(source, given)
        found = self._transforms.find(camera_frame, sensor_frame, stamp, self.config.source_timeout_s)
        if found is not None:
            return found
        if any(given):
            return mounted(source, given)
        raise AnchorError(
            f"TF has no transform from {sensor_frame!r} to {camera_frame!r}: publish one, or set scale.{source}_pose "
            "(sensor exactly at the camera: scale.use_tf false)"
        )

    def ground(self, camera_frame: str, stamp: Any, may_wait: bool = True) -> GroundPlane | None:
        """The plane z = 0 of ``scale.ground_frame`` as the camera sees it; None where none is named. ``may_wait``: for
        TF's transform of the stamp; the executor's thread must not.

        Raises:
            AnchorError: TF is off or not installed, or does not know the frames at that time.
            ConfigError: the camera is not above that plane.
        """
        config = self.config
        if not config.ground_frame or config.ground_height_m > 0:
            return None
        if self._transforms is None:
            raise AnchorError(
                "scale.ground_frame needs scale.use_tf and an installed tf2_ros: set scale.ground_height_m and "
                "scale.ground_pitch_rad instead"
            )
        wait_s = config.tf_timeout_s if may_wait else 0.0
        found = self._transforms.find(config.ground_frame, camera_frame, stamp, config.source_timeout_s, wait_s)
        if found is None:
            raise AnchorError(
                f"TF has no transform from {camera_frame!r} to scale.ground_frame {config.ground_frame!r}"
            )
        return GroundPlane.from_pose(found, config.ground_height_sigma, config.ground_tilt_sigma_rad)

    def note(self, source: str) -> str:
        """What to tell of a sensor that is taken to sit at the camera only because nothing says otherwise, else ""."""
        config = self.config
        if self._transforms is not None or not config.use_tf or any(getattr(config, f"{source}_pose")):
            return ""
        return (
            f"no TF (tf2_ros is not installed) and scale.{source}_pose is not set: the sensor is taken to sit at the "
            "camera; set the pose, or scale.use_tf to false if it does"
        )

    def forget(self) -> None:
        """Time jumped: what TF said of moving frames holds no more."""
        if self._transforms is not None:
            self._transforms.forget()


class ScaleInputs:
    """Subscriptions ``anchors/<source>`` of one camera, in mode anchors; the ground from TF in every mode.

    Readings are received by the executor's thread, and by the worker's before it looks at a frame: a sonar's that came
    while the network was at work would else wait for the executor, which yields to the network, and miss its frame.
    """

    def __init__(
        self,
        node: LifecycleNode,
        prefix: str,
        config: MetricScaleConfig,
        transforms: TransformLookup | None,
        rectified: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        sensor_names: SensorNames,
    ) -> None:
        """``transforms``: TF, which outlives this, as ``sensor_names`` does; None where it is off or not installed.
        ``rectified``: as :func:`anchor_from_message` takes it.
        """
        self._node, self._rectified = node, rectified
        self._poses = SensorPoses(config, transforms)
        self._lock = threading.Lock()
        self._receiving = threading.RLock()
        self._view: tuple[MetricScaler, PinholeCamera, str] | None = None
        self.waited_s = 0.0
        """How long the last frame waited for TF."""
        self.problems: dict[str, str] = {}
        """The last complaint about each source, for diagnostics; gone with its next usable reading."""
        self._logged_s: dict[str, float] = {}
        self.topics: dict[str, str] = {}
        """The full topic of each source after remapping."""
        self._subscriptions: list[tuple[str, Subscription]] = []
        self._sensor_name = sensor_names
        self._in_view: defaultdict[str, set[str]] = defaultdict(set)
        self._out_of_view: defaultdict[str, set[str]] = defaultdict(set)
        """Sensors of each source: of a ring some always look elsewhere."""
        for source in config.sources if config.scale_mode is ScaleMode.ANCHORS else ():
            self._listen(source, prefixed(prefix, f"anchors/{source}"))

    def _listen(self, source: str, name: str) -> None:
        """Subscribe by the name as it is before remapping: rcl would remap a resolved one a second time.

        What the node says itself is no sensor: a scale taken from it confirms whatever it is, for ever.
        """
        topic = self.topics[source] = self._node.resolve_topic_name(name)
        if topic in {publisher.topic_name for publisher in self._node.publishers}:
            self.problems[source] = (
                f"not used: {topic} is an output of this node itself; remap that one, too (scan:=depth/scan, say)"
            )
            self._node.get_logger().error(f"{name}: {self.problems[source]}")
            return
        options = QoSOverridingOptions.with_default_policies()
        receive = partial(self.receive, source)
        subscription = self._node.create_subscription(
            message_type(source), name, receive, best_effort(5), qos_overriding_options=options
        )
        self._subscriptions.append((source, subscription))

    def notes(self) -> list[tuple[str, str]]:
        """(source, what to tell) of sensors whose place is only assumed, and of topics on which nobody speaks."""
        notes = [(source, note) for source in self.topics if (note := self._poses.note(source))]
        for source, topic in self.topics.items():
            if source not in self.problems and self._node.count_publishers(topic) == 0:
                notes.append((source, f"nobody publishes {topic}: remap anchors/{source} to your sensor's topic"))
        return notes

    def configure(self, config: MetricScaleConfig) -> None:
        """Changed settings hold from the next reading on; what is listened to stays as it is."""
        self._poses.config = config

    def forget(self) -> None:
        """Time jumped back."""
        self._poses.forget()

    def look_through(
        self, scaler: MetricScaler, camera: PinholeCamera, frame_id: str, stamp: Any, may_wait: bool = True
    ) -> None:
        """From now on anchors are tied to this camera and given to this scaler. From the worker's thread. ``may_wait``:
        for the ground's transform of that stamp.
        """
        with self._lock:
            self._view = scaler, camera, frame_id
        with self._receiving:  # nor may the subscriptions go meanwhile
            for source, subscription in self._subscriptions:
                for message in take_waiting(subscription):
                    self.receive(source, message)
        start_s = time.monotonic()
        try:
            plane = self._poses.ground(frame_id, stamp, may_wait)
        except DepthNetError as error:
            self._complain("ground", "ground", str(error))
            if scaler.ground is not None:  # it was TF's: where the camera looks now is not known any more
                scaler.set_ground(None)
            return
        finally:
            self.waited_s = time.monotonic() - start_s
        self.problems.pop("ground", None)
        if plane is not None and not plane.same_as(scaler.ground):
            scaler.set_ground(plane)

    def receive(self, source: str, message: Any) -> None:
        """A sensor's message to the scaler that is looked through; what is wrong with it goes into ``problems``."""
        with self._receiving:
            self._receive(source, message)

    def _receive(self, source: str, message: Any) -> None:
        with self._lock:
            view = self._view
        if view is None:  # no image yet: nothing to tie it to
            return
        scaler, camera, camera_frame = view
        header = message.header
        sensor = self._sensor_name(source, header.frame_id)
        try:
            pose = self._poses.lookup(source, header.frame_id, camera_frame, header.stamp)
            config, rectified = self._poses.config, self._rectified
            scaler.add(anchor_from_message(source, message, camera, pose, config, rectified, sensor))
            self._sensor_name.usable.add(sensor)
            self._in_view[source].add(sensor)
            for one in (sensor, *self._out_of_view.pop(source, ())):
                self.problems.pop(one, None)
        except DepthNetError as error:
            known = sensor in self._sensor_name.usable
            scaler.hear(sensor if known else source, 1e-9 * stamp_ns(header.stamp), known)
            if isinstance(error, OutOfViewError):
                self._in_view[source].discard(sensor)
                if self._in_view[source]:
                    return
                self._out_of_view[source].add(sensor)
            self._complain(source, sensor, str(error))

    def _complain(self, source: str, sensor: str, problem: str) -> None:
        """Into diagnostics at once, into the log now and then: a sensor may send its mistake fifty times a second."""
        self.problems[sensor] = problem
        now_s = time.monotonic()
        if now_s - self._logged_s.get(sensor, -_LOG_PERIOD_S) >= _LOG_PERIOD_S:
            self._logged_s[sensor] = now_s
            what = "scale.ground_frame" if source == "ground" else self.topics[source]
            what += f" of {sensor.removeprefix(source).strip()}" if sensor != source else ""
            self._node.get_logger().warning(f"{what}: {problem}")

    def destroy(self) -> None:
        """Take the subscriptions off the graph."""
        with self._receiving:
            subscriptions, self._subscriptions = self._subscriptions, []
        for _, subscription in subscriptions:
            self._node.destroy_subscription(subscription)
