"""OpenArena: halls, corridors, courts with baked light (packages ``openarena-data``, ``openarena-081-maps`` ...)."""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bsp import BspFace, BspMap, read_bsp
from training.synthetic.camera import Pose
from training.synthetic.errors import AssetError, AssetsMissingError
from training.synthetic.images import LARGEST_PX, decode_image
from training.synthetic.mesh import Model, Surface, Texture, merged
from training.synthetic.quality import Limits
from training.synthetic.renderer import GpuModel, Renderer
from training.synthetic.world import View, random_fov

ROOT = Path("/usr/share/games/openarena/baseoa")
# Things a player can stand at: the camera is free of walls there.
_STANDING = re.compile(r"info_player|item_|weapon_|ammo_|holdable_|team_ctf")


@dataclass(frozen=True)
class Shader:
    """What of a shader script matters here.

    Attributes:
        image: name of the first picture, "" without one.
        drawn: False for sky, fog, glass, flames: nothing opaque.
        cut_out: alpha is a shape (``alphaFunc``).
        two_sided: ``cull none``.
    """

    image: str
    drawn: bool = True
    cut_out: bool = False
    two_sided: bool = False


def parse_shaders(text: str) -> dict[str, Shader]:
    """Shaders by lower-case name from the text of a ``.shader`` script."""
    text = re.sub(r"//.*", "", text).lower()
    out = {}
    for name, body in re.findall(r"(\S+)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", text):
        head = re.sub(r"\{[^{}]*\}", "", body)
        stages = [stage for stage in re.findall(r"\{([^{}]*)\}", body) if not re.search(r"map\s+\$", stage)]
        base = next((stage for stage in stages if "tcgen environment" not in stage), "")
        image = re.search(r"\b(?:clampmap|map)\s+(\S+)|\banimmap\s+\S+\s+(\S+)", base)
        editor = re.search(r"qer_editorimage\s+(\S+)", head)
        named = next((group for group in image.groups() if group), "") if image else editor[1] if editor else name
        hidden = re.search(r"surfaceparm\s+(sky|nodraw|fog)\b|skyparms", head)
        blended = bool(stages) and "blendfunc" in stages[0] and "alphafunc" not in stages[0]
        if blended and not re.search(r"map\s+\$lightmap", body):
            hidden = hidden or re.search("blendfunc", stages[0])
        out[name] = Shader(
            named, not hidden, "alphafunc" in base, bool(re.search(r"cull\s+(none|disable|twosided)", head))
        )
    return out


class Packs:
    """The game's ``.pk3`` files as one tree of lower-case names; later files replace earlier ones, as in the game.

    Raises:
        AssetError: one of them is damaged.
    """

    def __init__(self, root: Path) -> None:
        self._members: dict[str, tuple[zipfile.ZipFile, str]] = {}
        for path in sorted(root.glob("*.pk3")):
            try:
                archive = zipfile.ZipFile(path)
            except zipfile.BadZipFile as error:
                raise AssetError(f"{path} is damaged: {error}") from error
            self._members.update({name.lower(): (archive, name) for name in archive.namelist()})
        self.shaders: dict[str, Shader] = {}
        for name in sorted(self.names(".shader")):
            self.shaders.update(parse_shaders(self.read(name).decode("latin1")))

    def names(self, ending: str) -> list[str]:
        """Members that end so."""
        return [name for name in self._members if name.endswith(ending)]

    def read(self, name: str) -> bytes:
        """Bytes of a member. Raises AssetError for a damaged one."""
        archive, member = self._members[name]
        try:
            return archive.read(member)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise AssetError(f"{member} in {archive.filename} is damaged: {error}") from error

    def image(self, name: str, largest_px: int = LARGEST_PX) -> NDArray[np.uint8] | None:
        """(H, W, 4) uint8 of a picture named with or without its ending, shrunk to at most ``largest_px``."""
        stem = re.sub(r"\.(tga|jpg|png)$", "", name.lower())
        for ending in (".tga", ".jpg", ".png"):
            if stem + ending in self._members:
                return decode_image(self.read(stem + ending), largest_px)
        return None

    def shader(self, name: str) -> Shader:
        """The script of this name, or the picture of this name drawn plainly."""
        return self.shaders.get(name, Shader(name))


class ArenaScene:
    """A map."""

    indoor = True
    limits = Limits()

    def __init__(self, model: GpuModel, standing_m: NDArray[np.float64]) -> None:
        self._model, self._standing_m = model, standing_m

    def propose(self, rng: np.random.Generator) -> View:
        """At or between places where players stand, any heading."""
        eye = self._standing_m[int(rng.integers(len(self._standing_m)))]
        if rng.uniform() < 0.5:
            distance = np.linalg.norm(self._standing_m - eye, axis=1)
            near = self._standing_m[(distance > 0) & (distance < 12) & (np.abs(self._standing_m[:, 1] - eye[1]) < 1)]
            if len(near):
                eye = eye + (near[int(rng.integers(len(near)))] - eye) * rng.uniform(0.2, 0.8)
        eye = eye + np.array((rng.normal(0, 0.5), rng.uniform(-0.2, 1.2), rng.normal(0, 0.5)))
        pose = Pose(eye, float(rng.uniform(0, 2 * np.pi)), float(rng.normal(-0.08, 0.14)), float(rng.normal(0, 0.03)))
        return View(pose, [(self._model, np.eye(4))], random_fov(rng))


class OpenArena:
    """All maps in the installed packs."""

    name = "openarena"
    views_per_scene = None

    def __init__(self, root: Path = ROOT) -> None:
        """Raises AssetsMissingError where the game's data are not installed."""
        if not any(root.glob("*.pk3")):
            raise AssetsMissingError(
                f"no OpenArena packs under {root}: apt-get install openarena-data openarena-081-maps"
            )
        self._packs = Packs(root)

    def scene_names(self) -> list[str]:
        """Sorted names of the maps."""
        return sorted(Path(name).stem for name in self._packs.names(".bsp"))

    def load(self, scene: str, renderer: Renderer) -> ArenaScene:
        """Reads a map. Raises AssetError for one that is damaged or has no place to stand."""
        bsp = read_bsp(self._packs.read(f"maps/{scene}.bsp"))
        standing = [position for kind, position in bsp.places if _STANDING.match(kind)]
        if len(standing) < 4:
            raise AssetError(f"map {scene} has only {len(standing)} places to stand")
        return ArenaScene(renderer.upload(self._model(scene, bsp)), np.array(standing))

    def _model(self, scene: str, bsp: BspMap) -> Model:
        @cache
        def light_texture(index: int) -> Texture:
            return Texture(f"{scene}:light{index}", lambda: _opaque(_brightened(bsp.light_maps[index])))

        def surface(face: BspFace) -> Surface | None:
            shader = self._packs.shader(face.shader)
            if not shader.drawn:
                return None
            texture = Texture(f"openarena:{shader.image}", lambda: self._packs.image(shader.image))
            light = light_texture(face.light_map) if 0 <= face.light_map < len(bsp.light_maps) else None
            one_sided = not (shader.two_sided or shader.cut_out)
            return Surface(face.corners, texture, shader.cut_out, light, one_sided)

        return merged(found for face in bsp.faces if (found := surface(face)) is not None)


def _opaque(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.dstack((rgb, np.full(rgb.shape[:2], 255, np.uint8)))


def _brightened(light: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The game's light maps are meant for a display at twice the brightness; dark corners are lifted a little."""
    return (255 * (light.astype(np.float32) / 255) ** 0.8).astype(np.uint8)
