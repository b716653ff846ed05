"""Close-ups that fill the picture: draped cloth, leaning boards and heaps of things, with neither floor nor horizon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.synthetic import shapes
from training.synthetic.builder import Builder, any_rotation, turned
from training.synthetic.camera import Pose, looking_at
from training.synthetic.mesh import placement, transformed
from training.synthetic.procedural import Plan, ProceduralWorld
from training.synthetic.quality import Limits
from training.synthetic.things import random_thing

_HALF_M = 3.0  # the sheet reaches this far to each side
_CELLS = 180


class CloseUp(ProceduralWorld):
    """The camera looks along +x, more or less, at a sheet through the origin and what lies on it or leans on it."""

    name = "closeup"
    limits = Limits(nearest_m=0.15, min_range=1.25, max_planarity=0.95)
    plausible_share = 0.45

    def build(self, builder: Builder) -> Plan:
        """A sheet from lying to hanging, then boards or things before it."""
        b = builder
        slope = b.between(0.25, 1.6)  # of the sheet: 0 lies, pi / 2 hangs
        frame = turned((0, 0, 0), b.rng.normal(0, 0.35)) @ _leaning(slope)
        relief = _relief(b)
        _sheet(b, frame, relief)
        if b.chance(0.3):
            _boards(b, frame)
        if b.chance(0.85):
            _things(b, frame, relief)
        steepest = np.pi / 2 - 0.5 * slope  # against the sheet's face at most
        return Plan(lambda rng: _camera(rng, steepest), b.chance(0.8), _fov_rad, 1.8)


def _fov_rad(rng: np.random.Generator) -> float:
    return float(np.radians(np.clip(rng.normal(42, 12), 22, 75)))


def _camera(rng: np.random.Generator, steepest_rad: float) -> Pose:
    down = float(np.clip(rng.normal(0.45, 0.3), -0.15, min(steepest_rad, 1.3)))
    azimuth = float(np.clip(rng.normal(0, 0.35), -0.9, 0.9))
    distance = float(np.exp(rng.uniform(np.log(0.45), np.log(2.0))))
    target = rng.normal(0, (0.1, 0.15, 0.25))
    back = np.array((-np.cos(down) * np.cos(azimuth), np.sin(down), np.cos(down) * np.sin(azimuth)))
    return looking_at(target + distance * back, target, float(rng.normal(0, 0.05)))


def _leaning(slope_rad: float) -> NDArray[np.float64]:
    """(4, 4) from a sheet's own frame (u away and up, v its face, w to the right) to the world's."""
    c, s = np.cos(slope_rad), np.sin(slope_rad)
    out = np.eye(4)
    out[:3, :3] = np.array(((c, -s, 0), (s, c, 0), (0, 0, 1)))
    return out


def _relief(b: Builder) -> NDArray[np.float64]:
    """(K, 5) waves of the sheet's surface: wave vector (1/m) along u and w, phase, amplitude (m), sharpness."""
    count = int(b.rng.integers(2, 8))
    length = np.exp(b.rng.uniform(np.log(0.12), np.log(1.8), count))
    angle = b.rng.uniform(0, 2 * np.pi, count)
    amplitude = length * b.between(0.0, 0.09) * b.rng.uniform(0.3, 1.0, count)
    wave = 2 * np.pi / length
    phase, sharpness = b.rng.uniform(0, 6.28, count), b.rng.uniform(0, 1.2, count)
    return np.stack((wave * np.cos(angle), wave * np.sin(angle), phase, amplitude, sharpness), axis=1)


def _height_m(relief: NDArray[np.float64], u: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of the sheet over its plane; each wave is bent by a slower one, as folds are."""
    height = np.zeros_like(u)
    for along_u, along_w, phase, amplitude, sharpness in relief:
        at = along_u * u + along_w * w + phase
        height = height + amplitude * np.sin(at + sharpness * np.sin(0.37 * at + 1.3 * u - 0.7 * w))
    return height


def _sheet(b: Builder, frame: NDArray[np.float64], relief: NDArray[np.float64]) -> None:
    u, w = np.meshgrid(np.linspace(-_HALF_M, _HALF_M, _CELLS), np.linspace(-_HALF_M, _HALF_M, _CELLS))
    mesh = shapes.sheet(np.stack((u, _height_m(relief, u, w), w), axis=2))
    b.add(
        shapes.moved(mesh, frame),
        b.texture("cloth", "plain", "noise", "grain", "print", "stripes", "checks", "earth", "wall"),
        float(np.exp(b.rng.uniform(np.log(0.3), np.log(6)))),
    )


def _boards(b: Builder, frame: NDArray[np.float64]) -> None:
    """Planks and panels that lean on the sheet or on each other."""
    wood = [b.texture("wood", "grain", "plain", "print") for _ in range(3)]
    for _ in range(int(b.rng.integers(2, 9))):
        size = (b.between(0.4, 1.6), b.between(0.01, 0.06), b.between(0.06, 0.5))
        place = (b.rng.normal(0, 0.3), b.between(0.02, 0.35), b.rng.normal(0, 0.5))
        tilt = turned((0, 0, 0), b.rng.normal(0, 0.5), b.rng.normal(0, 0.35)) @ _leaning(b.rng.normal(0, 0.3))
        board = shapes.moved(shapes.moved(shapes.box(size), tilt), placement(np.array(place)))
        b.add(shapes.moved(board, frame), wood[int(b.rng.integers(3))], b.between(0.5, 3))


def _things(b: Builder, frame: NDArray[np.float64], relief: NDArray[np.float64]) -> None:
    """Things anywhere on the sheet, upright in the world, as it faces, or fallen over."""
    for _ in range(int(b.rng.integers(1, 22))):
        size = float(np.exp(b.rng.uniform(np.log(0.07), np.log(0.5))))
        u, w = b.rng.normal(0, 0.45, 2)
        height = float(_height_m(relief, np.array(u), np.array(w)))
        thing = random_thing(b, size)
        style = b.rng.uniform()
        if style < 0.4:  # fallen over, half sunk into the heap
            thing = transformed(thing, placement(np.array((0, -0.4 * size, 0))))
            b.add_all(thing, frame @ any_rotation(b.rng, (u, height + b.between(0.1, 0.4) * size, w)))
        elif style < 0.75:
            b.add_all(thing, frame @ turned((u, height - 0.02, w), b.between(0, 6.28)))
        else:
            foot = (frame @ (u, height, w, 1.0))[:3]
            b.add_all(thing, turned(foot, b.between(0, 6.28)))
