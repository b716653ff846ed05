"""flight_scan: the node's scan as mavros takes it for PX4's and ArduPilot's OBSTACLE_DISTANCE."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import LaserScan

from depthnet_ros.errors import ConfigError
from depthnet_ros.navigation.flight_scan import flight_scan
from depthnet_ros.parameters import FLIGHT_PARAMETERS
from depthnet_ros.ros.node_parameters import NodeParameters
from depthnet_ros.ros.qos import best_effort, reliable

NODE_NAME = "flight_scan"
_LOG_PERIOD_S = 5.0


class FlightScanNode(Node):
    """``scan`` in, ``obstacle_scan`` out: remap the latter to ``/mavros/obstacle/send``."""

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        self.parameters = NodeParameters(self, FLIGHT_PARAMETERS)
        options = QoSOverridingOptions.with_default_policies()
        self._publisher = self.create_publisher(LaserScan, "obstacle_scan", reliable(2), qos_overriding_options=options)
        self.create_subscription(LaserScan, "scan", self._on_scan, best_effort(1), qos_overriding_options=options)

    def _on_scan(self, scan: LaserScan) -> None:
        try:
            turned = flight_scan(
                np.asarray(scan.ranges, dtype=np.float32),
                scan.angle_min,
                scan.angle_increment,
                scan.range_min,
                scan.range_max,
                self.parameters["yaw_rad"],
                self.parameters["sector_deg"],
            )
        except ConfigError as error:
            self.get_logger().error(str(error), throttle_duration_sec=_LOG_PERIOD_S)
            return
        message = LaserScan(
            header=scan.header,
            angle_min=turned.angle_min_rad,
            angle_max=turned.angle_min_rad + turned.angle_increment_rad * (len(turned.ranges_m) - 1),
            angle_increment=turned.angle_increment_rad,
            range_min=turned.range_min_m,
            range_max=turned.range_max_m,
        )
        message.ranges.frombytes(np.ascontiguousarray(turned.ranges_m, dtype="<f4").tobytes())
        self._publisher.publish(message)
