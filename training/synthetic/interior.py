"""Furnished rooms and corridors of any size: doors, windows, pictures, furniture along the walls and inside."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.synthetic import furniture, shapes
from training.synthetic.builder import Builder, turned
from training.synthetic.camera import Pose
from training.synthetic.facades import opened_wall
from training.synthetic.mesh import Model, bounds
from training.synthetic.procedural import Plan, ProceduralWorld
from training.synthetic.quality import Limits
from training.synthetic.things import random_thing

_Hole = tuple[float, float, float, float]
_Box = tuple[float, float, float, float]
_WINDOW_M = 0.22


@dataclass
class _Room:
    """x in 0..length, z in 0..width, y in 0..height, metres; ``taken`` are (x0, z0, x1, z1) of the furniture."""

    length: float
    width: float
    height: float
    taken: list[_Box] = field(default_factory=list)

    def free(self, box: _Box, gap: float = 0.02) -> bool:
        """Whether nothing stands in the box and it is inside the room."""
        inside = box[0] > -0.01 and box[1] > -0.01 and box[2] < self.length + 0.01 and box[3] < self.width + 0.01
        return inside and not any(
            box[0] < t[2] + gap and t[0] < box[2] + gap and box[1] < t[3] + gap and t[1] < box[3] + gap
            for t in self.taken
        )

    def walls(self) -> list[tuple[float, NDArray[np.float64]]]:
        """Each wall's length and its (4, 4): x along the wall from its middle, the room on the side of -z."""
        quarter = np.pi / 2
        return [
            (self.length, turned((self.length / 2, 0, self.width), 0.0)),
            (self.length, turned((self.length / 2, 0, 0), 2 * quarter)),
            (self.width, turned((self.length, 0, self.width / 2), quarter)),
            (self.width, turned((0, 0, self.width / 2), -quarter)),
        ]


class Interior(ProceduralWorld):
    """The camera stands anywhere that is free, 0.3 to 1.8 m high."""

    name = "interior"
    limits = Limits(nearest_m=0.3, min_range=1.9)
    plausible_share = 0.75

    def build(self, builder: Builder) -> Plan:
        """A room or corridor with furniture."""
        b = builder
        corridor = b.chance(0.15)
        room = (
            _Room(b.between(6, 20), b.between(1.3, 3.0), b.between(2.3, 3.5))
            if corridor
            else _Room(b.between(2.6, 8.5), b.between(2.4, 7), b.between(2.2, 3.6))
        )
        _walls(b, room)
        _furnish(b, room, corridor)
        _ground(b, room)
        _ceiling(b, room)
        _outside(b)
        return Plan(lambda rng: _camera(rng, room), True, _fov_rad, 5.0)


def _fov_rad(rng: np.random.Generator) -> float:
    return float(np.radians(np.clip(rng.normal(65, 12), 42, 95)))


def _camera(rng: np.random.Generator, room: _Room) -> Pose:
    """Somewhere free, looking towards where there is more room."""
    for _ in range(40):
        x, z = rng.uniform(0.2, room.length - 0.2), rng.uniform(0.2, room.width - 0.2)
        if room.free((x - 0.15, z - 0.15, x + 0.15, z + 0.15)):
            break
    height = float(np.exp(rng.uniform(np.log(0.3), np.log(1.8))))
    aim = rng.uniform((0.0, 0.0), (room.length, room.width))
    yaw = np.arctan2(aim[1] - z, aim[0] - x)
    down = rng.normal(-0.22 * (height - 0.4), 0.13)
    return Pose(np.array((x, min(height, room.height - 0.3), z)), float(yaw), float(down), float(rng.normal(0, 0.02)))


def _walls(b: Builder, room: _Room) -> None:
    paint = b.texture("plain", "plain", "plain", "plain", "wall", "stripes", "cloth")
    scale, skirting = b.between(0.3, 1.2), b.texture("plain", "wood")
    for length, matrix in room.walls():
        if b.chance(0.2):
            paint = b.texture("plain", "plain", "wall", "brick", "bricks", "noise")
        holes = _openings(b, length, room.height)
        wall = shapes.darkened_below(opened_wall(length, room.height, [hole for hole, _ in holes]), 0.5, strength=0.25)
        b.add_shell(shapes.moved(wall, matrix), paint, scale)
        for hole, is_door in holes:
            _door(b, hole, length, matrix) if is_door else _window(b, hole, length, matrix)
        if b.chance(0.7):
            b.add(shapes.moved(shapes.block((-length / 2, 0, -0.015), (length / 2, 0.09, 0)), matrix), skirting, 1.0)
        for _ in range(int(b.rng.integers(0, 4))):
            _picture(b, length, room.height, [hole for hole, _ in holes], matrix)


