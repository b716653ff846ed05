"""The processes of the demo: camera_replay and depthnet_node, on a graph of their own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from depthnet_ros.errors import ConfigError
from depthnet_ros.middleware import room_for_images

_DOMAINS = (*range(40, 100), *range(1, 40))  # robots have low ones; ports beyond are those that systems hand out
_FIRST_PORT, _PORTS = 7400, 250
"""Of DDS's participants in domain 0, and how many each domain has (DDSI-RTPS 2.5, 9.6.2.3)."""
_END_S = 5.0


class GraphDomain:
    """A DDS domain in which nobody on this machine is, seen on this machine only; in the environment."""

    def __init__(self) -> None:
        self.id = 0
        self._lock: IO[str] | None = None

    def __enter__(self) -> GraphDomain:
        busy, folder = _busy_domains(), Path(tempfile.gettempdir())
        for domain in (domain for domain in _DOMAINS if domain not in busy):
            try:
                lock = (folder / f"depthnet_ros_domain_{domain}.lock").open("w")
            except OSError:  # another user's
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            self.id, self._lock = domain, lock
            os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
            os.environ.update(room_for_images()[0])
            return self
        raise ConfigError(
            "every DDS domain is in use on this machine, or its lock cannot be made: "
            f"end what runs there, or remove {folder}/depthnet_ros_domain_*.lock"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()


def _busy_domains() -> set[int]:
    """Domains in whose range of ports somebody on this machine listens."""
    ports: set[int] = set()
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        if table.is_file():
            rows = (line.split() for line in table.read_text().splitlines()[1:])
            ports |= {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 1}
    return {(port - _FIRST_PORT) // _PORTS for port in ports if port >= _FIRST_PORT}


class NodeProcess:
    """One executable of this package, its output in a file; runs within a ``with`` statement."""

    def __init__(
        self, executable: str, parameters: Mapping[str, Any], log: Path, remaps: Sequence[tuple[str, str]] = ()
    ) -> None:
        command = [sys.executable, "-m", "depthnet_ros.ros.run", executable, "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={json.dumps(value)}"]
        for name, topic in remaps:
            command += ["-r", f"{name}:={topic}"]
        self.name = executable
        self._command, self._log = command, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ended(self) -> int | None:
        """Its exit status, None while it runs and before."""
        return None if self._process is None else self._process.poll()

    def last_lines(self, count: int = 6) -> str:
        """The end of its output, indented."""
        lines = self._log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join("    " + line for line in lines) or "    (nothing was printed)"

    def __enter__(self) -> NodeProcess:
        """Start it.

        Raises:
            ConfigError: its log cannot be written.
        """
        try:
            with self._log.open("w") as file:
                self._process = subprocess.Popen(self._command, stdout=file, stderr=subprocess.STDOUT)
        except OSError as error:
            raise ConfigError(f"cannot start {self.name} with its log in {self._log}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
