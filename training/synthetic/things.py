"""Small things for tables, shelves and floors: generated ones and the games' models, each standing on y = 0."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from training.synthetic import shapes
from training.synthetic.builder import Builder, turned
from training.synthetic.materials import leaf_texture, net_texture
from training.synthetic.mesh import Model, Surface, bounds, placement, transformed
from training.synthetic.shapes import Mesh


def _surface(b: Builder, mesh: Mesh, *kinds: str, repeats: float = 0.0) -> Surface:
    """A mesh with a new texture, ``repeats`` times over its longest side (0: at random)."""
    size = float(np.ptp(mesh[:, :3], axis=0).max())
    repeats = repeats or float(np.exp(b.rng.uniform(np.log(0.4), np.log(4))))
    mesh = shapes.textured(mesh, repeats / max(size, 1e-3), b.rng.uniform(0, 1, 2), b.chance(0.5))
    return Surface(shapes.darkened_below(mesh, 0.35 * size, strength=0.4), b.texture(*kinds))


def _carton(b: Builder) -> Model:
    size = np.sort(b.rng.uniform(0.15, 1.0, 3))
    return [
        _surface(b, shapes.box(b.rng.permutation(size / size.max())), "print", "plain", "stripes", "wood", "picture")
    ]


def _books(b: Builder) -> Model:
    """A pile lying, or a row standing."""
    out: Model = []
    at, standing = 0.0, b.chance(0.5)
    for _ in range(int(b.rng.integers(1, 9))):
        thick, height, depth = b.between(0.03, 0.18), b.between(0.7, 1.0), b.between(0.5, 0.75)
        mesh = shapes.box((thick, height, depth)) if standing else shapes.box((height, thick, depth))
        offset = (at + thick / 2, 0.0, b.between(-0.05, 0.05)) if standing else (0.0, at, 0.0)
        yaw = 0.0 if standing else b.between(-0.3, 0.3)
        tilt = b.between(-0.01, 0.01)
        cover = _surface(b, mesh, "print", "plain", "cloth", "picture", repeats=b.between(0.5, 1.5))
        out += transformed([cover], turned(offset, yaw, tilt))
        at += thick * 1.02
    return out


def _turned(b: Builder) -> Model:
    """A vase, bottle, cup, bowl or lamp foot with a random smooth profile."""
    knots, height = int(b.rng.integers(3, 7)), b.between(0.25, 1.6)
    radius = np.interp(np.linspace(0, knots - 1, 22), np.arange(knots), b.rng.uniform(0.1, 0.5, knots))
    radius = np.convolve(np.pad(radius, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    level = np.linspace(0, height, 22)
    profile = [(0.0, 0.0), *zip(radius.tolist(), level.tolist(), strict=True)]
    if b.chance(0.6):  # hollow
        inner = [(max(r - 0.03, 0.01), y) for r, y in zip(radius[::-1], level[::-1], strict=True) if y > 0.08 * height]
        profile += [*inner, (0.0, 0.09 * height)]
    else:
        profile.append((0.0, height))
    return [_surface(b, shapes.lathe(profile, 22), "plain", "grain", "stripes", "noise", "dots", "metal")]


def _tin(b: Builder) -> Model:
    mesh = shapes.cylinder(b.between(0.15, 0.6), b.between(0.15, 1.2), int(b.rng.choice((6, 8, 24))))
    return [_surface(b, mesh, "print", "metal", "plain", "picture", "stripes")]


def _cone(b: Builder) -> Model:
    mesh = shapes.cone(b.between(0.2, 0.5), b.between(0.3, 1.2), b.between(0, 0.3), int(b.rng.choice((4, 24))))
    return [_surface(b, mesh, "plain", "stripes", "noise")]


def _ball(b: Builder) -> Model:
    return [
        _surface(b, shapes.ball(0.5, b.between(0.4, 1.2)), "plain", "checks", "dots", "stripes", "noise", "picture")
    ]


def _ring(b: Builder) -> Model:
    ring = _surface(b, shapes.torus(0.4, b.between(0.04, 0.18)), "plain", "stripes", "metal")
    return transformed([ring], turned((0, 0.5, 0), 0.0, np.pi / 2)) if b.chance(0.4) else [ring]


def _lump(b: Builder) -> Model:
    """Fruit, stone, cushion or bag: a ball pushed in and out by noise."""
    mesh = shapes.ball(0.5, b.between(0.5, 1.0), 26)
    waves, amount = b.rng.normal(0, 3.0, (4, 3)), b.between(0.02, 0.12)
    push = 1 + amount * np.sin(mesh[:, :3] @ waves.T + b.rng.uniform(0, 6, 4)).sum(axis=1)
    mesh[:, :3] *= push[:, None].astype(np.float32)
    mesh[:, 1] = np.maximum(mesh[:, 1], 0)
    return [_surface(b, mesh, "plain", "noise", "cloth", "stripes")]


def _plant(b: Builder) -> Model:
    pot_height, width = b.between(0.15, 0.4), b.between(0.15, 0.3)
    pot = _surface(b, shapes.cone(width * 0.7, pot_height, width), "plain", "brick", "noise")
    crown = b.between(0.6, 1.1)
    leaves = shapes.shifted(shapes.cards(crown, crown, int(b.rng.integers(2, 5))), (0, 0.8 * pot_height, 0))
    return [pot, Surface(leaves, leaf_texture(b.rng), cut_out=True)]


def _pencils(b: Builder) -> Model:
    """Rods in a cup, or a bare bundle of sticks."""
    out: Model = []
    height = b.between(0.3, 0.5)
    if b.chance(0.7):
        out.append(
            _surface(
                b,
                shapes.lathe(((0, 0), (0.22, 0), (0.22, height), (0.2, height), (0.2, 0.04), (0, 0.04)), 16),
                "plain",
                "print",
            )
        )
    for _ in range(int(b.rng.integers(3, 12))):
        tip = b.rng.normal(0, 0.25, 2)
        mesh = shapes.rod(
            (-0.2 * tip[0], 0.03, -0.2 * tip[1]), (tip[0], b.between(0.6, 1.1), tip[1]), b.between(0.01, 0.03), 6
        )
        out.append(_surface(b, mesh, "plain", "grain", "stripes"))
    return out


def _basket(b: Builder) -> Model:
    """A cylinder or box with holes one sees through."""
    wide, height = b.between(0.25, 0.5), b.between(0.2, 0.8)
    profile = np.array(((0.0, 0.0), (wide * b.between(0.7, 1), 0.0), (wide, height)))
    mesh = shapes.textured(shapes.lathe(profile, int(b.rng.choice((4, 20))), smooth=False), b.between(1.0, 3.0))
    return [Surface(mesh, net_texture(b.rng), cut_out=True)]


def _frame(b: Builder) -> Model:
    """A leaning picture, screen or board."""
    wide, high, thick = b.between(0.5, 1), b.between(0.5, 1), b.between(0.02, 0.06)
    face = shapes.rectangle((-wide / 2 + 0.05, 0.05, thick / 2 + 0.004), (wide - 0.1, 0, 0), (0, high - 0.1, 0))
    face[:, 6:8] /= (wide - 0.1, high - 0.1)
    parts: Model = [
        _surface(b, shapes.box((wide, high, thick)), "wood", "plain", "metal"),
        Surface(face, b.texture("picture", "print", "noise", "picture")),
    ]
    return transformed(parts, turned((0, 0, 0), 0.0, b.between(-0.35, 0.0)))


def _tower(b: Builder) -> Model:
    """Building blocks on top of each other."""
    out: Model = []
    level = 0.0
    for _ in range(int(b.rng.integers(2, 6))):
        size = b.rng.uniform(0.2, 0.5, 3)
        block = _surface(b, shapes.box(size), "plain", "grain", "print")
        out += transformed(
            [block], placement(np.array((*b.rng.normal(0, 0.04, 1), level, *b.rng.normal(0, 0.04, 1))), b.between(0, 6))
        )
        level += size[1]
    return out


def _lamp(b: Builder) -> Model:
    height, shade = b.between(0.7, 1.2), b.between(0.15, 0.4)
    foot = shapes.joined((shapes.cylinder(0.18, 0.04), shapes.rod((0, 0, 0), (0, height - 0.1, 0), 0.02)))
    cover = shapes.shifted(shapes.lathe(((shade, 0), (shade * b.between(0.4, 1), 0.35)), 20), (0, height - 0.35, 0))
    return [_surface(b, foot, "metal", "plain"), _surface(b, cover, "plain", "cloth", "stripes")]


def _wire(b: Builder) -> Model:
    """A bent thin rod: cable, twig, handle."""
    points = np.cumsum(b.rng.normal(0, 0.16, (9, 3)), axis=0)
    points[:, 1] = np.abs(points[:, 1])
    width = b.between(0.008, 0.035)
    mesh = shapes.joined(shapes.rod(start, end, width, 6) for start, end in pairwise(points))
    return [_surface(b, mesh, "plain", "grain", "stripes")]


def _game(kind: str) -> Callable[[Builder], Model]:
    return lambda b: b.game_model(kind, 1.0)


_MAKERS: tuple[tuple[Callable[[Builder], Model], float], ...] = (
    (_carton, 2.0), (_books, 1.5), (_turned, 3.0), (_tin, 1.5), (_cone, 0.6), (_ball, 1.0), (_ring, 0.6),
    (_lump, 1.5), (_plant, 1.2), (_pencils, 0.8), (_basket, 0.8), (_frame, 1.0), (_tower, 0.8), (_lamp, 0.7),
    (_wire, 0.5), (_game("thing"), 5.0), (_game("kart"), 1.0), (_game("furniture"), 1.0), (_game("lamp"), 0.6),
    (_game("household"), 8.0), (_game("person"), 0.8), (_game("plant"), 0.8), (_game("car"), 0.5),
    (_game("house"), 0.4), (_game("tree"), 0.3),
)  # fmt: skip
_TRIES = 4  # models of a kind may not be installed
_SHARES = np.array([share for _, share in _MAKERS]) / sum(share for _, share in _MAKERS)


def random_thing(b: Builder, size_m: float) -> Model:
    """Something standing over the origin whose longest side is ``size_m``; empty if nothing could be made."""
    parts: Model = []
    for _ in range(_TRIES):
        make = _MAKERS[int(b.rng.choice(len(_MAKERS), p=_SHARES))][0]
        if parts := [surface for surface in make(b) if len(surface.vertices)]:
            break
    else:
        return []
    low, high = bounds(parts)
    scale = size_m / max(float((high - low).max()), 1e-3)
    middle = np.array(((low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2))
    return transformed(parts, placement(-scale * middle, 0.0, scale))
