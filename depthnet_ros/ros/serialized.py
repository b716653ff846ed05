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
    """One large message as bytes (CDR), whose payload and stamp are changed in place.

    Raises:
        ValueError: the middleware serialises in another way than this relies on.
    """

    def __init__(self, message: Any, frame_id: str) -> None:
        """``message`` begins with a header and has its payload in ``data``, of its final length."""
        self.frame_id = frame_id
        message.header = Header(frame_id=frame_id)
        size, mark = len(message.data), _MARK[: len(message.data)]
        np.frombuffer(message.data, np.uint8)[: len(mark)] = list(mark)
        self._bytes = bytearray(serialize_message(message))
        start = self._bytes.find(mark)
        if self._bytes[:2] != _LITTLE_ENDIAN_CDR or start < 0 or start % 4 or start + size > len(self._bytes):
            raise ValueError("messages are not serialised as little-endian CDR")
        self.payload: NDArray[np.uint8] = np.frombuffer(self._bytes, np.uint8, size, start)
        self._memory = (ctypes.c_uint8 * len(self._bytes)).from_buffer(self._bytes)
        length = len(self._bytes)
        self._array = _Array(ctypes.addressof(self._memory), length, length)

    def publish(self, function: PublishFunction, publisher: Publisher, header: Header) -> bool:
        """Hand the bytes to the middleware, which has copied them when this returns. False if it did not take them."""
        struct.pack_into("<iI", self._bytes, _STAMP_OFFSET, header.stamp.sec, header.stamp.nanosec)
        with publisher.handle:  # nobody destroys it meanwhile
            return function(publisher.handle.pointer, ctypes.byref(self._array), None) == 0
