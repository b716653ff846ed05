"""What a world of scenes offers to the frame writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.synthetic.camera import Pose
from training.synthetic.quality import Limits
from training.synthetic.renderer import Placed, Renderer, Shadows


@dataclass(frozen=True)
class View:
    """A proposal for one frame.

    Attributes:
        pose: of the camera.
        placed: everything to draw.
        horizontal_fov_rad: of the camera.
        shadows: of the sun, where the scene is not lit already.
    """

    pose: Pose
    placed: Sequence[Placed]
    horizontal_fov_rad: float
    shadows: Shadows | None = None


class Scene(Protocol):
    """One loaded track, map or room."""

    @property
    def indoor(self) -> bool:
        """How it is lit."""

    @property
    def limits(self) -> Limits:
        """What its views must keep to."""

    def propose(self, rng: np.random.Generator) -> View:
        """A view that may be good; the caller judges its depth."""


class World(Protocol):
    """All scenes of one game, or of one kind."""

    @property
    def name(self) -> str:
        """On the command line and in the names of folders."""

    @property
    def views_per_scene(self) -> int | None:
        """After so many frames the next scene is better; None where the scenes are few and large."""

    def scene_names(self) -> list[str]:
        """Sorted names of the scenes that are installed."""

    def load(self, scene: str, renderer: Renderer) -> Scene:
        """Reads a scene and uploads it.

        Raises:
            AssetError: its file is damaged, or there is no place for a camera in it.
        """


def random_fov(rng: np.random.Generator) -> float:
    """Horizontal field of view in radians: phones and robots' cameras, 45 to 85 degrees, mostly near 60."""
    return float(np.radians(np.clip(rng.normal(62, 11), 45, 85)))
