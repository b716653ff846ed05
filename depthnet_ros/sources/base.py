"""One picture of a source, and what every source offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.calibration import Calibration


@dataclass(frozen=True)
class SourceFrame:
    """One picture, not decoded before it is asked for.

    Attributes:
        name: for file names and messages, unlike that of every other picture of the source; a file's stem, with the
            folder before it where several files have that stem.
        stamp_s: seconds since the source's first picture.
        rgb: gives the (H, W, 3) uint8 picture; raises ImageError where it cannot be read.
        encoded: the JPEG or PNG as it was stored, or None.
        calibration: intrinsics that came with the picture, or None.
        depth_m: (H, W) float32 exact depth in metres where the source knows it (REP 117), else None.
        sonar_range_m: reading of a range finder at the camera, +-Inf as in REP 117; None without one.
    """

    name: str
    stamp_s: float
    rgb: Callable[[], NDArray[np.uint8]]
    encoded: bytes | None = None
    calibration: Calibration | None = None
    depth_m: NDArray[np.float32] | None = field(default=None, repr=False)
    sonar_range_m: float | None = None


class Source(ABC):
    """Iterating starts at the beginning, each time; a live camera goes on where it is.

    Attributes:
        description: for people: what it is and how many pictures it has.
        count: number of pictures; None where it has no end or is not known before.
        rate_hz: pictures per second that the source itself has; None where none is stored.
        endless: pictures come without an end.
        live: pictures come when they come; nothing waits for their time.
        losses: what of it cannot be read, in words; complete after the last picture.
        notes: what else was found in it, likewise.
    """

    description: str = ""
    count: int | None = None
    rate_hz: float | None = None
    endless: bool = False
    live: bool = False
    losses: Sequence[str] = ()
    notes: Sequence[str] = ()

    @abstractmethod
    def __iter__(self) -> Iterator[SourceFrame]:
        """The pictures in order."""

    def close(self) -> None:
        """Free files and devices; most keep none open."""
        return


@dataclass(frozen=True)
class SourceOptions:
    """What may be asked of a source; each kind takes what concerns it.

    Attributes:
        width_px, height_px: size of rendered pictures, and what a camera is asked for; 0: the source's own (640 x 480).
        horizontal_fov_rad: of a rendered camera, and of pictures without calibration; 0: not known (rendered: 1.2).
        rate_hz: pictures per second of rendered scenes and of folders.
        seed: of rendered scenes.
        topic: image topic of a recording; empty: the only one, or the most likely.
        calibrated: read the calibration that lies beside pictures, or that a recording has.
        upright: turn pictures of files as EXIF or the video says, unless a calibration goes with them, whose intrinsics
            are those of the picture as the sensor has it.
    """

    width_px: int = 0
    height_px: int = 0
    horizontal_fov_rad: float = 0.0
    rate_hz: float = 30.0
    seed: int = 0
    topic: str = ""
    calibrated: bool = True
    upright: bool = False
