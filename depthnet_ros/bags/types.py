"""Message types of a recording: from the definitions it holds, else from the standard ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from depthnet_ros.errors import BagError

Decoder = Callable[[bytes], Any]
ENCODINGS = ("cdr", "ros1")
"""Serialisations that can be read: that of ROS 2 and that of ROS 1."""
_IDL_SEPARATOR = "=" * 80 + "\n"


@cache
def standard_types() -> Any:
    """The typestore of ROS 2 Jazzy's standard messages, for writing and for recordings that define no types."""
    return get_typestore(Stores.ROS2_JAZZY)


@cache
def _ros1_types() -> Any:
    return get_typestore(Stores.ROS1_NOETIC)


@cache
def decoder(msgtype: str, definition: MessageDefinition, encoding: str) -> Decoder:
    """A function from the bytes of one message to an object with the type's fields.

    Each type gets a typestore of its own, so that one topic with a broken definition never hinders the others.

    Raises:
        BagError: the serialisation is not of ROS, or the type is neither defined in the recording nor a standard one.
    """
    if encoding not in ENCODINGS:
        raise BagError(f"messages of {msgtype} are serialised as {encoding!r}; expected one of {', '.join(ENCODINGS)}")
    store = _store_for(msgtype, definition, encoding)
    read = store.deserialize_ros1 if encoding == "ros1" else store.deserialize_cdr
    return lambda data: read(data, msgtype)


def same_layout(msgtype: str, one: MessageDefinition, other: MessageDefinition) -> bool:
    """Whether two definitions of a type, or the standard one where there is none, lay its messages out alike: comments
    and order of text make no difference.
    """
    if one == other:
        return True
    try:
        fields, others = (
            _definitions(msgtype, item) if item.data else standard_types().fielddefs for item in (one, other)
        )
    except (TypesysError, KeyError, ValueError):
        return False
    return all(fields[name][1] == others[name][1] for name in fields.keys() & others.keys())


def _store_for(msgtype: str, definition: MessageDefinition, encoding: str) -> Any:
    if definition.format == MessageDefinitionFormat.NONE:
        store = _ros1_types() if encoding == "ros1" else standard_types()
        if msgtype not in store.fielddefs:
            raise BagError(
                f"unknown message type {msgtype}: the recording holds no definition of it and it is no standard type. "
                "Record to mcap, which stores definitions, or choose another topic"
            )
        return store
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(_definitions(msgtype, definition))
        store.get_msgdef(msgtype)  # compiles it now: a nested type that nobody defines fails here, not at each message
    except (TypesysError, SerdeError, KeyError, ValueError) as error:
        raise BagError(f"the recording's definition of {msgtype} cannot be used: {error}") from error
    return store


def _definitions(msgtype: str, definition: MessageDefinition) -> dict[str, Any]:
    if definition.format == MessageDefinitionFormat.MSG:
        return dict(get_types_from_msg(definition.data, msgtype))
    if not definition.data.startswith(f"{_IDL_SEPARATOR}IDL: "):
        return dict(get_types_from_idl(definition.data))
    types: dict[str, Any] = {}
    for part in definition.data.split(_IDL_SEPARATOR)[1:]:
        types.update(get_types_from_idl(part.split("\n", 1)[1]))
    return types