def _openings(b: Builder, length: float, height: float) -> list[tuple[_Hole, bool]]:
    """Holes (left, low, right, high) measured from the wall's left end, and which of them are doors."""
    out: list[tuple[_Hole, bool]] = []
    at = b.between(0.2, 1.0)
    while at < length - 1.2 and len(out) < 4:
        wide = b.between(0.75, 1.0) if (door := b.chance(0.35)) else b.between(0.6, 2.2)
        if at + wide > length - 0.2:
            break
        if b.chance(0.55):
            low = 0.0 if door else b.between(0.3, 1.1)
            out.append(((at, low, at + wide, min(2.05 if door else low + b.between(0.8, 1.6), height - 0.15)), door))
        at += wide + b.between(0.3, 1.5)
    return out


def _frame(hole: _Hole, length: float, thick: float = 0.07) -> shapes.Mesh:
    left, low, right, high = hole[0] - length / 2, hole[1], hole[2] - length / 2, hole[3]
    strips = (
        (left - thick, low, left, high),
        (right, low, right + thick, high),
        (left - thick, high, right + thick, high + thick),
    )
    return shapes.joined(shapes.block((x0, y0, -0.02), (x1, y1, 0)) for x0, y0, x1, y1 in strips)


def _door(b: Builder, hole: _Hole, length: float, matrix: NDArray[np.float64]) -> None:
    """Closed, or open onto a dim further room."""
    left, low, right, high = hole[0] - length / 2, hole[1], hole[2] - length / 2, hole[3]
    b.add(shapes.moved(_frame(hole, length), matrix), b.texture("plain", "wood"), 1.0)
    leaf = shapes.block((left - 0.01, low - 0.01, 0.002), (right + 0.01, high + 0.01, 0.04))
    if b.chance(0.4):
        swung = turned((left, 0, 0.002), -b.between(0.3, 1.8)) @ turned((-left, 0, -0.002), 0.0)
        leaf = shapes.moved(leaf, swung)
        beyond = [
            shapes.rectangle((left - 2, 0, -0.001), (5, 0, 0), (0, 0, 4)),
            shapes.rectangle((left - 2, 0, b.between(1, 4)), (5, 0, 0), (0, 3, 0)),
            shapes.rectangle((left - b.between(0.0, 2), 0, 0.0), (0, 0, 4), (0, 3, 0)),
            shapes.rectangle((right + b.between(0.0, 2), 0, 0.0), (0, 0, 4), (0, 3, 0)),
            shapes.rectangle((left - 2, 2.6, 0.0), (5, 0, 0), (0, 0, 4)),
        ]
        b.add_shell(shapes.tinted(shapes.moved(shapes.joined(beyond), matrix), 0.8), b.texture("plain", "wall"), 0.5)
    handle = shapes.block((right - 0.12, 1.0, -0.03), (right - 0.05, 1.03, 0.02))
    b.add_shell(shapes.moved(leaf, matrix), b.texture("wood", "plain", "grain", "metal"), 0.6)
    if b.chance(0.6):
        b.add(shapes.moved(handle, matrix), b.texture("metal"), 2.0)


