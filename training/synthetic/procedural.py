"""Worlds that are made up: each scene's name is the seed of its set-up, so there are as many scenes as one likes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from training.synthetic.assets import ModelPool
from training.synthetic.builder import Builder
from training.synthetic.camera import Pose
from training.synthetic.materials import TexturePool
from training.synthetic.mesh import merged
from training.synthetic.quality import Limits
from training.synthetic.renderer import GpuModel, Renderer, Shadows
from training.synthetic.world import View, random_fov

_SCENES = 10000
Camera = Callable[[np.random.Generator], Pose]


@dataclass(frozen=True)
class BuiltScene:
    """A made-up scene.

    Attributes:
        shell: walls, ceiling, backdrop: what casts no shadow.
        contents: the rest.
        shadow_m: radius of the ball around the place looked at in which there are shadows.
        camera: gives a pose that may be good.
        indoor: how it is lit.
        limits: what its views are judged by.
        fov_rad: gives a horizontal field of view.
    """

    shell: GpuModel
    contents: GpuModel
    shadow_m: float
    camera: Camera
    indoor: bool
    limits: Limits
    fov_rad: Callable[[np.random.Generator], float] = random_fov

    def propose(self, rng: np.random.Generator) -> View:
        """A view of the whole scene."""
        pose, contents = self.camera(rng), (self.contents, np.eye(4))
        ahead = np.array((np.cos(pose.yaw_rad), 0.0, np.sin(pose.yaw_rad))) * np.cos(pose.pitch_rad)
        ahead[1] = np.sin(pose.pitch_rad)
        shadows = Shadows(
            [contents], pose.eye_m + 0.7 * self.shadow_m * ahead, self.shadow_m, float(rng.uniform(0.6, 3))
        )
        return View(pose, [(self.shell, np.eye(4)), contents], self.fov_rad(rng), shadows)


@dataclass(frozen=True)
class Plan:
    """What a world's builder says of the scene that it put into a :class:`Builder`; see :class:`BuiltScene`."""

    camera: Camera
    indoor: bool
    fov_rad: Callable[[np.random.Generator], float] = random_fov
    shadow_m: float = 2.5


class ProceduralWorld(ABC):
    """Base of the made-up worlds; a world says how to fill a :class:`Builder`."""

    name: ClassVar[str]
    limits: ClassVar[Limits]
    views_per_scene: ClassVar[int] = 4
    plausible_share: ClassVar[float] = 0.6

    def __init__(self) -> None:
        """Raises AssetsMissingError if none of the games is installed."""
        self._textures, self._models = TexturePool(), ModelPool()

    def scene_names(self) -> list[str]:
        """``0000`` to ``9999``: the seeds."""
        return [f"{seed:04d}" for seed in range(_SCENES)]

    def load(self, scene: str, renderer: Renderer) -> BuiltScene:
        """Makes up the scene of this seed; the same one each time."""
        rng = np.random.default_rng((*self.name.encode(), int(scene)))
        builder = Builder(rng, self._textures, self._models, bool(rng.uniform() < self.plausible_share))
        plan = self.build(builder)
        shell, contents = renderer.upload(merged(builder.shell)), renderer.upload(builder.model())
        return BuiltScene(shell, contents, plan.shadow_m, plan.camera, plan.indoor, self.limits, plan.fov_rad)

    @abstractmethod
    def build(self, builder: Builder) -> Plan:
        """Fills the builder."""
