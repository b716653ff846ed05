"""Folders of a data set, of which some are links to another disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def folders_below(root: Path) -> Iterator[Path]:
    """``root`` and every folder below it, links to folders followed.

    One that is reached in two ways comes once, by a way without links where there is one: links may form loops.
    """
    seen = set()
    for folder, names, _ in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            names.clear()
            continue
        seen.add(real)
        names.sort(key=lambda name: ((Path(folder) / name).is_symlink(), name))
        yield Path(folder)
