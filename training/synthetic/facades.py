"""House fronts with relief, lamp posts and signs; everything stands on y = 0, fronts face -z, lengths in metres."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from training.synthetic import shapes
from training.synthetic.builder import Builder
from training.synthetic.mesh import Model, Texture, vertices
from training.synthetic.shapes import Mesh

_BACK_M = 8.0


class Hole(NamedTuple):
    """A rectangle in a wall, in metres from its left end and from the ground."""

    left: float
    low: float
    right: float
    high: float


class _Front(NamedTuple):
    """A house front's size, and its wall's texture with the repeats of it a metre."""

    width_m: float
    height_m: float
    floors: int
    storey_m: float
    wall: Texture
    per_metre: float


class _Openings(NamedTuple):
    """Windows and doors, how far they are set back, and whether the ground floor is a shop."""

    windows: list[Hole]
    doors: list[Hole]
    depth_m: float
    shop: bool


def opened_wall(width_m: float, height_m: float, holes: Sequence[tuple[float, float, float, float]]) -> Mesh:
    """A wall in the plane z = 0 from x = -width / 2, cut out at the holes, each as :class:`Hole` has it."""
    xs = np.unique(np.round([0.0, width_m, *(v for hole in holes for v in (hole[0], hole[2]))], 4))
    ys = np.unique(np.round([0.0, height_m, *(v for hole in holes for v in (hole[1], hole[3]))], 4))
    parts = []
    for y0, y1 in pairwise(ys.tolist()):
        start = None
        for x0, x1 in pairwise(xs.tolist()):
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            closed = not any(left < x < right and low < y < high for left, low, right, high in holes)
            if closed and start is None:
                start = x0
            if start is not None and (not closed or x1 == xs[-1]):
                parts.append(_panel(start, y0, x1 if closed else x0, y1))
                start = None
    return shapes.shifted(shapes.joined(parts), (-width_m / 2, 0, 0))


def _panel(x0: float, y0: float, x1: float, y1: float, z: float = 0.0) -> Mesh:
    mesh = shapes.rectangle((x0, y0, z), (x1 - x0, 0, 0), (0, y1 - y0, 0))
    mesh[:, 6:8] += (x0, y0)
    return mesh


def _recess(hole: Hole, depth_m: float, width_m: float) -> tuple[Mesh, Mesh]:
    """The reveal of a hole and the pane at its back."""
    left, low, right, high = hole
    sides = [
        shapes.rectangle((left, low, 0), (0, high - low, 0), (0, 0, depth_m)),
        shapes.rectangle((right, low, 0), (0, high - low, 0), (0, 0, depth_m)),
        shapes.rectangle((left, low, 0), (right - left, 0, 0), (0, 0, depth_m)),
        shapes.rectangle((left, high, 0), (right - left, 0, 0), (0, 0, depth_m)),
    ]
    pane = _panel(left, low, right, high, depth_m)
    pane[:, 6:8] = (pane[:, :2] - (left, low)) / (right - left, high - low)
    offset = (-width_m / 2, 0, 0)
    return shapes.shifted(shapes.tinted(shapes.joined(sides), 0.75), offset), shapes.shifted(pane, offset)


def house(b: Builder, width_m: float, fine: bool = True) -> Model:
    """A house whose front stands in z = 0 and faces -z, ``width_m`` wide.

    Args:
        fine: windows and doors are recessed; otherwise the front is painted (for far houses).
    """
    made = b.part()
    floors, storey = int(b.rng.choice((1, 2, 3, 4, 5, 7), p=(0.12, 0.27, 0.24, 0.18, 0.12, 0.07))), b.between(2.7, 3.8)
    height = floors * storey + b.between(0.2, 1.0)
    wall, scale = made.texture("wall", "plain", "plain", "brick", "bricks"), b.between(0.2, 0.7)
    if fine:
        _detailed_front(made, _Front(width_m, height, floors, storey, wall, scale))
    else:
        front = shapes.textured(opened_wall(width_m, height, []), 1 / storey)
        made.add(front, made.texture("windows", "windows", "wall"))
    sides = shapes.joined(
        shapes.rectangle((x, 0, 0), (0, 0, _BACK_M), (0, height, 0)) for x in (-width_m / 2, width_m / 2)
    )
    made.add(sides, wall, scale)
    _roof(made, width_m, height)
    return made.surfaces


def _detailed_front(b: Builder, front: _Front) -> None:
    openings = _openings(b, front)
    wall = opened_wall(front.width_m, front.height_m, openings.windows + openings.doors)
    b.add(shapes.darkened_below(wall, 1.2, strength=0.3), front.wall, front.per_metre)
    if openings.windows:
        _add_windows(b, front, openings)
    for hole in openings.doors:
        reveal, pane = _recess(hole, openings.depth_m, front.width_m)
        b.add(reveal, front.wall, front.per_metre)
        b.add(pane, b.texture("wood", "plain", "metal"))
    _add_bands(b, front)
    if openings.shop and b.chance(0.7):
        _add_shop_board(b, front.width_m)


def _openings(b: Builder, front: _Front) -> _Openings:
    """One in each column of each floor, but for a few; one on the ground floor is the door."""
    columns = max(1, int(front.width_m / b.between(2.2, 4.0)))
    pitch = front.width_m / columns
    wide, high, sill = min(b.between(0.8, 2.2), 0.8 * pitch), b.between(1.1, 2.0), b.between(0.6, 1.0)
    shop, depth_m = b.chance(0.3), b.between(0.06, 0.35)
    door = int(b.rng.integers(columns))
    windows, doors = [], []
    for floor in range(front.floors):
        for column in range(columns):
            middle = (column + 0.5) * pitch
            if floor == 0 and column == door:
                half = min(b.between(0.5, 1.3), 0.45 * pitch)
                doors.append(Hole(middle - half, 0.05, middle + half, b.between(2.0, 2.5)))
            elif floor == 0 and shop:
                windows.append(Hole(middle - 0.43 * pitch, 0.4, middle + 0.43 * pitch, 2.5))
            elif not b.chance(0.04):
                low = floor * front.storey_m + sill
                top = min(low + high, front.height_m - 0.2, (floor + 1) * front.storey_m - 0.1)
                windows.append(Hole(middle - wide / 2, low, middle + wide / 2, top))
    return _Openings(windows, doors, depth_m, shop)


def _add_windows(b: Builder, front: _Front, openings: _Openings) -> None:
    windows, depth_m, half_m = openings.windows, openings.depth_m, front.width_m / 2
    reveals, panes = zip(*(_recess(hole, depth_m, front.width_m) for hole in windows), strict=True)
    b.add(shapes.joined(reveals), front.wall, front.per_metre)
    dark = 1.0 if b.chance(0.4) else 0.45
    b.add(shapes.tinted(shapes.joined(panes), dark), b.texture("windows", "plain", "windows", "noise"))
    bars = [_bars(hole, depth_m - 0.03, front.width_m) for hole in windows]
    b.add(shapes.joined(bars), b.texture("plain"), 0.5)
    if b.chance(0.5):
        sills = [
            shapes.block((hole.left - 0.1 - half_m, hole.low - 0.08, -0.12), (hole.right + 0.1 - half_m, hole.low, 0.0))
            for hole in windows
        ]
        b.add(shapes.joined(sills), b.texture("plain", "wall"), 0.5)
    _balconies(b, windows, front.width_m, front.storey_m)


def _add_bands(b: Builder, front: _Front) -> None:
    """Ledges between some floors."""
    half_m = front.width_m / 2
    heights = [floor * front.storey_m - 0.1 for floor in range(1, front.floors + 1) if b.chance(0.4)]
    if heights:
        bands = [shapes.block((-half_m, y, -0.1), (half_m, y + 0.18, 0)) for y in heights]
        b.add(shapes.joined(bands), b.texture("plain", "wall"), 0.5)


def _add_shop_board(b: Builder, width_m: float) -> None:
    """A shop's name over its windows, and half the time an awning."""
    board = shapes.block((-width_m / 2 + 0.2, 2.6, -0.12), (width_m / 2 - 0.2, 3.2, 0))
    b.add(board, b.texture("print", "picture", "plain"), 0.4)
    if b.chance(0.5):
        awning = shapes.rectangle((-width_m / 2 + 0.3, 2.6, 0), (width_m - 0.6, 0, 0), (0, -0.45, -1.2))
        b.add(awning, b.texture("stripes", "plain", "cloth"), 0.6)


