"""Large messages published over and over from memory that is written in place: no allocation and no copy per frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from std_msgs.msg import Header

from depthnet_ros.ros.conversions import cloud_message, image_message

_DTYPES = {"32FC1": "<f4", "16UC1": "<u2", "rgb8": "u1"}


class InPlacePublisher:
    """Fill what :meth:`pixels` or :meth:`points` returns, then :meth:`publish`. One thread at a time.

    The array is the message's own payload, made when the size or encoding changes; what it last held is still in it.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._layout: tuple[Any, ...] = ()
        self._message: Any = None
        self._values: NDArray[Any] = np.empty(0)

    def pixels(self, encoding: str, height: int, width: int) -> NDArray[Any]:
        """The (height, width) pixels of the next Image in 32FC1 or 16UC1, (height, width, 3) in rgb8."""
        shape = (height, width, 3) if encoding == "rgb8" else (height, width)
        if self._layout != (encoding, *shape):
            self._layout = (encoding, *shape)
            self._take(image_message(np.zeros(shape, _DTYPES[encoding]), encoding, Header()), shape, _DTYPES[encoding])
        return self._values

    def points(self, height: int, width: int) -> NDArray[np.float32]:
        """The (height, width, 4) points of the next PointCloud2: x, y, z and rgb."""
        shape = (height, width, 4)
        if self._layout != shape:
            self._layout = shape
            self._take(cloud_message(np.zeros(shape, np.float32), Header()), shape, "<f4")
        return self._values

    def _take(self, message: Any, shape: tuple[int, ...], dtype: str) -> None:
        self._message, self._values = message, np.frombuffer(message.data, dtype).reshape(shape)

    def publish(self, header: Header) -> None:
        """Hand the message to the middleware, which has copied it when this returns."""
        self._message.header = header
        self._publisher.publish(self._message)
