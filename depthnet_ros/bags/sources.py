"""Where the raw messages of a recording come from: ``rosbags`` for whole files, :mod:`.mcap_scan` for damaged mcap."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import zstandard
from mcap.records import Chunk, Message
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Rosbag1Reader
from rosbags.rosbag2 import Reader as Rosbag2Reader

from depthnet_ros.bags.types import changed_standards, standard_of

T = TypeVar("T")
RECORD_LIMIT_BYTES = 1 << 30
_EXAMPLES = 20  # the first may be empty lists, which fit anything
NEVER_NS = (1 << 63) - 1
_DISORDER_NS = 200_000_000
"""Messages of an mcap are out of order by less: recorders write their queues one after the other."""
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
        self._read_without_index()
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

    @property
    def part_names(self) -> list[str]:
        """Of a folder: the names of the files that it reads, without the ending of those compressed as a whole."""
        return [Path(part.path).name for part in getattr(getattr(self._reader, "storage", None), "storages", ())]

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

    def _read_without_index(self) -> None:
        """Recorders may leave out any part of an mcap's index. Without its channels and schemas ``rosbags`` knows no
        topics or types, without an index of messages it skips chunks, and without one of chunks it wants messages in
        order: such files are read from their beginning.
        """
        storage: Any = getattr(self._reader, "storage", None)
        for part in getattr(storage, "storages", [storage]):
            chunks = getattr(part, "chunks", None)
            if chunks is None:
                continue
            if not chunks or not all(chunk.message_index_offsets for chunk in chunks):
                part.messages = partial(_without_index, part.path)
            counts = part.statistics.channel_message_counts
            known = {item.id for item in part.connections if item.msgtype != "__schemaless__"}
            if not counts or counts.keys() - known:
                part.connections.clear()
                part.meta_scan()
                counts = part.statistics.channel_message_counts
                part.connections[:] = [item._replace(msgcount=counts.get(item.id, 0)) for item in part.connections]
                if storage is not part:
                    _take_definitions(storage.connections, part.connections)

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


def _without_index(
    path: Path, connections: Collection[Any], start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[tuple[Any, int, bytes]]:
    """In place of ``rosbags``' reading of an mcap: its messages, found from its beginning."""
    wanted = {connection.id: connection for connection in connections}

    def found(file: BinaryIO) -> Iterator[tuple[Any, int, bytes]]:
        for record in StreamReader(file, emit_chunks=True, record_size_limit=RECORD_LIMIT_BYTES).records:
            parts = breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]
            for item in parts:
                if not isinstance(item, Message) or item.channel_id not in wanted:
                    continue
                if is_within(item.log_time, start_ns, stop_ns):
                    yield wanted[item.channel_id], item.log_time, item.data

    with path.open("rb") as file:
        yield from in_order(found(file))


def _take_definitions(declared: list[Any], found: list[Any]) -> None:
    """Of types that a folder's metadata.yaml names: what they are say its files."""
    definitions = {item.msgtype: item.msgdef for item in found if item.msgdef.format != MessageDefinitionFormat.NONE}
    for index, item in enumerate(declared):
        if item.msgdef.format == MessageDefinitionFormat.NONE and item.msgtype in definitions:
            declared[index] = item._replace(msgdef=definitions[item.msgtype])


def is_within(time_ns: int, start_ns: int | None, stop_ns: int | None) -> bool:
    """Whether a time is at or after ``start_ns`` and before ``stop_ns``; None: whenever."""
    return (start_ns is None or time_ns >= start_ns) and (stop_ns is None or time_ns < stop_ns)


def in_order(stream: Iterator[tuple[T, int, bytes]]) -> Iterator[tuple[T, int, bytes]]:
    """Messages sorted by their times, of which none comes more than ``_DISORDER_NS`` after a later one. An exception of
    the stream is raised after what came before it.
    """
    waiting: list[tuple[int, int, tuple[T, int, bytes]]] = []
    newest_ns, failure = 0, None
    for number in count():
        try:
            item = next(stream)
        except StopIteration:
            break
        except Exception as error:  # as damage raises it
            failure = error
            break
        heapq.heappush(waiting, (item[1], number, item))
        newest_ns = max(newest_ns, item[1])
        while waiting[0][0] <= newest_ns - _DISORDER_NS:
            yield heapq.heappop(waiting)[2]
            if not waiting:
                break
    while waiting:
        yield heapq.heappop(waiting)[2]
    if failure is not None:
        raise failure


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
