"""Where the shipped weights lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from depthnet_ros.errors import WeightsError
from depthnet_ros.share import share_folders

DEFAULT_NAME = "depthnet_small"
ENSEMBLE = (DEFAULT_NAME, "depthnet_base")
"""Shipped networks whose mean `depthnet infer` takes: it errs less than either."""
ENVIRONMENT = "DEPTHNET_WEIGHTS_DIR"


def weights_folders() -> Iterator[Path]:
    """Folders that may hold weights, best first: the environment's, the source tree's, the installed share folder's."""
    if folder := os.environ.get(ENVIRONMENT):
        yield Path(folder)
    yield from share_folders("weights")


def shipped_weights(name: str = DEFAULT_NAME, suffixes: tuple[str, ...] = (".safetensors", ".onnx")) -> Path:
    """The shipped network ``name``: its checkpoint, or its export where there is no checkpoint; only as ``suffixes``.

    Raises:
        WeightsError: none of that name is installed.
    """
    looked = list(weights_folders())
    for folder in looked:
        for suffix in suffixes:
            if (path := folder / (name + suffix)).is_file():
                return path
    names = {path.stem for folder in looked for path in folder.glob("*.safetensors")}
    raise WeightsError(
        f"no weights file or shipped network {name!r}: give the path of a .safetensors or .onnx file, or one of "
        f"{', '.join(sorted(names)) or 'none that is installed'}"
    )


def default_weights() -> Path:
    """The checkpoint of the shipped default network.

    Raises:
        WeightsError: none is installed.
    """
    return shipped_weights(suffixes=(".safetensors",))
