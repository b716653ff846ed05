"""Generated furniture; everything stands on y = 0 with its back to z = 0 and its front facing -z, lengths in metres."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from training.synthetic import shapes
from training.synthetic.builder import Builder, turned
from training.synthetic.mesh import Model, transformed
from training.synthetic.things import random_thing

_WOODS = ("wood", "grain", "plain", "plain")


def _clutter(
    b: Builder, low: tuple[float, float], high: tuple[float, float], y: float, headroom_m: float, most: int
) -> None:
    """A few things on a level place, x in ``low[0]..high[0]``, z in ``low[1]..high[1]``."""
    for _ in range(int(b.rng.integers(0, most + 1))):
        size = min(b.between(0.06, 0.4), headroom_m, 0.9 * max(high[1] - low[1], 0.1))
        place = (
            b.between(low[0] + size / 3, max(high[0] - size / 3, low[0] + size / 3)),
            y,
            b.between(*sorted((low[1] + size / 3, high[1] - size / 3))),
        )
        b.add_all(random_thing(b, size), turned(place, b.between(0, 6.28)))


def table(b: Builder, width_m: float = 0.0) -> Model:
    """A dining table, desk or low table with things on it."""
    made, low = b.part(), b.chance(0.25)
    width, depth = width_m or b.between(0.6, 2.0), b.between(0.5, 1.0)
    height, thick = b.between(0.35, 0.5) if low else b.between(0.68, 0.8), b.between(0.02, 0.06)
    wood = made.texture(*_WOODS)
    parts = [shapes.block((-width / 2, height - thick, -depth), (width / 2, height, 0))]
    leg = b.between(0.015, 0.05)
    if b.chance(0.2):  # one foot
        parts += [
            shapes.shifted(shapes.rod((0, 0, 0), (0, height, 0), 0.05), (0, 0, -depth / 2)),
            shapes.shifted(shapes.cylinder(0.3, 0.03), (0, 0, -depth / 2)),
        ]
    else:
        parts += [
            shapes.block((x - leg, 0, z - leg), (x + leg, height, z + leg))
            for x in (-width / 2 + 0.06, width / 2 - 0.06)
            for z in (-depth + 0.06, -0.06)
        ]
    if b.chance(0.2):  # drawers
        parts.append(shapes.block((width / 2 - 0.45, 0.05, -depth + 0.05), (width / 2 - 0.05, height, -0.05)))
    made.add(shapes.joined(parts), wood, b.between(0.5, 2))
    if b.chance(0.2):
        cloth = shapes.block(
            (-width / 2 - 0.02, height - b.between(0.05, 0.3), -depth - 0.02), (width / 2 + 0.02, height + 0.004, 0.02)
        )
        made.add(cloth, made.texture("cloth", "checks", "plain", "stripes"), b.between(1, 4))
    _clutter(made, (-width / 2, -depth), (width / 2, 0.0), height + 0.005, 0.6, 9)
    return made.surfaces


def chair(b: Builder) -> Model:
    """A chair, stool or one of the games'."""
    if b.chance(0.15):
        return transformed(b.game_model("furniture", b.between(0.8, 1.1)), turned((0, 0, -0.3), 0.0))
    made = b.part()
    width, seat, back = b.between(0.36, 0.5), b.between(0.4, 0.5), b.between(0.75, 1.1)
    leg = b.between(0.01, 0.025)
    posts = [
        shapes.block((x - leg, 0, z - leg), (x + leg, back if z > -0.2 else seat, z + leg))
        for x in (-width / 2 + 0.03, width / 2 - 0.03)
        for z in (-width + 0.03, -0.03)
    ]
    rails = [
        shapes.block((-width / 2, y, -0.04), (width / 2, y + b.between(0.04, 0.12), -0.02))
        for y in np.linspace(seat + 0.15, back - 0.1, int(b.rng.integers(1, 4)))
    ]
    if b.chance(0.4):
        rails = [shapes.block((-width / 2, seat + 0.1, -0.05), (width / 2, back, -0.02))]
    made.add(shapes.joined((*posts, *rails)), made.texture("wood", "grain", "metal", "plain"), 1.5)
    made.add(
        shapes.block((-width / 2, seat - 0.03, -width), (width / 2, seat + b.between(0.0, 0.05), 0)),
        made.texture("cloth", "wood", "plain"),
        2.0,
    )
    return made.surfaces


