"""How a recording is run, and the count of what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from depthnet_ros.bags.transforms import Pose
from depthnet_ros.messages.measurements import MILLIMETRE_M
from depthnet_ros.metric_scale import MetricScaleConfig

_MOST_NOTES = 20


@dataclass(frozen=True)
class PipelineOptions:
    """How a recording is run.

    Attributes:
        tolerance_s: farthest that the stamps of image and reference may be apart.
        extrinsic: pose of the reference's sensor in the optical frame, in place of TF.
        reference_unit_m: unit of a 16UC1 reference.
        reference_rectified: with ``rectify``, a reference's depth image fits the rectified picture already.
        intrinsics: fx, fy, cx, cy in pixels where the recording has no camera_info.
        labels: folder of KITTI label files, one for each image.
        rectify: take lens distortion out first, as the node's parameter of that name.
        base_frame: frame of the robot in TF whose z = 0 is the ground; used where ``scale.ground_height_m`` is 0.
        scale: of metric scale, as the node's parameters ``scale.*``.
    """

    tolerance_s: float = 0.02
    extrinsic: Pose | None = None
    reference_unit_m: float = MILLIMETRE_M
    reference_rectified: bool = False
    intrinsics: tuple[float, float, float, float] | None = None
    labels: Path | None = None
    rectify: bool = False
    base_frame: str = "base_link"
    scale: MetricScaleConfig = field(default_factory=MetricScaleConfig)


@dataclass
class Tally:
    """What became of the images, and what went wrong, each fault with its first words."""

    images: int = 0
    processed: int = 0
    without_reference: int = 0
    failed: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def first_faults(self) -> list[str]:
        """A few of them in words, for an error."""
        return [f"{text} ({count} times)" for text, count in list(self.faults.items())[:3]]

    def fault(self, text: str) -> None:
        """Count a fault; of endless kinds only the first are kept."""
        if text in self.faults or len(self.faults) < _MOST_NOTES:
            self.faults[text] += 1
