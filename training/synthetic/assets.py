"""The installed games' and the household models by kind (things, cars, trees, furniture), brought to a unit size."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic import household, openarena, supertuxkart, torcs
from training.synthetic.ac3d import read_ac
from training.synthetic.errors import AssetError, AssetsMissingError
from training.synthetic.images import is_cut_out
from training.synthetic.md3 import read_md3
from training.synthetic.mesh import Model, Surface, Texture, bounds, merged, placement, transformed, vertices

_MIRROR = np.diag((-1.0, 1.0, 1.0, 1.0))
_LARGEST_TEXTURE_PX = 256
_FEWEST_TRIANGLES, _MOST_TRIANGLES = 4, 12000
_HOUSEHOLD = ("household", "household_furniture")
# What of SuperTuxKart's library is none of the kinds: lights, effects, pictures of people, huge or flat things.
_UNFIT = re.compile(
    r"gfx_|meta_|skyBeam|movingMap|jetblast|Plane_a|liana|reef|rocketBlast|solar|papi|animGrass|speedTrap|spider|rope"
    r"|electricalFence|boxGrid|Flags_a|ferryWheel|landscape|logBarrier_a|roots|waterLily|cliff|prayer|partyFlags",
    re.IGNORECASE,
)
_KINDS = {
    "tree": r"tree|palm|pine|birch|willow|cypress|accacia|cocoa",
    "plant": r"agave|bush|fern|cornPlant|cattail|sagebrush|tropicalPlant|seaweed|cabbage|redFlower|mushroom|Reed",
    "house": r"house|housing|lodge|hut_|kiosk|tower|igloo",
    "furniture": r"chair|bench|easel|luggage|gramophone|computer_a|chest|barrel|clock|vase|alcove|mailbox"
    r"|treeStump|pallet",
    "lamp": r"lamp_a|lantern|torch|streetlamp|candle",
    "street": r"bench|mailbox|streetLamp|metalPostLamp|woodPostLamp|airConditioner|electricalBox"
    r"|trainSemaphore|tiresBarrier|loudspeaker|chimney|neonArrow|vertical_a|umbrella|runwayBeacon|fence_|barrier|hayBall|portal|loveGate",
    "car": r"oldCar|cartraffic|tvVan|combineHarvester",
    "person": r"guy|women|girl|cheering|guardian|_kiki|konqi_a|painter|wilbert|pig_a|mermaid|poseidon|gnuMeditation",
}


def unit_model(model: Model, most_triangles: int = _MOST_TRIANGLES) -> Model | None:
    """The model standing on y = 0 over the origin, its longest side 1; None if it is empty, flat or too fine."""
    triangles = sum(len(surface.vertices) for surface in model) // 3
    if not _FEWEST_TRIANGLES <= triangles <= most_triangles:
        return None
    low, high = bounds(model)
    size = high - low
    if not np.isfinite(size).all() or size.max() < 1e-3 or np.sort(size)[1] < 0.02 * size.max():
        return None
    scale = 1.0 / float(size.max())
    middle = np.array(((low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2))
    return merged(transformed(model, placement(-scale * middle, 0.0, scale)))


@lru_cache(maxsize=1024)
def _small_texture(texture: Texture, largest_px: int) -> Texture:
    @lru_cache(maxsize=1)
    def load() -> NDArray[np.uint8] | None:
        image = texture.load()
        if image is None or max(image.shape[:2]) <= largest_px:
            return image
        scale = largest_px / max(image.shape[:2])
        return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    return Texture(f"{texture.key}@{largest_px}", load)


def _complete(model: Model) -> bool:
    """Whether most of the triangles have a picture that is there."""
    lacking = sum(len(s.vertices) for s in model if s.texture.load() is None)
    return lacking < 0.3 * sum(len(s.vertices) for s in model)


class ModelPool:
    """Models of all installed games, and of a household if :data:`household.INSTALL` was done, by kind."""

    def __init__(self) -> None:
        """Raises AssetsMissingError if none of the games is installed."""
        self._loaders: dict[str, list[Callable[[], Model]]] = {
            kind: [] for kind in (*_KINDS, *_HOUSEHOLD, "kart", "thing")
        }
        self._add_supertuxkart(supertuxkart.ROOT)
        self._add_torcs(torcs.ROOT)
        if any(openarena.ROOT.glob("*.pk3")):
            self._add_openarena(openarena.Packs(openarena.ROOT))
        if (root := household.assets_root()) is not None:
            self._loaders["household"] = [partial(household.read_household, p) for p in household.small_things(root)]
            self._loaders["household_furniture"] = [
                partial(household.read_household, p) for p in household.furniture(root)
            ]
        if not self._loaders["thing"]:
            raise AssetsMissingError(
                "no game's models found: apt-get install supertuxkart-data torcs-data openarena-data"
            )

    def pick(self, rng: np.random.Generator, kind: str) -> Model | None:
        """A model of a kind with its longest side 1, standing on y = 0 over the origin; None if there is none."""
        loaders = self._loaders[kind]
        for _ in range(12 if loaders else 0):
            model = self._load(kind, int(rng.integers(len(loaders))))
            if model is not None:
                return model
        return None

    @lru_cache(maxsize=600)  # noqa: B019 - one pool lives as long as its world
    def _load(self, kind: str, index: int) -> Model | None:
        try:
            model = self._loaders[kind][index]()
        except (AssetError, ValueError, KeyError, IndexError, OSError):
            return None
        fine = kind in _HOUSEHOLD
        largest = household.TEXTURE_PX if fine else _LARGEST_TEXTURE_PX
        small = [Surface(s.vertices, _small_texture(s.texture, largest), s.cut_out) for s in model if len(s.vertices)]
        most = household.MOST_TRIANGLES if fine else _MOST_TRIANGLES
        return unit_model(small, most) if small and _complete(small) else None

    def _add_supertuxkart(self, root: Path) -> None:
        reader = supertuxkart.SceneReader(root)
        for folder in sorted((root / "library").glob("*/node.xml")):
            if _UNFIT.search(folder.parent.name):
                continue
            kinds = [k for k, pattern in _KINDS.items() if re.search(pattern, folder.parent.name, re.IGNORECASE)]
            for kind in kinds or ["thing"]:
                self._loaders[kind].append(partial(reader.read, folder.parent, folder.name))
        for path in sorted((root / "models").glob("*.spm")):
            if not re.search(r"-low|zipper|parachute|bubblegum", path.name):
                self._loaders["thing"].append(partial(_spm, path, root))
        for path in sorted((root / "karts").glob("*/kart.xml")):
            match = re.search(r'model-file\s*=\s*"([^"]+)"', path.read_text(errors="replace"))
            if match:
                self._loaders["kart"].append(partial(_spm, path.with_name(match[1]), root))

    def _add_torcs(self, root: Path) -> None:
        for folder in sorted({file.parent for file in (root / "cars").glob("*/*.acc")}):
            self._loaders["car"].append(partial(torcs.car_model, folder))
        for path in sorted((root / "data/objects").glob("tree*.ac")):
            self._loaders["tree"].append(partial(_tree, path))

    def _add_openarena(self, packs: openarena.Packs) -> None:
        for name in sorted(packs.names(".md3")):
            if re.search(
                r"players|weaphits|flash|hand|_\d\.md3|gibs|teleporter|ring|invis|energy|impact|pop|sphere", name
            ):
                continue
            self._loaders["thing"].append(partial(_md3, name, packs))


def _tree(path: Path) -> Model:
    return torcs.model_of(read_ac(path), path.parent)


def _spm(path: Path, root: Path) -> Model:
    return transformed(list(supertuxkart.read_model(path, (path.parent, root / "textures"))), _MIRROR)


def _md3(name: str, packs: openarena.Packs) -> Model:
    surfaces = []
    for part in read_md3(packs.read(name)):
        shader = packs.shader(re.sub(r"\.\w+$", "", part.shader.lower()))
        if not shader.drawn:
            continue
        texture = Texture(f"openarena:{shader.image}", partial(packs.image, shader.image))
        surfaces.append(
            Surface(
                vertices(part.position, part.normal, part.uv), texture, shader.cut_out and is_cut_out(texture.load())
            )
        )
    return surfaces
