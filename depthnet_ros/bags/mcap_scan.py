"""mcap files that ``rosbags`` does not take: read from their beginning as far as they go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcap.records import Channel as McapChannel
from mcap.records import Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2.metadata import parse_qos

from depthnet_ros.bags.sources import NEVER_NS, RECORD_LIMIT_BYTES, Channel, Raw, in_order, is_within

_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros1msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}


class McapScan:
    """An mcap file that is cut short or damaged: every message that is whole, in the order of recording. Of one that is
    still being recorded, those that it has when it is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = path.stat().st_size
        self.losses: list[str] = []
        self.start_ns = NEVER_NS
        self.packed = False
        self.counts: dict[Channel, int] = {}
        for channel, time_ns, _ in self._records(report=True):
            self.start_ns = min(self.start_ns, time_ns)
            self.counts[channel] = self.counts.get(channel, 0) + 1
        if self._has_grown():
            self.losses.append(f"{path.name} is still being recorded: its first {self._size} bytes are read")

    def raw(self, topics: frozenset[str], start_ns: int | None, stop_ns: int | None) -> Iterator[Raw]:
        """As :class:`Source`."""
        wanted = (item for item in self._records() if item[0].topic in topics)
        return in_order(item for item in wanted if is_within(item[1], start_ns, stop_ns))

    def close(self) -> None:
        """Nothing is kept open between reads."""

    def _has_grown(self) -> bool:
        return self.path.stat().st_size > self._size

    def _records(self, report: bool = False) -> Iterator[Raw]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        with self.path.open("rb") as file:
            # The closing magic is not asked for: a file that lacks it is why this class exists.
            for record in self._whole_records(file, report):
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, McapChannel):
                    channels[record.id] = _channel(record, schemas.get(record.schema_id))
                elif isinstance(record, Message) and record.channel_id in channels:
                    yield channels[record.channel_id], record.log_time, record.data

    def _whole_records(self, file: Any, report: bool) -> Iterator[Any]:
        stream = StreamReader(file, emit_chunks=True, record_size_limit=RECORD_LIMIT_BYTES)
        records = iter(stream.records)
        position = 0
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except Exception as error:  # whatever the damage makes of it: end of stream, struct, unicode, memory errors
                if report and not self._has_grown():
                    reason, left = str(error) or type(error).__name__, self._size - position
                    self.losses.append(
                        f"{self.path.name}: the last {left} of {self._size} bytes cannot be read ({reason})"
                    )
                return
            position = file.tell()
            if position > self._size:
                return
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
    qos: tuple[Any, ...] = ()
    with suppress(Exception):  # what other writers keep there raises many kinds
        qos = tuple(parse_qos(record.metadata.get("offered_qos_profiles", "")))
    if schema is None:
        none = MessageDefinition(MessageDefinitionFormat.NONE, "")
        return Channel(record.topic, "", none, record.message_encoding, qos=qos)
    kind = _FORMATS.get(schema.encoding, MessageDefinitionFormat.NONE)
    name = schema.name if schema.name.count("/") != 1 else schema.name.replace("/", "/msg/")  # ROS 1 names
    definition = MessageDefinition(kind, schema.data.decode() if kind != MessageDefinitionFormat.NONE else "")
    return Channel(record.topic, name, definition, record.message_encoding, qos=qos)


def is_mcap(path: Path) -> bool:
    """Whether the file begins as mcap does."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89MCAP0\r\n"
