"""What a recording's sensors said, given to the scaler with the image that it belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.bags.options import Tally
from depthnet_ros.bags.pairing import JUMP_NS, PATIENCE_NS, NearestInTime, Stamped
from depthnet_ros.bags.transforms import TransformTree, sensor_pose
from depthnet_ros.errors import DepthNetError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.messages.anchors import SensorNames, anchor_from_message
from depthnet_ros.messages.stamps import header_stamp_ns
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler


class AnchorFeed:
    """Readings of all anchor topics, kept until their image comes, and no longer than its partners are waited for."""

    def __init__(
        self,
        topics: Mapping[str, str],
        config: MetricScaleConfig,
        transforms: TransformTree,
        tally: Tally,
        rectified: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    ) -> None:
        """``topics``: by source of metric scale; ``rectified``: as :func:`anchor_from_message` takes it."""
        self._rectified = rectified
        self._config, self._transforms, self._tally = config, transforms, tally
        self._kinds = {topic: kind for kind, topic in topics.items()}
        self._sensor_name = SensorNames()
        self._pending: list[tuple[str, Stamped]] = []
        self._used: Counter[str] = Counter()
        self._recorded: Counter[str] = Counter()
        self.heard = {topic: NearestInTime() for topic in self._kinds}
        """When each topic spoke, for images that wait for it."""

    def take(self, topic: str, reading: Stamped) -> None:
        """A message of any topic."""
        if topic in self._kinds:
            self._recorded[topic] += 1
            self._pending.append((topic, reading))
            self.heard[topic].add(replace(reading, message=None))

    def forget(self, stamp_ns: int) -> None:
        """Time ran back to ``stamp_ns``: what is not near it counts no more."""
        self._pending = [item for item in self._pending if abs(item[1].stamp_ns - stamp_ns) <= JUMP_NS]
        for near in self.heard.values():
            near.clear(stamp_ns)

    def give(self, image: Stamped, camera: PinholeCamera | None, scaler: MetricScaler) -> None:
        """All that was said up to an image; what is newer waits for its own.

        Without a camera nothing can be used, nor is it kept: a recording may hold a lidar's clouds of an hour.
        """
        limit_ns = image.stamp_ns + round(self._config.max_stamp_difference_s * 1e9)
        later = []
        for topic, reading in self._pending:
            kind = self._kinds[topic]
            if reading.stamp_ns <= limit_ns:
                self._use(topic, reading, image, camera, scaler)
            elif reading.time_ns >= image.time_ns - PATIENCE_NS:
                later.append((topic, reading))
            else:  # no image will come that it belongs to
                near = f"{1e-9 * PATIENCE_NS:g} s"
                self._tally.fault(f"anchor {kind} not used: stamped later than all images within {near} of it")
        self._pending = later

    def _use(
        self, topic: str, reading: Stamped, image: Stamped, camera: PinholeCamera | None, scaler: MetricScaler
    ) -> None:
        kind, message = self._kinds[topic], reading.message
        if camera is None:
            self._tally.fault(f"anchor {kind} not used: the image has no usable camera_info (--info, --intrinsics)")
            return
        sensor = self._sensor_name(kind, message.header.frame_id)
        try:
            pose = sensor_pose(kind, message, image.message.header.frame_id, self._transforms, self._config)
            scaler.add(anchor_from_message(kind, message, camera, pose, self._config, self._rectified, sensor))
            self._sensor_name.usable.add(sensor)
            self._used[topic] += abs(reading.stamp_ns - image.stamp_ns) <= 1e9 * self._config.source_timeout_s
        except DepthNetError as error:
            known = sensor in self._sensor_name.usable
            scaler.hear(sensor if known else kind, 1e-9 * header_stamp_ns(message), known)
            self._tally.fault(f"anchor {sensor} not used: {error}")

    def report_unused(self) -> None:
        """At the end: topics of which no reading was near an image in time."""
        for topic, kind in self._kinds.items():
            if self._recorded[topic] and not self._used[topic]:
                span = self.heard[topic].span_text
                self._tally.conclude(f"anchor {kind}: none of {self._recorded[topic]} readings was used; stamps {span}")
