"""Recordings of ROS 2 (mcap, sqlite3) and ROS 1 as one stream of messages, read in bounded memory."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import zstandard

from depthnet_ros.bags.mcap_scan import McapScan, is_mcap
from depthnet_ros.bags.remedies import no_room_to_unpack, remedy, unlisted_files, unread_files, unread_log
from depthnet_ros.bags.sources import Channel, Raw, RosbagsSource, Source, in_time, unpacked
from depthnet_ros.bags.types import decoder
from depthnet_ros.errors import BagError
from depthnet_ros.files import from_user, natural_key

_STORAGE_SUFFIXES = (".mcap", ".db3", ".bag")
_NO_ROOM = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
_GROWING = "still being recorded ({}): read it again when its recorder has ended"


class Topic(NamedTuple):
    """A topic of a recording; where it has messages of two types, those of the type that most of them are."""

    name: str
    msgtype: str
    message_count: int


class BagMessage(NamedTuple):
    """One message. ``time_ns`` is when it was recorded; the stamp of its header is :func:`header_stamp_ns`."""

    topic: str
    time_ns: int
    message: Any


_FOREIGN_SCHEMAS = ("jsonschema", "protobuf", "flatbuffer", "avro", "ros1msg", "unknown")
"""Encodings of schemas by the mcap specification beside ROS 2's own, and what rosbag2 writes of a type whose definition
it did not find, as of the events of services.
"""


class BagReader:
    """A recording: a rosbag2 folder, an .mcap, .db3 or ROS 1 .bag file. Use it in a ``with`` statement.

    A damaged recording is read as far as it goes; :attr:`losses` then says what is missing. It is complete only
    after :meth:`messages` has come to its end: some damage shows only there.

    Raises:
        BagError: no such file, not a recording, or no message at all can be read.
        ConfigError: ``~name`` of nobody.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = from_user(path)
        self._notes: list[str] = []
        self._shortfalls: dict[str, str] = {}
        self._opened = self._file_states()
        self._sources = self._open()
        self.topics = self._list_topics()
        if not any(topic.message_count for topic in self.topics.values()):
            lost = f" ({'; '.join(self.losses)})" if self.losses else ""
            self.close()
            raise BagError(f"{self.path} holds no messages{lost}")

    @property
    def losses(self) -> list[str]:
        """What could not be read, in words; empty for a whole recording."""
        return [*self._notes, *(loss for source in self._sources for loss in source.losses), *self._shortfalls.values()]

    @property
    def size_bytes(self) -> int:
        """Of the file, or of all files in the folder: tells two recordings of one name apart."""
        return sum(size for size, _ in self._file_states().values())

    @property
    def is_ros1(self) -> bool:
        """Whether it is a recording of ROS 1."""
        return any(channel.encoding == "ros1" for channel in self.channels)

    @property
    def channels(self) -> list[Channel]:
        """Every stream of the recording, with its type's definition: what a copy must keep."""
        return list(dict.fromkeys(channel for source in self._sources for channel in source.counts))

    def topic(self, name: str) -> Topic:
        """The topic of that name.

        Raises:
            BagError: there is none; names those there are.
        """
        if name in self.topics:
            return self.topics[name]
        lines = "\n".join(f"  {item.name}  [{item.msgtype}]  {item.message_count}" for item in self.topics.values())
        raise BagError(f"{self.path} has no topic {name!r}; it has\n{lines}")

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Messages of these topics in the order of recording, from ``start_ns`` up to but not including ``stop_ns``.

        Raises:
            BagError: a topic is not there, or the type of one is unknown.
        """
        decoders = {}
        for channel in self.channels:
            if channel.topic in topics and channel.msgtype == self.topics[channel.topic].msgtype:
                decoders[channel] = decoder(channel.msgtype, channel.definition, channel.encoding)
        failed: Counter[str] = Counter()
        foreign: Counter[tuple[str, str]] = Counter()
        for channel, time_ns, data in self.raw(topics, start_ns, stop_ns):
            own = self.topics[channel.topic].msgtype
            if channel.msgtype != own:
                foreign[key := (channel.topic, channel.msgtype)] += 1
                self._shortfalls[f"type {key}"] = (
                    f"messages of {channel.topic} that are {channel.msgtype}, not {own}, left out: {foreign[key]}"
                )
                continue
            try:
                message = decoders[channel](data)
            except Exception as error:  # generated decoders raise whatever bad bytes make of them
                failed[channel.topic] += 1
                self._shortfalls[f"decode {channel.topic}"] = (
                    f"messages of {channel.topic} that do not fit their type {channel.msgtype}: "
                    f"{failed[channel.topic]} (last: {error!r})"
                )
                continue
            yield BagMessage(channel.topic, time_ns, message)

    def raw(self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None) -> Iterator[Raw]:
        """As :meth:`messages`, still serialised."""
        wanted = frozenset(self.topic(name).name for name in topics)
        whole = start_ns is None and stop_ns is None
        damaged: Counter[str] = Counter()
        streams = in_time(self._sources, lambda source: self._read(source, wanted, start_ns, stop_ns, whole))
        for source, (channel, time_ns, data) in streams:
            try:
                message = unpacked(data, source.packed)
            except zstandard.ZstdError as error:
                damaged[channel.topic] += 1
                self._shortfalls[f"zstd {channel.topic}"] = (
                    f"compressed messages of {channel.topic} that are damaged: {damaged[channel.topic]} (last: {error})"
                )
                continue
            yield channel, time_ns, message

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _list_topics(self) -> dict[str, Topic]:
        counts: dict[str, Counter[str]] = {}
        for source in self._sources:
            for channel, count in source.counts.items():
                counts.setdefault(channel.topic, Counter())[channel.msgtype] += count
        return {name: Topic(name, *counts[name].most_common(1)[0]) for name in sorted(counts)}

    def _open(self) -> list[Source]:
        if not self.path.exists():
            raise BagError(f"no recording at {self.path}")
        if self.path.is_file():
            source = self._open_file(self.path)
            self._note_logs([self.path])
            return [source]
        self._note_logs(self._parts())
        try:
            source = RosbagsSource(self.path)
        except Exception as error:  # rosbags raises many kinds on bad metadata and damaged parts
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise BagError(no_room_to_unpack(self.path)) from error
            return self._open_parts(_reason(error), _is_foreign(error))
        self._notes += unlisted_files(self.path, source.part_names)
        return [source]

    def _open_parts(self, reason: str, foreign: bool) -> list[Source]:
        """The files of a folder, one by one; ``reason``: why ``rosbags`` does not take it as a whole; ``foreign``: that
        is a schema alone, and nothing is lost.
        """
        files, unread = self._parts(), unread_files(self.path)
        if not files:
            hint = f"; {'; '.join(unread)}" if unread else ""
            raise BagError(
                f"{self.path} is no recording: {reason}. Expected a folder with metadata.yaml and .mcap or .db3 "
                f"files{hint}"
            )
        self._notes += unread
        if not (self.path / "metadata.yaml").is_file():
            reason = "no metadata.yaml: the recorder did not finish"
            if len(files) > 1:
                reason += ", or the files are of several"
        bags = all(file.suffix == ".bag" for file in files)  # of ROS 1, which writes no metadata.yaml
        if not foreign and not bags:
            self._notes.append(f"{self.path.name}: {reason}; its files were read one by one")
        sources = [source for source in map(self._open_part, files) if source]
        if not sources:
            raise BagError(f"{self.path}: none of its {len(files)} files can be read: {'; '.join(self._notes)}")
        return sources

    def _parts(self) -> list[Path]:
        """The files of a folder, in the order of recording."""
        return sorted((item for item in self.path.iterdir() if item.suffix in _STORAGE_SUFFIXES), key=natural_key)

    def _note_logs(self, files: list[Path]) -> None:
        self._notes += [log for file in files if (log := unread_log(file))]

    def _open_part(self, path: Path) -> Source | None:
        try:
            return self._open_file(path)
        except BagError as error:
            self._notes.append(str(error))
            return None

    def _open_file(self, path: Path) -> Source:
        if path.stat().st_size == 0:
            raise BagError(f"{path} is empty (0 bytes)")
        try:
            return RosbagsSource(path)
        except Exception as error:  # rosbags raises AssertionError, TypeError, struct.error and more on damage
            reason, foreign = _reason(error), _is_foreign(error)
        if not is_mcap(path):
            if self._is_growing():
                raise BagError(f"{path}: {_GROWING.format(reason)}")
            raise BagError(
                f"{path} cannot be read as a recording ({reason}){remedy(path, reason)}. Expected .mcap, .db3 or .bag"
            )
        if not foreign:
            self._notes.append(f"{path.name}: {reason} It was scanned from its beginning instead")
        return McapScan(path)

    def _read(
        self, source: Source, topics: frozenset[str], start_ns: int | None, stop_ns: int | None, whole: bool
    ) -> Iterator[Raw]:
        """``source.raw`` that survives damage: the rest of an mcap is scanned for, other files end there."""
        seen: Counter[Channel] = Counter()
        stream = source.raw(topics, start_ns, stop_ns)
        while True:
            try:
                item = next(stream)
            except StopIteration:
                break
            except Exception as error:  # as in _open_file
                self._note_damage(source.path, error)
                yield from self._rest(source.path, topics, start_ns, stop_ns, seen)
                break
            seen[item[0]] += 1
            yield item
        for channel, expected in source.counts.items():
            if whole and channel.topic in topics and seen[channel] < expected:
                where = f" in {source.path.name}" if len(self._sources) > 1 else ""
                self._shortfalls[f"count {source.path.name} {channel.topic}"] = (
                    f"{expected - seen[channel]} of {expected} messages of {channel.topic}{where} could not be read"
                )

    def _rest(
        self, path: Path, topics: frozenset[str], start_ns: int | None, stop_ns: int | None, seen: Counter[Channel]
    ) -> Iterator[Raw]:
        """What is left of a file, or of the files of a folder, after those messages of each channel that were ``seen``,
        which goes on counting.
        """
        files = [path] if path.is_file() else self._parts()
        names = {(channel.topic, channel.msgtype): channel for channel in self.channels}
        skip = Counter({(channel.topic, channel.msgtype): count for channel, count in seen.items()})
        for file in files:
            for channel, time_ns, data in self._rescan(file, topics, start_ns, stop_ns, alone=len(files) == 1):
                key = (channel.topic, channel.msgtype)
                if skip[key] > 0:
                    skip[key] -= 1
                    continue
                own = names.get(key, channel)
                seen[own] += 1
                yield own, time_ns, data

    def _rescan(
        self, file: Path, topics: frozenset[str], start_ns: int | None, stop_ns: int | None, alone: bool
    ) -> Iterator[Raw]:
        """What can be read of one file. Another format than mcap ends at its damage: only its other parts are read."""
        if is_mcap(file):
            yield from McapScan(file).raw(topics, start_ns, stop_ns)
        elif not alone:
            try:
                yield from RosbagsSource(file).raw(topics, start_ns, stop_ns)
            except Exception as error:  # as in _open_file
                self._note_damage(file, error)

    def _note_damage(self, path: Path, error: Exception) -> None:
        reason = _reason(error)
        what = f"damaged ({reason}){remedy(path, reason)}"
        if self._is_growing():
            what = _GROWING.format(reason)
        self._shortfalls[f"damage {path.name}"] = f"{path.name}: {what}"

    def _is_growing(self) -> bool:
        """Whether any file has changed since the recording was opened."""
        now = self._file_states()
        return any(now.get(file) != state for file, state in self._opened.items())

    def _file_states(self) -> dict[Path, tuple[int, int]]:
        """Size and time of the last change, in nanoseconds, of the file or of all files in the folder."""
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        return {item: (item.stat().st_size, item.stat().st_mtime_ns) for item in files if item.is_file()}


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _is_foreign(error: Exception) -> bool:
    """Whether a whole recording has a topic in a schema that rosbags does not know, as Foxglove's and others' have."""
    return isinstance(error, KeyError) and error.args[:1] in {(name,) for name in _FOREIGN_SCHEMAS}
