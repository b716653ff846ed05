"""Anchors: metric measurements tied to pixels of the camera, as scale is fitted to them.

A sensor's points go through its pose into the optical frame and through the camera model onto the image. What a sensor
says about *one* surface somewhere in a cone (an ultrasonic range) is in :mod:`depthnet_ros.metric_scale.cone`; what the
camera's height says is in :mod:`depthnet_ros.metric_scale.ground`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError, DepthNetError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.config import AnchorKind, MetricScaleConfig
from depthnet_ros.metric_scale.pose import transform

_MOST_POINTS = 8192  # looked at of one measurement
_NO_RETURN_M = 0.01  # from the sensor's origin: what is nearer is none of its measurements
_MOST_TURN_RAD = 2.0 * math.pi + 0.7  # that a scan covers: some drivers give the beginning of the turn twice
_FARTHEST_START_RAD = 4.0 * math.pi  # of a scan's first beam, either way: nobody counts turns
_OCCLUSION_CELL_PX = 16  # side of the cells of the image in which the nearest point is looked for
_OCCLUSION_RATIO = 1.15  # of depths, beyond which a point is behind the nearest of its cells
_OCCLUSION_PARALLAX_PX = 4.0  # by which sensor and camera see the two apart, at least


class AnchorError(DepthNetError):
    """A measurement that cannot be used; the message says why. The frame goes on without it."""


class OutOfViewError(AnchorError):
    """The camera sees nothing of where a range finder looks."""


@dataclass(frozen=True)
class SensorNoise:
    """Standard deviation of a range r: ``hypot(sigma_m, relative * r)``.

    Attributes:
        sigma_m: its constant part, in metres.
        relative: its part that grows with the range, as a share of it.
    """

    sigma_m: float = MetricScaleConfig.sensor_sigma_m
    relative: float = MetricScaleConfig.sensor_sigma_relative

    def variance(self, range_m: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Variance of ``range_m``, one or an array of any shape, in square metres."""
        return np.asarray(self.sigma_m**2 + (self.relative * np.asarray(range_m, dtype=np.float64)) ** 2)


DEFAULT_NOISE = SensorNoise()


@dataclass(frozen=True)
class PointAnchors:
    """Points of known depth.

    Attributes:
        u_px, v_px: (N,) pixel coordinates in the camera's image; (0, 0) is the centre of the top left pixel.
        inverse_depth: (N,) 1/m, along optical Z.
        variance: (N,) of ``inverse_depth``, in 1/m^2.
        kind: the sensor's kind.
        stamp_s: when they were measured.
        source: name of the sensor, for diagnostics; two sensors of one kind need two names.
        down: (3,) unit vector towards the ground in the optical frame, of a scanner that lies level; else None.
        fingerprint: the sum of the points' coordinates in the sensor's own frame: it stays the same if, and only if,
            the sensor repeats itself.
    """

    u_px: NDArray[np.float64]
    v_px: NDArray[np.float64]
    inverse_depth: NDArray[np.float64]
    variance: NDArray[np.float64]
    kind: AnchorKind
    stamp_s: float
    source: str = ""
    down: NDArray[np.float64] | None = None
    fingerprint: float = 0.0

    def __post_init__(self) -> None:
        if not self.source:
            object.__setattr__(self, "source", self.kind.value)

    def __len__(self) -> int:
        return len(self.inverse_depth)

    def thinned(self, limit: int) -> PointAnchors:
        """At most ``limit`` of them, evenly taken over their order."""
        if len(self) <= limit:
            return self
        return self.only(np.linspace(0, len(self) - 1, limit).astype(np.intp))

    def within(self, depth_m: float) -> PointAnchors:
        """Those no farther than ``depth_m``."""
        near = self.inverse_depth >= 1.0 / depth_m
        return self if near.all() else self.only(np.flatnonzero(near))

    def turned(self, turn_rad: NDArray[np.floating], camera: PinholeCamera) -> PointAnchors:
        """As a camera sees them that has since turned by a small rotation vector (3,), rad, in its own optical axes.

        Its way since then is not made up for: a tenth of a second of it is little before the distance of what it sees.
        """
        rays = np.stack((*camera.rays(self.u_px, self.v_px), np.ones(len(self))))
        moved = rays - np.cross(turn_rad, rays, axisb=0, axisc=0)
        u_px = camera.fx_px * moved[0] / moved[2] + camera.cx_px
        v_px = camera.fy_px * moved[1] / moved[2] + camera.cy_px
        inverse = self.inverse_depth / moved[2]
        inside = np.flatnonzero(camera.contains(u_px, v_px))
        return replace(self, u_px=u_px, v_px=v_px, inverse_depth=inverse).only(inside)

    def only(self, keep: NDArray[np.intp]) -> PointAnchors:
        """Those at these places, (M,) indices."""
        arrays = (self.u_px[keep], self.v_px[keep], self.inverse_depth[keep], self.variance[keep])
        return PointAnchors(*arrays, self.kind, self.stamp_s, self.source, self.down, self.fingerprint)


