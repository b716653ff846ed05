"""Video files and cameras of the operating system, by OpenCV."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.calibration import calibration_from_fov
from depthnet_ros.sources.base import Source, SourceFrame, SourceOptions

SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ogv", ".wmv", ".mjpeg"})
_LONGEST_GAP_S = 10.0
_MISCOUNT, _MISCOUNT_SHARE = 2, 0.02
"""Pictures by which containers are wrong about their own number, and what share of them."""


class VideoFile(Source):
    """Pictures of a video file, numbered from 0.

    Raises:
        ConfigError: not a video that OpenCV reads.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._path, self._options = path, options
        capture = self._open()
        frames, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        self.count = int(frames) if frames > 0 else None
        self.rate_hz = float(rate) if 0 < rate < 1000 else None
        self.description = f"{path}: video of {self.count or 'unknown'} pictures at {self.rate_hz or 'unknown'} Hz"

    def _open(self) -> Any:
        try:
            str(self._path).encode()
        except UnicodeEncodeError:  # OpenCV would end the process
            raise ConfigError(
                f"{str(self._path)!a}: OpenCV opens no video whose name is not UTF-8: rename it"
            ) from None
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise ConfigError(f"{self._path} cannot be opened as a video: damaged, or of a kind OpenCV does not read")
        # Turned only for who uses no intrinsics: those are of the picture as the sensor has it.
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1 if self._options.upright else 0)
        return capture

    def __iter__(self) -> Iterator[SourceFrame]:
        capture = self._open()
        timeline = _Timeline(1.0 / (self.rate_hz or self._options.rate_hz))
        index = 0
        try:
            while True:
                good, bgr = capture.read()
                if not good:
                    break
                stamp_s = timeline.seconds(1e-3 * capture.get(cv2.CAP_PROP_POS_MSEC))
                yield _frame(f"{self._path.stem}_{index:06d}", stamp_s, bgr, self._options)
                index += 1
        finally:
            capture.release()
        if index == 0:
            raise ConfigError(f"{self._path}: no picture of the video can be decoded")
        if self.count and self.count - index > max(_MISCOUNT, _MISCOUNT_SHARE * self.count):
            self.losses = [f"{self._path} ends early, after {index} of {self.count} pictures: damaged or cut short"]


class _Timeline:
    """Seconds since the first picture, by the times that the video gives its pictures: phones and screen recorders
    take them at a rate that varies. Where no time is given, or one that is not later, or one after a gap that nobody
    would wait for, the picture follows at the mean rate.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._zero_s = self._last_s = -math.inf

    def seconds(self, position_s: float) -> float:
        """Of the next picture, with this time in the video."""
        if self._last_s < 0:
            self._zero_s, self._last_s = position_s, 0.0
            return 0.0
        passed_s = position_s - self._zero_s
        if passed_s - self._last_s > _LONGEST_GAP_S:
            passed_s = self._last_s + self._period_s
            self._zero_s = position_s - passed_s
        self._last_s = passed_s if passed_s > self._last_s else self._last_s + self._period_s
        return self._last_s


class VideoDevice(Source):
    """A camera such as /dev/video0.

    Raises:
        ConfigError: it is not there, or does not open.
    """

    endless = live = True

    def __init__(self, path: Path, options: SourceOptions) -> None:
        if not path.exists():
            there = ", ".join(sorted(str(item) for item in Path("/dev").glob("video*"))) or "none"
            raise ConfigError(f"no camera {path}; cameras on this machine: {there}")
        self._options = options
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise ConfigError(f"{path} does not open: used by another program, or no permission (group video)?")
        for name, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, options.width_px),
            (cv2.CAP_PROP_FRAME_HEIGHT, options.height_px),
        ):
            if value:
                self._capture.set(name, value)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS)) or None
        self.description = f"camera {path}"
        self._path = path

    def __iter__(self) -> Iterator[SourceFrame]:
        start, index = time.monotonic(), 0
        while True:
            good, bgr = self._capture.read()
            if not good:
                raise ConfigError(f"{self._path} gives no picture any more: unplugged?")
            yield _frame(f"{self._path.name}_{index:06d}", time.monotonic() - start, bgr, self._options)
            index += 1

    def close(self) -> None:
        """Let the camera go."""
        self._capture.release()


def _frame(name: str, stamp_s: float, bgr: NDArray[np.uint8], options: SourceOptions) -> SourceFrame:
    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    calibration = calibration_from_fov((rgb.shape[1], rgb.shape[0]), options.horizontal_fov_rad)
    return SourceFrame(name, stamp_s, lambda: rgb, calibration=calibration)