def _bars(hole: Hole, z: float, width_m: float) -> Mesh:
    """A window's cross and frame as flat strips just before the pane."""
    left, low, right, high = hole
    thick, x, y = 0.06, (left + right) / 2, low + 0.62 * (high - low)
    strips = (
        (left, low, left + thick, high),
        (right - thick, low, right, high),
        (x - thick / 2, low, x + thick / 2, high),
    )
    levels = ((left, low, right, low + thick), (left, high - thick, right, high), (left, y, right, y + thick))
    return shapes.shifted(shapes.joined(_panel(*strip, z) for strip in (*strips, *levels)), (-width_m / 2, 0, 0))


def _balconies(b: Builder, windows: list[Hole], width_m: float, storey: float) -> None:
    if not b.chance(0.25):
        return
    slabs = []
    for left, low, right, _ in windows:
        if low > storey and b.chance(0.5):
            x0, x1, y = left - 0.3 - width_m / 2, right + 0.3 - width_m / 2, low - 0.3
            slabs += [shapes.block((x0, y - 0.15, -1.0), (x1, y, 0)), shapes.block((x0, y, -1.0), (x1, y + 0.9, -0.94))]
    if slabs:
        b.add(shapes.joined(slabs), b.texture("plain", "wall", "metal"), 0.5)


