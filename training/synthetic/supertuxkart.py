"""SuperTuxKart: towns, forests, mines, mansions, snow (package ``supertuxkart-data``)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.synthetic.camera import Pose
from training.synthetic.errors import AssetError, AssetsMissingError
from training.synthetic.images import file_texture
from training.synthetic.mesh import Model, Surface, merged, transformed, vertices
from training.synthetic.quality import Limits
from training.synthetic.renderer import GpuModel, Renderer
from training.synthetic.spm import read_spm
from training.synthetic.world import View, random_fov

ROOT = Path("/usr/share/games/supertuxkart/data")
_MIRROR = np.diag((-1.0, 1.0, 1.0, 1.0))  # the files are left-handed
# Drawn blended over what is behind them: they have no depth of their own.
_GHOSTLY = {"additive", "alphablend", "displace"}
_CUT_OUT = {"alphatest", "grass", "unlit"}
_NOT_DRAWN = {
    "checks",
    "sky-dome",
    "sky-box",
    "particle-emitter",
    "light",
    "lightshaft",
    "item",
    "start",
    "camera",
    "lod",
}
_PHYSICS_ONLY = {"physics-only", "physicsonly"}
_NOT_MODELS = {"billboard", "action-trigger", "sfx-emitter", "cutscene_camera", "static_follow_kart"}
# Cut scenes, and the menu map.
_LEFT_OUT = {"introcutscene", "introcutscene2", "endcutscene", "featunlocked", "gplose", "gpwin", "overworld"}


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array([float(word) for word in text.split()])


def element_matrix(element: ET.Element) -> NDArray[np.float64]:
    """(4, 4) of an element's ``xyz`` (or x, y, z), ``hpr`` in degrees and ``scale``."""
    pitch, heading, roll = np.radians(_numbers(element.get("hpr", "0 0 0"))[:3])
    scale = _numbers(element.get("scale", "1 1 1"))
    (cx, cy, cz), (sx, sy, sz) = np.cos((pitch, heading, roll)), np.sin((pitch, heading, roll))
    about_x = np.array(((1, 0, 0), (0, cx, -sx), (0, sx, cx)))
    about_y = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    about_z = np.array(((cz, -sz, 0), (sz, cz, 0), (0, 0, 1)))
    out = np.eye(4)
    out[:3, :3] = (about_z @ about_y @ about_x) * (scale if len(scale) == 3 else scale[0])
    xyz = element.get("xyz")
    out[:3, 3] = _numbers(xyz)[:3] if xyz else [float(element.get(axis, "0")) for axis in "xyz"]
    return out


def _parsed(path: Path) -> ET.Element:
    try:
        return ET.parse(path).getroot()
    except ET.ParseError as error:
        raise AssetError(f"{path} is damaged: {error}") from error


@lru_cache(maxsize=256)
def _materials(folder: Path) -> dict[str, ET.Element]:
    path = folder / "materials.xml"
    if not path.is_file():
        return {}
    return {element.get("name", ""): element for element in _parsed(path).iter("material")}


@lru_cache(maxsize=1024)
def read_model(path: Path, folders: tuple[Path, ...]) -> tuple[Surface, ...]:
    """Drawable surfaces of one file, in its own left-handed frame."""
    surfaces = []
    for part in read_spm(path):
        material = next((m[part.texture] for m in map(_materials, folders) if part.texture in m), None)
        shader = "solid" if material is None else (material.get("shader") or "solid").lower()
        if shader in _GHOSTLY or not len(part.position):
            continue
        mask = None if material is None else material.get("mask")
        texture = file_texture(part.texture, folders, mask)
        data = vertices(part.position, part.normal, part.uv, colour=part.colour)
        surfaces.append(Surface(data, texture, cut_out=shader in _CUT_OUT or mask is not None))
    return tuple(surfaces)


