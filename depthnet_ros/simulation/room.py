"""A furnished room with two people and a cart on the move; the camera drives round its middle."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.simulation import textures as tx
from depthnet_ros.simulation.people import person
from depthnet_ros.simulation.scene import Mover, Planar, Scene
from depthnet_ros.simulation.solids import Face, Footprint, Solid, box, ceiling, floor, join, prism, wall
from depthnet_ros.simulation.textures import Picture, Texture

LENGTH_M, WIDTH_M, HEIGHT_M = 10.0, 8.0, 2.7
LAP_S = 32.0
_PX = 80  # texels per metre
_THICK_M = 0.2


def build_room(seed: int = 0) -> Scene:
    """10 m x 8 m, centred at the origin."""
    rng = np.random.default_rng((seed, 1))
    still = join([_shell(rng), _along_walls(rng), _middle(rng)])
    cart = box((0, 0), (0.7, 0.5, 0.55), Texture(tx.crate(rng, 96, (92, 118, 150))), Texture(tx.crate(rng, 96)))
    movers = (
        Mover(person(rng, (150, 48, 44)), _walker),
        Mover(person(rng, (52, 88, 64)), _guide),
        Mover(cart, _cart),
    )
    return Scene(
        name="room",
        still=still,
        movers=movers,
        path=_path,
        camera_height_m=0.9,
        camera_pitch_rad=float(np.radians(4)),
        light=_unit(0.25, 0.35, 0.9),
        ambient=0.75,
    )


def _unit(x: float, y: float, z: float) -> NDArray[np.float64]:
    vector = np.array((x, y, z))
    return np.asarray(vector / np.linalg.norm(vector))


def _ellipse(time_s: float, lead_s: float = 0.0) -> Planar:
    """The lap round the middle, counter-clockwise, looking ahead and a little from side to side."""
    angle = 2 * np.pi * (time_s + lead_s) / LAP_S
    x, y = 3.0 * np.cos(angle), 2.2 * np.sin(angle)
    heading = np.arctan2(2.2 * np.cos(angle), -3.0 * np.sin(angle))
    return float(x), float(y), float(heading)


def _path(time_s: float) -> Planar:
    x, y, heading = _ellipse(time_s)
    return x, y, heading + 0.35 * float(np.sin(2 * np.pi * time_s / 11.0)) + 0.1


def _guide(time_s: float) -> Planar:
    """Someone who walks the same lap ahead of the camera, now nearer, now farther."""
    return _ellipse(time_s, 6.0 + 1.6 * float(np.sin(2 * np.pi * time_s / 9.0)))


def _walker(time_s: float) -> Planar:
    """Someone who crosses the room along its end and back."""
    swing = 2 * np.pi * time_s / 15.0
    return 3.95, 2.9 * float(np.sin(swing)), float(np.pi / 2 if np.cos(swing) > 0 else -np.pi / 2)


def _cart(time_s: float) -> Planar:
    swing = 2 * np.pi * time_s / 13.0
    return -3.95, 1.6 * float(np.cos(swing)), float(0.3 * np.sin(swing))


def _shell(rng: np.random.Generator) -> Solid:
    """Floor, ceiling and four walls; the walls are 0.2 m thick on the ground plane."""
    x, y = LENGTH_M / 2, WIDTH_M / 2
    px = _PX
    boards = tx.planks(rng, int(LENGTH_M * px), int(WIDTH_M * px), 14, (158, 116, 76))
    rug = np.s_[int(2.6 * px) : int(5.4 * px), int(3.2 * px) : int(6.8 * px)]
    woven = tx.tiles(
        rng, int(3.6 * px), int(2.8 * px), 24, [(128, 52, 48), (150, 70, 58), (182, 150, 110)], (96, 38, 36)
    )
    boards[rug] = cv2.rectangle(woven, (6, 6), (woven.shape[1] - 7, woven.shape[0] - 7), (206, 186, 150), 4)
    boards = tx.darken(boards, tx.edge_shade(boards.shape[1], boards.shape[0], 30, 0.45))
    faces = _in_parts(floor((-x, x), (-y, y), 0.0, Texture(boards)), boards, 5, 4)
    above = tx.plaster(rng, int(LENGTH_M * 40), int(WIDTH_M * 40), (226, 224, 216), 3.0)
    for column in (0.25, 0.75):
        for row in (0.25, 0.75):
            left, top = int(column * above.shape[1]), int(row * above.shape[0])
            tx.framed(above, (left - 26, top - 8, left + 26, top + 8), (255, 255, 250), (190, 190, 186), 2)
    above = tx.darken(above, tx.edge_shade(above.shape[1], above.shape[0], 30, 0.3))
    faces += _in_parts(ceiling((-x, x), (-y, y), HEIGHT_M, Texture(above)), above, 2, 2)
    corners = ((-x, -y), (-x, y), (x, y), (x, -y))
    colors: tuple[tx.Color, ...] = ((196, 182, 154), (178, 190, 184), (202, 190, 166), (170, 178, 192))
    footprints = []
    for index in range(4):
        start, end = corners[index], corners[(index + 1) % 4]
        length = LENGTH_M if index % 2 else WIDTH_M
        picture = _wall_picture(rng, length, colors[index], index)
        faces += _in_parts(wall(start, end, 0.0, HEIGHT_M, Texture(picture)), picture, 2, 1)
        footprints.append(_wall_footprint(np.array(start), np.array(end)))
    return Solid(tuple(faces), tuple(footprints))


def _in_parts(face: Face, picture: Picture, columns: int, rows: int) -> list[Face]:
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    parts = [
        Texture(picture[row * height : (row + 1) * height, column * width : (column + 1) * width])
        for row in range(rows)
        for column in range(columns)
    ]
    return face.split(columns, rows, parts)


def _wall_picture(rng: np.random.Generator, length_m: float, color: tx.Color, index: int) -> Picture:
    width, height = int(length_m * _PX), int(HEIGHT_M * _PX)
    picture = tx.plaster(rng, width, height, color)
    if index % 2:  # windows along the long walls
        for left in range(int(0.9 * _PX), width - int(1.6 * _PX), int(2.7 * _PX)):
            pane = (left, int(0.45 * _PX), left + int(1.3 * _PX), int(1.7 * _PX))
            tx.framed(picture, pane, (206, 222, 236), (240, 238, 232), 7)
            middle = (pane[0] + pane[2]) // 2
            tx.framed(picture, (middle - 2, pane[1], middle + 2, pane[3]), (240, 238, 232), (240, 238, 232), 1)
    else:  # a door and pictures at the ends
        door = (int(0.62 * width), height - int(2.05 * _PX), int(0.62 * width) + int(0.9 * _PX), height)
        tx.framed(picture, door, (120, 82, 52), (92, 60, 38), 6)
        for left in (int(0.12 * width), int(0.36 * width)):
            painted = tuple(int(value) for value in rng.integers(60, 200, 3))
            frame = (left, int(0.7 * _PX), left + int(1.1 * _PX), int(1.45 * _PX))
            tx.framed(picture, frame, (painted[0], painted[1], painted[2]), (52, 40, 30), 6)
    skirting = np.s_[height - int(0.1 * _PX) :, :]
    picture[skirting] = (picture[skirting] * 0.45).astype(np.uint8)
    return tx.darken(picture, tx.edge_shade(width, height, 26, 0.4))


def _wall_footprint(start: NDArray[np.float64], end: NDArray[np.float64]) -> Footprint:
    along = (end - start) / np.linalg.norm(end - start)
    outward = np.array((-along[1], along[0])) * _THICK_M
    return Footprint(np.array((start, end, end + outward, start + outward)), 0.0, HEIGHT_M)


def _along_walls(rng: np.random.Generator) -> Solid:
    """Shelves, a sofa, a cupboard, a plant and boxes."""
    wood = Texture(tx.planks(rng, 128, 64, 16, (120, 82, 52)))
    books = Texture(tx.shelf(rng, 200, 176, 5))
    cloth = Texture(tx.speckle(rng, 128, 96, (74, 92, 118), 9))
    light_cloth = Texture(tx.speckle(rng, 128, 96, (104, 124, 150), 9))
    card = Texture(tx.crate(rng, 112))
    white = tx.plaster(rng, 120, 160, (214, 212, 206))
    cupboard = Texture(tx.framed(tx.framed(white, (6, 6, 57, 153), (222, 220, 214), (150, 148, 142), 2),
                                 (63, 6, 113, 153), (222, 220, 214), (150, 148, 142), 2))  # fmt: skip
    leaves, pot = Texture(tx.foliage(rng, 64, 64)), Texture(tx.speckle(rng, 64, 48, (150, 84, 58), 8))
    return join([
        box((-1.6, 3.8), (2.2, 0.36, 2.0), books, wood),
        box((2.2, 3.75), (1.5, 0.46, 1.9), cupboard, wood),
        box((-0.2, -3.55), (2.2, 0.85, 0.42), cloth, cloth),
        box((-0.2, -3.9), (2.2, 0.18, 0.85), light_cloth, light_cloth),
        box((-1.2, -3.5), (0.2, 0.8, 0.62), light_cloth, light_cloth),
        box((0.8, -3.5), (0.2, 0.8, 0.62), light_cloth, light_cloth),
        box((4.6, 3.4), (0.6, 0.6, 0.6), card, card, yaw=0.2),
        box((4.58, 3.42), (0.5, 0.5, 0.45), card, card, yaw=0.5, bottom_m=0.6),
        box((4.6, -3.5), (0.55, 0.7, 0.75), card, card, yaw=-0.15),
        prism((-4.5, -3.5), 0.24, 0.0, 0.45, pot, "top"),
        prism((-4.5, -3.5), 0.42, 0.55, 1.3, leaves, "top bottom"),
        prism((-4.5, -3.5), 0.28, 1.3, 1.65, leaves, "bottom"),
        box((3.3, -3.7), (1.2, 0.4, 1.1), wood, wood),
    ])  # fmt: skip


def _middle(rng: np.random.Generator) -> Solid:
    """A table with chairs, a stack of crates and a pillar: what the camera drives round."""
    wood = Texture(tx.planks(rng, 128, 96, 20, (146, 104, 62)))
    dark = Texture(tx.planks(rng, 64, 64, 12, (88, 58, 38)))
    red = Texture(tx.speckle(rng, 64, 64, (140, 58, 46), 8))
    card = Texture(tx.crate(rng, 128))
    stone = Texture(tx.bricks(rng, 96, 260, 12, (172, 108, 82)))
    parts = [box((0.3, 0.1), (1.5, 0.9, 0.05), wood, wood, bottom_m=0.7)]
    parts += [box((0.3 + dx, 0.1 + dy), (0.07, 0.07, 0.7), dark, dark) for dx in (-0.68, 0.68) for dy in (-0.38, 0.38)]
    for dx, side in ((-0.35, -1), (0.45, -1), (-0.4, 1), (0.4, 1)):
        parts.append(box((0.3 + dx, 0.1 + side * 0.62), (0.42, 0.42, 0.45), red, red))
        parts.append(box((0.3 + dx, 0.1 + side * 0.82), (0.42, 0.05, 0.9), red, red))
    parts += [
        box((-1.45, 0.1), (0.7, 0.7, 0.7), card, card, yaw=0.4),
        box((-1.42, 0.12), (0.5, 0.5, 0.5), card, card, yaw=0.9, bottom_m=0.7),
        box((1.75, -0.2), (0.35, 0.35, HEIGHT_M), stone, stone),
        box((0.45, 0.15), (0.3, 0.22, 0.2), Texture(tx.crate(rng, 64, (92, 118, 150))), dark, yaw=0.3, bottom_m=0.75),
    ]
    return join(parts)
