"""Boxes of objects: KITTI's label files, and vision_msgs/Detection2DArray by the recording's own types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depthnet_ros.errors import BagError
from depthnet_ros.evaluation.objects import Box
from depthnet_ros.files import natural_key

_FIELDS = 15
_IGNORED = "DontCare"


def boxes_from_detections(message: Any) -> tuple[Box, ...]:
    """The boxes of a Detection2DArray; an object's class is its best hypothesis, ``object`` without one.

    Raises:
        BagError: the message has other fields than any release of vision_msgs.
    """
    try:
        return tuple(_detection(item) for item in message.detections)
    except (AttributeError, TypeError, ValueError) as error:
        raise BagError(f"not a vision_msgs/Detection2DArray of a known release: {error}") from error


def _detection(item: Any) -> Box:
    center, width, height = item.bbox.center, float(item.bbox.size_x), float(item.bbox.size_y)
    position = getattr(center, "position", center)  # Pose2D of geometry_msgs before vision_msgs 4, its own since
    name, score = "object", 1.0
    if len(item.results):
        best = max((getattr(result, "hypothesis", result) for result in item.results), key=lambda one: one.score)
        name, score = str(best.class_id if hasattr(best, "class_id") else best.id), float(best.score)
    x, y = float(position.x), float(position.y)
    return Box(name, x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height, score)


class KittiLabels:
    """One label file for each image, in the order of their names, 9 before 10.

    Raises:
        BagError: no files, or another number than there are images.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self._files = sorted(folder.glob("*.txt"), key=natural_key)
        if len(self._files) != images:
            raise BagError(
                f"{folder} holds {len(self._files)} label files (*.txt) for {images} images: there must be one for each"
            )

    def boxes(self, index: int) -> tuple[Box, ...]:
        """Those of the image that came as number ``index``.

        Raises:
            BagError: no text, or a line that is no label.
        """
        path = self._files[index]
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BagError(f"cannot read the labels {path}: {error}") from error
        return tuple(box for number, line in enumerate(lines, 1) if (box := _label(line.split(), f"{path}:{number}")))


def _label(fields: Sequence[str], where: str) -> Box | None:
    """Type, truncation, occlusion, angle, box (left top right bottom), size, location x y z, rotation [, score]."""
    if not fields or fields[0] == _IGNORED:
        return None
    if len(fields) not in (_FIELDS, _FIELDS + 1):
        raise BagError(f"{where}: a KITTI label has {_FIELDS} fields (16 with a score), got {len(fields)}")
    try:
        left, top, right, bottom = (float(field) for field in fields[4:8])
        length, depth = float(fields[10]), float(fields[13])
        score = float(fields[15]) if len(fields) > _FIELDS else 1.0
    except ValueError as error:
        raise BagError(f"{where}: {error}") from error
    # The location is the object's middle. What the camera sees of a car straight ahead is half its length nearer.
    front = depth - 0.5 * length if depth > length > 0 else float("nan")
    return Box(fields[0], left, top, right, bottom, score, front)
