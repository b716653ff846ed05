"""flight_scan on a real graph: what is on the left of a scan is on the left of what mavros takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sensor_msgs.msg import LaserScan

from .graph import Graph, wait_until


def test_the_scan_is_turned_and_a_broken_one_is_told(graph: Graph):
    heard = graph.listen("/obstacle_scan", LaserScan)
    publisher = graph.node.create_publisher(LaserScan, "/scan", 2)
    process = graph.start({"sector_deg": 20.0}, "flight_scan")
    ranges = np.array([np.inf, np.inf, np.nan, np.nan, -np.inf, 4.0, 2.0, 3.0], np.float32)  # from right to left
    step = math.radians(10.0)
    scan = LaserScan(angle_min=-3.5 * step, angle_max=3.5 * step, angle_increment=step, range_min=0.2, range_max=5.0)
    scan.ranges.frombytes(ranges.tobytes())
    scan.header.frame_id = "camera"

    def send() -> bool:
        publisher.publish(scan)
        return bool(heard)

    wait_until(send, timeout_s=60.0)
    turned = heard[-1]
    assert turned.header.frame_id == "camera"
    assert np.array(turned.ranges) == pytest.approx([np.nan, 2.0, 0.212, np.nan, 5.012], abs=1e-3, nan_ok=True)
    assert (turned.angle_min, turned.angle_max) == pytest.approx((-5 * step, 3 * step), abs=1e-5)
    scan.angle_increment = 0.0
    publisher.publish(scan)
    process.wait_for_output("a scan needs rays", timeout_s=20.0)