def _window(b: Builder, hole: _Hole, length: float, matrix: NDArray[np.float64]) -> None:
    """Deep in the wall, with bars; behind it the sky, a closed blind, or a curtain beside it."""
    left, low, right, high = hole[0] - length / 2, hole[1], hole[2] - length / 2, hole[3]
    ends = (
        shapes.block((left, low, 0), (right, low + 0.02, _WINDOW_M)),
        shapes.block((left, high - 0.02, 0), (right, high, _WINDOW_M)),
    )
    cheeks = [shapes.rectangle((x, low, 0), (0, high - low, 0), (0, 0, _WINDOW_M)) for x in (left, right)]
    bars = [
        shapes.block((x - 0.025, low, _WINDOW_M - 0.05), (x + 0.025, high, _WINDOW_M))
        for x in (left + 0.02, (left + right) / 2, right - 0.02)
    ]
    bars += [
        shapes.block((left, y - 0.025, _WINDOW_M - 0.05), (right, y + 0.025, _WINDOW_M))
        for y in (low + 0.04, high - 0.04)
    ]
    b.add(shapes.moved(shapes.joined((*ends, *cheeks, *bars)), matrix), b.texture("plain"), 1.0)
    if b.chance(0.45):
        blind = shapes.rectangle(
            (left, low + b.between(0, 0.6) * (high - low) if b.chance(0.3) else low, _WINDOW_M - 0.06),
            (right - left, 0, 0),
            (0, high - low, 0),
        )
        b.add_shell(shapes.moved(blind, matrix), b.texture("plain", "stripes", "cloth"), 1.5)
    elif b.chance(0.7):
        street = shapes.rectangle((left - 8, -4, b.between(5, 18)), (right - left + 16, 0, 0), (0, b.between(4, 9), 0))
        b.add_shell(shapes.moved(street, matrix), b.texture("windows", "wall", "leaves"), 0.2)
    if b.chance(0.4):
        for start, wide in ((left - 0.25, 0.4), (right - 0.15, 0.4)):
            x, y = np.meshgrid(np.linspace(start, start + wide, 40), np.linspace(b.between(0.02, 0.1), high + 0.15, 3))
            folds = shapes.sheet(np.stack((x, y, -0.07 + 0.03 * np.sin(x * 55)), axis=2))
            b.add(shapes.moved(folds, matrix), b.texture("cloth", "plain", "stripes", "checks"), 2.0)


def _picture(b: Builder, length: float, height: float, holes: list[_Hole], matrix: NDArray[np.float64]) -> None:
    wide, high = b.between(0.2, 1.1), b.between(0.2, 0.9)
    x, y = b.between(0.05, max(length - wide, 0.1)), b.between(0.9, max(height - high - 0.2, 1.0))
    if any(x < h[2] + 0.1 and h[0] - 0.1 < x + wide for h in holes):
        return
    x, thick = x - length / 2, b.between(0.01, 0.05)
    face = shapes.rectangle((x + 0.03, y + 0.03, -thick - 0.003), (wide - 0.06, 0, 0), (0, high - 0.06, 0))
    face[:, 6:8] /= (wide - 0.06, high - 0.06)
    b.add(
        shapes.moved(shapes.block((x, y, -thick), (x + wide, y + high, 0)), matrix),
        b.texture("wood", "plain", "metal"),
        1.5,
    )
    b.add(shapes.moved(face, matrix), b.texture("picture", "picture", "print", "noise", "dots"))


def _put(b: Builder, room: _Room, thing: Model, matrix: NDArray[np.float64]) -> bool:
    """Places a thing where it stands free; whether it did."""
    if not thing:
        return False
    low, high = bounds(thing)
    corners = np.array([(x, 0, z, 1) for x in (low[0], high[0]) for z in (low[2], high[2])]) @ matrix.T
    box = (*corners[:, (0, 2)].min(axis=0), *corners[:, (0, 2)].max(axis=0))
    if not room.free(box):
        return False
    room.taken.append(box)
    b.add_all(thing, matrix)
    return True


