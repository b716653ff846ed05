"""Camera calibrations as ROS keeps them in YAML files (camera_calibration, camera_info_manager)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.files import from_user
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.lens import LensCalibration

_MOST_PX = 1 << 16


@dataclass(frozen=True)
class Calibration:
    """The content of a CameraInfo: size in pixels, distortion D, intrinsics K, rectification R and projection P."""

    width_px: int
    height_px: int
    k: tuple[float, ...]
    d: tuple[float, ...] = (0.0,) * 5
    distortion_model: str = "plumb_bob"
    r: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    p: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        values = {"k": self.k, "r": self.r, "p": self.p or _projection(self.k)}
        for name, length in (("k", 9), ("r", 9), ("p", 12)):
            value = values[name]
            if len(value) != length:
                raise CameraInfoError(f"{name.upper()} of a calibration needs {length} numbers, got {len(value)}")
            object.__setattr__(self, name, tuple(float(number) for number in value))

    @classmethod
    def of(cls, camera: PinholeCamera) -> Calibration:
        """Of a pinhole camera without distortion."""
        fx, fy, cx, cy = camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px
        return cls(camera.width_px, camera.height_px, (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0))

    def as_message(self) -> Any:
        """With the fields of a CameraInfo of the whole image."""
        everything = SimpleNamespace(width=0, height=0, x_offset=0, y_offset=0)
        lens = {"k": self.k, "d": self.d, "r": self.r, "p": self.p, "distortion_model": self.distortion_model}
        return SimpleNamespace(
            width=self.width_px, height=self.height_px, binning_x=0, binning_y=0, roi=everything, **lens
        )

    @property
    def camera(self) -> PinholeCamera:
        """The rectified camera, from P.

        Raises:
            CameraInfoError: not calibrated (all zero).
        """
        p = self.p
        return PinholeCamera(self.width_px, self.height_px, p[0], p[5], p[2], p[6])

    @property
    def lens(self) -> LensCalibration:
        """The lens of pictures as they come from the camera.

        Raises:
            CameraInfoError: not calibrated (all zero).
        """
        raw = PinholeCamera(self.width_px, self.height_px, self.k[0], self.k[4], self.k[2], self.k[5])
        return LensCalibration(raw, self.camera, self.d, self.distortion_model, self.r)


def calibration_from_fov(size: tuple[int, int] | None, horizontal_fov_rad: float) -> Calibration | None:
    """What stands in for a calibration of pictures of ``size`` (width, height); None where either is not known."""
    if size is None or horizontal_fov_rad <= 0:
        return None
    return Calibration.of(PinholeCamera.from_fov(*size, horizontal_fov_rad))


def read_calibration(path: str | Path, size: tuple[int, int] | None = None) -> Calibration:
    """A ROS camera_info YAML, or a text file with the 3 x 3 matrix K of pictures of ``size`` (width, height).

    Raises:
        CameraInfoError: no such file, or not a calibration: a size that no picture has, a number that is not finite, a
            focal length that is not positive.
    """
    path = from_user(path)
    if not path.is_file():
        raise CameraInfoError(f"no calibration file at {path}")
    text = path.read_text(errors="replace")
    if path.suffix.lower() in (".yaml", ".yml"):
        return _checked(_from_yaml(text, path), path)
    try:
        matrix = np.array([float(number) for number in text.split()])
    except ValueError:
        matrix = np.empty(0)
    if matrix.size != 9 or size is None:
        raise CameraInfoError(f"{path}: expected a ROS camera_info YAML or a text file of the nine numbers of K")
    return _checked(Calibration(size[0], size[1], tuple(matrix)), path)


def _checked(calibration: Calibration, path: Path) -> Calibration:
    sides = calibration.width_px, calibration.height_px
    if not all(1 <= side <= _MOST_PX for side in sides):
        raise CameraInfoError(f"{path}: image_width and image_height must be 1 to {_MOST_PX}, got {sides}")
    for name in ("k", "d", "r", "p"):
        if not np.isfinite(values := getattr(calibration, name)).all():
            raise CameraInfoError(f"{path}: {name.upper()} must be finite numbers, got {list(values)}")
    focal_px = [calibration.k[0], calibration.k[4]]
    if any(calibration.p):  # all zero: there is none, and K is taken
        focal_px += [calibration.p[0], calibration.p[5]]
    if min(focal_px) <= 0:
        raise CameraInfoError(
            f"{path}: focal lengths of K and P must be positive, got {focal_px}: calibrate the camera "
            "(ros2 run camera_calibration cameracalibrator)"
        )
    return calibration


def _from_yaml(text: str, path: Path) -> Calibration:
    try:
        data = yaml.safe_load(text)
        distortion = _numbers(data["distortion_coefficients"]) if "distortion_coefficients" in data else (0.0,) * 5
        return Calibration(
            _whole(data["image_width"]),
            _whole(data["image_height"]),
            _numbers(data["camera_matrix"]),
            distortion,
            str(data.get("distortion_model", "plumb_bob")),
            _numbers(data["rectification_matrix"]) if "rectification_matrix" in data else Calibration.r,
            _numbers(data["projection_matrix"]) if "projection_matrix" in data else (),
        )
    except CameraInfoError as error:
        raise CameraInfoError(f"{path}: {error}") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CameraInfoError(
            f"{path}: not a ROS camera_info YAML ({type(error).__name__}: {error}); expected image_width, "
            "image_height, camera_matrix and so on, as camera_calibration writes them"
        ) from error


def _whole(value: Any) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"a size is a whole number of pixels, got {value}")
    return int(number)


def _numbers(entry: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in entry["data"])


def _projection(k: tuple[float, ...]) -> tuple[float, ...]:
    return (*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0)
