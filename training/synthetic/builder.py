"""Puts a generated scene together: meshes with textures and the games' models, with a little shading at their feet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.synthetic import shapes
from training.synthetic.assets import ModelPool
from training.synthetic.materials import TexturePool
from training.synthetic.mesh import Model, Surface, Texture, bounds, merged, placement, transformed
from training.synthetic.shapes import Mesh


@dataclass
class Builder:
    """One scene in the making.

    Attributes:
        rng: of the scene.
        textures: where textures come from.
        models: where the games' models come from.
        plausible: things look as they are called; otherwise anything is drawn on anything.
        surfaces: what was added so far.
        shell: what was added and casts no shadow.
        palette: textures made so far by kinds: a scene uses some of them again, as rooms and streets do.
    """

    rng: np.random.Generator
    textures: TexturePool
    models: ModelPool
    plausible: bool
    surfaces: list[Surface] = field(default_factory=list)
    shell: list[Surface] = field(default_factory=list)
    palette: dict[tuple[str, ...], list[Texture]] = field(default_factory=dict)

    def texture(self, *kinds: str) -> Texture:
        """A texture of one of the kinds where the scene is plausible, else any."""
        made = self.palette.setdefault(kinds if self.plausible else (), [])
        if made and self.chance(0.4):
            return made[int(self.rng.integers(len(made)))]
        kind = str(self.rng.choice(kinds)) if self.plausible and kinds else None
        made.append(self.textures.texture(self.rng, kind, tame=kind is not None and self.chance(0.7)))
        return made[-1]

    def part(self) -> Builder:
        """An empty builder that shares everything else: for a thing that is placed as a whole."""
        return Builder(self.rng, self.textures, self.models, self.plausible, palette=self.palette)

    def chance(self, share: float) -> bool:
        """True in that share of the calls."""
        return bool(self.rng.uniform() < share)

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return float(self.rng.uniform(low, high))

    def add(self, mesh: Mesh, texture: Texture, per_metre: float | None = None, cut_out: bool = False) -> None:
        """A mesh; ``per_metre`` repeats of the texture a metre, None takes the mesh's coordinates as they are."""
        if per_metre is not None:
            mesh = shapes.textured(mesh, per_metre, self.rng.uniform(0, 1, 2), self.chance(0.3) and not self.plausible)
        self.surfaces.append(Surface(mesh, texture, cut_out))

    def add_shell(self, mesh: Mesh, texture: Texture, per_metre: float) -> None:
        """A wall, ceiling or backdrop: as :meth:`add`, but it casts no shadow, since the light comes from anywhere."""
        self.shell.append(Surface(shapes.textured(mesh, per_metre, self.rng.uniform(0, 1, 2)), texture))

    def add_all(self, parts: Model, matrix: NDArray[np.floating] | None = None) -> None:
        """Finished surfaces, moved by a (4, 4) matrix."""
        self.surfaces += parts if matrix is None else transformed(parts, matrix)

    def game_model(self, kind: str, size_m: float, upright_size: bool = False) -> Model:
        """A random model of a kind standing over the origin, or nothing if there is none.

        Args:
            size_m: of its longest side, or of its height if ``upright_size``.
        """
        model = self.models.pick(self.rng, kind)
        if model is None:
            return []
        low, high = bounds(model)
        scale = size_m / max(float(high[1] - low[1]), 0.1) if upright_size else size_m
        tint = np.exp(self.rng.normal(0, 0.12, 3)) if self.plausible else np.exp(self.rng.normal(0, 0.35, 3))
        tint = np.minimum(tint, 1.15)
        out = []
        for surface in transformed(model, placement(np.zeros(3), 0.0, scale)):
            mesh = shapes.darkened_below(shapes.tinted(surface.vertices, tint), 0.25 * scale)
            out.append(Surface(mesh, surface.texture, surface.cut_out))
        return out

    def model(self) -> Model:
        """Everything that was added, joined by texture."""
        return merged(surface for surface in self.surfaces if len(surface.vertices))


def turned(position_m: ArrayLike, yaw_rad: float, tilt_rad: float = 0.0, scale: float = 1.0) -> NDArray[np.float64]:
    """(4, 4) world-from-model: tilted about x, turned about the vertical, moved."""
    out = placement(np.asarray(position_m, np.float64), yaw_rad, scale)
    c, s = np.cos(tilt_rad), np.sin(tilt_rad)
    out[:3, :3] = out[:3, :3] @ np.array(((1, 0, 0), (0, c, -s), (0, s, c)))
    return out


def any_rotation(rng: np.random.Generator, position_m: ArrayLike) -> NDArray[np.float64]:
    """(4, 4) with an evenly distributed rotation."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    out = np.eye(4)
    out[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    out[:3, 3] = np.asarray(position_m)
    return out
