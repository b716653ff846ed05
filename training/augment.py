"""Random changes of an image and its truth. Every choice comes from the generator that is passed in."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.inference.preprocess import resize
from training.sections import AugmentConfig, CropConfig

Rgb = NDArray[np.uint8]
Map = NDArray[np.float32]
_FOCAL_RANGE = (0.75, 1.25)  # in widths of the picture: 44 to 67 degrees, where nothing says what the camera had


def augment(
    rgb: Rgb, target: Map, crop: CropConfig, config: AugmentConfig, rng: np.random.Generator, has_zero: bool = True
) -> tuple[Rgb, Map]:
    """(H, W, 3) image and (H, W) target, NaN where invalid, to a random window of the size of ``crop``.

    ``has_zero``: the target is inverse depth up to a factor alone, without a shift (``TargetKind.has_zero``).
    """
    if has_zero and config.tilt and rng.random() < config.tilt:
        pitch, yaw = np.radians(rng.uniform(-config.tilt_deg, config.tilt_deg, 2) * (1.0, 0.5))
        rgb, target = tilt(rgb, target, float(pitch), float(yaw), float(rng.uniform(*_FOCAL_RANGE)) * target.shape[1])
    if rng.random() < config.rotate:
        rgb, target = rotate(rgb, target, float(rng.uniform(-config.rotate_deg, config.rotate_deg)))
    rgb, target = random_crop(rgb, target, crop, config, rng)
    if rng.random() < config.flip:
        rgb, target = rgb[:, ::-1], target[:, ::-1]
    return photometric(np.ascontiguousarray(rgb), config, rng), np.ascontiguousarray(target)


def tilt(rgb: Rgb, target: Map, pitch_rad: float, yaw_rad: float, focal_px: float) -> tuple[Rgb, Map]:
    """The view after a turn of the camera about its x axis (pitch) and y axis (yaw), from the same place.

    Pixels move by the homography K R K^-1, and a point's depth becomes its depth over the z of its old ray, the new
    ray's being 1; so inverse depth is multiplied by that. What comes in from outside the picture is invalid.
    """
    height, width = target.shape
    camera = np.array(((focal_px, 0, (width - 1) / 2), (0, focal_px, (height - 1) / 2), (0, 0, 1)))
    turn, _ = cv2.Rodrigues(np.array((pitch_rad, yaw_rad, 0.0)))
    matrix = camera @ turn @ np.linalg.inv(camera)
    turned = cv2.warpPerspective(rgb, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    turned_target = cv2.warpPerspective(
        target, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=math.nan
    )
    x = (np.arange(width) - camera[0, 2]) / focal_px
    y = (np.arange(height) - camera[1, 2]) / focal_px
    old_ray_z = turn[0, 2] * x + (turn[1, 2] * y + turn[2, 2])[:, None]
    return np.asarray(turned, dtype=np.uint8), (turned_target * old_ray_z).astype(np.float32)


def rotate(rgb: Rgb, target: Map, angle_deg: float) -> tuple[Rgb, Map]:
    """Roll of the camera about its axis; what comes in from outside the picture is invalid."""
    height, width = target.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    turned = cv2.warpAffine(rgb, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    turned_target = cv2.warpAffine(
        target, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=math.nan
    )
    return np.asarray(turned, dtype=np.uint8), np.asarray(turned_target, dtype=np.float32)


def random_crop(
    rgb: Rgb, target: Map, crop: CropConfig, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Rgb, Map]:
    """A window of about the aspect ratio that ``crop`` asks for, anywhere, resized to its size."""
    height, width = target.shape
    aspect = crop.aspect or crop.width_px / crop.height_px
    aspect *= math.exp(rng.uniform(-config.aspect_jitter, config.aspect_jitter))
    largest = min(height, width / aspect)  # height of the largest window that fits
    exact_height = largest * math.sqrt(rng.uniform(config.smallest_crop, 1.0))
    h, w = max(1, round(exact_height)), max(1, min(width, round(exact_height * aspect)))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    window = slice(top, top + h), slice(left, left + w)
    return resize_pair(rgb[window], target[window], (crop.height_px, crop.width_px))


def resize_pair(rgb: Rgb, target: Map, size: tuple[int, int]) -> tuple[Rgb, Map]:
    """The image as inference resizes it; nearest for the target: depth is not mixed over an edge."""
    if target.shape == size:
        return rgb, target
    resized_target = cv2.resize(target, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return resize(rgb, size), np.asarray(resized_target, dtype=np.float32)


def photometric(rgb: Rgb, config: AugmentConfig, rng: np.random.Generator) -> Rgb:
    """Colour, grey, blur, noise and JPEG: other cameras, other light."""
    if rng.random() < config.colour:
        rgb = _colour(rgb, rng)
    if rng.random() < config.grey:
        rgb = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)
    if rng.random() < config.blur:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.3, 1.6))), dtype=np.uint8)
    if rng.random() < config.noise:
        noise = np.empty(rgb.shape, dtype=np.int16)
        cv2.setRNGSeed(int(rng.integers(1, 2**31 - 1)))
        cv2.randn(noise, 0, float(rng.uniform(1.0, 12.0)))
        rgb = np.clip(rgb.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    if rng.random() < config.jpeg:
        quality = int(rng.integers(25, 90))
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    if rng.random() < config.erase:
        rgb = _erase(rgb, rng)
    return rgb


def _colour(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Per-channel gain, gamma and contrast through one table per channel; then saturation and hue."""
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.9, 1.1, 3)
    gamma = math.exp(rng.uniform(-0.45, 0.45))
    contrast, middle = rng.uniform(0.7, 1.3), rng.uniform(0.35, 0.65)
    ramp = np.linspace(0.0, 1.0, 256, dtype=np.float64)[:, None] ** gamma * gain
    table = np.clip(((ramp - middle) * contrast + middle) * 255.0, 0, 255).astype(np.uint8)
    rgb = np.asarray(cv2.LUT(rgb, table[None]), dtype=np.uint8)
    saturation, hue = rng.uniform(0.5, 1.5), int(rng.integers(-8, 9))
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    steps = np.arange(256)
    tables = np.stack([(steps + hue) % 180, np.clip(steps * saturation, 0, 255), steps], axis=1).astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, tables[None]), cv2.COLOR_HSV2RGB), dtype=np.uint8)


def _erase(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Up to three rectangles filled with one colour: depth must come from what surrounds them too."""
    rgb = rgb.copy()
    height, width = rgb.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        h, w = int(height * rng.uniform(0.05, 0.25)), int(width * rng.uniform(0.05, 0.25))
        top, left = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
        rgb[top : top + h, left : left + w] = rng.integers(0, 256, 3)
    return rgb
