"""What an autopilot gets of a scan, by the arithmetic of mavros' obstacle_distance plugin (read from its sources)."""

import math
from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from depthnet_ros.navigation.flight_scan import FlightScan, flight_scan
from depthnet_ros.parameters import FLIGHT_PARAMETERS, to_markdown

UNKNOWN = 65535
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "navigation.md"


def distances_cm(scan: FlightScan) -> tuple[list[int], int]:
    """``distances`` and ``max_distance`` of OBSTACLE_DISTANCE, of no more than 72 rays."""
    values = [float(np.float32(value)) * 1e2 for value in scan.ranges_m]
    cm = [UNKNOWN if math.isnan(value) or value >= UNKNOWN or value < 0 else int(value) for value in values]
    assert len(cm) <= 72
    return cm, int(float(np.float32(scan.range_max_m)) * 1e2)


def at_deg(scan: FlightScan, clockwise_deg: float) -> int:
    """Distance in the direction that an autopilot looks for it."""
    index = (math.radians(clockwise_deg) - scan.angle_min_rad) / scan.angle_increment_rad
    return distances_cm(scan)[0][round(index)]


def of(ranges: np.ndarray, **more: float) -> FlightScan:
    """A scan of 60 degrees, the first ray on the right as REP 103 has it."""
    step = math.radians(60.0) / (len(ranges) - 1)
    return flight_scan(ranges.astype(np.float32), -math.radians(30.0), step, 0.2, 5.0, **more)


@pytest.mark.parametrize("rays", [61, 72, 80, 200])
def test_what_stands_on_the_left_is_on_the_left(rays):
    ranges = np.full(rays, np.inf)
    ranges[-rays // 4 :] = 2.0  # angles grow to the left
    scan = of(ranges)
    assert (at_deg(scan, -25.0), at_deg(scan, 25.0)) == (200, 501)


@pytest.mark.parametrize("range_max_m", [5.0, 4.58, 7.2999, 0.29])
def test_free_too_near_and_unknown_each_have_their_code(range_max_m):
    ranges = np.array([np.inf, -np.inf, np.nan, 0.25, 0.05, 9.0])
    scan = flight_scan(ranges, -0.5, 0.2, 0.2, range_max_m)
    distances, largest = distances_cm(scan)
    assert largest == round(100 * range_max_m)
    assert distances[::-1] == [largest + 1, 20, UNKNOWN, 25, 20, largest + 1]


def test_joined_rays_are_as_bad_as_the_worst():
    ranges = np.array([np.inf, np.nan, 3.0, np.nan, np.inf, np.inf, -np.inf, 4.0])
    scan = flight_scan(ranges, -0.7, 0.2, 0.2, 5.0, max_rays=4)
    assert distances_cm(scan)[0] == [20, 501, 300, UNKNOWN]
    assert scan.angle_increment_rad == pytest.approx(0.4)
    # The first of the new rays is the middle of the two leftmost.
    assert scan.angle_min_rad == pytest.approx(-0.6)


@pytest.mark.parametrize("rays", [5, 7, 72, 100])
def test_directions_stay_when_the_camera_looks_aside(rays):
    """Each obstacle alone, seen by a camera that is turned to the left by 40 degrees."""
    yaw = math.radians(40.0)
    for index in range(0, rays, max(1, rays // 9)):
        ranges = np.full(rays, np.inf)
        ranges[index] = 2.0
        scan = of(ranges, yaw_rad=yaw)
        found = int(np.flatnonzero(scan.ranges_m < 3.0)[0])
        clockwise = scan.angle_min_rad + found * scan.angle_increment_rad
        left = -math.radians(30.0) + index * math.radians(60.0) / (rays - 1) + yaw
        assert clockwise == pytest.approx(-left, abs=0.51 * scan.angle_increment_rad)


@pytest.mark.parametrize("bad", [([], 0.1, 5.0), ([1.0], 0.0, 5.0), ([1.0], 0.1, 0.1), ([1.0], 0.1, math.inf)])
def test_no_scan_is_an_error(bad):
    ranges, increment, largest = bad
    with pytest.raises(ConfigError, match="a scan needs rays"):
        flight_scan(np.array(ranges), 0.0, increment, 0.2, largest)


def test_the_guide_has_its_parameters():
    text = GUIDE.read_text()
    table = text.partition("<!-- flight_scan -->\n")[2].partition("<!-- end of flight_scan -->")[0]
    assert table == to_markdown(FLIGHT_PARAMETERS)
