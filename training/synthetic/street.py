"""Streets: carriageway, pavements, house fronts or open fields, parked and driving cars, trees, poles, signs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic import facades, shapes, vehicles
from training.synthetic.builder import Builder, turned
from training.synthetic.camera import Pose
from training.synthetic.materials import leaf_texture, net_texture
from training.synthetic.mesh import Model, bounds
from training.synthetic.procedural import Plan, ProceduralWorld
from training.synthetic.quality import Limits

_AHEAD_M, _BEHIND_M = 170.0, -25.0
_STEP_M = 2.5
_CURB_M = 0.12


@dataclass(frozen=True)
class _Road:
    """A road along x; z grows to the right of a driver who looks along +x. Lengths in metres.

    Attributes:
        half: of the carriageway's width.
        pavement: width of each pavement; 0 for a verge of grass at the road's level.
        bend: 1/m, of the whole road.
        climb: slope at the far end.
        waves: amplitude of the hills.
    """

    half: float
    pavement: float
    bend: float
    climb: float
    waves: float

    def middle(self, x: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Height and sideways place of the road's middle at ``x``."""
        y = self.climb * np.maximum(x, 0) ** 2 / (2 * _AHEAD_M) + self.waves * (1 - np.cos(x / 23.0))
        return y, 0.5 * self.bend * np.maximum(x, 0) ** 2

    def place(self, x: float, z: float, y: float = 0.0) -> NDArray[np.float64]:
        """(3,) of a point ``z`` to the right of the middle and ``y`` above the road."""
        height, aside = self.middle(np.array(x))
        return np.array((x, float(height) + y, float(aside) + z))

    def yaw(self, x: float) -> float:
        """Heading of the road at ``x`` as a model's yaw."""
        return -float(np.arctan(self.bend * max(x, 0.0)))

    def strip(self, left: float, right: float, y_left: float = 0.0, y_right: float | None = None) -> shapes.Mesh:
        """A band along the road between two distances from its middle."""
        x = np.arange(_BEHIND_M, _AHEAD_M + _STEP_M, _STEP_M)
        height, aside = self.middle(x)
        cells = int(np.clip(abs(right - left) / 0.6, 1, 12)) + 1
        across = np.linspace(0, 1, cells)[:, None]
        z = aside + left + across * (right - left)
        y = height + y_left + across * ((y_left if y_right is None else y_right) - y_left)
        return shapes.sheet(np.stack((np.broadcast_to(x, z.shape), y, z), axis=2))


def _along(start: float, end: float, step: float) -> list[float]:
    """As numpy's arange."""
    return [float(v) for v in np.arange(start, end, step)]


class Street(ProceduralWorld):
    """The camera is on the carriageway or the pavement and looks along the street, or across it."""

    name = "street"
    limits = Limits(nearest_m=0.5, max_planarity=0.95, max_sky=0.6)
    plausible_share = 0.85

    def build(self, builder: Builder) -> Plan:
        """A street and what stands on it."""
        b = builder
        town = b.chance(0.8)
        road = _Road(
            b.between(2.3, 6.5),
            b.between(1.2, 4.0) if town or b.chance(0.3) else 0.0,
            0.0 if b.chance(0.4) else b.rng.normal(0, 0.0022),
            0.0 if b.chance(0.5) else b.rng.normal(0, 0.05),
            0.0 if b.chance(0.6) else abs(b.rng.normal(0, 0.5)),
        )
        _surface_of_the_road(b, road, town)
        cars = _cars(b, road, town)
        for side in (-1, 1):
            built_up = town and not b.chance(0.12)
            edge = road.half + road.pavement
            front = edge + (b.between(0.0, 1.0) if b.chance(0.5) else b.between(2, 7))
            _verge(b, road, side, front if built_up else edge)
            _furniture(b, road, side)
            if built_up:
                _houses(b, road, side, front)
            else:
                _countryside(b, road, side, edge)
        _carriageway(b, road, cars)
        return Plan(lambda rng: _camera(rng, road, cars), False, _fov_rad, 32.0)


def _fov_rad(rng: np.random.Generator) -> float:
    return float(np.radians(np.clip(rng.normal(70, 13), 45, 95)))


