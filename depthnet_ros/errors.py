"""Errors that say what was expected, what came and how to mend it."""

from __future__ import annotations


class DepthNetError(Exception):
    """Base of every error that this package raises on bad input."""


class ImageError(DepthNetError):
    """An image that cannot be used: its encoding, size or data is wrong."""


class CameraInfoError(DepthNetError):
    """Camera intrinsics that are missing, uncalibrated or of another image."""


class WeightsError(DepthNetError):
    """A weights file that is missing, damaged or made for another architecture."""


class BackendError(DepthNetError):
    """An inference backend that is not installed, does not fit the device or returned unusable numbers."""


class NetworkOutputError(BackendError):
    """What a network gave for one picture cannot be used; the next picture's may be."""


class ConfigError(DepthNetError):
    """A parameter or configuration key of the wrong name, type or range."""


class MessageError(DepthNetError):
    """A ROS message whose fields do not fit each other, or that lacks one."""


class BagError(DepthNetError):
    """A recording that cannot be read or written, or that lacks what was asked of it."""


_ROBOT_PACKAGES = ("onnxruntime", "safetensors", "simplejpeg", "rosbags", "mcap", "zstandard")


def missing_package(error: ModuleNotFoundError) -> str:
    """What to say where a Python package is not installed, after an update that needs a new one, say.

    Raises:
        ModuleNotFoundError: it is a module of this package's own, which is a bug.
    """
    name = (error.name or "").split(".")[0]
    if name in ("", "depthnet_ros"):
        raise error
    remedy = "-r requirements/robot.txt (README, On a robot)" if name in _ROBOT_PACKAGES else name
    return f"the Python package {name} is not installed: pip install {remedy}"
