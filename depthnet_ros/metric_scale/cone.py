"""A range finder's cone: *one* number about the nearest surface inside it, or that there is none.

An ultrasonic sensor does not say where in its cone the echo came from. The reading r means: the distance of every
surface in the cone is at least r, and of one it is r. On the spherical cap of radius r each direction i has a depth,
so the reading says ``q_i <= w_i`` for predicted inverse depth q and the cap's inverse depth w, with equality somewhere.
Which pixel that is follows from the prediction itself: the one where ``q - w`` is greatest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.anchors import DEFAULT_NOISE, AnchorError, OutOfViewError, PointAnchors, SensorNoise
from depthnet_ros.metric_scale.config import AnchorKind
from depthnet_ros.metric_scale.pose import transform

_RINGS, _SPOKES = 7, 16  # of samples over a cap
_TOP = 8  # samples that are averaged as "the nearest": a single pixel would follow the network's noise
_MIN_VISIBLE = 0.5  # share of a cone that the camera must see
_BEYOND = 0.1  # share by which a cap lies surely before or beyond a floor


class Reading(Enum):
    """What a range message says."""

    MEASURED = "measured"
    FARTHER = "farther"
    """Nothing nearer than the sensor's maximum: an inequality, not a number."""
    NEARER = "nearer"
    """Something nearer than the sensor's minimum: an inequality, not a number."""


@dataclass(frozen=True)
class RangeFinder:
    """Cone and limits of a range finder, as sensor_msgs/Range has them.

    Attributes:
        field_of_view_rad: full angle of the cone about the sensor's x axis.
        min_range_m, max_range_m: between which a range is a measurement; a sensor of fixed distance has them equal.
    """

    field_of_view_rad: float
    min_range_m: float
    max_range_m: float