def shelf(b: Builder) -> Model:
    """A book case with things in it."""
    made = b.part()
    width, height, depth = b.between(0.5, 1.8), b.between(0.7, 2.2), b.between(0.22, 0.42)
    count, thick = max(2, int(height / b.between(0.28, 0.45))), b.between(0.015, 0.03)
    levels = np.linspace(b.between(0.02, 0.12), height - thick, count + 1)
    parts = [shapes.block((-width / 2, y, -depth), (width / 2, y + thick, 0)) for y in levels]
    parts += [shapes.block((x - thick / 2, 0, -depth), (x + thick / 2, height, 0)) for x in (-width / 2, width / 2)]
    if b.chance(0.75):
        parts.append(shapes.block((-width / 2, 0, -0.01), (width / 2, height, 0)))
    made.add(shapes.joined(parts), made.texture(*_WOODS), b.between(0.5, 1.5))
    for low, high in pairwise(levels.tolist()):
        if b.chance(0.5):
            _row_of_books(made, width, depth, low + thick, high - low - thick)
        else:
            _clutter(made, (-width / 2, -depth), (width / 2, 0.0), low + thick, 0.9 * (high - low - thick), 5)
    return made.surfaces


def _row_of_books(b: Builder, width: float, depth: float, y: float, headroom: float) -> None:
    covers = [b.texture("print", "plain", "stripes", "cloth") for _ in range(5)]
    x = -width / 2 + 0.02
    end = b.between(-0.2, 0.5) * width
    rows: list[list[shapes.Mesh]] = [[] for _ in covers]
    while x < end:
        thick, height = b.between(0.012, 0.06), b.between(0.6, 0.95) * min(headroom, 0.34)
        book = shapes.block((x, y, -depth * b.between(0.6, 0.9)), (x + thick, y + height, -0.02))
        rows[int(b.rng.integers(5))].append(shapes.tinted(book, b.rng.uniform(0.5, 1.1, 3)))
        x += thick + 0.002
    for row, cover in zip(rows, covers, strict=True):
        if row:
            b.add(shapes.joined(row), cover, b.between(2, 6))


def cupboard(b: Builder) -> Model:
    """A wardrobe, chest of drawers, kitchen unit or fridge with fronts and handles."""
    if b.chance(0.15) and (modelled := b.game_model("household_furniture", b.between(0.6, 1.7))):
        return transformed(modelled, turned((0, 0, -0.4), np.pi))
    made = b.part()
    width, depth = b.between(0.5, 2.0), b.between(0.35, 0.65)
    height = b.between(0.5, 1.0) if b.chance(0.5) else b.between(1.6, 2.2)
    body = made.texture(*_WOODS)
    made.add(shapes.block((-width / 2, 0, -depth), (width / 2, height, 0)), body, b.between(0.4, 1.2))
    columns, rows = (
        max(1, int(width / b.between(0.4, 0.8))),
        int(b.rng.integers(1, 5)) if height < 1.1 else int(b.rng.integers(1, 3)),
    )
    fronts, handles = [], []
    for i in range(columns):
        for j in range(rows):
            x0, x1 = -width / 2 + i * width / columns, -width / 2 + (i + 1) * width / columns
            y0, y1 = 0.05 + j * (height - 0.07) / rows, 0.05 + (j + 1) * (height - 0.07) / rows
            fronts.append(shapes.block((x0 + 0.008, y0 + 0.008, -depth - 0.02), (x1 - 0.008, y1 - 0.008, -depth)))
            x, y = (x1 - 0.06, (y0 + y1) / 2) if rows < 3 else ((x0 + x1) / 2, (y0 + y1) / 2)
            handles.append(shapes.block((x - 0.012, y - 0.05, -depth - 0.05), (x + 0.012, y + 0.05, -depth - 0.02)))
    made.add(shapes.joined(fronts), body if b.chance(0.6) else made.texture(*_WOODS), b.between(0.4, 1.2))
    made.add(shapes.joined(handles), made.texture("metal", "plain"), 2.0)
    if height < 1.1:
        _clutter(made, (-width / 2, -depth), (width / 2, 0.0), height + 0.002, 0.6, 6)
    return made.surfaces


