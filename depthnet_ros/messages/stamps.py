"""Stamps of messages."""

from __future__ import annotations

from typing import Any

from depthnet_ros.errors import MessageError


def stamp_ns(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def header_stamp_ns(message: Any) -> int:
    """The stamp of a message's header in nanoseconds.

    Raises:
        MessageError: the message has no header.
    """
    try:
        stamp = message.header.stamp
    except AttributeError:
        kind = getattr(message, "__msgtype__", type(message).__name__)
        raise MessageError(f"{kind} has no header with a stamp") from None
    return stamp_ns(stamp)