def _roof(b: Builder, width_m: float, height: float) -> None:
    """Flat with a rim, or pitched along or across the street."""
    tiles, half = b.texture("roof", "bricks", "plain"), width_m / 2
    style = b.rng.uniform()
    if style < 0.35:
        top = shapes.rectangle((-half, height - 0.3, 0), (width_m, 0, 0), (0, 0, _BACK_M))
    elif style < 0.75:
        rise, over = b.between(1.5, 4), b.between(0.1, 0.6)
        slopes = [
            ((-half, height - 0.2, -over), (0, rise + 0.2, _BACK_M / 2 + over)),
            ((-half, height - 0.2, _BACK_M + over), (0, rise + 0.2, -_BACK_M / 2 - over)),
        ]
        top = shapes.joined(shapes.rectangle(origin, (width_m, 0, 0), up) for origin, up in slopes)
    else:
        rise = b.between(0.25, 0.6) * width_m
        corners = np.array(((-half, height, 0), (half, height, 0), (0, height + rise, 0)))
        gable = vertices(corners, np.tile((0.0, 0.0, -1.0), (3, 1)), corners[:, :2])
        b.add(gable, b.texture("plain", "wall", "wood"), 0.4)
        top = shapes.joined(
            shapes.rectangle(
                (side * (half + 0.3), height - 0.2, -0.3), (-side * (half + 0.3), rise, 0), (0, 0, _BACK_M + 0.3)
            )
            for side in (-1, 1)
        )
    b.add(top, tiles, b.between(0.3, 0.8))
    if b.chance(0.4):
        x = b.between(-0.35, 0.35) * width_m
        b.add(
            shapes.block((x - 0.4, height, 3.0), (x + 0.4, height + b.between(2, 5), 3.8)),
            b.texture("brick", "bricks"),
            0.5,
        )


def lamp_post(b: Builder, side: int) -> Model:
    """A street lamp whose arm reaches over a road on the left (``side`` 1) or right (-1), a bare pole, or a game's."""
    if b.chance(0.2):
        return b.game_model("lamp", b.between(3, 5), upright_size=True)
    height, radius = b.between(3.5, 9), b.between(0.04, 0.11)
    parts = [shapes.rod((0, 0, 0), (0, height, 0), radius, 10)]
    if b.chance(0.7):
        reach = -side * b.between(0.6, 2.5)
        parts.append(shapes.rod((0, height, 0), (0, height + 0.3, reach), 0.6 * radius, 8))
        parts.append(shapes.shifted(shapes.box((0.25, 0.12, 0.6)), (0, height + 0.22, reach)))
    else:
        parts.append(shapes.shifted(shapes.ball(0.22), (0, height, 0)))
    made = b.part()
    made.add(shapes.joined(parts), made.texture("plain", "metal"), 1.0)
    return made.surfaces


def sign(b: Builder) -> Model:
    """A traffic sign, board or pole with a box, facing +x."""
    made = b.part()
    height = b.between(1.6, 2.9)
    made.add(shapes.rod((0, 0, 0), (0, height, 0), 0.03, 8), made.texture("metal", "plain"), 1.0)
    wide, style = b.between(0.4, 0.9), b.rng.uniform()
    plate = (
        shapes.cylinder(wide / 2, 0.02, int(b.rng.choice((3, 4, 8, 24))))
        if style < 0.6
        else shapes.box((wide, 0.02, wide * b.between(0.5, 1.6)))
    )
    upright = np.array(((0, 1.0, 0, 0.04), (1.0, 0, 0, height - 0.1), (0, 0, -1.0, 0), (0, 0, 0, 1.0)))
    made.add(
        shapes.textured(shapes.moved(plate, upright), 1 / wide, (0.5, 0.5)),
        made.texture("picture", "print", "stripes", "plain"),
    )
    return made.surfaces
