"""Without rclpy none of these tests is run."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="no ROS: neither an installation nor its Python wheels")
