"""WSVD's published lists and the videos they speak of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.datasets.base import DatasetError
from training.datasets.safe_pickle import load_pickle

_VIDEOS = {".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v"}
# A name is that of a folder of the cache too.
_PLAIN_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\0]+")
_FORMAT_SUFFIX = re.compile(r"\.f\d+$")
# YouTube's numbers of formats: of sound alone, and of 48 to 60 frames a second.
_SOUND_FORMATS = {139, 140, 141, 171, 172, 249, 250, 251, 256, 258, 327, 328}
_FAST_FORMATS = {298, 299, 302, 303, 308, 315, 334, 335, 336, 337, 398, 399, 400, 401}
_SLOW_LIMIT_HZ = 31.0


@dataclass(frozen=True)
class Video:
    """Frames wanted of one video.

    Attributes:
        name: YouTube id, possibly with a format suffix such as ``.f137``.
        frames: wanted frame numbers, growing, and for each whether the eyes are swapped.
    """

    name: str
    frames: dict[int, bool]


def read_clips(path: Path, stride: int = 1) -> list[Video]:
    """Videos of an official pickle: a list of ``{name, clips: [{frames: int32[], label: +1 | -1}]}``.

    Args:
        path: ``wsvd_train_clip_frame_ids.pkl`` or ``wsvd_test_clip_frame_ids.pkl``.
        stride: takes every stride-th frame of each clip; neighbours are nearly the same picture.

    Raises:
        DatasetError: not such a list, an empty one, or a name that is no plain file name, whose frames would lie
            elsewhere.
    """
    if stride < 1:
        raise DatasetError(f"stride must be at least 1, got {stride}")
    content = load_pickle(path)
    videos = []
    try:
        for entry in content:
            frames = {
                int(frame): int(clip["label"]) < 0
                for clip in entry["clips"]
                for frame in np.asarray(clip["frames"]).ravel()[::stride]
            }
            name = str(entry["name"])
            if not _PLAIN_NAME.fullmatch(name):
                raise DatasetError(f"{path}: expected the name of a video, such as abcdefghijk.f137, got {name!r}")
            videos.append(Video(name, dict(sorted(frames.items()))))
    except (TypeError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{path} is not a WSVD clip list ({type(error).__name__}: {error}); "
            "expected a list of {name, clips: [{frames, label}]}"
        ) from error
    if not videos:
        raise DatasetError(f"{path}: a clip list without a video in it; expected a list of {{name, clips}}")
    return videos


def find_video(folder: Path, name: str) -> Path | None:
    """The file of a video: its name with a video's ending, or the bare id where the name has a format suffix."""
    bare = _FORMAT_SUFFIX.sub("", name)
    for stem in dict.fromkeys((name, bare)):
        for ending in sorted(_VIDEOS):
            if (folder / f"{stem}{ending}").is_file():
                return folder / f"{stem}{ending}"
    formats = re.compile(re.escape(bare) + r"\.f(\d+)")
    for path in sorted(folder.iterdir()):
        match = formats.fullmatch(path.stem)
        if match and path.suffix.lower() in _VIDEOS and int(match[1]) not in _SOUND_FORMATS:
            return path
    return None


def check_rate(path: Path, name: str) -> None:
    """Another format of a video may have twice the frames, and every number of the list would mean another one.

    Raises:
        DatasetError: the list was made from a format of at most 30 frames a second, and the file has more.
    """
    match = _FORMAT_SUFFIX.search(name)
    if match is None or path.stem == name or int(match[0].removeprefix(".f")) in _FAST_FORMATS:
        return
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if rate > _SLOW_LIMIT_HZ:
        raise DatasetError(
            f"{path} has {rate:.0f} frames a second, but the list's numbers are those of {name}, which has 30 at most: "
            f"download format {match[0].removeprefix('.f')}"
        )


def read_frames(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(number, (H, W, 3) uint8 RGB) of the wanted frames, in growing order.

    The video is stepped through from its start: seeking by frame number is off by some frames in many codecs.

    Raises:
        DatasetError: the file cannot be opened as a video, or ends before the last wanted frame.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DatasetError(f"cannot open {path} as a video: damaged, or of a codec that this OpenCV does not read")
        position = 0
        for number in sorted(wanted):
            while position < number and capture.grab():
                position += 1
            found, bgr = capture.read()
            if not found:
                raise DatasetError(
                    f"{path} ends at frame {position}; frame {number} is wanted: is the download complete?"
                )
            position += 1
            yield number, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    finally:
        capture.release()