@dataclass(frozen=True)
class ConeAnchor:
    """One reading of a range finder, as the samples of its cap that the camera sees.

    Attributes:
        u_px, v_px: (N,) pixels of the samples.
        inverse_depth: (N,) 1/m of the cap at the reading (or at the limit, if censored).
        variance: of ``inverse_depth``, (N,) in 1/m^2.
        reading: measured or censored.
        range_m: the reading or the limit.
        range_sigma_m: standard deviation of ``range_m``.
        stamp_s: time of the measurement.
        source: name for diagnostics.
    """

    u_px: NDArray[np.float64]
    v_px: NDArray[np.float64]
    inverse_depth: NDArray[np.float64]
    variance: NDArray[np.float64]
    reading: Reading
    range_m: float
    range_sigma_m: float
    stamp_s: float
    source: str = AnchorKind.RANGE.value

    def before(self, surface: NDArray[np.float64]) -> ConeAnchor | None:
        """Without the samples that a floor hides: a floor that is struck at a grazing angle sends no echo back, so
        hearing nothing of it, or something beyond it, does not mean that it is not there. None if no sample is left.

        Args:
            surface: (N,) inverse depth of the floor at the samples, 1/m; not positive where there is none.
        """
        # An echo may be the floor's own. Silence may only be held against what is clearly before it.
        sure = 1.0 + _BEYOND if self.reading is Reading.MEASURED else 1.0 - _BEYOND
        keep = np.flatnonzero(surface <= sure * self.inverse_depth)
        if len(keep) == len(surface):
            return self
        return self.only(keep) if len(keep) else None

    def only(self, keep: NDArray[np.intp]) -> ConeAnchor:
        """With the samples at these places alone."""
        arrays = {name: getattr(self, name)[keep] for name in ("u_px", "v_px", "inverse_depth", "variance")}
        return replace(self, **arrays)

    def resolve(self, relative: NDArray[np.float64], scale: float, shift: float) -> tuple[int, NDArray[np.intp]]:
        """Index of the sample nearest to the middle of the nearest surface, and the samples that make that surface.

        Args:
            relative: (N,) relative inverse depth of the network at the samples.
            scale: of the present estimate; any positive number where there is none.
            shift: of the present estimate, 1/m.
        """
        count = min(_TOP, len(relative))
        excess = scale * relative + shift - self.inverse_depth
        top = np.argpartition(excess, len(excess) - count)[len(excess) - count :]
        middle = top[np.argsort(excess[top])[count // 2]]
        return int(middle), top


Anchor = PointAnchors | ConeAnchor
"""What one reading of a sensor says of an image's depth."""


def from_range(
    range_m: float,
    sensor: RangeFinder,
    camera: PinholeCamera,
    camera_from_sensor: NDArray[np.float64],
    stamp_s: float,
    variance_m2: float = 0.0,
    noise: SensorNoise = DEFAULT_NOISE,
    source: str = AnchorKind.RANGE.value,
) -> ConeAnchor:
    """A range finder's reading to a cone anchor.

    Args:
        range_m: by REP 117 -Inf is "too near" and +Inf "no echo"; a reading at or beyond a limit counts as that, too.
            A sensor of fixed distance gives inequalities only.
        sensor: its cone and limits.
        camera: of the image that depth is predicted for.
        camera_from_sensor: (4, 4) transform into the optical frame.
        stamp_s: time of the measurement.
        variance_m2: of the reading, by the sensor itself; 0: it does not say.
        noise: of the reading where the sensor does not say.
        source: name for diagnostics.

    Raises:
        AnchorError: a reading that is NaN or negative, or limits or an angle that make no sense, or too little of the
            cone is in the image.
        OutOfViewError: none of it is.
    """
    nearest_m, farthest_m, angle_rad = sensor.min_range_m, sensor.max_range_m, sensor.field_of_view_rad
    if not 0 < farthest_m < math.inf or not 0 <= nearest_m <= farthest_m:
        raise AnchorError(f"{source}: limits must be 0 <= min <= max, got {nearest_m} .. {farthest_m} m")
    if not 0 < angle_rad < math.pi:
        raise AnchorError(f"{source}: field_of_view must lie within 0 .. pi rad, got {angle_rad}: set it in the driver")
    reading, reach = _read(range_m, nearest_m, farthest_m, source)
    directions = _cap(0.5 * angle_rad)
    points = transform(camera_from_sensor, reach * directions)
    pixels = camera.project(points)
    visible = camera.contains(pixels[:, 0], pixels[:, 1])
    if visible.mean() < _MIN_VISIBLE:
        fault = AnchorError if visible.any() else OutOfViewError
        raise fault(
            f"{source}: the camera sees {visible.mean():.0%} of the cone at {reach:.2f} m; at least {_MIN_VISIBLE:.0%} "
            "is needed, or the echo may come from outside the image: check the sensor's pose"
        )
    inverse = 1.0 / points[visible, 2]
    variance = variance_m2 if 0 < variance_m2 < math.inf else float(noise.variance(reach))
    sigma_m, spread = math.sqrt(variance), variance * inverse**4
    return ConeAnchor(pixels[visible, 0], pixels[visible, 1], inverse, spread, reading, reach, sigma_m, stamp_s, source)


def _read(range_m: float, min_range_m: float, max_range_m: float, source: str) -> tuple[Reading, float]:
    if math.isnan(range_m) or (range_m < 0 and not math.isinf(range_m)):
        raise AnchorError(f"{source}: a range cannot be {range_m}; NaN is an error of the sensor (REP 117)")
    if range_m >= max_range_m and not range_m == min_range_m == max_range_m:
        return Reading.FARTHER, max_range_m
    if range_m <= min_range_m:
        if min_range_m == 0:
            raise AnchorError(f"{source}: a reading of {range_m} with min_range 0 says nothing")
        return Reading.NEARER, min_range_m
    return Reading.MEASURED, range_m


def _cap(half_angle_rad: float) -> NDArray[np.float64]:
    """(N, 3) unit vectors about +x that cover the cap evenly by area, the axis first."""
    ring = (np.arange(_RINGS) + 0.5) / _RINGS
    polar = np.arccos(1.0 - ring * (1.0 - math.cos(half_angle_rad)))
    turn = np.linspace(0.0, 2.0 * math.pi, _SPOKES, endpoint=False)
    theta, phi = (grid.ravel() for grid in np.meshgrid(polar, turn, indexing="ij"))
    cap = np.stack((np.cos(theta), np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)), axis=1)
    return np.concatenate((np.array([[1.0, 0.0, 0.0]]), cap))