@dataclass(frozen=True)
class ScanGeometry:
    """Beams and limits of a planar laser scan, as sensor_msgs/LaserScan has them.

    Attributes:
        angle_min_rad: of the first beam, from the x axis towards y.
        angle_increment_rad: from beam to beam.
        range_min_m, range_max_m: between which a range is a measurement.
    """

    angle_min_rad: float
    angle_increment_rad: float
    range_min_m: float
    range_max_m: float


def from_points(
    points_m: NDArray[np.floating],
    camera: PinholeCamera,
    camera_from_sensor: NDArray[np.float64],
    stamp_s: float,
    kind: AnchorKind = AnchorKind.POINTS,
    noise: SensorNoise = DEFAULT_NOISE,
    source: str = "",
) -> PointAnchors:
    """Points in the sensor's frame to anchors: those in front of the camera, inside the image and not hidden.

    A sensor beside the camera sees surfaces that the camera does not: a point clearly behind another one of its
    neighbourhood in the image is taken as hidden and left out.

    Args:
        points_m: (N, 3) in metres. Rows with NaN or infinity are dropped, as are those at the sensor itself, which many
            drivers give where nothing returns. Of more than some thousand every so-many-th is taken: a frame uses a
            few hundred.
        camera: of the image that depth is predicted for.
        camera_from_sensor: (4, 4) transform into the optical frame.
        stamp_s: time of the measurement.
        kind: sensor kind.
        noise: of the range from the sensor.
        source: name for diagnostics.

    Raises:
        AnchorError: no point is left, with the numbers of each cause.
    """
    given = np.asarray(points_m).reshape(-1, 3)
    points = np.asarray(given[:: _step(len(given))], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        returned = np.square(points).sum(axis=1) > _NO_RETURN_M**2  # not for NaN
    finite = points[returned & np.isfinite(points).all(axis=1)]
    if not len(finite):
        raise AnchorError(f"{kind.value}: nothing in range, no finite point in the measurement")
    optical = transform(camera_from_sensor, finite)
    pixels = camera.project(optical)
    inside = camera.contains(pixels[:, 0], pixels[:, 1])
    if not inside.any():
        behind = int((optical[:, 2] <= 0).sum())
        raise AnchorError(
            f"{kind.value}: none of {len(points)} points is usable ({len(points) - len(finite)} not finite or zero, "
            f"{behind} behind the camera, {len(finite) - behind} outside the image): check the sensor's pose"
        )
    u, v, z = pixels[inside, 0], pixels[inside, 1], optical[inside, 2]
    ranges = np.linalg.norm(finite[inside], axis=1)
    baseline_px_m = camera.fx_px * float(np.linalg.norm(camera_from_sensor[:3, 3]))
    seen = _not_hidden(u, v, z, baseline_px_m)
    inverse = 1.0 / z[seen]
    variance = noise.variance(ranges[seen]) * inverse**4
    return PointAnchors(u[seen], v[seen], inverse, variance, kind, stamp_s, source, fingerprint=float(finite.sum()))


def _step(count: int) -> int:
    """To take every so-many-th of many points by: sharing no factor with the number of a lidar's beams or of an image's
    columns, or whole beams would be left out.
    """
    step = max(1, -(-count // _MOST_POINTS))
    while math.gcd(step, 30) > 1:
        step += 1
    return step


def from_scan(
    ranges_m: NDArray[np.floating],
    geometry: ScanGeometry,
    camera: PinholeCamera,
    camera_from_sensor: NDArray[np.float64],
    stamp_s: float,
    noise: SensorNoise = DEFAULT_NOISE,
    source: str = "",
    level: bool = False,
) -> PointAnchors:
    """A planar laser scan, whose beams lie in the sensor's xy plane, to anchors on the line that it draws.

    Args:
        ranges_m: (B,) one of each beam, in metres; see :func:`scan_points`.
        geometry: angles and limits.
        camera: of the image that depth is predicted for.
        camera_from_sensor: (4, 4) transform into the optical frame.
        stamp_s: time of the measurement.
        noise: of the range.
        source: name for diagnostics.
        level: the scanner's plane is parallel to the ground, either way up, and the camera's image is upright.

    Raises:
        AnchorError: no beam is left, or the angles cannot be those of a scan in radians.
    """
    points = scan_points(ranges_m, geometry)
    if not len(points):
        limits = f"{geometry.range_min_m} .. {geometry.range_max_m} m"
        raise AnchorError(f"scan: none of {len(ranges_m)} ranges lies within {limits}")
    anchors = from_points(points, camera, camera_from_sensor, stamp_s, AnchorKind.SCAN, noise, source)
    if not level:
        return anchors
    axis = camera_from_sensor[:3, 2]
    return replace(anchors, down=axis if axis[1] > 0 else -axis)  # many a scanner hangs upside down


def scan_points(ranges_m: NDArray[np.floating], geometry: ScanGeometry) -> NDArray[np.float64]:
    """The returns of a planar laser scan: (N, 3) points in metres, in the sensor's xy plane.

    By REP 117 only ranges from ``range_min_m`` to ``range_max_m`` are measurements. The others are left out, and so are
    0 and ``range_max_m`` itself, which many drivers give where nothing returns.

    Args:
        ranges_m: (B,) one of each beam, in metres.
        geometry: angles and limits.

    Raises:
        AnchorError: the angles are not finite, all beams have the same one, or they cover more than a turn, as those of
            a scan in degrees.
    """
    first_rad, step_rad = geometry.angle_min_rad, geometry.angle_increment_rad
    if not (np.isfinite(first_rad) and np.isfinite(step_rad)) or step_rad == 0:
        raise AnchorError(f"scan: angle_min {first_rad} and angle_increment {step_rad} must be finite, not 0")
    turn_rad = abs(step_rad) * (len(ranges_m) - 1)
    if turn_rad > _MOST_TURN_RAD or abs(first_rad) > _FARTHEST_START_RAD:
        raise AnchorError(
            f"scan: {len(ranges_m)} beams from {first_rad:g} on in steps of {step_rad:g} cover {turn_rad:g} rad, more "
            "than a turn, or begin turns away: angles are in radians, those of this scan seem to be in degrees"
        )
    ranges = np.asarray(ranges_m, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        measured = (ranges >= geometry.range_min_m) & (ranges < geometry.range_max_m) & (ranges > 0)
    angles = first_rad + step_rad * np.flatnonzero(measured)
    reach = ranges[measured]
    return np.stack((reach * np.cos(angles), reach * np.sin(angles), np.zeros_like(reach)), axis=1)


def from_depth_image(
    depth_m: NDArray[np.floating],
    sensor_camera: PinholeCamera,
    camera: PinholeCamera,
    camera_from_sensor: NDArray[np.float64],
    stamp_s: float,
    noise: SensorNoise = DEFAULT_NOISE,
    source: str = "",
) -> PointAnchors:
    """Another depth image, of a few ToF zones or of a real depth camera, to anchors.

    Args:
        depth_m: (h, w) along the sensor's optical Z; NaN, infinity and values <= 0 carry no measurement.
        sensor_camera: intrinsics of ``depth_m``.
        camera: of the image that depth is predicted for.
        camera_from_sensor: (4, 4) from the sensor's *optical* frame to the camera's.
        stamp_s: time of the measurement.
        noise: of the depth.
        source: name for diagnostics.

    Raises:
        AnchorError: nothing usable in it.
        CameraInfoError: the image is not of ``sensor_camera``'s size.
    """
    if depth_m.shape != (sensor_camera.height_px, sensor_camera.width_px):
        raise CameraInfoError(
            f"depth has shape {depth_m.shape}, its camera is {sensor_camera.width_px}x{sensor_camera.height_px}"
        )
    step = math.ceil(math.sqrt(depth_m.size / _MOST_POINTS))
    depth = np.asarray(depth_m[step // 2 :: step, step // 2 :: step], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    across, down = sensor_camera.ray_x[step // 2 :: step] * depth, sensor_camera.ray_y[step // 2 :: step, None] * depth
    points = np.stack((across, down, depth), axis=-1).reshape(-1, 3)
    return from_points(points, camera, camera_from_sensor, stamp_s, AnchorKind.DEPTH, noise, source)


def _not_hidden(
    u_px: NDArray[np.float64], v_px: NDArray[np.float64], depth_m: NDArray[np.float64], baseline_px_m: float
) -> NDArray[np.bool_]:
    """False for points well behind the nearest one within their cell of the image or a neighbour of it.

    ``baseline_px_m``: focal length times the distance of sensor and camera. Two depths part by no more pixels than this
    times their difference in inverse depth; where that is next to nothing, nothing can be hidden.
    """
    column = ((u_px + 0.5) // _OCCLUSION_CELL_PX).astype(np.intp) + 1
    row = ((v_px + 0.5) // _OCCLUSION_CELL_PX).astype(np.intp) + 1
    nearest = np.full((row.max() + 2, column.max() + 2), np.inf)
    np.minimum.at(nearest, (row, column), depth_m)
    across = np.minimum(np.minimum(nearest[:, :-2], nearest[:, 1:-1]), nearest[:, 2:])
    around = np.minimum(np.minimum(across[:-2], across[1:-1]), across[2:])
    cover = around[row - 1, column - 1]
    parallax_px = baseline_px_m * (1.0 / cover - 1.0 / depth_m)
    return np.asarray((depth_m <= _OCCLUSION_RATIO * cover) | (parallax_px < _OCCLUSION_PARALLAX_PX))
