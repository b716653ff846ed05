"""One camera's topics coming in: images paired with their camera_info and handed on, undecoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.ros.pairing import StampPairer
from depthnet_ros.ros.qos import best_effort
from depthnet_ros.ros.rclpy_private import take_waiting

_EXPIRE_PERIOD_S = 0.02


@dataclass(frozen=True)
class CameraFrame:
    """An image as it came, the camera_info of its stamp if there is one, and when it came (monotonic seconds).

    ``nearest_info_ns``: the nearest stamp of a camera_info, where there is none of the image's.
    """

    message: Image | CompressedImage
    info: CameraInfo | None
    stamp_ns: int
    received_s: float
    nearest_info_ns: int | None = None


class CameraInput:
    """Subscriptions of one camera; ``on_frame`` is called in the executor's thread.

    With a ``calibration``, that goes with every image, and there is no subscription to camera_info. ``on_lost`` is told
    how many images the middleware has lost since it was last told.

    ``info_received_s``: when the last camera_info came (monotonic seconds), None before the first. ``info_publishers``:
    how many published its topic when the last image came without it.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        parameters: Mapping[str, Any],
        on_frame: Callable[[CameraFrame], None],
        calibration: CameraInfo | None = None,
        on_lost: Callable[[int], None] = lambda count: None,
    ) -> None:
        """``parameters``: the node's, as they are at any time."""
        self._parameters, self._on_frame, self._calibration = parameters, on_frame, calibration
        self._pairer: StampPairer[CameraFrame, CameraInfo] = StampPairer()
        transport = parameters["image_transport"]
        image, info = image_name(node, prefix, transport), info_name(node, prefix, transport)
        self.image_topic: str = node.resolve_topic_name(image)
        self.info_topic: str = node.resolve_topic_name(info) if calibration is None else ""
        self.info_received_s: float | None = None
        self.info_publishers = 0
        self._node = node
        options = QoSOverridingOptions.with_default_policies()
        kind = CompressedImage if transport == "compressed" else Image
        lost = SubscriptionEventCallbacks(message_lost=lambda event: on_lost(event.total_count_change))
        self._images = node.create_subscription(
            kind, image, self._image, best_effort(1), event_callbacks=lost, qos_overriding_options=options
        )
        self._infos: Subscription | None = None
        if calibration is None:
            self._infos = node.create_subscription(
                CameraInfo, info, self._info, best_effort(10), qos_overriding_options=options
            )
        self._timer = node.create_timer(_EXPIRE_PERIOD_S, self._expire, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()  # runs only while an image waits

    def _image(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        stamp = stamp_ns(message.header.stamp)
        if self._calibration is not None:
            self._on_frame(CameraFrame(message, self._calibration, stamp, now))
            return
        if not self._pairer.has_info(stamp):
            self._take_infos()
        if not self._pairer.has_info(stamp):  # asking the graph costs a little: with most drivers it need not be
            self.info_publishers = int(self._node.count_publishers(self.info_topic))
        wait_s = self._parameters["camera_info_wait_s"] if self.info_publishers else 0.0
        self._emit(self._pairer.add_image(stamp, CameraFrame(message, None, stamp, now), now, wait_s))
        if self._pairer.is_waiting and self._timer.is_canceled():
            self._timer.reset()

    def _info(self, message: CameraInfo) -> None:
        stamp = stamp_ns(message.header.stamp)
        self.info_received_s = time.monotonic()
        self._emit(self._pairer.add_info(stamp, message))

    def _take_infos(self) -> None:
        """Those that have come: a busy executor would give them out one a round, long after their images."""
        for message in take_waiting(self._infos) if self._infos is not None else ():
            self._info(message)

    def _expire(self) -> None:
        self._take_infos()
        self._emit(self._pairer.expire(time.monotonic()))
        if not self._pairer.is_waiting:
            self._timer.cancel()

    def _emit(self, pairs: list[tuple[CameraFrame, CameraInfo | None]]) -> None:
        for frame, info in pairs:
            nearest = self._pairer.nearest(frame.stamp_ns) if info is None else None
            self._on_frame(replace(frame, info=info, nearest_info_ns=nearest))

    def reset(self) -> None:
        """The node's time jumped back: forget what is of before."""
        self._pairer.forget_after(int(self._node.get_clock().now().nanoseconds))

    def publishers(self) -> int:
        """How many publish the image topic now."""
        return int(self._node.count_publishers(self.image_topic))

    def destroy(self) -> None:
        """Take the subscriptions off the graph."""
        self._node.destroy_timer(self._timer)
        for subscription in filter(None, (self._images, self._infos)):
            self._node.destroy_subscription(subscription)


def prefixed(prefix: str, name: str) -> str:
    """A camera's topic name, relative to the node."""
    return f"{prefix}/{name}" if prefix else name


def image_name(node: Node, prefix: str, transport: str) -> str:
    """The name to subscribe to images by; ``image:=/front/image_raw`` moves ``image/compressed`` along with it.

    A name as it is before remapping, not a topic: rcl remaps every name it is given, a resolved one once more. The name
    of a topic beside a remapped one is full already; a rule for that very name holds for it, too.
    """
    image, compressed = prefixed(prefix, "image"), prefixed(prefix, "image/compressed")
    if transport == "raw":
        return image
    moved = _remapped(node, image)
    return compressed if not moved or _remapped(node, compressed) else f"{moved}/compressed"


def info_name(node: Node, prefix: str, transport: str) -> str:
    """The name to subscribe to camera_info by: the one beside the image where only the image is remapped."""
    name = prefixed(prefix, "camera_info")
    image = _remapped(node, prefixed(prefix, "image"))
    if transport == "compressed" and (compressed := _remapped(node, prefixed(prefix, "image/compressed"))):
        image = compressed.removesuffix("/compressed")
    return name if not image or _remapped(node, name) else f"{image.rsplit('/', 1)[0]}/camera_info"


def _remapped(node: Node, name: str) -> str:
    """The full topic that a rule gives to this name; empty where none does."""
    topic = str(node.resolve_topic_name(name))
    return topic if topic != node.resolve_topic_name(name, only_expand=True) else ""
