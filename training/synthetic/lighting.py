"""Light of one frame: sun, sky, fog, lamp; drawn at random, since the assets themselves are lit flatly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vec3 = tuple[float, float, float]


@dataclass(frozen=True)
class Lighting:
    """Linear-light colours (1 is the white of a surface in full sun).

    Attributes:
        sun_direction: unit vector towards the sun, y up.
        fog_density: 1/m; colour fades as exp(-density * depth), the aerial perspective of real photographs.
        lamp: strength of a light at the camera.
        target_level: mean level (0..1, linear) to which the picture is exposed.
        noise: standard deviation of the sensor noise, of 255.
    """

    sun_direction: Vec3
    sun: Vec3
    fill_up: Vec3
    fill_down: Vec3
    horizon: Vec3
    zenith: Vec3
    cloud: Vec3
    cloud_cover: float
    cloud_offset: float
    fog_density: float
    lamp: float
    gloss: float
    target_level: float
    noise: float


def _colour(values: NDArray[np.floating]) -> Vec3:
    r, g, b = (float(v) for v in values)
    return r, g, b


def random_lighting(rng: np.random.Generator, indoor: bool) -> Lighting:
    """A plausible light: from hard noon sun to overcast and dusk outdoors; baked light and a lamp indoors."""
    direction = rng.normal(size=3) * (1, 0.5, 1)
    direction[1] = abs(direction[1]) + rng.uniform(0.15, 1.0)
    direction /= np.linalg.norm(direction)
    overcast = rng.uniform() ** 0.7
    warmth = rng.uniform(-0.12, 0.2)
    sun = (1 - 0.9 * overcast) * np.array((1 + warmth, 1.0, 1 - warmth)) * rng.uniform(0.9, 1.5)
    fill = (0.25 + 0.6 * overcast) * np.array((1 - 0.5 * warmth, 1.0, 1 + 0.5 * warmth))
    grey = rng.uniform(0.5, 0.95)
    blue = np.array((0.22, 0.42, 0.85)) * rng.uniform(0.5, 1.1)
    zenith = (1 - overcast) * blue + overcast * grey
    horizon = 0.55 * zenith + 0.45 * np.array((0.95, 0.93, 0.9)) * rng.uniform(0.8, 1.1)
    fog_density = 0.0 if rng.uniform() < 0.4 else float(np.exp(rng.uniform(np.log(2e-4), np.log(8e-3))))
    has_lamp = rng.uniform() < (0.5 if indoor else 0.05)
    return Lighting(
        sun_direction=_colour(direction),
        sun=_colour(sun),
        fill_up=_colour(fill * rng.uniform(0.9, 1.2)),
        fill_down=_colour(fill * rng.uniform(0.3, 0.7)),
        horizon=_colour(horizon),
        zenith=_colour(zenith),
        cloud=_colour(np.full(3, rng.uniform(0.75, 1.1))),
        cloud_cover=float(rng.uniform(0.1, 0.75)),
        cloud_offset=float(rng.uniform(0, 1000)),
        fog_density=fog_density * (0.3 if indoor else 1.0),
        lamp=float(rng.uniform(0.2, 1.2)) if has_lamp else 0.0,
        gloss=float(rng.uniform(0, 0.25)),
        target_level=float(rng.uniform(0.12, 0.3)),
        noise=float(rng.uniform(0, 4)),
    )
