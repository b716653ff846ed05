"""Which image and depth files a folder in MegaDepth's layout has, and which of them a list selects."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets.base import DatasetError
from training.datasets.safe_pickle import load_pickle

_LOGGER = logging.getLogger(__name__)
_IMAGES = {".jpg", ".jpeg", ".png"}
_TAIL = re.compile(r"([^/]+/dense[^/]*)/(?:imgs|depths)/([^/]+)\.[A-Za-z0-9]+$")
# Without lists, one scene in this many is for validation.
_VAL_EVERY = 20


@dataclass(frozen=True, order=True)
class Pair:
    """One image and its depth file, which may be missing.

    Attributes:
        scene: the scene's folder, ``0000`` in MegaDepth itself.
        dense: ``dense0``, ``dense1`` ...: models of one scene that have units of their own.
        stem: file name without ending.
        image: relative to the root.
    """

    scene: str
    dense: str
    stem: str
    image: str

    @property
    def key(self) -> str:
        """``<scene>/<dense>/<stem>``."""
        return f"{self.scene}/{self.dense}/{self.stem}"

    @property
    def depth(self) -> str:
        """Path of the depth file, relative to the root."""
        return f"{self.scene}/{self.dense}/depths/{self.stem}.h5"

    def files(self, root: Path) -> str:
        """Size in bytes and time of change in ns of image and depth below ``root``; -1 for one that is not there."""
        stats = [file.stat() if file.is_file() else None for file in (root / self.image, root / self.depth)]
        return " ".join("-1" if stat is None else f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)


def data_root(path: Path) -> Path:
    """The folder that has the scenes: ``path`` itself or a ``MegaDepth_v1`` at most four levels below it.

    Raises:
        DatasetError: there is none.
    """
    candidates = [path]
    for depth in range(4):
        candidates += sorted(path.glob("/".join(["*"] * depth + ["MegaDepth_v1"])))
    for candidate in candidates:
        if next(candidate.glob("*/dense*/imgs"), None) is not None:
            return candidate
    raise DatasetError(
        f"{path}: no images of MegaDepth's layout; expected <scene>/dense<k>/imgs/*.jpg with depths/*.h5 beside imgs"
    )


def find_pairs(root: Path) -> Iterator[Pair]:
    """All images, scene by scene in sorted order, whether or not their depth is there."""
    for scene in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        for images in sorted(scene.glob("dense*/imgs")):
            for image in sorted(images.iterdir()):
                if image.suffix.lower() in _IMAGES:
                    dense = images.parent.name
                    yield Pair(scene.name, dense, image.stem, f"{scene.name}/{dense}/imgs/{image.name}")


@dataclass(frozen=True)
class Selection:
    """What a list names: whole scenes, or single images by key."""

    scenes: frozenset[str]
    keys: frozenset[str]

    def has(self, pair: Pair) -> bool:
        """Whether the pair is in the list."""
        return pair.scene in self.scenes or f"{pair.scene}/{pair.dense}" in self.scenes or pair.key in self.keys

    @property
    def touched(self) -> frozenset[str]:
        """Scenes of which anything is in the list."""
        return frozenset(name.split("/")[0] for name in self.scenes | self.keys)

    def absent(self, pairs: Iterable[Pair]) -> list[str]:
        """Names in the list that are none of these pairs', sorted."""
        there = {name for pair in pairs for name in (pair.scene, f"{pair.scene}/{pair.dense}", pair.key)}
        return sorted((self.scenes | self.keys) - there)


def read_list(path: Path) -> Selection:
    """Reads MegaDepth's ``imgs_MD.p`` (paths of images) or a text list of scenes or images, one a line.

    A folder stands for all ``imgs_MD.p`` below it (``landscape`` and ``portrait``).

    Raises:
        DatasetError: nothing readable, nothing in it, or an entry that is neither a scene nor an image.
    """
    files = sorted(path.glob("**/imgs_MD.p")) if path.is_dir() else [path]
    if not files:
        raise DatasetError(f"{path}: a folder of lists without any imgs_MD.p in it")
    parts = [_selection(_entries(file), file) for file in files]
    scenes, keys = (frozenset().union(*names) for names in ([p.scenes for p in parts], [p.keys for p in parts]))
    if not scenes | keys:
        raise DatasetError(f"{path}: an empty list; expected scenes or images, one a line")
    return Selection(scenes, keys)


