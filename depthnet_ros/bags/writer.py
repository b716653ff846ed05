"""Recordings of ROS 2 written without ROS: mcap or sqlite3, a single file or a rosbag2 folder."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import MessageDefinition, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from depthnet_ros.bags.sources import Channel
from depthnet_ros.bags.types import same_layout, standard_types
from depthnet_ros.errors import BagError
from depthnet_ros.files import from_user

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
COMPRESSIONS = ("zstd", "none")
_SUFFIXES = {".mcap": "mcap", ".db3": "sqlite3"}
_METADATA_VERSION = 9
_FOREVER = QosTime(2147483647, 4294967295)
_LATCHED = ("/tf_static",)


def unfinished(path: Path) -> Path:
    """The folder in which a recording grows: what stays there of one that failed, any reader of recordings takes."""
    # rosbags names the file inside the folder after the folder, so the folder must bear the final name.
    return path.with_name(path.name + ".partial") / path.stem


class BagWriter:
    """Writes a new recording; use it in a ``with`` statement.

    ``path`` ending in .mcap or .db3 becomes that one file, anything else a rosbag2 folder. Until all is written it
    grows in :func:`unfinished`, which stays behind if writing fails: what an .mcap there holds can still be read.

    Args:
        path: must not exist yet.
        storage: ``mcap`` or ``sqlite3``; for a single file its suffix decides.
        compression: ``zstd`` (mcap chunks; sqlite3 messages need a folder) or ``none``.

    Raises:
        BagError: the path is taken, or a name is unknown, or the disk is full.
    """

    def __init__(self, path: str | Path, storage: str = "mcap", compression: str = "none") -> None:
        self.path = from_user(path)
        self._single = self.path.suffix in _SUFFIXES
        self.storage = _SUFFIXES.get(self.path.suffix, storage)
        if storage not in STORAGES:
            raise BagError(f"no storage named {storage!r}; there are {', '.join(STORAGES)}")
        if compression not in COMPRESSIONS:
            raise BagError(f"no compression named {compression!r}; there are {', '.join(COMPRESSIONS)}")
        if self.path.exists():
            raise BagError(f"{self.path} exists already: recordings are never overwritten")
        self._folder = unfinished(self.path)
        self.partial = self._folder.parent
        if self.partial.exists():
            raise BagError(f"{self.partial} is left from a run that failed: move or delete it first")
        self._writer: Any = Writer(self._folder, version=_METADATA_VERSION, storage_plugin=STORAGES[self.storage])
        if compression == "zstd" and not (self._single and self.storage == "sqlite3"):
            mode = CompressionMode.STORAGE if self.storage == "mcap" else CompressionMode.MESSAGE
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._connections: dict[tuple[str, str], Any] = {}
        self._copied: dict[Channel, Any] = {}
        self._defined: dict[str, MessageDefinition] = {}
        self._open = self._begun = False
        try:
            self._writer.open()
            self._open = True
        except OSError as error:
            raise BagError(f"cannot write a recording at {self.path}: {error.strerror or error}") from error

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        """Add a message of one of the standard types.

        Raises:
            BagError: the disk is full.
        """
        kind = message.__msgtype__
        if (topic, kind) not in self._connections:
            qos = [_latched()] if topic in _LATCHED else []
            self._connections[topic, kind] = self._writer.add_connection(
                topic, kind, typestore=standard_types(), offered_qos_profiles=qos
            )
        self._write(self._connections[topic, kind], time_ns, standard_types().serialize_cdr(message, kind))

    def copy(self, channel: Channel, time_ns: int, data: bytes) -> None:
        """Add a message as it is, with the definition of its type that came with it.

        Raises:
            BagError: as :meth:`refusals` has it, or the disk is full.
        """
        if channel not in self._copied:
            self._copied[channel] = self._add_copy(channel)
        self._write(self._copied[channel], time_ns, data)

    def close(self) -> None:
        """Finish the recording and put it in its place.

        Raises:
            BagError: the disk is full.
        """
        if not self._open:
            return
        self._open = False
        try:
            self._writer.close()
            made = next(self._folder.glob(f"*{self.path.suffix}")) if self._single else self._folder
            made.replace(self.path)
            shutil.rmtree(self.partial)
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error

    def abort(self) -> None:
        """Stop; what is written so far stays in :func:`unfinished`. Where that is nothing, the folder goes."""
        if self._open:
            self._open = False
            with suppress(Exception):  # the reason for stopping is what the caller is told
                self._writer.abort()
            if not self._begun:
                shutil.rmtree(self.partial, ignore_errors=True)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @classmethod
    def refusals(cls, channels: Iterable[Channel]) -> dict[Channel, str]:
        """Those of these channels whose messages cannot be copied, and why: not serialised as ROS 2 does, of a type
        that is neither defined nor standard, or of one that an earlier channel defines in another way.
        """
        defined: dict[str, MessageDefinition] = {}
        return {channel: why for channel in channels if (why := cls._refusal(channel, defined))}

    @staticmethod
    def _refusal(channel: Channel, defined: dict[str, MessageDefinition]) -> str:
        """Why messages of this channel cannot be copied; empty if they can, and ``defined`` has its type then."""
        if channel.encoding != "cdr":
            return f"{channel.topic} is serialised as {channel.encoding!r}, which a ROS 2 recording cannot hold"
        if not channel.definition.data and channel.msgtype not in standard_types().fielddefs:
            return f"{channel.topic}: {channel.msgtype} is not defined in the recording and not standard"
        if not same_layout(
            channel.msgtype, channel.definition, defined.setdefault(channel.msgtype, channel.definition)
        ):
            return (
                f"{channel.topic}: some messages are of another definition of {channel.msgtype} than those before, and "
                "a new recording can hold one"
            )
        return ""

    def _add_copy(self, channel: Channel) -> Any:
        if refusal := self._refusal(channel, self._defined):
            raise BagError(refusal)
        key = (channel.topic, channel.msgtype)
        if key in self._connections:
            return self._connections[key]
        options: dict[str, Any] = {"msgdef": channel.definition.data, "rihs01": channel.digest or "RIHS01_unknown"}
        if not channel.definition.data:
            options = {"typestore": standard_types()}
        self._connections[key] = self._writer.add_connection(
            channel.topic, channel.msgtype, offered_qos_profiles=list(channel.qos), **options
        )
        return self._connections[key]

    def _write(self, connection: Any, time_ns: int, data: Any) -> None:
        self._begun = True
        try:
            self._writer.write(connection, time_ns, data)
        except (OSError, sqlite3.Error) as error:
            self.abort()
            raise self._failure(error) from error

    def _failure(self, error: OSError | sqlite3.Error) -> BagError:
        reason = getattr(error, "strerror", None) or error
        return BagError(f"writing {self.path} failed: {reason}; what was written stays in {self._folder}")


def _latched() -> Qos:
    """Reliable and transient local, so that whoever subscribes later still gets /tf_static on replay."""
    return Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )
