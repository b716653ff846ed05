"""/diagnostics: one status for the network and one for each camera."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions

from depthnet_ros.ros.frame_statistics import FrameStatistics

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
Finding = tuple[bytes, str]
"""A level, and what to say."""
_SILENT_AFTER_S = 3.0


class DiagnosticsPublisher:
    """Publishes what it is given."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(
            DiagnosticArray, "/diagnostics", 1, qos_overriding_options=QoSOverridingOptions.with_default_policies()
        )

    def publish(self, statuses: Iterable[DiagnosticStatus]) -> None:
        """Send one array, stamped with the node's clock."""
        message = DiagnosticArray(status=list(statuses))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def status(name: str, level: bytes, message: str, values: Mapping[str, Any], hardware: str = "") -> DiagnosticStatus:
    """A DiagnosticStatus with its values as text."""
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware, values=pairs)


def worst(findings: Iterable[Finding], fine: str) -> Finding:
    """The highest level, and all messages joined, worst first."""
    ordered = sorted(dict.fromkeys(findings), key=lambda finding: finding[0], reverse=True)
    if not ordered:
        return OK, fine
    return ordered[0][0], "; ".join(message for _, message in ordered)


def statistics_values(statistics: FrameStatistics) -> dict[str, Any]:
    """Counters, last faults and percentiles in milliseconds, flat."""
    values: dict[str, Any] = {f"frames_{what.value}": count for what, count in sorted(statistics.counts().items())}
    for stage, percentiles in statistics.stages().items():
        values |= {f"{stage}_p{p}_ms": round(1e3 * seconds, 3) for p, seconds in percentiles.items()}
    age = statistics.output_age_s()
    if age is not None:
        values["output_age_s"] = round(age, 3)
    values |= {f"last_{what.value}": message for what, message in statistics.errors().items()}
    return values


def input_findings(received_age_s: float | None, topic: str, publishers: int) -> list[Finding]:
    """What to say of an input topic from which nothing comes."""
    if received_age_s is not None and received_age_s < _SILENT_AFTER_S:
        return []
    since = "yet" if received_age_s is None else f"for {received_age_s:.0f} s"
    if publishers == 0:
        return [(WARN, f"no image {since}: nobody publishes {topic} (remap image to your camera's topic)")]
    if received_age_s is None:
        seen = f"no image yet on {topic}, which has {publishers} publisher(s)"
        why = "another type (image_transport), an override of QoS? the driver needs config/fastdds.xml (README)"
        return [(WARN, f"{seen}: {why}")]
    return [(WARN, f"no image {since} on {topic}: the camera has stopped sending (its driver hangs, or is gone)")]


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