def _camera(rng: np.random.Generator, road: _Road, cars_m: NDArray[np.float64]) -> Pose:
    """A car's, a pedestrian's or a robot's, mostly looking along the street; not inside a parked car."""
    for _ in range(20):
        on_pavement = road.pavement > 0.5 and rng.uniform() < 0.3
        if on_pavement:
            z = rng.choice((-1, 1)) * (road.half + rng.uniform(0.2, 0.9) * road.pavement)
            height = _CURB_M + np.exp(rng.uniform(np.log(0.3), np.log(1.8)))
        else:
            z = rng.uniform(-0.7, 0.7) * road.half
            height = rng.uniform(1.1, 2.0) if rng.uniform() < 0.65 else rng.uniform(0.3, 1.1)
        x = float(rng.uniform(0, 50))
        eye = road.place(x, float(z), float(height))
        if (np.hypot(cars_m[:, 0] - eye[0], cars_m[:, 1] - eye[2]) > cars_m[:, 2] + 0.4).all():
            break
    yaw = -road.yaw(x) + rng.normal(0, 0.12 if rng.uniform() < 0.75 else 0.7)
    slope = float(road.middle(np.array(x + 8.0))[0] - road.middle(np.array(x))[0]) / 8
    return Pose(eye, float(yaw), slope + float(rng.normal(-0.02, 0.05)), float(rng.normal(0, 0.012)))


def _carriageway(b: Builder, road: _Road, shadows: NDArray[np.float64]) -> None:
    x = np.arange(_BEHIND_M, _AHEAD_M, 0.8)
    height, aside = road.middle(x)
    z = np.linspace(-road.half - 0.1, road.half + 0.1, 14)[:, None]  # on below the curbs: no cracks
    mesh = shapes.sheet(np.stack((np.broadcast_to(x, (14, len(x))), height + 0 * z, aside + z), axis=2))
    near = shadows[shadows[:, 0] < 80]
    b.add(
        shapes.with_contact_shadows(mesh, near, 0.5),
        b.texture("road", "road", "noise", "pavement"),
        b.between(0.15, 0.5),
    )


def _surface_of_the_road(b: Builder, road: _Road, town: bool) -> None:
    """Markings 1 cm above the carriageway, curbs."""
    white = b.texture("plain") if not b.plausible else b.textures.texture(b.rng, "plain", tame=True)
    paint = np.array((1.3, 1.3, 1.2)) if b.plausible else np.ones(3)
    marks = []
    if b.chance(0.8):
        dash, gap = (1000.0, 0.0) if b.chance(0.2) else (b.between(2, 4), b.between(3, 7))
        lanes = [0.0] if road.half < 5 else [-road.half / 3, road.half / 3]
        for z in lanes:
            marks += [_mark(road, x, min(x + dash, _AHEAD_M), z, 0.12) for x in _along(_BEHIND_M, _AHEAD_M, dash + gap)]
    if b.chance(0.5):
        marks += [_mark(road, _BEHIND_M, _AHEAD_M, side * (road.half - 0.25), 0.12) for side in (-1, 1)]
    for _ in range(int(b.rng.integers(0, 3)) if town else 0):  # zebra crossings
        x = b.between(5, 60)
        marks += [_mark(road, x, x + 3, z, 0.45) for z in _along(-road.half + 0.4, road.half, 0.95)]
    if marks:
        b.add(shapes.tinted(shapes.joined(marks), paint), white, 0.5)
    if road.pavement > 0:
        stone, scale = b.texture("wall", "plain"), b.between(0.5, 1.0)
        for side in (-1, 1):
            face = road.strip(side * road.half, side * (road.half + 0.01), -0.06, _CURB_M + 0.004)
            top = road.strip(side * (road.half + 0.01), side * (road.half + 0.17), _CURB_M + 0.004)
            b.add(shapes.joined((face, top)), stone, scale)


def _mark(road: _Road, start: float, end: float, z: float, width: float) -> shapes.Mesh:
    x = np.linspace(start, end, num=max(2, int((end - start) / 2.5) + 1))
    height, aside = road.middle(x)
    sides = np.array((-width / 2, width / 2))[:, None]
    return shapes.sheet(
        np.stack((np.broadcast_to(x, (2, len(x))), height + 0.012 + 0 * sides, aside + z + sides), axis=2)
    )


