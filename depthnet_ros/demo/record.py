"""What the demo keeps of a run. No ROS."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera


@dataclass(frozen=True)
class Moment:
    """All that belongs to one stamp.

    Attributes:
        time_s: since the first depth of the run.
        rgb: (H, W, 3) uint8, the camera's picture.
        inverse_depth: (H, W) float32, relative.
        camera: intrinsics, or None.
        depth_m: (H, W) float32 metres as the node published them, or None.
        truth_m: (H, W) float32 exact metres, or None.
    """

    time_s: float
    rgb: NDArray[np.uint8]
    inverse_depth: NDArray[np.float32]
    camera: PinholeCamera | None
    depth_m: NDArray[np.float32] | None = None
    truth_m: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ErrorSample:
    """Metric depth against the truth in one frame.

    Attributes:
        time_s: since the first depth of the run.
        abs_rel: mean of |depth - truth| / truth; NaN where no metres were published.
        estimated_scale: the node's scale, 1/m per unit of relative inverse depth; NaN where there is none.
        true_scale: the scale that fits the true inverse depth best (least squares), the node's shift held.
    """

    time_s: float
    abs_rel: float
    estimated_scale: float
    true_scale: float


@dataclass
class Record:
    """What arrived while the demo ran.

    Attributes:
        moments: some of the frames, spread over the run.
        errors: one for each frame with known truth.
        cloud: (N, 3) points in metres and (N, 3) RGB colours as the node published them last, or None.
        depth_count: messages of relative inverse depth that arrived.
        metric_count: messages of metric depth that arrived.
        duration_s: from the first depth to the last.
        network: the node's last diagnostics of its network, as text.
        camera: the node's last diagnostics of its camera, as text.
    """

    moments: list[Moment] = field(default_factory=list)
    errors: list[ErrorSample] = field(default_factory=list)
    cloud: tuple[NDArray[np.float32], NDArray[np.uint8]] | None = None
    depth_count: int = 0
    metric_count: int = 0
    duration_s: float = 0.0
    network: dict[str, str] = field(default_factory=dict)
    camera: dict[str, str] = field(default_factory=dict)


def compare(
    time_s: float,
    inverse_depth: NDArray[np.float32],
    truth_m: NDArray[np.float32],
    depth_m: NDArray[np.float32] | None,
    scale: float,
    shift: float,
    step: int = 4,
) -> ErrorSample:
    """Error and scale of one frame on every ``step``-th pixel; what has no finite truth or depth is left out."""
    relative, truth = inverse_depth[::step, ::step], truth_m[::step, ::step]
    known = np.isfinite(truth) & (truth > 0) & np.isfinite(relative)
    abs_rel = np.nan
    if depth_m is not None:
        depth = depth_m[::step, ::step]
        both = known & np.isfinite(depth)
        abs_rel = float(np.mean(np.abs(depth[both] - truth[both]) / truth[both])) if both.any() else np.nan
    true_scale = np.nan
    power = float(np.sum(relative[known] ** 2))
    if np.isfinite(shift) and power > 0:
        true_scale = float(np.sum((1.0 / truth[known] - shift) * relative[known])) / power
    return ErrorSample(time_s, abs_rel, scale, true_scale)
