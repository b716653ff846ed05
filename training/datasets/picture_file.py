"""Pictures of a data set that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.files import written_whole
from training.datasets.base import DatasetError


def write_picture(path: Path, picture: NDArray[np.uint8] | NDArray[np.uint16], options: Sequence[int] = ()) -> None:
    """Write a BGR or grey picture in the format of the path's ending; ``options`` are OpenCV's.

    Raises:
        DatasetError: OpenCV cannot encode it.
        OSError: it cannot be written.
    """
    coded, data = cv2.imencode(path.suffix, picture, list(options))
    if not coded:
        raise DatasetError(f"{path}: OpenCV cannot encode this picture")
    with written_whole(path, durable=False) as temporary:
        temporary.write_bytes(data.tobytes())
