"""Where the default weights lie."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from depthnet_ros.errors import WeightsError

DEFAULT_NAME = "depthnet_small"
ENVIRONMENT = "DEPTHNET_WEIGHTS_DIR"


def weights_folders() -> Iterator[Path]:
    """Folders that may hold weights, best first: the environment's, the source tree's, the installed share folder's."""
    if folder := os.environ.get(ENVIRONMENT):
        yield Path(folder)
    package = Path(__file__).resolve().parents[1]
    yield package.parent / "weights"
    for prefix in (*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix):
        if prefix:
            yield Path(prefix) / "share" / "depthnet_ros" / "weights"
    for parent in package.parents:  # <prefix>/lib/pythonX.Y/site-packages/depthnet_ros
        if parent.name == "lib" or parent.parent.name == "lib":
            yield parent.parent / "share" / "depthnet_ros" / "weights"


def default_weights(suffix: str = ".safetensors") -> Path:
    """The shipped default network: a checkpoint, or with ``suffix`` ``.onnx`` its export.

    Raises:
        WeightsError: none is installed.
    """
    looked = list(weights_folders())
    for folder in looked:
        path = folder / (DEFAULT_NAME + suffix)
        if path.is_file():
            return path
    raise WeightsError(f"no {DEFAULT_NAME}{suffix} in {', '.join(map(str, looked))}: give the parameter `weights`")
