"""Which topics of a recording play which part, checked before the first frame is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from depthnet_ros.bags.reader import BagReader
from depthnet_ros.errors import BagError
from depthnet_ros.metric_scale import SOURCES

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
REFERENCE_TYPES = {
    "sensor_msgs/msg/Image": "depth",
    "sensor_msgs/msg/CompressedImage": "depth",
    "sensor_msgs/msg/PointCloud2": "points",
    "sensor_msgs/msg/LaserScan": "scan",
}
TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")


@dataclass(frozen=True)
class Topics:
    """Names of topics by the part they play; empty where there is none.

    Attributes:
        image, info, reference: names.
        reference_kind: depth, points or scan.
        anchors: topic by source of metric scale (range, scan, points, depth).
        boxes: of vision_msgs/Detection2DArray.
        tf: names of moving and of fixed transforms there are.
    """

    image: str
    info: str = ""
    reference: str = ""
    reference_kind: str = ""
    anchors: Mapping[str, str] = field(default_factory=dict)
    boxes: str = ""
    tf: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """All of them, each once."""
        named = (self.image, self.info, self.reference, self.boxes, *self.anchors.values(), *self.tf)
        return [name for name in dict.fromkeys(named) if name]


def resolve_topics(
    bag: BagReader,
    image: str,
    reference: str = "",
    info: str = "",
    anchors: Mapping[str, str] | None = None,
    boxes: str = "",
) -> Topics:
    """Check names and types; an empty ``info`` is looked for beside the image, as image_transport has it.

    Raises:
        BagError: a topic is missing, has no messages or another type than its part needs.
    """
    _check(bag, image, IMAGE_TYPES, "an image")
    kind = REFERENCE_TYPES[_check(bag, reference, tuple(REFERENCE_TYPES), "a reference")] if reference else ""
    if info:
        _check(bag, info, (INFO_TYPE,), "camera_info")
    for source, topic in (anchors or {}).items():
        if source not in SOURCES:
            raise BagError(f"no anchor source named {source!r}; there are {', '.join(SOURCES)}")
        _check(bag, topic, (SOURCES[source],), f"the anchor {source}")
        if topic == reference:
            raise BagError(f"{topic} cannot be both anchor and reference: depth scaled to it would be judged by itself")
    if boxes:
        _check(bag, boxes, ("vision_msgs/msg/Detection2DArray",), "boxes")
    tf = _transform_topics(bag, image)
    return Topics(image, info or info_beside(bag, image), reference, kind, dict(anchors or {}), boxes, tf)


def _check(bag: BagReader, name: str, types: tuple[str, ...], part: str) -> str:
    topic = bag.topic(name)
    if topic.msgtype not in types:
        fitting = [item.name for item in bag.topics.values() if item.msgtype in types]
        hint = f"; of that kind there are {', '.join(fitting)}" if fitting else "; the recording has none of that kind"
        raise BagError(f"{name} is {topic.msgtype}, but {part} must be {' or '.join(types)}{hint}")
    if topic.message_count == 0:
        raise BagError(f"{name} has no messages in this recording")
    return topic.msgtype


def _transform_topics(bag: BagReader, image: str) -> tuple[str, ...]:
    """/tf and /tf_static; or, where a robot's namespace has its own, those nearest above the image's topic."""
    for depth in range(image.count("/"), 0, -1):
        above = "/".join(image.split("/")[:depth])
        found = [name for name in (f"{above}/tf_static", f"{above}/tf") if name in bag.topics]
        if found := [name for name in found if bag.topics[name].msgtype in TF_TYPES]:
            return tuple(found)
    return ()


def info_beside(bag: BagReader, image: str) -> str:
    """The camera_info beside an image topic, whichever transport it is of; empty if there is none."""
    base = image.removesuffix("/compressed")
    beside = f"{base.rpartition('/')[0]}/camera_info"
    topic = bag.topics.get(beside)
    return beside if topic is not None and topic.msgtype == INFO_TYPE else ""
