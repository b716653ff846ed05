"""Every setting of metric scale: name, default, range and meaning, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from depthnet_ros.errors import ConfigError
from depthnet_ros.settings import check_settings, setting


class ScaleMode(str, Enum):
    """Where metres come from."""

    NONE = "none"
    """Nowhere: no metric output, unless the network itself claims metres."""
    FIXED = "fixed"
    """From the parameters ``scale.fixed_scale`` and ``scale.fixed_shift``."""
    ANCHORS = "anchors"
    """From the robot's own sensors."""


class ScaleState(str, Enum):
    """States of metric scale; metric topics go out in ``calibrated`` and ``degraded`` unless a parameter says
    otherwise.
    """

    UNCALIBRATED = "uncalibrated"
    """No usable anchor yet."""
    CALIBRATING = "calibrating"
    """Anchors come in, the estimate is not firm yet."""
    CALIBRATED = "calibrated"
    """Scale and shift are determined by fresh anchors."""
    DEGRADED = "degraded"
    """Metres, but less certain: a prior fills in, a sensor is in trouble, or anchors contradict the estimate."""
    STALE = "stale"
    """No anchor has been accepted for too long."""


class AnchorKind(str, Enum):
    """Which sensor an anchor came from."""

    RANGE = "range"
    SCAN = "scan"
    POINTS = "points"
    DEPTH = "depth"


POSE_HELP = (
    "pose of the sensor in the camera's body frame (x forward, y left, z up): x y z (m) roll pitch yaw (rad). Used "
    "where TF is off or does not know the sensor; all zeros: not set, unless TF is off or not installed"
)
_NO_POSE = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
SOURCES = {
    AnchorKind.RANGE.value: "sensor_msgs/msg/Range",
    AnchorKind.SCAN.value: "sensor_msgs/msg/LaserScan",
    AnchorKind.POINTS.value: "sensor_msgs/msg/PointCloud2",
    AnchorKind.DEPTH.value: "sensor_msgs/msg/Image",
}
"""What metric scale comes from, and the message type of each."""