def _verge(b: Builder, road: _Road, side: int, to: float) -> None:
    """The pavement, and the ground between it and ``to``."""
    if road.pavement > 0:
        stone = b.texture("pavement", "pavement", "plain", "bricks", "road")
        b.add(
            road.strip(side * (road.half + 0.16), side * (road.half + road.pavement), _CURB_M),
            stone,
            b.between(0.25, 1.2),
        )
    start = road.half + road.pavement
    if to > start:
        garden = b.texture("grass", "grass", "pavement", "earth")
        b.add(
            road.strip(side * (start - 0.05), side * (to + 0.5), _CURB_M - 0.01 if road.pavement else -0.01),
            garden,
            b.between(0.2, 0.7),
        )


def _cars(b: Builder, road: _Road, town: bool) -> NDArray[np.float64]:
    """Parked at the sides and driving; (K, 3) of x, z and radius of circles that cover them."""
    covered = []
    rows = [side for side in (-1, 1) if b.chance(0.65 if town else 0.25)]
    spots = [
        (x + b.rng.normal(0, 0.4), side * (road.half - b.between(0.7, 1.1)), 0.0 if b.chance(0.8) else np.pi)
        for side in rows
        for x in _along(b.between(-8, 6), 75, b.between(5.2, 7.5))
        if b.chance(0.7)
    ]
    spots += [
        (b.between(9, 80), side * road.half * b.between(0.3, 0.5), np.pi * (side < 0))
        for side in (-1, 1)
        for _ in range(int(b.rng.integers(0, 4)))
    ]
    fleet = [
        *(b.game_model("car", b.between(3.7, 4.9)) if b.chance(0.4) else vehicles.vehicle(b) for _ in range(5)),
        vehicles.bicycle(b) if b.chance(0.6) else b.game_model("kart", b.between(3.0, 4.2)),
    ]
    for x, z, heading in spots[:26]:
        car = fleet[int(b.rng.choice(6, p=(0.19, 0.19, 0.19, 0.19, 0.19, 0.05)))]
        b.add_all(car, turned(road.place(x, z, 0.02), road.yaw(x) + heading + b.rng.normal(0, 0.03)))
        if car:
            place, (low, high) = road.place(x, z), bounds(car)
            half = max(0.5 * float(high[0] - low[0]) - 1.0, 0.2)
            covered += [(place[0] + offset, place[2], 1.05) for offset in np.linspace(-half, half, 2 + int(half))]
    return np.array(covered).reshape(-1, 3)


def _furniture(b: Builder, road: _Road, side: int) -> None:
    """Lamp posts, trees in a row, signs, hedges, fences, and whatever stands about on pavements."""
    level = _CURB_M if road.pavement else 0.0
    near = side * (road.half + b.between(0.25, 0.7))
    if b.chance(0.6):
        post, step = facades.lamp_post(b, side), b.between(18, 35)
        for x in _along(b.between(-5, 20), 150, step):
            b.add_all(post, turned(road.place(x, near, level), road.yaw(x)))
    if b.chance(0.45):
        kinds = [_tree(b) for _ in range(2)]
        aside = side * (road.half + b.between(0.5, 1.0) * max(road.pavement, 2.0))
        for x in _along(b.between(-8, 8), 150, b.between(6, 18)):
            b.add_all(
                kinds[int(b.rng.integers(2))],
                turned(road.place(x, aside, level), b.between(0, 6.28), scale=b.between(0.8, 1.15)),
            )
    for _ in range(int(b.rng.integers(0, 6))):
        x = b.between(3, 70)
        b.add_all(facades.sign(b), turned(road.place(x, near, level), road.yaw(x) + np.pi + b.rng.normal(0, 0.2)))
    for _ in range(int(b.rng.integers(0, 7)) if road.pavement else 0):
        x, z = b.between(2, 60), side * (road.half + b.between(0.3, 0.95) * road.pavement)
        if b.chance(0.2):
            thing = vehicles.bicycle(b)
        elif b.chance(0.35):
            thing = b.game_model("person", b.between(1.5, 1.9), upright_size=True)
        else:
            thing = b.game_model(str(b.rng.choice(("street", "furniture", "thing", "plant"))), b.between(0.6, 2.2))
        b.add_all(thing, turned(road.place(x, z, level), b.between(0, 6.28)))