def _furnish(b: Builder, room: _Room, corridor: bool) -> None:
    """Furniture with its back to the walls, a table with chairs in the middle, things on the floor."""
    makers = (
        furniture.table,
        furniture.shelf,
        furniture.cupboard,
        furniture.bed,
        furniture.sofa,
        furniture.floor_lamp,
        furniture.chair,
    )
    shares = np.array((0.2, 0.2, 0.2, 0.08, 0.14, 0.1, 0.08))
    if corridor:
        shares = np.array((0.05, 0.25, 0.3, 0.0, 0.05, 0.15, 0.2))
    walls = room.walls()
    fill = b.between(0.6, 2.2)
    for _ in range(int(fill * 2.2 * (room.length + room.width))):
        length, matrix = walls[int(b.rng.integers(2 if corridor else 4))]
        place = matrix @ turned((b.rng.uniform(-0.5, 0.5) * length, 0, -b.between(0.02, 0.12)), b.rng.normal(0, 0.01))
        x, z = (place @ (0, 0, -0.2, 1))[[0, 2]]
        if room.free((x - 0.25, z - 0.15, x + 0.25, z + 0.15)):
            thing = makers[int(b.rng.choice(len(makers), p=shares / shares.sum()))](b)
            _put(b, room, thing, place)
    if corridor:
        return
    for _ in range(int(b.rng.integers(0, 3))):
        middle = np.array((b.between(0.3, 0.7) * room.length, 0, b.between(0.3, 0.7) * room.width))
        yaw = b.rng.choice((0.0, np.pi / 2)) + b.rng.normal(0, 0.1)
        if _put(b, room, furniture.table(b) if b.chance(0.7) else furniture.sofa(b), turned(middle, yaw)):
            for _ in range(int(b.rng.integers(1, 7))):
                around = b.between(0, 6.28)
                seat = middle + b.between(0.7, 1.3) * np.array((np.cos(around), 0, np.sin(around)))
                _put(b, room, furniture.chair(b), turned(seat, b.between(0, 6.28)))
    for _ in range(int(b.rng.integers(0, 9))):
        spot = (b.between(0.2, room.length - 0.2), 0, b.between(0.2, room.width - 0.2))
        _put(b, room, random_thing(b, b.between(0.1, 0.6)), turned(spot, b.between(0, 6.28)))


def _ground(b: Builder, room: _Room) -> None:
    """The floor, darker under and around the furniture, and a carpet."""
    cells = (int(room.length / 0.12), int(room.width / 0.12))
    spots = [
        ((x0 + x1) / 2 + i * (x1 - x0) / 4, (z0 + z1) / 2 + j * (z1 - z0) / 4, 0.35 * min(x1 - x0, z1 - z0) + 0.03)
        for x0, z0, x1, z1 in room.taken
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    floor = shapes.rectangle((-0.02, 0, -0.02), (room.length + 0.04, 0, 0), (0, 0, room.width + 0.04), cells)
    b.add(
        shapes.with_contact_shadows(floor, np.array(spots), 0.35),
        b.texture("floor", "wood", "grain", "plain", "bricks", "checks"),
        b.between(0.3, 1.5),
    )
    if b.chance(0.4):
        x, z, wide, long = (
            b.between(0.3, 0.6) * room.length,
            b.between(0.3, 0.6) * room.width,
            b.between(0.8, 2),
            b.between(1, 2.5),
        )
        rug = shapes.block((x - long / 2, 0.001, z - wide / 2), (x + long / 2, 0.015, z + wide / 2))
        b.add(rug, b.texture("cloth", "stripes", "checks", "dots", "picture"), b.between(0.4, 2))


def _outside(b: Builder) -> None:
    """What one sees of the ground through a window, from the ground floor or from higher up."""
    level = b.between(-0.6, -0.2) if b.chance(0.5) else b.between(-9, -2)
    ground = shapes.rectangle((-300, level, -300), (600, 0, 0), (0, 0, 600), (20, 20))
    b.add_shell(ground, b.texture("grass", "pavement", "road"), b.between(0.1, 0.4))


def _ceiling(b: Builder, room: _Room) -> None:
    top = shapes.rectangle((-0.02, room.height, -0.02), (room.length + 0.04, 0, 0), (0, 0, room.width + 0.04), (8, 8))
    b.add_shell(top, b.texture("plain", "plain", "wood", "bricks"), b.between(0.3, 1))
    for _ in range(int(b.rng.integers(0, 4))):
        x, z, drop = b.between(0.15, 0.85) * room.length, b.between(0.15, 0.85) * room.width, b.between(0.05, 0.9)
        cord = shapes.rod((x, room.height - drop, z), (x, room.height, z), 0.008, 6)
        shade = shapes.shifted(
            shapes.lathe(((b.between(0.1, 0.3), 0), (0.05, 0.2)), 16), (x, room.height - drop - 0.1, z)
        )
        b.add(shapes.joined((cord, shade)), b.texture("plain", "metal"), 1.0)
