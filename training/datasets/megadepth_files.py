"""Which image and depth files a folder in MegaDepth's layout has, and which of them a list selects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets.base import DatasetError
from training.datasets.safe_pickle import load_pickle

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


def read_list(path: Path) -> Selection:
    """Reads MegaDepth's ``imgs_MD.p`` (paths of images) or a text list of scenes or images, one a line.

    A folder stands for all ``imgs_MD.p`` below it (``landscape`` and ``portrait``).

    Raises:
        DatasetError: nothing readable, or an entry that is neither a scene nor an image.
    """
    if path.is_dir():
        files = sorted(path.glob("**/imgs_MD.p"))
        if not files:
            raise DatasetError(f"{path}: a folder of lists without any imgs_MD.p in it")
        parts = [read_list(file) for file in files]
        return Selection(
            frozenset().union(*(part.scenes for part in parts)), frozenset().union(*(part.keys for part in parts))
        )
    if path.suffix in (".p", ".pkl", ".pickle"):
        entries = [e.decode() if isinstance(e, bytes) else str(e) for e in load_pickle(path)]  # bytes: of Python 2
    else:
        try:
            entries = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"cannot read the list {path}: {error}") from error
    return _selection(entries, path)


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

    Args:
        pairs: to choose from.
        split: ``train``, ``val`` or ``all``.
        lists: of ``train`` and of ``val``, relative to ``path``; None where there is none.
        path: of the data set.
        val_scenes: what ``val`` is without a list.

    Raises:
        DatasetError: a list cannot be read or has nothing of ``pairs``, or the other one leaves nothing.
    """
    if split == "all":
        return pairs
    own, other = lists[split], lists["val" if split == "train" else "train"]
    if own is not None:
        chosen = read_list(path / own)
        selected = [pair for pair in pairs if chosen.has(pair)]
        if not selected:
            raise DatasetError(f"{path / own}: none of the listed images is on disk")
        return selected
    if other is not None:
        refused = read_list(path / other).touched
        left = [pair for pair in pairs if pair.scene not in refused]
        if pairs and not left:
            raise DatasetError(
                f"{path / other} has images of every scene, so none is left for split {split!r}: give {split}_list too"
            )
        return left
    return [pair for pair in pairs if (pair.scene in val_scenes) == (split == "val")]
