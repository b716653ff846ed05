"""Pictures of a recording, with the camera_info of their stamps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from depthnet_ros.bags.reader import BagReader, Topic
from depthnet_ros.bags.topics import IMAGE_TYPES, info_beside
from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.calibration import Calibration, calibration_from_fov
from depthnet_ros.geometry.camera_info import image_window, info_field
from depthnet_ros.imaging import message_to_rgb, picture_size
from depthnet_ros.messages.stamps import header_stamp_ns
from depthnet_ros.sources.base import Source, SourceFrame, SourceOptions

_INFOS_KEPT = 100
_USUAL_PERIOD_NS = 33_333_333
_SWAPPED_NS = 1_000_000_000  # a stamp that is earlier by less is that of a picture that another one has overtaken
_LONGEST_GAP_NS = 10_000_000_000
_NOT_A_PICTURE = ("depth", "disparity", "mask", "label", "confidence", "infra", "theora")
_LIKELY = ("color", "rgb", "left", "image_rect", "image_raw")


class BagImages(Source):
    """The pictures of one image topic; ``options.topic`` names it, else the likeliest colour image is taken.

    Raises:
        BagError: not a recording.
        ConfigError: it has no such image topic.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._path, self._fov_rad = path, options.horizontal_fov_rad
        with BagReader(path) as bag:
            topic = _image_topic(bag, options.topic)
            self.losses = bag.losses
            self._info_topic = info_beside(bag, topic.name) if options.calibrated else ""
        self.topic = topic.name
        self.count = topic.message_count
        beside = f", with {self._info_topic}" if self._info_topic else ", without camera_info"
        read = beside if options.calibrated else ""
        self.description = f"{path}: {topic.message_count} pictures of {topic.name}{read}"

    def __iter__(self) -> Iterator[SourceFrame]:
        waiting: Any = None
        timeline, names = _Timeline(), _Names(self.topic)
        topics = [self.topic, self._info_topic] if self._info_topic else [self.topic]
        with BagReader(self._path) as bag:
            infos = self._first_info(bag)
            for topic, _, message in bag.messages(topics):
                if topic == self._info_topic:
                    if (calibration := calibration_of(message)) is not None:
                        infos[header_stamp_ns(message)] = calibration
                    continue
                if waiting is not None:
                    yield self._frame(waiting, timeline, names, infos)
                waiting = message  # its camera_info may be recorded after it
            if waiting is not None:
                yield self._frame(waiting, timeline, names, infos)
            jumps = f"{self.topic}: {timeline.jumps} stamps are missing or jump by over 10 s: those follow at once"
            self.losses, self.notes = bag.losses, [jumps] if timeline.jumps else []

    def _first_info(self, bag: BagReader) -> dict[int, Calibration]:
        """By its stamp, the first usable one, for pictures that are recorded before any."""
        messages = bag.messages([self._info_topic]) if self._info_topic else iter(())
        for item in islice(messages, _INFOS_KEPT):
            if (calibration := calibration_of(item.message)) is not None:
                return {header_stamp_ns(item.message): calibration}
        return {}

    def _frame(self, message: Any, timeline: _Timeline, names: _Names, infos: dict[int, Calibration]) -> SourceFrame:
        """``infos`` by stamp: the picture's own, else the nearest; what is older than that is dropped."""
        stamp = header_stamp_ns(message)
        nearest = min(infos, key=lambda key: abs(key - stamp), default=None)
        if nearest is None:
            calibration = calibration_from_fov(_size(message), self._fov_rad)
        else:
            calibration = infos[nearest]
            for old in [*(key for key in infos if key < nearest), *list(infos)[:-_INFOS_KEPT]]:
                infos.pop(old, None)
            infos.setdefault(nearest, calibration)
        compressed = not hasattr(message, "encoding")
        return SourceFrame(
            name=names.of_next(stamp),
            stamp_s=timeline.seconds(stamp),
            rgb=partial(message_to_rgb, message),
            encoded=bytes(message.data) if compressed else None,
            calibration=calibration,
        )


class _Names:
    """A picture's name is topic and stamp; its number in the topic is added where others may have that stamp, too."""

    def __init__(self, topic: str) -> None:
        self._topic = topic.strip("/").replace("/", "_")
        self._seen = {0}  # the stamp of all that have none
        self._count = 0

    def of_next(self, stamp: int) -> str:
        """Of the next picture, with this stamp in ns."""
        name = f"{self._topic}_{stamp}"
        if stamp in self._seen:
            name += f"_{self._count}"
        self._seen.add(stamp)
        self._count += 1
        return name


class _Timeline:
    """Seconds since the first picture, by stamps. Where a stamp is missing, the recording's clock was set or nothing
    was recorded for long, the next picture follows as the one before it did: nobody waits an hour for it.

    Attributes:
        jumps: how often that was.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._zero_ns: int | None = None
        self._last_ns: int | None = None
        self._period_ns = _USUAL_PERIOD_NS

    def seconds(self, stamp: int) -> float:
        """Of the next picture, with this stamp in ns; 0: it has none."""
        last = self._last_ns
        if last is None:
            passed = 0
        elif stamp and self._zero_ns is not None and -_SWAPPED_NS < stamp - self._zero_ns - last < _LONGEST_GAP_NS:
            passed = stamp - self._zero_ns
        else:
            self.jumps += 1
            passed = last + self._period_ns
        if stamp:
            self._zero_ns = stamp - passed
        if last is not None and passed > last:
            self._period_ns = passed - last
        self._last_ns = max(passed, last or 0)
        return 1e-9 * passed


def _size(message: Any) -> tuple[int, int] | None:
    return (message.width, message.height) if hasattr(message, "encoding") else picture_size(bytes(message.data))


def _image_topic(bag: BagReader, wanted: str) -> Topic:
    images = [topic for topic in bag.topics.values() if topic.msgtype in IMAGE_TYPES and topic.message_count]
    if wanted:
        topic = bag.topic(wanted)
        if topic.msgtype not in IMAGE_TYPES:
            raise ConfigError(f"{wanted} in {bag.path} is {topic.msgtype}, not an image")
        return topic
    pictures = [topic for topic in images if not any(word in topic.name.lower() for word in _NOT_A_PICTURE)]
    if not pictures:
        names = ", ".join(bag.topics)
        raise ConfigError(f"{bag.path} has no camera image; name the topic. It has {names}")
    ranked = sorted(pictures, key=lambda topic: (_rank(topic.name), topic.msgtype != IMAGE_TYPES[0], topic.name))
    return ranked[0]


def _rank(name: str) -> int:
    return next((rank for rank, word in enumerate(_LIKELY) if word in name.lower()), len(_LIKELY))


def calibration_of(message: Any) -> Calibration | None:
    """Of the images as they are: ROI and binning are folded in, since a CameraInfo that is made of it has none."""
    k, r, p = (np.asarray(info_field(message, name), dtype=np.float64) for name in ("k", "r", "p"))
    if not np.any(k):
        return None
    window, d = image_window(message), info_field(message, "d")
    return Calibration(
        *window.size,
        tuple(window.intrinsics(k.reshape(3, 3)).ravel()),
        tuple(d),
        message.distortion_model,
        tuple(r),
        tuple(window.intrinsics(p.reshape(3, 4)).ravel()) if np.any(p) else (),
    )
