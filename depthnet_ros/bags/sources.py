"""Where the raw messages of a recording come from: ``rosbags`` for whole files, a sequential scan for damaged mcap."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import zstandard
from mcap.records import Channel as McapChannel
from mcap.records import Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Rosbag1Reader
from rosbags.rosbag2 import Reader as Rosbag2Reader

from depthnet_ros.bags.types import changed_standards, standard_of

_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros1msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}
_RECORD_LIMIT_BYTES = 1 << 30
_EXAMPLES = 20  # the first may be empty lists, which fit anything
_NEVER_NS = (1 << 63) - 1
_ZSTD = b"\x28\xb5\x2f\xfd"
"""Begins what is compressed message by message: that it is says metadata.yaml alone, which may be lost. No serialised
message begins so."""


@dataclass(frozen=True)
class Channel:
    """One stream of messages of one type on one topic."""

    topic: str
    msgtype: str
    definition: MessageDefinition
    encoding: str
    digest: str = ""
    qos: tuple[Any, ...] = field(default=(), compare=False)


Raw = tuple[Channel, int, bytes]
"""Channel, time of recording in nanoseconds, serialised message."""


class Source(Protocol):
    """Raw messages of one file or folder, in the order of recording."""

    path: Path
    counts: dict[Channel, int]
    """Messages that each channel should have."""
    losses: list[str]
    """What could not be read, in words."""
    start_ns: int
    """When its first message was recorded; beyond all times where there is none."""
    packed: bool
    """Whether each message is known to be compressed by itself, and to be read with :func:`unpacked`."""

    def raw(self, topics: frozenset[str], start_ns: int | None, stop_ns: int | None) -> Iterator[Raw]:
        """Messages of ``topics`` recorded at or after ``start_ns`` and before ``stop_ns``."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class RosbagsSource:
    """A whole recording, read by ``rosbags``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        ros1 = path.suffix == ".bag" and path.is_file()
        self._reader: Any = Rosbag1Reader(path) if ros1 else Rosbag2Reader(path)
        self._reader.open()
        self.losses: list[str] = []
        self.counts: dict[Channel, int] = {}
        self.start_ns: int = self._reader.start_time
        self.packed = self._take_over_unpacking()
        self._take_declared_qos()
        self._channels: dict[int, Channel] = {}
        for connection in self._reader.connections:
            definition, digest = self._definition(connection)
            channel = Channel(
                connection.topic,
                connection.msgtype,
                definition,
                "ros1" if ros1 else connection.ext.serialization_format,
                "" if ros1 else digest,
                () if ros1 else tuple(connection.ext.offered_qos_profiles),
            )
            self._channels[connection.id] = channel
            self.counts[channel] = self.counts.get(channel, 0) + connection.msgcount

    def raw(self, topics: frozenset[str], start_ns: int | None, stop_ns: int | None) -> Iterator[Raw]:
        """As :class:`Source`."""
        wanted = [connection for connection in self._reader.connections if connection.topic in topics]
        if not wanted:  # rosbags takes an empty list for "all"
            return
        for connection, time_ns, data in self._reader.messages(wanted, start=start_ns, stop=stop_ns):
            yield self._channels[connection.id], time_ns, data

    def close(self) -> None:
        """As :class:`Source`."""
        self._reader.close()

    def _definition(self, connection: Any) -> tuple[MessageDefinition, str]:
        """A type's definition, and its hash. In sqlite3 there are none before Iron: where the standard type has changed
        since, its first messages tell which it is.
        """
        own: tuple[MessageDefinition, str] = connection.msgdef, connection.digest
        if own[0].format != MessageDefinitionFormat.NONE or not changed_standards(connection.msgtype):
            return own
        with suppress(Exception), closing(self._reader.messages([connection])) as stream:  # damage is told when read
            first = [unpacked(data, self.packed) for _, _, data in islice(stream, _EXAMPLES)]
            return standard_of(connection.msgtype, first)
        return own

    def _take_over_unpacking(self) -> bool:
        """Whether messages are compressed one by one. ``rosbags`` would end at the first that is damaged, and is told
        that they are not.
        """
        storage: Any = getattr(self._reader, "storage", None)
        if getattr(getattr(storage, "metadata", None), "compression_mode", None) != "message":
            return False
        storage.metadata = storage.metadata._replace(compression_mode=None)
        return True

    def _take_declared_qos(self) -> None:
        """Of a folder: metadata.yaml and files need not tell the same QoS (or hash of a type), as after a conversion.
        ``rosbags`` would find no message of such a topic; the files are told what metadata.yaml says.
        """
        for storage in getattr(getattr(self._reader, "storage", None), "storages", ()):
            for index, own in enumerate(storage.connections):
                declared = self._reader.connections
                same = [item for item in declared if (item.topic, item.msgtype) == (own.topic, own.msgtype)]
                if same and not any(item.ext == own.ext and item.digest in ("", own.digest) for item in same):
                    storage.connections[index] = own._replace(ext=same[0].ext, digest=same[0].digest)


class McapScan:
    """An mcap file that is cut short, unindexed or damaged: every message that is whole, in the order of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses: list[str] = []
        self.start_ns = _NEVER_NS
        self.packed = False
        self.counts: dict[Channel, int] = {}
        for channel, time_ns, _ in self._records(report=True):
            self.start_ns = min(self.start_ns, time_ns)
            self.counts[channel] = self.counts.get(channel, 0) + 1

    def raw(self, topics: frozenset[str], start_ns: int | None, stop_ns: int | None) -> Iterator[Raw]:
        """As :class:`Source`."""
        for channel, time_ns, data in self._records():
            early = start_ns is not None and time_ns < start_ns
            late = stop_ns is not None and time_ns >= stop_ns
            if channel.topic in topics and not early and not late:
                yield channel, time_ns, data

    def close(self) -> None:
        """Nothing is kept open between reads."""

    def _records(self, report: bool = False) -> Iterator[Raw]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            # The closing magic is not asked for: a file that lacks it is why this class exists.
            for record in self._whole_records(file, report, size):
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, McapChannel):
                    channels[record.id] = _channel(record, schemas.get(record.schema_id))
                elif isinstance(record, Message) and record.channel_id in channels:
                    yield channels[record.channel_id], record.log_time, record.data

    def _whole_records(self, file: Any, report: bool, size: int) -> Iterator[Any]:
        stream = StreamReader(file, emit_chunks=True, record_size_limit=_RECORD_LIMIT_BYTES)
        records = iter(stream.records)
        position = 0
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except Exception as error:  # whatever the damage makes of it: end of stream, struct, unicode, memory errors
                if report:
                    reason = str(error) or type(error).__name__
                    self.losses.append(
                        f"{self.path.name}: the last {size - position} of {size} bytes cannot be read ({reason})"
                    )
                return
            position = file.tell()
            if not isinstance(record, Chunk):
                yield record
                continue
            try:
                parts = breakup_chunk(record, validate_crc=True)
            except Exception as error:  # decompressors and parsers each raise their own
                if report:
                    self.losses.append(f"{self.path.name}: a chunk before byte {position} is damaged ({error})")
                continue
            yield from parts


