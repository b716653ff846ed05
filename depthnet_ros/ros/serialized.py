"""Publishing from serialised memory, past rclpy's conversions, which cost a large message two copies and the GIL.

``rcl_publish_serialized_message`` is C, so it is called by ctypes: with the GIL released, and without the copy to
``bytes`` that :meth:`rclpy.publisher.Publisher.publish` asks for. Every middleware has it; where the library cannot be
found, or says no, messages go the ordinary way.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from depthnet_ros.geometry.cloud import WHOLE_POINTS

_LITTLE_ENDIAN_CDR = b"\x00\x01"
_STAMP_OFFSET = 4  # after the four bytes of encapsulation: a message that begins with its header begins with its stamp
_MARK = bytes(range(1, 17))

PublishFunction = Callable[[int, Any, None], int]


class _Array(ctypes.Structure):
    """``rcl_serialized_message_t``, which is ``rcutils_uint8_array_t``."""

    _fields_ = (
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("allocator", ctypes.c_void_p * 5),
    )


@lru_cache(maxsize=1)
def publish_function() -> PublishFunction | None:
    """``rcl_publish_serialized_message`` of the library that rclpy has loaded; None where it cannot be found."""
    try:
        maps = Path("/proc/self/maps").read_text()
        path = next(iter(re.findall(r"\s(/\S*/librcl(?:-[0-9a-f]+)?\.so[.0-9]*)$", maps, re.MULTILINE)))
        function = ctypes.CDLL(path).rcl_publish_serialized_message
    except (OSError, AttributeError, StopIteration):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Array), ctypes.c_void_p)
    function.restype = ctypes.c_int
    return function


class SerializedMessage:
    """One message as bytes (CDR), whose payload and stamp are changed in place.

    Attributes:
        payload: the bytes of the field ``data``; empty where the message has none.

    Raises:
        ValueError: the middleware serialises in another way than this relies on, or there is no
            :func:`publish_function`.
    """

    def __init__(self, message: Any, frame_id: str) -> None:
        """``message`` begins with a header; what it has in ``data`` is of its final length."""
        function = publish_function()
        if function is None:
            raise ValueError("rcl_publish_serialized_message is not found")
        self._function = function
        message.header = Header(frame_id=frame_id)
        data = payload_of(message)
        mark = _MARK[: len(data)]
        data[: len(mark)] = list(mark)
        serialized = serialize_message(message)
        start = serialized.find(mark)
        if serialized[:2] != _LITTLE_ENDIAN_CDR or start < 0 or start % 4 or start + len(data) > len(serialized):
            raise ValueError("messages are not serialised as little-endian CDR")
        self._bytes = _placed(serialized, start)
        self.payload: NDArray[np.uint8] = self._bytes[start : start + len(data)]
        self._array = _Array(self._bytes.ctypes.data, len(serialized), len(serialized))

    def publish(self, publisher: Publisher, header: Header) -> bool:
        """Hand the bytes to the middleware, which has copied them when this returns. False if it did not take them."""
        struct.pack_into("<iI", self._bytes.data, _STAMP_OFFSET, header.stamp.sec, header.stamp.nanosec)
        with publisher.handle:  # nobody destroys it meanwhile
            return self._function(publisher.handle.pointer, ctypes.byref(self._array), None) == 0


def payload_of(message: Any) -> NDArray[np.uint8]:
    """A view of the bytes in a message's field ``data``; empty where it has none."""
    data = getattr(message, "data", None)
    return np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)


def _placed(serialized: bytes, start: int) -> NDArray[np.uint8]:
    """The bytes, with those from ``start`` on beside the alignment of a cloud's points."""
    memory = np.empty(len(serialized) + WHOLE_POINTS, np.uint8)
    shift = (4 - memory.ctypes.data - start) % WHOLE_POINTS
    memory[shift : shift + len(serialized)] = np.frombuffer(serialized, np.uint8)
    return memory[shift : shift + len(serialized)]
