"""Images with depth that recordings are made from: folders of RGB-D or stereo files, and the renderer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BagError, ImageError
from depthnet_ros.files import natural_key
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.imaging import compressed_to_rgb, read_picture

DEPTHS = "*.depth.png"
_WILD = {"**/": "((?:.*/)?)", "*": "([^/]*)", "?": "([^/])"}


@dataclass(frozen=True)
class RgbdFrame:
    """One moment of a recording to be made.

    Attributes:
        time_s: since the first frame.
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) metres, NaN where unknown, +Inf where nothing returns; None without depth.
        jpeg: the image as it lay on the disk if that was JPEG: it is passed on as it is.
        pose: (4, 4) pose of the optical frame in a fixed frame, or None.
        range_m: reading of a range finder along the optical axis, or None: it is then measured in ``depth_m``.
    """

    time_s: float
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32] | None
    jpeg: bytes | None = None
    pose: NDArray[np.float64] | None = None
    range_m: float | None = None


@dataclass(frozen=True)
class DepthFiles:
    """What the numbers in depth files mean.

    ``unit``: metres per count, or pixels of disparity per count where ``baseline_m`` (of the stereo pair) is given.
    ``invalid``: counts without meaning.
    """

    unit: float = 0.001
    baseline_m: float = 0.0
    invalid: tuple[int, ...] = (0, 65535)

    def read(self, path: Path, fx_px: float) -> NDArray[np.float32]:
        """A PNG of counts to (H, W) metres, NaN where invalid.

        Raises:
            ImageError: not a grey image.
        """
        raw = read_picture(path, cv2.IMREAD_UNCHANGED)
        if raw is None or raw.ndim != 2:
            raise ImageError(f"{path} is no grey image of depth or disparity")
        value = raw.astype(np.float32) * np.float32(self.unit)
        if self.baseline_m > 0:
            with np.errstate(divide="ignore"):
                value = np.float32(fx_px * self.baseline_m) / value
        value[np.isin(raw, self.invalid)] = np.nan
        return value


class FolderFrames:
    """Frames from files: the images and depths of two patterns, matched by what their wildcards stand for.

    Raises:
        BagError: no image, or another number of depths or poses than of images.
    """

    def __init__(
        self,
        folder: Path,
        images: str = "*.color.*",
        depths: str = DEPTHS,
        poses: str = "*.pose.txt",
        depth_files: DepthFiles = DepthFiles(),
        rate_hz: float = 30.0,
        intrinsics: tuple[float, float, float, float] | None = None,
        horizontal_fov_rad: float = 1.2,
        most: int = 0,
    ) -> None:
        """``intrinsics``: fx, fy, cx, cy in pixels, else the field of view decides; ``most``: frames, 0 for all."""
        named = _named(folder, images)
        if not named:
            raise BagError(f"no image matches {images!r} in {folder}")
        if depths not in ("", DEPTHS) and not _named(folder, depths):
            raise BagError(f"no depth matches {depths!r} in {folder}")
        self._images = list(named.values())
        self._depths, self._poses = (_partners(named, folder, pattern) for pattern in (depths, poses))
        if most > 0:
            self._images, self._depths, self._poses = (
                files[:most] for files in (self._images, self._depths, self._poses)
            )
        self._files = depth_files
        self._period_s = 1.0 / rate_hz
        height, width = compressed_to_rgb(self._images[0].read_bytes()).shape[:2]
        if intrinsics is None:
            self.camera = PinholeCamera.from_fov(width, height, horizontal_fov_rad)
        else:
            self.camera = PinholeCamera(width, height, *intrinsics)

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[RgbdFrame]:
        for index, path in enumerate(self._images):
            data = path.read_bytes()
            rgb = compressed_to_rgb(data)
            if rgb.shape[:2] != (self.camera.height_px, self.camera.width_px):
                first = f"{self.camera.width_px}x{self.camera.height_px}"
                raise BagError(
                    f"{path} is {rgb.shape[1]}x{rgb.shape[0]}, the first image {first}: one camera has one size"
                )
            depth = self._files.read(self._depths[index], self.camera.fx_px) if self._depths else None
            pose = _read_pose(self._poses[index]) if self._poses else None
            jpeg = data if data.startswith(b"\xff\xd8") else None  # whatever the file is called
            yield RgbdFrame(index * self._period_s, rgb, depth, jpeg, pose)


class SceneFrames:
    """Frames of a rendered scene: exact depth, an exact path, an ultrasonic range finder.

    Raises:
        ConfigError: no scene of that name.
    """

    def __init__(self, scene: str, camera: PinholeCamera, frames: int, rate_hz: float = 30.0) -> None:
        from depthnet_ros.simulation.renderer import Renderer
        from depthnet_ros.simulation.scenes import create_scene

        self.camera, made = camera, create_scene(scene)
        self.camera_height_m, self.camera_pitch_rad = made.camera_height_m, made.camera_pitch_rad
        self._renderer = Renderer(made, camera)
        self._count, self._period_s = frames, 1.0 / rate_hz

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RgbdFrame]:
        for index in range(self._count):
            frame = self._renderer.frame(index * self._period_s)
            yield RgbdFrame(frame.time_s, frame.rgb, frame.depth_m, None, frame.pose, frame.sonar_range_m)


def _read_pose(path: Path) -> NDArray[np.float64]:
    try:
        pose = np.loadtxt(path).reshape(4, 4)
    except (OSError, ValueError) as error:
        raise BagError(f"{path} is no camera pose, four lines of four numbers: {error}") from error
    if not np.isfinite(pose).all():
        raise BagError(f"{path} is no camera pose: it holds NaN or infinity")
    return np.asarray(pose, dtype=np.float64)


def _named(folder: Path, pattern: str) -> dict[tuple[str, ...], Path]:
    """Files by what stands for the pattern's wildcards, which the files of one moment share, in the order of people.

    Raises:
        BagError: no pattern below the folder, or two files have the same.
    """
    if not pattern:
        return {}
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]+\])", pattern)
    shape = re.compile("".join(_WILD.get(part, f"({part})" if part[:1] == "[" else re.escape(part)) for part in parts))
    named: dict[tuple[str, ...], Path] = {}
    try:
        found = sorted(folder.glob(pattern), key=natural_key)
    except (NotImplementedError, ValueError) as error:
        raise BagError(f"{pattern!r} is no pattern of files below {folder}, such as 'rgb/*.png': {error}") from error
    for path in found:
        match = shape.fullmatch(path.relative_to(folder).as_posix())
        name = match.groups() if match else (path.name,)
        if name in named:
            raise BagError(f"{pattern!r} in {folder} does not tell {named[name]} and {path} apart")
        named[name] = path
    return named


def _partners(images: dict[tuple[str, ...], Path], folder: Path, pattern: str) -> list[Path]:
    """The file that belongs to each image: of the same name, or, where no two names are the same, of the same place.

    Raises:
        BagError: some images have none, or there are others.
    """
    found = _named(folder, pattern)
    if not found:
        return []
    shared = min(len(next(iter(found))), len(next(iter(images))))  # wildcards of both: an ending may be one alone
    partners, wanted = {name[:shared]: path for name, path in found.items()}, [name[:shared] for name in images]
    if len(partners) == len(found) == len(images) == len(set(wanted)):
        if partners.keys() == set(wanted):
            return [partners[name] for name in wanted]
        if not partners.keys() & set(wanted):
            return list(found.values())
    alone = sorted("/".join(name) for name in partners.keys() ^ set(wanted))[:5]
    raise BagError(
        f"{len(images)} images but {len(found)} files {pattern!r} in {folder}: they must match one by one; alone are "
        f"{', '.join(alone)}"
    )