def _channel(record: McapChannel, schema: Schema | None) -> Channel:
    if schema is None:
        return Channel(record.topic, "", MessageDefinition(MessageDefinitionFormat.NONE, ""), record.message_encoding)
    kind = _FORMATS.get(schema.encoding, MessageDefinitionFormat.NONE)
    name = schema.name if schema.name.count("/") != 1 else schema.name.replace("/", "/msg/")  # ROS 1 names
    definition = MessageDefinition(kind, schema.data.decode() if kind != MessageDefinitionFormat.NONE else "")
    return Channel(record.topic, name, definition, record.message_encoding)


def in_time(sources: list[Source], read: Callable[[Source], Iterator[Raw]]) -> Iterator[tuple[Source, Raw]]:
    """Messages of several sources in the order of recording, each with its source.

    A source is read from when its time comes: parts of a split recording follow each other, files of several recorders
    do not.
    """
    later = deque(sorted(sources, key=lambda source: source.start_ns))
    heads: list[tuple[int, int, Raw, Source, Iterator[Raw]]] = []

    def advance(order: int, source: Source, stream: Iterator[Raw]) -> None:
        if (head := next(stream, None)) is not None:
            heapq.heappush(heads, (head[1], order, head, source, stream))

    while heads or later:
        while later and (not heads or later[0].start_ns <= heads[0][0]):
            source = later.popleft()
            advance(len(sources) - len(later), source, read(source))
        if heads:
            _, order, head, source, stream = heapq.heappop(heads)
            yield source, head
            advance(order, source, stream)


def unpacked(data: bytes, packed: bool) -> bytes:
    """A serialised message, decompressed where it is ``packed`` or looks so.

    Raises:
        zstandard.ZstdError: what is compressed is damaged.
    """
    if not packed and data[:4] != _ZSTD:
        return data
    stream = zstandard.ZstdDecompressor().decompressobj()
    whole = stream.decompress(data)
    if not stream.eof:
        raise zstandard.ZstdError("it ends early")
    return whole


def is_mcap(path: Path) -> bool:
    """Whether the file begins as mcap does."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89MCAP0\r\n"