def bed(b: Builder) -> Model:
    """With head board, blanket and pillows; the head at z = 0."""
    made = b.part()
    width, length, height = b.between(0.8, 1.8), b.between(1.9, 2.1), b.between(0.35, 0.6)
    frame = [
        shapes.block((-width / 2, 0.08, -length), (width / 2, height - 0.15, 0)),
        shapes.block((-width / 2, 0, -0.06), (width / 2, height + b.between(0.1, 0.6), 0)),
    ]
    made.add(shapes.joined(frame), made.texture(*_WOODS), 0.8)
    x, z = np.meshgrid(np.linspace(-width / 2 - 0.03, width / 2 + 0.03, 24), np.linspace(-length - 0.02, -0.08, 34))
    edge = np.minimum(width / 2 + 0.03 - np.abs(x), z + length + 0.02)
    waves = b.between(0.005, 0.03) * (
        np.sin(9 * x + 3 * np.sin(4 * z)) + np.sin(7 * z + b.between(0, 6) + 2 * np.cos(5 * x))
    )
    y = np.where(edge < 0.03, 0.15, height + waves)
    made.add(
        shapes.sheet(np.stack((x, y, z), axis=2)),
        made.texture("cloth", "plain", "stripes", "checks", "dots"),
        b.between(0.5, 3),
    )
    for k in range(1 if width < 1.2 else 2):
        pillow = shapes.ball(0.33, 0.32)
        pillow[:, 2] *= 0.62
        made.add(
            shapes.shifted(pillow, (-width / 4 + k * width / 2 if width >= 1.2 else 0, height, -0.3)),
            made.texture("plain", "cloth", "stripes"),
            2.0,
        )
    return made.surfaces


def sofa(b: Builder) -> Model:
    """A sofa or armchair with cushions."""
    if b.chance(0.15):
        return transformed(b.models.pick(b.rng, "furniture") or [], turned((0, 0, -0.5), np.pi))
    made = b.part()
    width, depth, seat, back, arm = (
        b.between(0.8, 2.4),
        b.between(0.75, 1.0),
        b.between(0.35, 0.46),
        b.between(0.7, 0.95),
        b.between(0.1, 0.22),
    )
    cloth = made.texture("cloth", "plain", "plain", "noise", "stripes")
    parts = [
        shapes.block((-width / 2, 0.06, -depth), (width / 2, seat - 0.1, 0)),
        shapes.block((-width / 2, 0.06, -0.22), (width / 2, back, 0)),
        *(shapes.block((x, 0.06, -depth), (x + arm, seat + 0.18, 0)) for x in (-width / 2, width / 2 - arm)),
    ]
    count = max(1, round((width - 2 * arm) / 0.65))
    step = (width - 2 * arm) / count
    for k in range(count):
        x = -width / 2 + arm + k * step
        parts.append(shapes.block((x + 0.01, seat - 0.1, -depth - 0.02), (x + step - 0.01, seat + 0.03, -0.2)))
        parts.append(
            shapes.shifted(
                shapes.moved(shapes.box((step - 0.03, back - seat, 0.14)), turned((0, 0, 0), 0.0, 0.18)),
                (x + step / 2, seat + 0.03, -0.32),
            )
        )
    made.add(shapes.darkened_below(shapes.joined(parts), 0.4), cloth, b.between(0.7, 2.5))
    for _ in range(int(b.rng.integers(0, 4))):
        cushion = shapes.ball(0.2, 1.0)
        cushion[:, 2] *= 0.4
        place = turned((b.between(-0.4, 0.4) * width, seat + 0.03, -0.4), b.between(-0.5, 0.5), 0.3)
        made.add(shapes.moved(cushion, place), made.texture("cloth", "plain", "checks", "stripes", "dots"), 3.0)
    return made.surfaces


def floor_lamp(b: Builder) -> Model:
    """A standing lamp, plant, or one of the games' things as tall as that."""
    if b.chance(0.5):
        return transformed(random_thing(b, b.between(0.4, 1.6)), turned((0, 0, -0.3), b.between(0, 6.28)))
    made, height, shade = b.part(), b.between(1.3, 1.8), b.between(0.15, 0.3)
    made.add(
        shapes.joined((shapes.cylinder(0.15, 0.03), shapes.rod((0, 0, 0), (0, height, 0), 0.012))),
        made.texture("metal", "plain"),
        1.0,
    )
    cover = shapes.lathe(((shade, 0), (shade * b.between(0.4, 1), 0.3)), 20)
    made.add(shapes.shifted(cover, (0, height - 0.25, 0)), made.texture("plain", "cloth"), 2.0)
    return transformed(made.surfaces, turned((0, 0, -0.3), 0.0))
