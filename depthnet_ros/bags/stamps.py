"""Stamps of messages, by their fields alone. No reader of recordings here: the node uses this, too."""

from __future__ import annotations

from typing import Any

from depthnet_ros.errors import BagError


def stamp_ns(message: Any) -> int:
    """The stamp of a message's header in nanoseconds.

    Raises:
        BagError: the message has no header.
    """
    try:
        stamp = message.header.stamp
    except AttributeError:
        kind = getattr(message, "__msgtype__", type(message).__name__)
        raise BagError(f"{kind} has no header with a stamp") from None
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
