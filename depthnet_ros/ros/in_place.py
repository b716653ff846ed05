"""Large messages published over and over from memory that is written in place: no allocation and no copy per frame."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle.publisher import LifecyclePublisher
from std_msgs.msg import Header

from depthnet_ros.ros.conversions import cloud_message, image_message
from depthnet_ros.ros.serialized import SerializedMessage, payload_of

_DTYPES = {"32FC1": "<f4", "16UC1": "<u2", "rgb8": "u1"}


class InPlacePublisher:
    """Fill what :meth:`pixels` or :meth:`points` returns, or :meth:`hold` a message; then :meth:`publish`.

    One thread at a time. The array is the message's own payload, made when the size or encoding changes; what it last
    held is still in it.
    """

    def __init__(self, publisher: LifecyclePublisher) -> None:
        self._publisher = publisher
        self._layout: tuple[Any, ...] = ()
        self._message: Any = None
        self._serialized: SerializedMessage | None = None
        self._payload: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._frame_id = ""

    def pixels(self, encoding: str, height: int, width: int) -> NDArray[Any]:
        """The (height, width) pixels of the next Image in 32FC1 or 16UC1, (height, width, 3) in rgb8."""
        shape = (height, width, 3) if encoding == "rgb8" else (height, width)
        if self._layout != (encoding, *shape):
            self._layout = (encoding, *shape)
            self._take(image_message(np.zeros(shape, _DTYPES[encoding]), encoding, Header()))
        return self._payload.view(_DTYPES[encoding]).reshape(shape)

    def points(self, height: int, width: int) -> NDArray[np.float32]:
        """The (height, width, 4) points of the next PointCloud2: x, y, z and rgb."""
        shape = (height, width, 4)
        if self._layout != shape:
            self._layout = shape
            self._take(cloud_message(np.zeros(shape, np.float32), Header()))
        return self._payload.view("<f4").reshape(shape)

    def hold(self, message: Any) -> None:
        """A message that stays the same but for its header."""
        if message is not self._message:
            self._layout = ()
            self._take(message)

    def _take(self, message: Any) -> None:
        self._message, self._serialized = message, None
        with suppress(ValueError):
            self._serialized = SerializedMessage(message, self._frame_id)
        self._payload = payload_of(message) if self._serialized is None else self._serialized.payload

    def publish(self, header: Header) -> None:
        """Hand the message to the middleware, which has copied it when this returns."""
        if not self._publisher.is_activated:
            return
        if self._serialized is not None and header.frame_id != self._frame_id:
            self._frame_id, filled = header.frame_id, self._payload
            self._take(self._message)
            self._payload[:] = filled
        if self._serialized is not None:
            if self._serialized.publish(self._publisher, header):
                return
            filled, self._serialized = self._payload, None
            self._payload = payload_of(self._message)
            self._payload[:] = filled
        self._message.header = header
        self._publisher.publish(self._message)
