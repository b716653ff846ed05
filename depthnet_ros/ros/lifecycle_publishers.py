"""Publishers of one camera, made at configure and active with the node's lifecycle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos_overriding_options import QoSOverridingOptions

from depthnet_ros.ros.camera_input import prefixed
from depthnet_ros.ros.qos import reliable


class LifecyclePublishers:
    """One publisher for each topic, by the topic's name without the camera's prefix."""

    def __init__(self, node: LifecycleNode, prefix: str, topics: Mapping[str, type]) -> None:
        """``topics``: the type of each topic's messages."""
        self._node = node
        options = QoSOverridingOptions.with_default_policies()
        self._publishers = {
            name: node.create_lifecycle_publisher(
                kind, prefixed(prefix, name), reliable(2), qos_overriding_options=options
            )
            for name, kind in topics.items()
        }

    def __getitem__(self, name: str) -> Any:
        return self._publishers[name]

    def wanted(self) -> frozenset[str]:
        """Names of the topics that somebody subscribes to."""
        return frozenset(name for name, publisher in self._publishers.items() if publisher.get_subscription_count() > 0)

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