@dataclass(frozen=True)
class MetricScaleConfig:
    """Settings of anchors, fit, filter and uncertainty; ROS parameters ``scale.<field>``. Checked when made.

    Raises:
        ConfigError: a value has the wrong type or is out of its range.
    """

    mode: str = setting(
        "none",
        "where metres come from: none, fixed (scale.fixed_*), anchors (the robot's sensors)",
        choices=tuple(mode.value for mode in ScaleMode),
        dynamic=False,
    )
    fixed_scale: float = setting(1.0, "mode fixed: 1/m per unit of relative inverse depth", 1e-9, 1e9)
    fixed_shift: float = setting(0.0, "mode fixed: 1/m added to scale times relative inverse depth", -1e3, 1e3)
    min_depth_m: float = setting(0.1, "nearer depth is published as -Inf (too near)", 1e-3, 100.0)
    max_depth_m: float = setting(
        20.0,
        "farther depth is published as +Inf (no return); farther anchor points are not used, and nav ranges are cut to "
        "it",
        0.1,
        1e4,
    )
    publish_states: tuple[str, ...] = setting(
        (ScaleState.CALIBRATED.value, ScaleState.DEGRADED.value),
        "states in which metric topics are published",
        choices=tuple(state.value for state in ScaleState),
    )

    sources: tuple[str, ...] = setting(
        (),
        "anchor topics to listen to: anchors/<source>, of range, scan, points, depth",
        choices=tuple(SOURCES),
        dynamic=False,
    )
    use_tf: bool = setting(True, "sensor poses from TF where tf2_ros is installed", dynamic=False)
    tf_timeout_s: float = setting(
        0.05,
        "while the camera's height or tilt over ground_frame changes, a frame with all its outputs waits no longer "
        "than this for the transform of its own stamp; then the newest one stands in",
        0.0,
        1.0,
        dynamic=False,
    )
    range_pose: tuple[float, ...] = setting(_NO_POSE, POSE_HELP, dynamic=False)
    scan_pose: tuple[float, ...] = setting(_NO_POSE, POSE_HELP, dynamic=False)
    points_pose: tuple[float, ...] = setting(_NO_POSE, POSE_HELP, dynamic=False)
    depth_pose: tuple[float, ...] = setting(_NO_POSE, POSE_HELP, dynamic=False)
    depth_fov_rad: float = setting(
        0.0,
        "horizontal field of view of the sensor on anchors/depth; 0: its image is registered to the camera's",
        0.0,
        3.0,
    )
    scan_is_level: bool = setting(
        False, "the scanner's plane is parallel to the ground: then a floor in view shows where infinity lies"
    )
    sensor_sigma_m: float = setting(0.02, "standard deviation of a range, constant part", 1e-4, 10.0)
    sensor_sigma_relative: float = setting(0.01, "standard deviation of a range, part that grows with it", 0.0, 1.0)
    max_stamp_difference_s: float = setting(
        0.1, "largest difference of stamps between a reading and the frame that uses it", 0.0, 10.0
    )
    max_anchors: int = setting(500, "point anchors used per frame; more are thinned evenly", 3, 100000)
    ground_height_m: float = setting(0.0, "height of the camera above a flat ground; 0: not used", 0.0, 100.0)
    ground_frame: str = setting(
        "",
        "TF frame whose z = 0 is the ground (base_footprint, say); used where ground_height_m is 0; empty: none",
        dynamic=False,
    )
    ground_pitch_rad: float = setting(0.0, "pitch of the camera, positive looks down", -1.5707, 1.5707)
    ground_roll_rad: float = setting(0.0, "roll of the camera, positive lowers its right side", -1.5707, 1.5707)
    ground_height_sigma: float = setting(0.03, "standard deviation of the height, as a share of it", 1e-4, 1.0)
    ground_tilt_sigma_rad: float = setting(0.02, "standard deviation of pitch and roll", 1e-4, 1.0)

    view_range: float = setting(
        1.17,
        "prior: natural log of the inverse depth of a view's nearest 5 % over that of its farthest 5 %",
        0.1,
        4.1,
    )
    view_range_sigma: float = setting(0.72, "standard deviation of that prior", 0.05, 2.0)
    network_sigma: float = setting(
        0.18, "relative error that the network is taken to have until anchors show it", 0.01, 2.0
    )
    process_noise_per_frame: float = setting(
        0.03, "how far the network's own scale wanders from frame to frame (share)", 1e-4, 1.0
    )
    process_noise_per_second: float = setting(
        0.03, "how far scale drifts in one second without anchors (share)", 1e-4, 10.0
    )
    gate_sigma: float = setting(4.0, "innovations beyond this many sigmas are rejected", 1.0, 100.0)
    max_change: float = setting(0.25, "greatest relative change of scale that one accepted frame may make", 1e-3, 10.0)
    monotone: bool = setting(True, "correct the network's depth curve by a monotone function where anchors allow it")

    calibrate_frames: int = setting(3, "accepted frames in a row before metres are given", 1, 1000)
    calibrated_sigma: float = setting(0.12, "calibrated: relative sigma of scale at most this", 0.001, 1.0)
    degraded_sigma: float = setting(
        0.4, "degraded: relative sigma of scale at most this; above it no metric output", 0.001, 2.0
    )
    source_timeout_s: float = setting(
        0.5,
        "a sensor silent for longer is reported (degraded); also how far in time a moving transform may be from a "
        "reading",
        0.01,
        60.0,
    )
    stale_after_s: float = setting(1.0, "no accepted anchor for this long: stale, metric topics stop", 0.01, 3600.0)
    stuck_after_s: float = setting(
        2.0,
        "a reading that stays constant for this long while the image changes marks its sensor as stuck",
        0.1,
        3600.0,
    )
    stuck_change: float = setting(
        0.3,
        "relative change of the inverse depth that the image shows at a range finder's place, after which its constant "
        "reading counts as stuck (other sensors: 5 %)",
        0.01,
        10.0,
    )

    temporal_filter: bool = setting(True, "smooth the network's scale and pixels over time (mode anchors)")
    temporal_gain: float = setting(0.11, "weight of the new frame where nothing moves; 1: no filter", 0.01, 1.0)
    temporal_gate: float = setting(
        0.042, "relative change of inverse depth above which the new frame is used unfiltered", 0.001, 10.0
    )
    edge_sigma: float = setting(0.5, "share of the local depth step at an edge that counts as sigma", 0.0, 10.0)
    confidence_tolerance: float = setting(
        0.25, "confidence = probability that depth errs by less than this share", 0.01, 2.0
    )

    @property
    def scale_mode(self) -> ScaleMode:
        """``mode`` as what it means."""
        return ScaleMode(self.mode)

    def publishes(self, state: ScaleState) -> bool:
        """Whether metric topics go out in a state."""
        return state.value in self.publish_states

    def __post_init__(self) -> None:
        check_settings(self, "scale.")
        if self.min_depth_m >= self.max_depth_m:
            raise ConfigError(f"scale.min_depth_m ({self.min_depth_m}) must be below max_depth_m ({self.max_depth_m})")
        for name in ("range_pose", "scan_pose", "points_pose", "depth_pose"):
            if len(getattr(self, name)) != 6:
                raise ConfigError(f"scale.{name} needs six numbers (x y z roll pitch yaw), got {getattr(self, name)}")
