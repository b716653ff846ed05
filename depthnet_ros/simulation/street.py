"""A street without an end: house fronts, parked cars, trees, lamps; people cross it and a cyclist rides ahead."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from depthnet_ros.simulation import textures as tx
from depthnet_ros.simulation.people import person
from depthnet_ros.simulation.scene import Mover, Planar, Scene
from depthnet_ros.simulation.solids import Footprint, Solid, box, floor, join, prism, wall
from depthnet_ros.simulation.textures import Picture, Texture

PERIOD_M = 24.0
SPEED_M_S = 1.5
_LANE_Y = -1.2
_KERB_Y = 4.0
_KERB_M = 0.1
_FRONT_Y = 6.5
_FRONT_M = 9.0


def build_street(seed: int = 0) -> Scene:
    """The street runs along x; the camera drives at 1.5 m/s in the right lane."""
    rng = np.random.default_rng((seed, 2))
    surface, far_surface = _surfaces(rng)
    fronts, cars, trees = _house_fronts(rng), _cars(rng), _trees(rng)
    movers = [Mover(_cyclist(rng), _ahead)]
    for index, coat in enumerate(((150, 48, 44), (52, 88, 64), (196, 160, 60))):
        movers.append(Mover(person(rng, coat), _crossing(index)))
    light = np.array((-0.35, 0.45, 0.82))
    return Scene(
        name="street",
        still=join([surface, fronts, cars, trees, _street_furniture(rng)]),
        distant=join([far_surface, fronts, cars, trees]),
        movers=tuple(movers),
        path=_path,
        camera_height_m=1.1,
        camera_pitch_rad=float(np.radians(3)),
        light=light / np.linalg.norm(light),
        ambient=0.55,
        sky=tx.sky(rng),
        period_m=PERIOD_M,
        copies=3,
    )


def _path(time_s: float) -> Planar:
    sway = 2 * np.pi * time_s / 17.0
    return SPEED_M_S * time_s, _LANE_Y + 0.5 * float(np.sin(sway)), 0.16 * float(np.sin(2 * np.pi * time_s / 7.0))


def _ahead(time_s: float) -> Planar:
    """A cyclist in the same lane, 3 m to 8 m ahead."""
    distance = 5.5 + 2.5 * float(np.sin(2 * np.pi * time_s / 12.0))
    return SPEED_M_S * time_s + distance, _LANE_Y + 0.4 * float(np.sin(2 * np.pi * time_s / 8.0)), 0.0


def _crossing(index: int) -> Callable[[float], Planar]:
    """One of three people who cross the street between parked cars; whoever is passed waits 48 m farther on."""
    start = (0.0, 16.0, 32.2)[index]

    def pose(time_s: float) -> Planar:
        here = SPEED_M_S * time_s - 3.0
        lap = np.floor((here - start) / 48.0) + 1
        swing = 2 * np.pi * time_s / (11.0 + 2.0 * index) + index
        heading = np.pi / 2 if np.cos(swing) > 0 else -np.pi / 2
        return float(48.0 * lap + start), 3.0 * float(np.sin(swing)) + 0.4, float(heading)

    return pose


def _surfaces(rng: np.random.Generator) -> tuple[Solid, Solid]:
    """Road with a dashed line, kerbs and pavements: in tiles of 4 m, and of 12 m for the distance."""
    px = 64
    road = tx.speckle(rng, 4 * px, int(2 * _KERB_Y * px), (92, 92, 94), 6)
    middle = road.shape[0] // 2
    road[middle - 4 : middle + 4, : 2 * px] = (214, 212, 200)
    for y in (10, road.shape[0] - 14):
        road[y : y + 5] = (190, 186, 130)
    slabs = tx.tiles(
        rng, 4 * px, int((_FRONT_Y - _KERB_Y) * px), 32, [(150, 146, 138), (160, 156, 148)], (112, 110, 104)
    )
    kerb = Texture(tx.speckle(rng, 512, 8, (170, 168, 162), 6))
    return _tiled(road, slabs, kerb, 1), _tiled(road, slabs, kerb, 3)


def _tiled(road: Picture, slabs: Picture, kerb: Texture, repeat: int) -> Solid:
    ways = [Texture(np.tile(picture, (1, repeat, 1))) for picture in (road, slabs)]
    faces = []
    for left in np.arange(0.0, PERIOD_M, 4.0 * repeat):
        span = (float(left), float(left) + 4.0 * repeat)
        faces.append(floor(span, (-_KERB_Y, _KERB_Y), 0.0, ways[0]))
        faces.append(floor(span, (_KERB_Y, _FRONT_Y), _KERB_M, ways[1], ground=False))
        faces.append(floor(span, (-_FRONT_Y, -_KERB_Y), _KERB_M, ways[1], ground=False))
    faces.append(wall((0.0, _KERB_Y), (PERIOD_M, _KERB_Y), 0.0, _KERB_M, kerb))
    faces.append(wall((PERIOD_M, -_KERB_Y), (0.0, -_KERB_Y), 0.0, _KERB_M, kerb))
    pavements = (_strip(_KERB_Y, _FRONT_Y, _KERB_M), _strip(-_FRONT_Y, -_KERB_Y, _KERB_M))
    return Solid(tuple(faces), pavements)


def _strip(right: float, left: float, top_m: float) -> Footprint:
    return Footprint(np.array(((0, right), (PERIOD_M, right), (PERIOD_M, left), (0, left))), 0.0, top_m)


def _house_fronts(rng: np.random.Generator) -> Solid:
    """Three houses of 8 m on either side."""
    colors: tuple[tx.Color, ...] = (
        (158, 88, 66), (186, 158, 118), (128, 96, 84), (176, 112, 82), (150, 144, 136), (166, 98, 70),
    )  # fmt: skip
    parts = []
    for index, color in enumerate(colors):
        picture = tx.facade(rng, 8 * 40, int(_FRONT_M * 40), color, 40)
        picture = tx.darken(picture, tx.edge_shade(picture.shape[1], picture.shape[0], 12, 0.25))
        start, end = 8.0 * (index % 3), 8.0 * (index % 3) + 8.0
        y = _FRONT_Y if index < 3 else -_FRONT_Y
        left, right = (start, end) if y > 0 else (end, start)
        back = y + (3.0 if y > 0 else -3.0)
        outline = np.array(((left, y), (right, y), (right, back), (left, back)))
        front = wall((left, y), (right, y), 0.0, _FRONT_M, Texture(picture))
        parts.append(Solid((front,), (Footprint(outline, 0.0, _FRONT_M),)))
    return join(parts)


def _cars(rng: np.random.Generator) -> Solid:
    """Parked along both kerbs."""
    places: tuple[tuple[float, float, tx.Color], ...] = (
        (3.5, -3.05, (150, 36, 34)), (11.0, -3.0, (190, 192, 196)), (19.0, -3.1, (44, 70, 118)),
        (5.4, 3.05, (62, 66, 70)), (13.0, 3.0, (206, 204, 196)), (20.5, 3.1, (56, 92, 70)),
    )  # fmt: skip
    return join([_car(rng, x, y, color) for x, y, color in places])


def _car(rng: np.random.Generator, x: float, y: float, color: tx.Color) -> Solid:
    long, end = _body(rng, 210, color, wheels=True), _body(rng, 88, color, wheels=False)
    glass_long, glass_end = _glass(rng, 120, color), _glass(rng, 80, color)
    paint = Texture(tx.plaster(rng, 64, 64, color, 3))
    lower = box((x, y), (4.2, 1.75, 0.76), (end, long, end, long), paint, bottom_m=0.08)
    upper = box((x - 0.2, y), (2.3, 1.55, 0.55), (glass_end, glass_long, glass_end, glass_long), paint, bottom_m=0.84)
    return lower + upper


def _body(rng: np.random.Generator, width: int, color: tx.Color, wheels: bool) -> Texture:
    """Side (with wheels) or end (with lamps and a number plate) of a car."""
    picture = tx.plaster(rng, width, 38, color, 4)
    picture[32:] = (30, 30, 32)
    if wheels:
        for middle in (42, width - 42):
            cv2.circle(picture, (middle, 26), 15, (22, 22, 24), cv2.FILLED)
            cv2.circle(picture, (middle, 26), 7, (150, 152, 156), cv2.FILLED)
        picture[4:6, :] = (picture[4:6, :] * 0.6).astype(np.uint8)
    else:
        for left in (4, width - 20):
            tx.framed(picture, (left, 8, left + 16, 15), (236, 226, 190), (90, 90, 90), 1)
        tx.framed(picture, (width // 2 - 14, 21, width // 2 + 14, 28), (226, 226, 220), (60, 60, 60), 1)
    return Texture(picture)


def _glass(rng: np.random.Generator, width: int, color: tx.Color) -> Texture:
    picture: Picture = tx.plaster(rng, width, 28, color, 3)
    for left in range(4, width - 20, max(width // 2, 60)):
        right = min(left + max(width // 2, 60) - 6, width - 5)
        tx.framed(picture, (left, 4, right, 25), (52, 64, 74), (20, 22, 24), 1)
    return Texture(picture)


def _trees(rng: np.random.Generator) -> Solid:
    bark, leaves = Texture(tx.speckle(rng, 24, 96, (86, 66, 48), 10)), Texture(tx.foliage(rng, 96, 96))
    parts = []
    for x, y in ((1.0, -4.6), (13.0, -4.6), (7.0, 4.6), (18.0, 4.6)):
        parts.append(box((x, y), (0.24, 0.24, 2.2), bark, bark, yaw=0.5, bottom_m=_KERB_M, ends=""))
        parts.append(box((x, y), (2.0, 2.0, 1.2), leaves, leaves, yaw=0.3 + x, bottom_m=2.2, ends="bottom"))
        parts.append(box((x, y), (1.4, 1.4, 0.9), leaves, leaves, yaw=0.8 + x, bottom_m=3.4, ends=""))
    return join(parts)


def _street_furniture(rng: np.random.Generator) -> Solid:
    """Lamps and bins on the pavements."""
    metal, bin_side = Texture(tx.speckle(rng, 16, 128, (70, 74, 76), 5)), Texture(tx.crate(rng, 48, (64, 96, 70)))
    parts = []
    for x, y in ((6.5, -4.4), (1.5, 4.4)):
        parts.append(box((x, y), (0.12, 0.12, 4.5), metal, metal, bottom_m=_KERB_M, ends=""))
        parts.append(box((x, y * 0.9), (0.25, 1.0, 0.12), metal, metal, bottom_m=4.6, ends="bottom"))
    for x, y in ((16.0, -4.5), (10.5, 4.5)):
        parts.append(box((x, y), (0.5, 0.5, 0.9), bin_side, metal, bottom_m=_KERB_M))
    return join(parts)


def _cyclist(rng: np.random.Generator) -> Solid:
    frame, tyre = Texture(tx.speckle(rng, 64, 16, (190, 60, 40), 6)), Texture(tx.speckle(rng, 48, 48, (34, 34, 36), 5))
    coat, skin = (
        Texture(tx.speckle(rng, 48, 64, (226, 190, 40), 9)),
        Texture(tx.speckle(rng, 24, 24, (188, 142, 116), 5)),
    )
    trousers = Texture(tx.speckle(rng, 32, 48, (50, 54, 70), 7))
    return join([
        box((0.5, 0), (0.62, 0.05, 0.62), tyre, tyre),
        box((-0.5, 0), (0.62, 0.05, 0.62), tyre, tyre),
        box((0, 0), (0.9, 0.05, 0.08), frame, frame, bottom_m=0.62),
        box((-0.1, 0.12), (0.16, 0.12, 0.6), trousers, trousers, bottom_m=0.35),
        box((-0.1, -0.12), (0.16, 0.12, 0.6), trousers, trousers, bottom_m=0.35),
        prism((-0.1, 0), 0.22, 0.9, 1.5, coat, "top"),
        prism((-0.05, 0), 0.11, 1.5, 1.74, skin),
        box((0.4, 0), (0.06, 0.55, 0.05), frame, frame, bottom_m=1.0),
    ])  # fmt: skip
