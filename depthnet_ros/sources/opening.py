"""From a word of the user to a source."""

from __future__ import annotations

from pathlib import Path

from depthnet_ros.errors import ConfigError
from depthnet_ros.files import from_user
from depthnet_ros.simulation import SCENES
from depthnet_ros.sources import files, video
from depthnet_ros.sources.base import Source, SourceOptions
from depthnet_ros.sources.files import ImageFiles
from depthnet_ros.sources.scene import RenderedScene
from depthnet_ros.sources.video import VideoDevice, VideoFile

_BAG_SUFFIXES = frozenset({".mcap", ".db3", ".bag"})
KINDS = (
    "a folder of pictures, a picture, a pattern like 'folder/*.left.jpg', a video file, /dev/video0, "
    "a recording (folder, .mcap, .db3, .bag) or scene:" + ", scene:".join(SCENES)
)


def open_source(spec: str, options: SourceOptions | None = None) -> Source:
    """Open what ``spec`` names: one of KINDS; empty is the rendered room.

    Raises:
        ConfigError: nothing of these, or there is no picture in it.
        BagError: a recording that cannot be read.
    """
    try:
        return _open(spec.strip(), options or SourceOptions())
    except OSError as error:  # a name that is too long, or a folder that is not ours to read
        raise ConfigError(f"cannot open {spec!r}: {error.strerror or error}") from error


def _open(spec: str, options: SourceOptions) -> Source:
    if not spec or spec.startswith("scene:"):
        return RenderedScene(spec.removeprefix("scene:") or next(iter(SCENES)), options)
    path = from_user(spec)
    if path.is_dir():
        return _open_folder(path, options)
    if path.is_file():
        return _open_file(path, options)
    if spec.startswith("/dev/video") or spec.isdecimal():
        return VideoDevice(Path(f"/dev/video{spec}") if spec.isdigit() else path, options)
    if any(sign in spec for sign in "*?["):
        return _open_pattern(path, spec, options)
    if spec in SCENES:
        return RenderedScene(spec, options)
    raise ConfigError(f"no file, folder or camera {spec!r}; expected {KINDS}")


def _open_pattern(path: Path, spec: str, options: SourceOptions) -> Source:
    start = Path(path.anchor)
    rest = list(path.parts[1:] if path.is_absolute() else path.parts)
    while len(rest) > 1 and (start / rest[0]).is_dir():  # a folder whose name has brackets, say
        start /= rest.pop(0)
    try:
        found = list(start.glob("/".join(rest)))
    except ValueError as error:
        raise ConfigError(f"{spec!r} is no pattern: {error}") from error
    matches = [item for item in found if item.suffix.lower() in files.SUFFIXES]
    pictures = [item for item in matches if files.is_picture(item)]
    if pictures:
        return ImageFiles(pictures, options, spec, len(matches) - len(pictures))
    hint = f"; {len(matches)} depth images or masks were left out" if matches else ""
    raise ConfigError(f"no picture matches {spec!r}{hint}")


def _open_folder(path: Path, options: SourceOptions) -> Source:
    if _is_of_a_recording(path / "metadata.yaml") or any(item.suffix in _BAG_SUFFIXES for item in path.iterdir()):
        return _open_bag(path, options)
    return ImageFiles.in_folder(path, options)


def _is_of_a_recording(metadata: Path) -> bool:
    """Whether this is rosbag2's file of that name, and not some data set's. One that cannot be read is taken for it."""
    try:
        return "rosbag2" in metadata.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _open_file(path: Path, options: SourceOptions) -> Source:
    suffix = path.suffix.lower()
    if suffix in _BAG_SUFFIXES:
        return _open_bag(path, options)
    if suffix in video.SUFFIXES:
        return VideoFile(path, options)
    if suffix in files.SUFFIXES:
        return ImageFiles([path], options, str(path))
    raise ConfigError(f"{path} is none of the kinds of file that are known; expected {KINDS}")


def _open_bag(path: Path, options: SourceOptions) -> Source:
    from depthnet_ros.sources.bag import BagImages  # rosbags takes a while to import

    return BagImages(path, options)
