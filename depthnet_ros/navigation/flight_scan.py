"""A scan as autopilots take it: MAVLink OBSTACLE_DISTANCE (330) by way of mavros, which passes a LaserScan on as it is.

A scan by REP 103 and 117 is not what mavros expects. It counts angles to the left, OBSTACLE_DISTANCE clockwise; and it
says +Inf for free and -Inf for too near, both of which mavros sends as unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError

_CM = 0.01
_TRUNCATED = 0.002  # mavros multiplies by 100 and cuts: whole centimetres must not fall by one


@dataclass(frozen=True)
class FlightScan:
    """Rays about the vehicle, clockwise from the nose (FRD): metres, ``free_m`` where nothing stands, NaN unknown."""

    angle_min_rad: float
    angle_increment_rad: float
    ranges_m: NDArray[np.float32]
    range_min_m: float
    range_max_m: float
    free_m: float


def flight_scan(
    ranges_m: NDArray[np.floating],
    angle_min_rad: float,
    angle_increment_rad: float,
    range_min_m: float,
    range_max_m: float,
    yaw_rad: float = 0.0,
    max_rays: int = 72,
) -> FlightScan:
    """The same obstacles, as seen from above on a compass.

    Rays that are joined are as bad as the worst of them: the nearest obstacle; else unknown; else free.

    Args:
        ranges_m: (N,) by REP 117: +Inf free, -Inf too near, NaN unknown.
        angle_min_rad: of the first ray, growing to the left (REP 103).
        angle_increment_rad: from ray to ray, positive.
        range_min_m, range_max_m: what is nearer is told as ``range_min_m``; what is farther counts as free.
        yaw_rad: of the scan's frame in the vehicle, to the left.
        max_rays: at most so many come out.

    Raises:
        ConfigError: no ray, an increment that is not positive, or limits that cross each other.
    """
    count = len(ranges_m)
    if not count or not angle_increment_rad > 0 or not 0 <= range_min_m < range_max_m < math.inf:
        raise ConfigError(
            f"a scan needs rays, an angle_increment above 0 and range_min below range_max, got {count} rays, "
            f"{angle_increment_rad:g} rad, {range_min_m:g} and {range_max_m:g} m"
        )
    farthest_cm = math.floor(range_max_m / _CM + 0.5)
    free_m = (farthest_cm + 1) * _CM + _TRUNCATED  # the message's own code for free: its max_distance + 1
    clockwise = np.asarray(ranges_m, dtype=np.float32)[::-1]
    near = np.where(clockwise <= range_max_m, np.maximum(clockwise, np.float32(range_min_m + _TRUNCATED)), np.inf)
    joined = -(-count // max_rays)
    padded = -(-count // joined) * joined
    near = np.concatenate((near, np.full(padded - count, np.inf))).reshape(-1, joined).min(axis=1)
    unknown = np.concatenate((np.isnan(clockwise), np.zeros(padded - count, bool))).reshape(-1, joined).any(axis=1)
    empty = np.isposinf(near)
    ranges = np.where(empty & unknown, np.nan, np.where(empty, free_m, near)).astype(np.float32)
    first = -(angle_min_rad + (count - 1) * angle_increment_rad + yaw_rad)
    middle = first + 0.5 * (joined - 1) * angle_increment_rad
    limits = range_min_m, farthest_cm * _CM + _TRUNCATED
    return FlightScan(middle, joined * angle_increment_rad, ranges, *limits, free_m)