def _tree(b: Builder) -> Model:
    height = b.between(3.5, 10)
    if b.chance(0.7):
        return b.game_model("tree", height, upright_size=True)
    trunk = shapes.darkened_below(shapes.cone(height * 0.03, 0.6 * height, height * 0.012, 8), 1.0)
    crown = shapes.shifted(shapes.cards(0.75 * height, 0.7 * height, 4), (0, 0.3 * height, 0))
    bark = b.texture("wood", "grain")
    made = b.part()
    made.add(trunk, bark, 0.8)
    made.add(crown, leaf_texture(b.rng), cut_out=True)
    return made.surfaces


def _houses(b: Builder, road: _Road, side: int, front_m: float) -> None:
    """House after house with now and then a gap."""
    x = b.between(-24, -14)
    while x < 130:
        width = b.between(6, 18)
        setback = front_m + (b.between(0.0, 1.5) if b.chance(0.3) else 0.0)
        yaw = road.yaw(x + width / 2)
        house = facades.house(b, width, fine=x < 65)
        # The house's front faces -z and its middle is at x = 0; on the left side it is turned round.
        b.add_all(house, turned(road.place(x + width / 2, side * setback, -0.1), yaw + (0.0 if side > 0 else np.pi)))
        x += width * 1.02
        if b.chance(0.15):
            x += b.between(2, 9)
    if front_m > road.half + road.pavement + 1.5 and b.chance(0.7):
        _hedge(b, road, side * (road.half + road.pavement + 0.2))
    ground = b.texture("grass", "pavement", "earth")
    b.add(road.strip(side * (front_m + 0.4), side * (front_m + 60), 0.0), ground, 0.3)


def _hedge(b: Builder, road: _Road, z: float) -> None:
    """A hedge, wall or fence along the road in pieces, with gates."""
    height, style = b.between(0.7, 1.8), b.rng.uniform()
    cut_out = style < 0.35
    texture = (
        net_texture(b.rng)
        if cut_out
        else b.texture("leaves", "grass")
        if style < 0.7
        else b.texture("wall", "brick", "wood")
    )
    scale, x = b.between(0.3, 1.0), b.between(-15, 0)
    while x < 120:
        length = b.between(5, 20)
        for at in _along(x, x + length, 2.5):
            body = shapes.box((2.5, height, 0.03 if cut_out else b.between(0.25, 0.6)))
            if style > 0.35 and style < 0.7:
                body[:, :3] += b.rng.normal(0, 0.02, 3)
            b.add(
                shapes.moved(shapes.darkened_below(body, height), turned(road.place(at, z, 0.05), road.yaw(at))),
                texture,
                scale,
                cut_out,
            )
        x += length + b.between(1.5, 5)


def _countryside(b: Builder, road: _Road, side: int, edge_m: float) -> None:
    """Fields rising or falling away from the road, with trees, bushes, a few houses, guard rails."""
    fall = b.rng.normal(0, 1.5)
    mesh = road.strip(side * (edge_m - 0.08), side * 9.0 if edge_m < 8 else side * (edge_m + 2), -0.01, -0.15)
    far = road.strip(side * (9.0 if edge_m < 8 else edge_m + 2), side * 160, -0.15, fall * 4)
    grass = b.texture("grass", "grass", "earth")
    b.add(mesh, grass, b.between(0.2, 0.8))
    b.add(far, grass if b.chance(0.5) else b.texture("grass", "earth"), b.between(0.1, 0.4))
    if b.chance(0.4):
        _hedge(b, road, side * (edge_m + b.between(0.4, 2.0)))
    trees = [_tree(b) for _ in range(4)]
    start = edge_m + b.between(1, 5)
    for _ in range(int(b.rng.integers(15, 70))):
        x, z = b.between(-5, 150), start + b.rng.exponential(12)
        y = -0.15 + (fall * 4 + 0.15) * max(z - 9, 0) / 151
        b.add_all(
            trees[int(b.rng.integers(4))],
            turned(road.place(x, side * z, y), b.between(0, 6.28), scale=b.between(0.5, 1.3)),
        )
    for _ in range(int(b.rng.integers(0, 4))):
        x, z = b.between(15, 150), start + b.between(8, 40)
        y = -0.3 + (fall * 4 + 0.15) * max(z - 9, 0) / 151
        b.add_all(b.game_model("house", b.between(6, 11)), turned(road.place(x, side * z, y), b.between(0, 6.28)))
