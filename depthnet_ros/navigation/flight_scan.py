"""A scan as autopilots take it: MAVLink OBSTACLE_DISTANCE (330) by way of mavros, which passes a LaserScan on as it is.

A scan by REP 103 and 117 is not what mavros expects. It counts angles to the left, OBSTACLE_DISTANCE clockwise; and it
says +Inf for free and -Inf for too near, both of which mavros sends as unknown.

PX4 (its CollisionPrevention) keeps a map of bins of 10 degrees, which begin at multiples of that, clockwise from the
nose, and takes *one* distance for each: the first at or after where the bin begins. It would pass over finer rays. So
sectors of that width come out, which begin at the same multiples, by the angles of their middles. Later versions have
bins of 5 degrees and take whatever overlaps them, which such sectors suit, too; ArduPilot takes any. The first distance
is always unknown: the bin that begins before its angle wraps around, and PX4 would find it in no bin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError

_CM = 0.01  # in metres
_TRUNCATED = 0.002  # m; mavros multiplies by 100 and cuts: whole centimetres must not fall by one
_TOUCHING = 1e-3  # of a sector: a ray that reaches no farther into it has been put there by rounding
_FARTHEST_CM = 65_533  # distances are 16 bits: the two last values are free (max + 1) and unknown


@dataclass(frozen=True)
class FlightScan:
    """Sectors about the vehicle, clockwise from the nose (FRD).

    Attributes:
        angle_min_rad, angle_increment_rad: middle of the first sector, and from sector to sector, clockwise.
        ranges_m: (N,) float32; just beyond ``range_max_m``, which says "free", where nothing stands; NaN where it is
            not known.
        range_min_m, range_max_m: limits.
    """

    angle_min_rad: float
    angle_increment_rad: float
    ranges_m: NDArray[np.float32]
    range_min_m: float
    range_max_m: float


def flight_scan(
    ranges_m: NDArray[np.floating],
    angle_min_rad: float,
    angle_increment_rad: float,
    range_min_m: float,
    range_max_m: float,
    yaw_rad: float = 0.0,
    sector_deg: float = 10.0,
) -> FlightScan:
    """The same obstacles, as seen from above on a compass.

    A sector is as bad as the worst of the rays that reach into it: the nearest obstacle; else unknown, so where the
    scan covers only a part of it; else free.

    Args:
        ranges_m: (N,) by REP 117: +Inf free, -Inf too near, NaN unknown.
        angle_min_rad: of the first ray, growing to the left (REP 103).
        angle_increment_rad: from ray to ray, positive.
        range_min_m, range_max_m: what is nearer is told a centimetre beyond ``range_min_m``, since PX4 takes no notice
            of what is at its least distance; what is farther counts as free.
        yaw_rad: of the scan's frame in the vehicle, to the left.
        sector_deg: width of the sectors that come out, at least 5 (OBSTACLE_DISTANCE has 72).

    Raises:
        ConfigError: no ray, an increment that is not positive, limits that cross each other, or more than a turn.
    """
    count = len(ranges_m)
    if not count or not angle_increment_rad > 0 or not 0 <= range_min_m < range_max_m < math.inf:
        raise ConfigError(
            f"a scan needs rays, an angle_increment above 0 and range_min below range_max, got {count} rays, "
            f"{angle_increment_rad:g} rad, {range_min_m:g} and {range_max_m:g} m"
        )
    width = math.radians(sector_deg)
    middles = -(angle_min_rad + yaw_rad + angle_increment_rad * np.arange(count))[::-1] / width  # in sectors, clockwise
    half_ray = 0.5 * angle_increment_rad / width
    first = math.floor(middles[0] - half_ray + _TOUCHING) - 1  # one more, which stays unknown
    last = math.ceil(middles[-1] + half_ray - _TOUCHING)
    if (last - first) * width > 2 * math.pi + 1e-6:
        turned_deg = math.degrees(count * angle_increment_rad)
        raise ConfigError(f"a scan of less than a turn, by a sector, is needed, got {turned_deg:.0f} degrees")
    farthest_cm = min(math.floor(range_max_m / _CM + 0.5), _FARTHEST_CM)
    nearest_m = (math.floor(range_min_m / _CM + 0.5) + 1) * _CM + _TRUNCATED
    free_m = (farthest_cm + 1) * _CM + _TRUNCATED  # the message's own code for free: its max_distance + 1
    clockwise = np.asarray(ranges_m, dtype=np.float32)[::-1]
    near = np.where(clockwise <= range_max_m, np.maximum(clockwise, np.float32(nearest_m)), np.float32(np.inf))
    unknown = np.isnan(clockwise)
    ranges = np.full(last - first, np.nan, dtype=np.float32)
    for index in range(last - first):
        begins, ends = first + index, first + index + 1
        within = (middles + half_ray > begins + _TOUCHING) & (middles - half_ray < ends - _TOUCHING)
        covered = middles[0] - 2 * half_ray <= begins and ends <= middles[-1] + 2 * half_ray  # to half a ray
        if (nearest := near[within].min(initial=np.inf)) < np.inf:
            ranges[index] = nearest
        elif covered and not unknown[within].any():
            ranges[index] = free_m
    return FlightScan((first + 0.5) * width, width, ranges, range_min_m, farthest_cm * _CM + _TRUNCATED)
