"""Message types of a recording: from the definitions it holds, else from the standard ones."""

from __future__ import annotations

from collections.abc import Callable, Collection
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
_DISTRIBUTIONS = (Stores.ROS2_JAZZY, Stores.ROS2_HUMBLE, Stores.ROS2_GALACTIC, Stores.ROS2_FOXY)
"""Between these a standard type may have changed. Newer ones write definitions into every recording."""


@cache
def standard_types() -> Any:
    """The typestore of ROS 2 Jazzy's standard messages, for writing and for types that a recording does not define and
    that have not changed.
    """
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


@cache
def changed_standards(msgtype: str) -> dict[str, Any]:
    """The definitions of a standard type that changed between distributions, each with a typestore that has it, the
    latest first; empty of one that did not change.
    """
    found: dict[str, Any] = {}
    for store in map(get_typestore, _DISTRIBUTIONS):
        if msgtype in store.fielddefs:
            found.setdefault(store.generate_msgdef(msgtype, ros_version=2)[0], store)
    return found if len(found) > 1 else {}


def standard_of(msgtype: str, examples: Collection[bytes]) -> tuple[MessageDefinition, str]:
    """Of :func:`changed_standards`, the definition that most of these serialised messages fit, and its hash; none, of
    format NONE, where there are no messages.
    """

    def fits(definition: str) -> int:
        return sum(_reads(standards[definition], data, msgtype) for data in examples)

    if not examples:
        return MessageDefinition(MessageDefinitionFormat.NONE, ""), ""
    standards = changed_standards(msgtype)
    best = max(standards, key=fits)
    return MessageDefinition(MessageDefinitionFormat.MSG, best), standards[best].hash_rihs01(msgtype)


def _reads(store: Any, data: bytes, msgtype: str) -> bool:
    try:
        store.deserialize_cdr(data, msgtype)
    except Exception:  # as generated decoders raise it
        return False
    return True


def same_layout(msgtype: str, one: MessageDefinition, other: MessageDefinition) -> bool:
    """Whether two definitions of a type, or the standard one where there is none, lay its messages out alike: comments
    and order of text make no difference.
    """
    if one == other:
        return True
    if changed_standards(msgtype) and not (one.data and other.data):  # of messages that there are not: see standard_of
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
