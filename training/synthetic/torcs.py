"""TORCS: roads with towns, trees, barriers and cars (package ``torcs-data``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.synthetic.ac3d import AcObject, read_ac, to_surface
from training.synthetic.camera import Pose
from training.synthetic.errors import AssetError, AssetsMissingError
from training.synthetic.images import file_texture, is_cut_out
from training.synthetic.mesh import Model, Texture, bounds, merged, placement, transformed
from training.synthetic.quality import Limits
from training.synthetic.renderer import GpuModel, Placed, Renderer
from training.synthetic.world import View, random_fov

ROOT = Path("/usr/share/games/torcs")
_CAR_LENGTH_M = 4.5
_CARS_PER_TRACK = 6
# Layers painted on the ground or on glass, without a shape of their own.
_SKIPPED = re.compile(r"shadow|raceline|empty_texture|smoke", re.IGNORECASE)


@lru_cache(maxsize=1024)
def _texture(name: str, folder: Path) -> tuple[Texture, bool]:
    folders = (folder, ROOT / "data/textures", ROOT / "data/objects", ROOT / "cars/common")
    texture = file_texture(name, folders)
    return texture, is_cut_out(texture.load())


def model_of(objects: Iterable[AcObject], folder: Path) -> Model:
    """The drawable objects of a file that lies in ``folder``, joined by texture."""
    drawn = (item for item in objects if not _SKIPPED.search(item.texture))
    return merged(to_surface(item, *_texture(item.texture, folder)) for item in drawn)


def centre_line(objects: Iterable[AcObject]) -> NDArray[np.float64]:
    """(N, 3) points on the middle of the road in driving order.

    The main track's pieces are strips ``TKMN<n>`` numbered along the lap, with vertices in pairs, one on each edge.
    """
    numbered = []
    for item in objects:
        match = re.fullmatch(r"TKMN(\d+)", item.name)
        if match and len(item.points) >= 4:
            pairs = item.points[: len(item.points) // 2 * 2].reshape(-1, 2, 3)
            numbered.append((int(match[1]), pairs.mean(axis=1)))
    if not numbered:
        return np.zeros((0, 3))
    return np.concatenate([points for _, points in sorted(numbered, key=lambda entry: entry[0])]).astype(np.float64)


class TorcsScene:
    """A track with cars put on it anew for each view."""

    indoor = False
    limits = Limits()

    def __init__(self, track: GpuModel, road_m: NDArray[np.float64], cars: list[GpuModel]) -> None:
        self._track, self._road_m, self._cars = track, road_m, cars

    def propose(self, rng: np.random.Generator) -> View:
        """Above the road or its verge, mostly looking along it, at the height of a robot, driver or pedestrian."""
        index = int(rng.integers(len(self._road_m)))
        here, heading = self._road_m[index], self._heading(index)
        across = np.array((-np.sin(heading), 0.0, np.cos(heading)))
        eye = here + across * rng.normal(0, 2.5) + (0, np.exp(rng.uniform(np.log(0.4), np.log(3.0))), 0)
        along = rng.choice((0, np.pi)) + rng.normal(0, 0.35) if rng.uniform() < 0.7 else rng.uniform(0, 2 * np.pi)
        pose = Pose(eye, heading + along, float(rng.normal(-0.03, 0.07)), float(rng.normal(0, 0.02)))
        placed: list[Placed] = [(self._track, np.eye(4)), *self._parked(rng, index)]
        return View(pose, placed, random_fov(rng))

    def _heading(self, index: int) -> float:
        ahead, behind = self._road_m[(index + 2) % len(self._road_m)], self._road_m[index - 2]
        return float(np.arctan2(ahead[2] - behind[2], ahead[0] - behind[0]))

    def _parked(self, rng: np.random.Generator, index: int) -> list[Placed]:
        """Up to seven cars within 4 to 60 m of the camera's place, on the road and beside it."""
        distance = np.linalg.norm(self._road_m - self._road_m[index], axis=1)
        near = np.flatnonzero((distance > 4) & (distance < 60))
        placed: list[Placed] = []
        for _ in range(int(rng.integers(0, 8)) if len(near) else 0):
            spot = int(rng.choice(near, p=(1 / distance[near]) / (1 / distance[near]).sum()))
            heading = self._heading(spot)
            across = np.array((-np.sin(heading), 0.0, np.cos(heading)))
            position = self._road_m[spot] + across * rng.normal(0, 4)
            yaw = -heading + rng.choice((0, np.pi)) + rng.normal(0, 0.3)
            placed.append((self._cars[int(rng.integers(len(self._cars)))], placement(position, yaw)))
        return placed


class Torcs:
    """All tracks with a recognisable road."""

    name = "torcs"
    views_per_scene = None

    def __init__(self, root: Path = ROOT) -> None:
        """Raises AssetsMissingError where the game's data are not installed."""
        self._cars = sorted({file.parent for file in (root / "cars").glob("*/*.acc")})
        if not (root / "tracks").is_dir() or not self._cars:
            raise AssetsMissingError(f"no TORCS tracks, or no cars, under {root}: apt-get install torcs-data")
        self._files = {
            path.stem: path
            for folder in sorted((root / "tracks").glob("*/*"))
            for path in [*folder.glob(f"{folder.name}.acc"), *folder.glob(f"{folder.name}.ac")][:1]
        }

    def scene_names(self) -> list[str]:
        """Sorted names of the tracks."""
        return sorted(self._files)

    def load(self, scene: str, renderer: Renderer) -> TorcsScene:
        """Reads a track and six of the cars. Raises AssetError for a track without a road."""
        path = self._files[scene]
        objects = read_ac(path)
        road_m = centre_line(objects)
        if len(road_m) < 20:
            raise AssetError(f"track {scene} has no TKMN road pieces")
        first = self.scene_names().index(scene) * _CARS_PER_TRACK
        cars = [renderer.upload(car_model(self._cars[(first + k) % len(self._cars)])) for k in range(_CARS_PER_TRACK)]
        return TorcsScene(renderer.upload(model_of(objects, path.parent)), road_m, cars)


@lru_cache(maxsize=32)
def car_model(folder: Path) -> Model:
    """The finest model of a car, standing on y = 0, 4.5 m long along x."""
    path = min(folder.glob("*.acc"), key=lambda candidate: len(candidate.name))
    model = model_of(read_ac(path), folder)
    low, high = bounds(model)
    scale = _CAR_LENGTH_M / float(max(high[0] - low[0], high[2] - low[2]))
    move = placement(-scale * np.array(((low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2)), 0.0, scale)
    return transformed(model, move)