def _entries(path: Path) -> list[str]:
    if path.suffix in (".p", ".pkl", ".pickle"):
        content = load_pickle(path)
        names = content.ravel().tolist() if isinstance(content, np.ndarray) else content
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, (str, bytes)) for name in names):
            raise DatasetError(f"{path}: expected a list of paths of images, as imgs_MD.p has, got {content!r:.80}")
        return [name.decode(errors="replace") if isinstance(name, bytes) else name for name in names]  # bytes: Python 2
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read the list {path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _selection(entries: Iterable[str], path: Path) -> Selection:
    scenes, keys = set(), set()
    for entry in entries:
        match = _TAIL.search(entry.replace("\\", "/"))
        if match:
            keys.add(f"{match[1]}/{match[2]}")
        elif re.fullmatch(r"[^/]+(/dense[^/]*)?/?", entry):
            scenes.add(entry.rstrip("/"))
        else:
            raise DatasetError(
                f"{path}: {entry!r} is neither a scene (0000 or 0000/dense0) nor an image (0000/dense0/imgs/x.jpg)"
            )
    return Selection(frozenset(scenes), frozenset(keys))


def default_val_scenes(scenes: Iterable[str]) -> frozenset[str]:
    """Every twentieth scene in sorted order, at least one if there are two or more."""
    ordered = sorted(set(scenes))
    return frozenset(ordered[_VAL_EVERY // 2 :: _VAL_EVERY] or ordered[1:2])


def lonely_depths(root: Path) -> list[Path]:
    """Depth files without an image, relative to the root."""
    lonely = []
    for depths in sorted(root.glob("*/dense*/depths")):
        images = {image.stem for image in depths.with_name("imgs").glob("*")}
        lonely += [path.relative_to(root) for path in sorted(depths.glob("*.h5")) if path.stem not in images]
    return lonely


def of_split(
    pairs: list[Pair], split: str, lists: Mapping[str, str | None], path: Path, val_scenes: frozenset[str]
) -> list[Pair]:
    """Pairs of a split: by its own list; else all scenes that the other list has nothing of; else by scenes.

    Names in a list that no pair has are logged: official lists have images that a download may lack, but of a name that
    is mistyped nothing would be held out.

    Args:
        pairs: to choose from.
        split: ``train``, ``val`` or ``all``.
        lists: of ``train`` and of ``val``, relative to ``path``; None where there is none.
        path: of the data set.
        val_scenes: what ``val`` is without a list.

    Raises:
        DatasetError: a list cannot be read or has nothing of ``pairs``, or the other one leaves nothing or all.
    """
    if split == "all":
        return pairs
    own, other = lists[split], lists["val" if split == "train" else "train"]
    if own is not None:
        chosen = read_list(path / own)
        selected = [pair for pair in pairs if chosen.has(pair)]
        if not selected:
            raise DatasetError(f"{path / own}: none of the listed images is on disk")
        _tell_absent(path / own, chosen, pairs)
        return selected
    if other is not None:
        chosen = read_list(path / other)
        refused = chosen.touched
        left = [pair for pair in pairs if pair.scene not in refused]
        if pairs and len(left) == len(pairs):
            raise DatasetError(
                f"{path / other}: nothing that it names is on disk (such as {chosen.absent(pairs)[0]!r}), so split "
                f"{split!r} would be everything: write the names as the folders have them, or give {split}_list"
            )
        _tell_absent(path / other, chosen, pairs)
        if pairs and not left:
            raise DatasetError(
                f"{path / other} has images of every scene, so none is left for split {split!r}: give {split}_list too"
            )
        return left
    return [pair for pair in pairs if (pair.scene in val_scenes) == (split == "val")]


def _tell_absent(path: Path, chosen: Selection, pairs: list[Pair]) -> None:
    if absent := chosen.absent(pairs):
        _LOGGER.warning(
            "%s: %d of its %d names are not on disk, such as %r: a download that is not complete, or mistyped",
            *(path, len(absent), len(chosen.scenes) + len(chosen.keys), absent[0]),
        )
