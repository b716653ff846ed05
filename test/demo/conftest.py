from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="no ROS: neither an installation nor its Python wheels")

from ..ros.graph import Graph


@pytest.fixture
def graph(ros_domain: int) -> Iterator[Graph]:
    graph = Graph(ros_domain)
    yield graph
    graph.close()
