"""Quality of service: a profile of its own for each publisher and subscription.

rclpy writes the overrides of ``qos_overrides.*`` into the profile that it is given. One that several share would take
the first one's override for all that are made after it.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy


def reliable(depth: int) -> QoSProfile:
    """For what planners take."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def best_effort(depth: int) -> QoSProfile:
    """For what sensors send: the newest counts."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def latched() -> QoSProfile:
    """For a state: who joins late gets the last one."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
