"""How a recording is run, and the count of what became of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from depthnet_ros.bags.transforms import Pose
from depthnet_ros.messages.measurements import MILLIMETRE_M
from depthnet_ros.metric_scale import MetricScaleConfig

_MOST_NOTES = 20
_NUMBER = re.compile(r"(?<![\w/])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")  # not those of names


@dataclass(frozen=True)
class PipelineOptions:
    """How a recording is run.

    Attributes:
        tolerance_s: farthest that the stamps of image and reference may be apart.
        extrinsic: pose of the reference's sensor in the optical frame, in place of TF.
        reference_unit_m: unit of a 16UC1 reference.
        reference_rectified: with ``rectify``, a reference's depth image fits the rectified picture already.
        intrinsics: fx, fy, cx, cy in pixels where the recording has no camera_info.
        camera_info_file: calibration of every image, in place of the recording's camera_info; empty: none.
        labels: folder of KITTI label files, one for each image.
        rectify: take lens distortion out first, as the node's parameter of that name.
        base_frame: frame of the robot in TF whose z = 0 is the ground; used where ``scale.ground_height_m`` is 0;
            empty: nobody asks for obstacle figures.
        scale: of metric scale, as the node's parameters ``scale.*``.
    """

    tolerance_s: float = 0.02
    extrinsic: Pose | None = None
    reference_unit_m: float = MILLIMETRE_M
    reference_rectified: bool = False
    intrinsics: tuple[float, float, float, float] | None = None
    camera_info_file: str = ""
    labels: Path | None = None
    rectify: bool = False
    base_frame: str = "base_link"
    scale: MetricScaleConfig = field(default_factory=MetricScaleConfig)


@dataclass
class Tally:
    """What became of the images, and what went wrong.

    Faults that differ by their numbers alone, a stamp say, are one, told in the words of the first.
    """

    images: int = 0
    processed: int = 0
    without_reference: int = 0
    failed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def first_faults(self) -> list[str]:
        """A few of them in words, for an error."""
        return self.told()[:3]

    def told(self) -> list[str]:
        """All of them in words, each with how often it was."""
        return [f"{text} ({count} times)" if count > 1 else text for text, count in self.faults.items()]

    def fault(self, text: str) -> None:
        """Count a fault; of endless kinds only the first are kept."""
        kind = _NUMBER.sub("#", text)
        if kind in self._first or len(self.faults) < _MOST_NOTES:
            self.faults[self._first.setdefault(kind, text)] += 1

    def conclude(self, text: str) -> None:
        """Note what the whole of the recording shows, however much has been noted."""
        self.faults[text] += 1
