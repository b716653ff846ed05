"""Close-up still lifes: things on tables, shelves, steps or in the air, before walls, curtains, or outdoors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic import shapes
from training.synthetic.builder import Builder, any_rotation, turned
from training.synthetic.camera import Pose, looking_at
from training.synthetic.mesh import placement, transformed
from training.synthetic.procedural import Plan, ProceduralWorld
from training.synthetic.quality import Limits
from training.synthetic.things import random_thing

_FLOOR_M = -0.75


@dataclass(frozen=True)
class _Plate:
    """A level place for things: x in ``low[0]..high[0]``, z in ``low[1]..high[1]``, at height ``y``; metres."""

    low: tuple[float, float]
    high: tuple[float, float]
    y: float
    headroom: float = 1.0


class StillLife(ProceduralWorld):
    """The camera looks along +x, more or less; the things are within about a metre of the origin."""

    name = "stilllife"
    limits = Limits(nearest_m=0.16, min_range=1.35, max_planarity=0.93)

    def build(self, builder: Builder) -> Plan:
        """A set-up, its things and what is behind them."""
        b = builder
        kind = str(b.rng.choice(("table", "shelf", "steps", "air", "floor"), p=(0.47, 0.14, 0.12, 0.15, 0.12)))
        if kind == "air":
            depth, focus = _in_the_air(b)
        else:
            plates = {"table": _table, "shelf": _shelf, "steps": _steps, "floor": _floor}[kind](b)
            focus = np.concatenate([_fill(b, plate) for plate in plates])
            depth = max(plate.high[0] for plate in plates)
        outdoors = _background(b, depth, kind)
        steepest = {"table": 1.15, "floor": 1.15, "steps": 0.8, "shelf": 0.35, "air": 0.5}[kind]
        closest = 0.3 if kind in ("table", "air") else 0.5
        return Plan(lambda rng: _camera(rng, focus, steepest, closest), not outdoors, _fov_rad)


def _fov_rad(rng: np.random.Generator) -> float:
    return float(np.radians(np.clip(rng.normal(52, 13), 28, 85)))


def _camera(rng: np.random.Generator, focus_m: NDArray[np.float64], steepest_rad: float, closest_m: float) -> Pose:
    """Looking at a thing or between two, level, down or steeply down."""
    pair = focus_m[rng.integers(len(focus_m), size=2)]
    target = pair[0] + (pair[1] - pair[0]) * rng.uniform(0, 0.6)
    down = steepest_rad * rng.beta(1.1, 2.2) - 0.04
    azimuth = np.clip(rng.normal(0, 0.45), -1.1, 1.1)
    distance = np.exp(rng.uniform(np.log(closest_m), np.log(1.6)))
    back = np.array((-np.cos(down) * np.cos(azimuth), np.sin(down), np.cos(down) * np.sin(azimuth)))
    return looking_at(target + distance * back, target + rng.normal(0, 0.05, 3), float(rng.normal(0, 0.04)))


def _thing_size(b: Builder) -> float:
    return float(np.exp(b.rng.uniform(np.log(0.06), np.log(0.48))))


def _fill(b: Builder, plate: _Plate) -> NDArray[np.float64]:
    """Puts things on a plate and draws its upper side shaded by them; (K, 3) middles of the things in metres."""
    low, high = np.array(plate.low), np.array(plate.high)
    area = float(np.prod(high - low))
    wanted = int(np.clip(b.rng.uniform(10, 45) * area**0.6, 5, 45))
    taken: list[tuple[float, float, float]] = []
    middles = []
    for _ in range(wanted * 3):
        size = min(_thing_size(b), 0.95 * plate.headroom)
        x, z = b.rng.uniform(low, high)
        radius = 0.3 * size
        if any(np.hypot(x - u, z - v) < 0.7 * (radius + r) for u, v, r in taken):
            continue
        thing = random_thing(b, size)
        if not thing:
            continue
        taken.append((x, z, radius))
        b.add_all(thing, turned((x, plate.y, z), b.between(0, 2 * np.pi)))
        middles.append((x, plate.y + 0.35 * size, z))
        if len(middles) >= wanted:
            break
    cells = np.clip(((high - low) / 0.025).astype(int), 4, 64)
    top = shapes.rectangle(
        (low[0], plate.y, low[1]), (high[0] - low[0], 0, 0), (0, 0, high[1] - low[1]), (int(cells[0]), int(cells[1]))
    )
    top = shapes.with_contact_shadows(top, np.array(taken))
    b.add(top, b.texture("wood", "grain", "plain", "cloth", "checks", "floor", "noise"), b.between(0.5, 4))
    x, z = (low + high) / 2
    return np.array(middles or [(x, plate.y, z)])


def _board(b: Builder, plate: _Plate, thickness_m: float) -> None:
    """The body below a plate."""
    mesh = shapes.block(
        (plate.low[0], plate.y - thickness_m, plate.low[1]), (plate.high[0], plate.y - 0.002, plate.high[1])
    )
    b.add(mesh, b.texture("wood", "grain", "plain", "metal"), b.between(0.5, 3))


def _table(b: Builder) -> list[_Plate]:
    width, depth = b.between(0.7, 2.6), b.between(0.5, 1.5)
    plate = _Plate((0.0, -width / 2), (depth, width / 2), 0.0)
    _board(b, plate, b.between(0.02, 0.08))
    leg = shapes.box((0.06, -_FLOOR_M, 0.06))
    legs = [
        shapes.shifted(leg, (x, _FLOOR_M, z))
        for x in (0.05, depth - 0.05)
        for z in (-width / 2 + 0.05, width / 2 - 0.05)
    ]
    b.add(shapes.joined(legs), b.texture("wood", "metal", "plain"), 1.0)
    return [plate]


def _shelf(b: Builder) -> list[_Plate]:
    width, depth, gap = b.between(0.8, 2.0), b.between(0.22, 0.45), b.between(0.22, 0.5)
    count = int(b.rng.integers(2, 5))
    plates = [_Plate((0.0, -width / 2), (depth, width / 2), (k - 1) * gap, 0.85 * gap) for k in range(count)]
    thick = b.between(0.015, 0.04)
    for plate in plates:
        _board(b, plate, thick)
    wood = b.texture("wood", "grain", "plain", "metal")
    low, high = -gap - thick, (count - 1) * gap
    sides = [shapes.block((0, low, z - thick / 2), (depth, high, z + thick / 2)) for z in (-width / 2, width / 2)]
    if b.chance(0.7):
        sides.append(shapes.block((depth, low, -width / 2), (depth + 0.01, high, width / 2)))
    b.add(shapes.joined(sides), wood, b.between(0.5, 2))
    return plates


def _steps(b: Builder) -> list[_Plate]:
    width, depth, rise = b.between(0.8, 2.5), b.between(0.2, 0.5), b.between(0.06, 0.3)
    plates = []
    for k in range(int(b.rng.integers(2, 6))):
        skew = b.between(-0.3, 0.3)
        plate = _Plate((k * depth, skew - width / 2), ((k + 1) * depth, skew + width / 2), k * rise)
        _board(b, plate, (k + 1) * rise)
        plates.append(plate)
    return plates


def _floor(b: Builder) -> list[_Plate]:
    return [_Plate((-0.8, -1.8), (b.between(1.0, 2.5), 1.8), 0.0, 1.5)]


def _in_the_air(b: Builder) -> tuple[float, NDArray[np.float64]]:
    """Things at any height and turned any way, larger ones farther off; depth of the swarm and their middles."""
    depth = b.between(0.6, 2.5)
    middles = []
    for _ in range(int(b.rng.integers(8, 40))):
        x = depth * b.rng.uniform() ** 0.7
        place = np.array((x, b.rng.normal(0, 0.25 + 0.2 * x), b.rng.normal(0, 0.35 + 0.3 * x)))
        size = _thing_size(b) * (1 + 0.7 * x)
        thing = transformed(random_thing(b, size), placement(np.array((0, -size / 3, 0))))
        upright = b.plausible and b.chance(0.5)
        b.add_all(thing, turned(place, b.between(0, 6.28)) if upright else any_rotation(b.rng, place))
        middles.append(place)
    return depth, np.array(middles)


def _background(b: Builder, depth_m: float, kind: str) -> bool:
    """What is behind and below; whether it is outdoors."""
    style = str(
        b.rng.choice(("wall", "slanted", "corner", "curtain", "room", "open"), p=(0.27, 0.14, 0.16, 0.15, 0.18, 0.1))
    )
    gap = b.between(0.0, 0.25) if kind == "shelf" else b.between(0.01, 0.15) if b.chance(0.4) else b.between(0.2, 1.8)
    at = depth_m + gap
    if style == "open":
        _open_country(b)
        return True
    _shell(b, at + b.between(0.5, 3))
    level = -0.003 if kind == "floor" else _FLOOR_M
    floor = shapes.rectangle((-5, level, -7), (at + 9, 0, 0), (0, 0, 14), (14, 14))
    b.add_shell(floor, b.texture("floor", "wood", "plain", "noise"), b.between(0.3, 2))
    if style == "room":
        at = depth_m + b.between(1.0, 4.0)
        _room(b, at)
    elif style == "curtain":
        b.add_shell(_curtain(b, at + 0.12), b.texture("cloth", "plain", "stripes", "checks"), b.between(0.4, 3))
    else:
        yaw = b.rng.choice((-1, 1)) * b.between(0.15, 0.8) if style == "slanted" else 0.0
        if style == "corner":
            yaw = b.between(-0.9, -0.3)
        _wall(b, at, yaw)
        if style == "corner":
            _wall(b, at, yaw + np.pi / 2)
    return False


def _wall(b: Builder, at_m: float, yaw_rad: float) -> None:
    """An upright wall through (at, 0) turned from facing the camera, with pictures hung on it."""
    matrix = turned((at_m, 0, 0), -yaw_rad)
    wall = shapes.rectangle((0, _FLOOR_M - 0.3, -6), (0, 0, 12), (0, 4, 0), (24, 8))
    light = 1 - 0.25 * b.rng.uniform() * np.abs(np.sin(wall[:, 2:3] * b.between(0.1, 0.6) + b.between(0, 6)))
    b.add_shell(
        shapes.tinted(shapes.moved(wall, matrix), light),
        b.texture("wall", "plain", "plain", "brick", "cloth", "noise"),
        b.between(0.3, 2.5),
    )
    for _ in range(int(b.rng.integers(0, 5))):
        wide, high, thick = b.between(0.15, 0.7), b.between(0.15, 0.7), b.between(0.01, 0.06)
        y, z = b.between(0.1, 1.1), b.rng.normal(0, 0.9)
        frame = shapes.block((-thick, y, z), (-0.001, y + high, z + wide))
        face = shapes.rectangle((-thick - 0.003, y + 0.03, z + 0.03), (0, 0, wide - 0.06), (0, high - 0.06, 0))
        face[:, 6:8] /= (wide - 0.06, high - 0.06)
        b.add(shapes.moved(frame, matrix), b.texture("wood", "plain", "metal"), 2.0)
        b.add(shapes.moved(face, matrix), b.texture("picture", "print", "picture", "noise"))


def _shell(b: Builder, at_m: float) -> None:
    """The far walls and the ceiling of a hall around everything, so that no gap shows the sky."""
    paint, half, top = b.texture("wall", "plain", "noise"), b.between(5, 7), b.between(2, 3)
    b.add_shell(shapes.rectangle((at_m, _FLOOR_M, -half), (0, 0, 2 * half), (0, top - _FLOOR_M, 0)), paint, 0.5)
    for side in (-half, half):
        b.add_shell(shapes.rectangle((-5, _FLOOR_M, side), (at_m + 5, 0, 0), (0, top - _FLOOR_M, 0)), paint, 0.5)
    b.add_shell(shapes.rectangle((-5, top, -half), (at_m + 5, 0, 0), (0, 0, 2 * half)), b.texture("plain"), 0.5)


def _curtain(b: Builder, at_m: float) -> shapes.Mesh:
    """A hanging sheet with folds."""
    z, y = np.meshgrid(np.linspace(-4, 4, 200), np.linspace(_FLOOR_M, 2.2, 24))
    fold, swing = b.between(0.01, 0.09), b.between(8, 40)
    x = at_m + fold * np.sin(z * swing + 0.6 * np.sin(3 * z) + 0.3 * y) + 0.5 * fold * np.sin(2.3 * z + y)
    if b.chance(0.4):  # laid out towards the camera at its foot, as a photographer's backdrop
        x = x - 0.5 * np.maximum(-y - 0.2, 0) ** 2
    return shapes.sheet(np.stack((x, y, z), axis=2))


def _room(b: Builder, at_m: float) -> None:
    """Three walls and a ceiling some way off, with larger things before them."""
    half, top = b.between(1.5, 4.0), b.between(1.3, 2.4)
    paint = b.texture("wall", "plain", "plain", "noise")
    scale = b.between(0.3, 2)
    b.add_shell(shapes.rectangle((at_m, _FLOOR_M, -half), (0, 0, 2 * half), (0, top - _FLOOR_M, 0)), paint, scale)
    for side in (-half, half):
        b.add_shell(shapes.rectangle((-4, _FLOOR_M, side), (at_m + 4, 0, 0), (0, top - _FLOOR_M, 0)), paint, scale)
    b.add_shell(shapes.rectangle((-4, top, -half), (at_m + 4, 0, 0), (0, 0, 2 * half)), b.texture("plain"), 1.0)
    for _ in range(int(b.rng.integers(2, 9))):
        place = (at_m - b.between(0.3, 0.8), _FLOOR_M, b.rng.uniform(-half, half) * 0.9)
        b.add_all(random_thing(b, b.between(0.4, 1.8)), turned(place, b.between(0, 6.28)))


def _open_country(b: Builder) -> None:
    """A field with trees and houses far off."""
    ground = shapes.rectangle((-60, _FLOOR_M, -120), (240, 0, 0), (0, 0, 240), (12, 12))
    b.add(ground, b.texture("grass", "earth", "pavement"), b.between(0.2, 1.0))
    for _ in range(int(b.rng.integers(3, 16))):
        kind = str(b.rng.choice(("tree", "house", "plant", "street", "car"), p=(0.5, 0.15, 0.15, 0.1, 0.1)))
        size = {
            "tree": b.between(3, 9),
            "house": b.between(5, 12),
            "plant": b.between(0.5, 2),
            "street": 3.0,
            "car": 4.5,
        }[kind]
        distance = b.between(3, 9) if kind == "plant" else b.between(7, 70)
        place = (distance, _FLOOR_M, b.rng.uniform(-0.9, 0.9) * distance)
        b.add_all(b.game_model(kind, size), turned(place, b.between(0, 6.28)))