class SceneReader:
    """Walks a ``scene.xml`` or a library's ``node.xml`` and gathers what the game would draw close by."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, folder: Path, file_name: str = "scene.xml") -> Model:
        """All visible models of a folder, joined by texture, right-handed."""
        surfaces = list(self._read_file(folder / file_name, np.eye(4), folder))
        return merged(transformed(surfaces, _MIRROR))

    def _read_file(self, path: Path, matrix: NDArray[np.float64], track: Path) -> Iterator[Surface]:
        root = _parsed(path)
        yield from self._walk(root, matrix, (path.parent, track), _finest_levels(root))

    def _walk(
        self, parent: ET.Element, matrix: NDArray[np.float64], folders: tuple[Path, Path], finest: dict[str, str]
    ) -> Iterator[Surface]:
        """Models below ``parent``: no collision shapes, of several levels of detail only the finest."""
        for element in parent:
            hidden = element.get("interaction") in _PHYSICS_ONLY or element.get("type") in _NOT_MODELS
            if hidden or element.tag in _NOT_DRAWN:
                continue
            moved = element.get("xyz") is not None or element.get("x") is not None
            here = matrix @ element_matrix(element) if moved else matrix
            group = element.get("lod_group", "")
            model = finest.get(group) if element.get("lod_instance") == "true" else element.get("model")
            if model:
                yield from self._model(model, here, folders)
            if element.tag == "library":
                yield from self._library(element.get("name", ""), here, folders[1])
            else:
                yield from self._walk(element, here, folders, finest)

    def _model(self, name: str, matrix: NDArray[np.float64], folders: tuple[Path, Path]) -> Iterator[Surface]:
        path = next((base / name for base in folders if (base / name).is_file()), None)
        if path is None or path.suffix != ".spm":
            return
        searched = tuple(dict.fromkeys((path.parent, *folders, self._root / "textures")))
        try:
            surfaces = read_model(path, searched)
        except (AssetError, ValueError):  # the second of numpy's: a table in it is cut short
            return
        yield from transformed(list(surfaces), matrix)

    def _library(self, name: str, matrix: NDArray[np.float64], track: Path) -> Iterator[Surface]:
        for folder in (self._root / "library" / name, track / "library" / name):
            if (folder / "node.xml").is_file():
                yield from self._read_file(folder / "node.xml", matrix, track)
                return


def _finest_levels(root: ET.Element) -> dict[str, str]:
    """For each level-of-detail group of a file, the model that the game draws nearest to the camera."""
    finest: dict[str, tuple[float, str]] = {}
    for group in root.iterfind("lod/group"):
        for element in group:
            name, model = element.get("lod_group", group.get("name", "")), element.get("model")
            distance = float(element.get("lod_distance", "inf"))
            if model and distance < finest.get(name, (np.inf, ""))[0]:
                finest[name] = (distance, model)
    return {name: model for name, (_, model) in finest.items()}


def drive_line(folder: Path) -> NDArray[np.float64]:
    """(N, 3) middles of the driveable quads in order, or of an arena's navigation mesh; right-handed.

    Raises:
        AssetError: their file is damaged.
    """
    for name, read in (("quads.xml", _middles_of_quads), ("navmesh.xml", _middles_of_faces)):
        path = folder / name
        if path.is_file():
            try:
                return np.array(read(_parsed(path))).reshape(-1, 3) * (-1, 1, 1)
            except (IndexError, ValueError) as error:
                raise AssetError(f"{path} is damaged: {error}") from error
    return np.zeros((0, 3))


def _middles_of_quads(root: ET.Element) -> list[NDArray[np.float64]]:
    """A corner is three numbers, or ``<earlier quad>:<its corner>``."""
    quads: list[list[NDArray[np.float64]]] = []
    for element in root.findall("quad"):
        texts = [element.get(f"p{k}", "") for k in range(4)]
        quads.append([quads[int(t.split(":")[0])][int(t.split(":")[1])] if ":" in t else _numbers(t) for t in texts])
    return [np.mean(quad, axis=0) for quad in quads]


def _middles_of_faces(root: ET.Element) -> list[NDArray[np.float64]]:
    points = [[float(v.get(axis, "0")) for axis in "xyz"] for v in root.iter("vertex")]
    return [np.mean([points[int(i)] for i in f.get("indices", "").split()], axis=0) for f in root.iter("face")]


class KartScene:
    """A track or arena."""

    indoor = False
    limits = Limits()

    def __init__(self, track: GpuModel, path_m: NDArray[np.float64]) -> None:
        self._track, self._path_m = track, path_m

    def propose(self, rng: np.random.Generator) -> View:
        """Above the driving line, mostly looking along it, either way."""
        index = int(rng.integers(len(self._path_m)))
        here = self._path_m[index]
        near = self._path_m[np.argsort(np.linalg.norm(self._path_m - here, axis=1))[1:8]]
        target = near[int(rng.integers(len(near)))]
        heading = np.arctan2(target[2] - here[2], target[0] - here[0])
        yaw = heading + rng.normal(0, 0.35) if rng.uniform() < 0.65 else rng.uniform(0, 2 * np.pi)
        height_m = np.exp(rng.uniform(np.log(0.5), np.log(2.5)))
        eye = here + np.array((rng.normal(0, 1.2), height_m, rng.normal(0, 1.2)))
        pose = Pose(eye, float(yaw), float(rng.normal(-0.04, 0.09)), float(rng.normal(0, 0.02)))
        return View(pose, [(self._track, np.eye(4))], random_fov(rng))


class SuperTuxKart:
    """All tracks and arenas on the ground."""

    name = "supertuxkart"
    views_per_scene = None

    def __init__(self, root: Path = ROOT) -> None:
        """Raises AssetsMissingError where the game's data are not installed."""
        if not (root / "tracks").is_dir():
            raise AssetsMissingError(f"no SuperTuxKart tracks under {root}: apt-get install supertuxkart-data")
        self._root = root

    def scene_names(self) -> list[str]:
        """Sorted names of the tracks."""
        folders = [path.parent for path in (self._root / "tracks").glob("*/scene.xml")]
        return sorted(folder.name for folder in folders if folder.name not in _LEFT_OUT)

    def load(self, scene: str, renderer: Renderer) -> KartScene:
        """Reads a track. Raises AssetError for one without a driving line."""
        folder = self._root / "tracks" / scene
        path_m = drive_line(folder)
        if len(path_m) < 10:
            raise AssetError(f"track {scene} has no driving line")
        return KartScene(renderer.upload(SceneReader(self._root).read(folder)), path_m)
