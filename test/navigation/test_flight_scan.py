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


def px4_map(scan: FlightScan, bin_deg: int) -> dict[int, int]:
    """What PX4 keeps of it, by the bin's angle: one distance each (CollisionPrevention, BODY_FRD, from its source)."""
    distances = distances_cm(scan)[0]
    distances += [UNKNOWN] * (72 - len(distances))
    offset, increment = math.degrees(np.float32(scan.angle_min_rad)), math.degrees(np.float32(scan.angle_increment_rad))
    index = {angle: math.ceil((angle - offset) % 360.0 / increment) for angle in range(0, 360, bin_deg)}
    return {angle: distances[at] for angle, at in index.items()}  # IndexError: PX4 would read past the message


def at_deg(scan: FlightScan, clockwise_deg: float) -> int:
    """Distance of the sector that this direction lies in."""
    index = (math.radians(clockwise_deg) - scan.angle_min_rad) / scan.angle_increment_rad
    return distances_cm(scan)[0][round(index)]


def of(ranges: np.ndarray, **more: float) -> FlightScan:
    """A scan of 60 degrees, the first ray on the right as REP 103 has it."""
    step = math.radians(60.0) / len(ranges)
    return flight_scan(ranges.astype(np.float32), -math.radians(30.0) + 0.5 * step, step, 0.2, 5.0, **more)


@pytest.mark.parametrize("rays", [61, 72, 80, 200])
def test_what_stands_on_the_left_is_on_the_left(rays):
    ranges = np.full(rays, np.inf)
    ranges[-rays // 8 :] = 2.0  # angles grow to the left
    scan = of(ranges)
    assert (at_deg(scan, -25.0), at_deg(scan, 25.0)) == (200, 501)
    assert len(scan.ranges_m) == 7 and distances_cm(scan)[0][0] == UNKNOWN


@pytest.mark.parametrize("range_max_m", [5.0, 4.58, 7.2999, 0.29, 1000.0])
def test_free_too_near_and_unknown_each_have_their_code(range_max_m):
    """PX4 leaves out what is at min_distance, or nearer: too near is told a centimetre beyond."""
    ranges = np.repeat([np.inf, -np.inf, np.nan, 0.25, 0.2, 1e4], 4)
    step = math.radians(2.5)
    scan = flight_scan(ranges, -math.radians(30.0) + 0.5 * step, step, 0.2, range_max_m)
    distances, largest = distances_cm(scan)
    assert largest == min(round(100 * range_max_m), 65_533)
    assert distances[:0:-1] == [largest + 1, 21, UNKNOWN, 25, 21, largest + 1]


def test_what_stands_at_the_farthest_range_is_an_obstacle_and_a_step_beyond_it_is_none():
    farthest = np.float32(5.0)
    scan = of(np.array([farthest, np.nextafter(farthest, np.float32(9.0))]))
    assert distances_cm(scan)[0][1:] == [501] * 3 + [500] * 3


def test_a_sector_is_as_bad_as_the_worst_of_its_rays():
    ranges = np.array([np.inf, np.nan, 3.0, np.nan, np.inf, np.inf, -np.inf, 4.0])
    step = math.radians(5.0)
    scan = flight_scan(ranges, -math.radians(20.0) + 0.5 * step, step, 0.2, 5.0)
    assert distances_cm(scan)[0][1:] == [21, 501, 300, UNKNOWN]
    assert math.degrees(scan.angle_increment_rad) == pytest.approx(10.0)
    assert math.degrees(scan.angle_min_rad) == pytest.approx(-25.0)


def test_what_the_scan_covers_in_part_is_free_nowhere():
    scan = of(np.full(60, np.inf), sector_deg=25.0)
    assert distances_cm(scan)[0][1:] == [UNKNOWN, 501, 501, UNKNOWN]
    ranges = np.full(60, np.inf)
    ranges[0] = 2.0  # but what stands in it is told
    assert distances_cm(of(ranges, sector_deg=25.0))[0][1:] == [UNKNOWN, 501, 501, 200]


@pytest.mark.parametrize("bin_deg", [5, 10])
@pytest.mark.parametrize("yaw_deg", [0.0, 3.7, 90.0, -175.0])
def test_px4_s_map_has_every_ray_that_is_an_obstacle(bin_deg, yaw_deg):
    """With rays as fine as the scan's it would look at one in three, and past the end of the message."""
    rays = 80
    for index in range(rays):
        ranges = np.full(rays, np.inf)
        ranges[index] = 2.0
        bins = px4_map(of(ranges, yaw_rad=math.radians(yaw_deg)), bin_deg)
        near = [angle for angle, distance in bins.items() if distance == 200]
        clockwise = 30.0 - (index + 0.5) * 60.0 / rays - yaw_deg
        assert (
            near
            and min(abs((angle + 0.5 * bin_deg - clockwise + 180) % 360 - 180) for angle in near)
            < 10 - 0.5 * bin_deg + 0.5
        )


@pytest.mark.parametrize("rays", [5, 7, 72, 100])
def test_directions_stay_when_the_camera_looks_aside(rays):
    """Each obstacle alone, seen by a camera that is turned to the left by 40 degrees."""
    yaw = math.radians(40.0)
    for index in range(0, rays, max(1, rays // 9)):
        ranges = np.full(rays, np.inf)
        ranges[index] = 2.0
        scan = of(ranges, yaw_rad=yaw)
        step = math.radians(60.0) / rays
        left = -math.radians(30.0) + (index + 0.5) * step + yaw
        sectors = scan.angle_min_rad + np.flatnonzero(scan.ranges_m < 3.0) * scan.angle_increment_rad
        assert sectors.size and np.abs(sectors + left).max() < 0.5 * (scan.angle_increment_rad + step) + 1e-6


@pytest.mark.parametrize("bad", [([], 0.1, 5.0), ([1.0], 0.0, 5.0), ([1.0], 0.1, 0.1), ([1.0], 0.1, math.inf)])
def test_no_scan_is_an_error(bad):
    ranges, increment, largest = bad
    with pytest.raises(ConfigError, match="a scan needs rays"):
        flight_scan(np.array(ranges), 0.0, increment, 0.2, largest)


def test_more_than_a_turn_is_an_error():
    with pytest.raises(ConfigError, match="less than a turn, by a sector, is needed, got 400 degrees"):
        flight_scan(np.ones(400), 0.0, math.radians(1.0), 0.2, 5.0)


def test_the_guide_has_its_parameters():
    text = GUIDE.read_text()
    table = text.partition("<!-- flight_scan -->\n")[2].partition("<!-- end of flight_scan -->")[0]
    assert table == to_markdown(FLIGHT_PARAMETERS)
