"""Generated vehicles of everyday shapes; they stand on y = 0 and drive along +x, lengths in metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.synthetic import shapes
from training.synthetic.builder import Builder
from training.synthetic.mesh import Model, vertices
from training.synthetic.shapes import Mesh

# Outlines seen from the right, front at x = 1: lower body, then the cabin on top of it; shares of length and height.
_BODIES: dict[str, tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]] = {
    "saloon": (((0, 0.2), (0, 0.58), (1, 0.55), (1, 0.2)), ((0.08, 0.58), (0.24, 1), (0.58, 1), (0.76, 0.55))),
    "hatchback": (((0, 0.2), (0, 0.56), (0.97, 0.53), (1, 0.2)), ((0.0, 0.56), (0.1, 1), (0.6, 1), (0.78, 0.54))),
    "van": (((0, 0.15), (0, 0.5), (1, 0.45), (1, 0.15)), ((0.0, 0.5), (0.02, 1), (0.76, 1), (0.94, 0.46))),
    "jeep": (((0, 0.25), (0, 0.58), (1, 0.58), (1, 0.25)), ((0.0, 0.58), (0.03, 1), (0.6, 1), (0.7, 0.58))),
}
_SIZES = {"saloon": (4.6, 1.45), "hatchback": (3.9, 1.5), "van": (5.2, 2.1), "jeep": (4.4, 1.8)}


def extruded(outline: NDArray[np.float64], width_m: float, top_m: float | None = None) -> Mesh:
    """A convex outline (K, 2) of (x, y) drawn out along z to ``width_m``; its upper half narrows to ``top_m``."""
    share = (outline[:, 1] - outline[:, 1].min()) / max(float(np.ptp(outline[:, 1])), 1e-6)
    half = (width_m + share * ((top_m or width_m) - width_m)) / 2
    right = np.stack((outline[:, 0], outline[:, 1], half), axis=1)
    left = right * (1, 1, -1)
    around = np.concatenate((np.stack((left, right)), np.stack((left[:1], right[:1]))), axis=1)
    caps = []
    for side in (left, right):
        middle = side.mean(axis=0)
        following = np.roll(side, -1, axis=0)
        points = np.stack((np.broadcast_to(middle, side.shape), side, following), axis=1).reshape(-1, 3)
        normal = np.tile((0.0, 0.0, np.sign(middle[2])), (len(points), 1))
        caps.append(vertices(points, normal, points[:, :2]))
    return shapes.joined((shapes.sheet(around, smooth=False), *caps))


def vehicle(b: Builder) -> Model:
    """A car, van, lorry or bus with dark windows, lights and wheels."""
    if b.chance(0.2):
        return _lorry(b)
    kind = list(_BODIES)[int(b.rng.integers(len(_BODIES)))]
    length, height = _SIZES[kind][0] * b.between(0.9, 1.1), _SIZES[kind][1] * b.between(0.94, 1.08)
    width, made = b.between(1.6, 1.9), b.part()
    size = np.array((length, height))
    lower, cabin = (np.array(part) * size - (length / 2, 0) for part in _BODIES[kind])
    paint = made.texture() if not b.plausible else b.textures.texture(b.rng, "plain", tame=True)
    made.add(extruded(lower, width), paint, 0.5)
    made.add(extruded(cabin, width * 0.97, width * 0.8), paint, 0.5)
    # The windows: the cabin shrunk along and drawn out a little further.
    middle = cabin.mean(axis=0)
    glass = middle + (cabin - middle) * (0.86, 0.72)
    made.add(shapes.tinted(extruded(glass, width * 0.99, width * 0.87), 0.3), made.texture("plain"), 0.5)
    panes = middle + (cabin - middle) * (1.02, 0.74)
    made.add(shapes.tinted(extruded(panes, width * 0.8, width * 0.72), 0.3), made.texture("plain"), 0.5)
    _wheels(made, (-0.31 * length, 0.33 * length), width, 0.22 * height if kind != "van" else 0.33)
    y = 0.42 * height
    for x, colour in ((length / 2 - 0.02, (1.2, 1.2, 1.1)), (-length / 2 - 0.01, (1.2, 0.15, 0.1))):
        lights = [
            shapes.block((x - 0.02, y, z - 0.16), (x + 0.03, y + 0.14, z + 0.16)) for z in (-0.33 * width, 0.33 * width)
        ]
        made.add(shapes.tinted(shapes.joined(lights), colour), b.textures.texture(b.rng, "plain", tame=True), 1.0)
    return made.surfaces


def _wheels(b: Builder, places: tuple[float, ...], width: float, radius: float) -> None:
    on_side = np.array(((1.0, 0, 0, 0), (0, 0, 1.0, 0), (0, -1.0, 0, 0), (0, 0, 0, 1.0)))
    tyres, hubs = [], []
    for x in places:
        for side in (-1, 1):
            tyre = shapes.moved(shapes.shifted(shapes.cylinder(radius, 0.2, 18), (0, -0.1, 0)), on_side)
            hub = shapes.moved(shapes.shifted(shapes.cylinder(0.6 * radius, 0.22, 14), (0, -0.11, 0)), on_side)
            place = (x, radius, side * (width / 2 - 0.07))
            tyres.append(shapes.shifted(tyre, place))
            hubs.append(shapes.shifted(hub, place))
    b.add(shapes.tinted(shapes.joined(tyres), 0.25), b.texture("plain"), 1.0)
    b.add(shapes.joined(hubs), b.texture("metal", "plain"), 2.0)


def _lorry(b: Builder) -> Model:
    """A lorry or bus: a box, with a cab before it or windows along it."""
    made, bus = b.part(), b.chance(0.4)
    length, width, height = b.between(5.5, 10), b.between(2.0, 2.5), b.between(2.4, 3.4)
    front = length / 2 if bus else length / 2 - 1.9
    body = shapes.block((-length / 2, 0.5, -width / 2), (front, height, width / 2))
    made.add(body, made.texture("plain", "print", "plain", "stripes", "metal"), b.between(0.15, 0.4))
    dark = made.texture("plain")
    if bus:
        step = 1.3
        panes = [
            shapes.block((x, 1.3, -width / 2 - 0.01), (x + step - 0.15, height - 0.5, width / 2 + 0.01))
            for x in (float(v) for v in np.arange(-length / 2 + 0.3, front - step, step))
        ]
        panes += [
            shapes.block((x - 0.01, 1.2, -width / 2 + 0.15), (x + 0.01, height - 0.4, width / 2 - 0.15))
            for x in (front, -length / 2)
        ]
    else:
        cab = shapes.block((front + 0.1, 0.45, -width / 2 + 0.05), (length / 2, 2.3, width / 2 - 0.05))
        made.add(cab, made.texture("plain", "metal"), 0.5)
        panes = [
            shapes.block((length / 2 - 0.01, 1.35, -width / 2 + 0.15), (length / 2 + 0.01, 2.15, width / 2 - 0.15)),
            shapes.block((front + 0.7, 1.35, -width / 2 + 0.04), (length / 2 - 0.2, 2.1, width / 2 - 0.04)),
        ]
    made.add(shapes.tinted(shapes.joined(panes), 0.3), dark, 0.5)
    _wheels(made, (-0.34 * length, 0.36 * length), width, 0.45)
    return made.surfaces


def bicycle(b: Builder) -> Model:
    """Two rings and a frame of rods; leaning a little against nothing."""
    made = b.part()
    upright = np.array(((1.0, 0, 0, 0), (0, 0, 1.0, 0.34), (0, -1.0, 0, 0), (0, 0, 0, 1.0)))
    tyre = shapes.shifted(shapes.torus(0.32, 0.02, 18), (0, -0.02, 0))
    rings = [shapes.shifted(shapes.moved(tyre, upright), (x, 0, 0)) for x in (-0.52, 0.52)]
    made.add(shapes.tinted(shapes.joined(rings), 0.25), made.texture("plain"), 1.0)
    rear, front, crank, seat, head = (-0.52, 0.34), (0.52, 0.34), (-0.08, 0.3), (-0.22, 0.82), (0.38, 0.82)
    bars = ((rear, crank), (crank, seat), (seat, head), (crank, head), (head, front), (rear, seat))
    rods = [shapes.rod((*a, 0), (*c, 0), 0.016, 6) for a, c in bars]
    rods += [
        shapes.rod((0.36, 0.98, -0.28), (0.36, 0.98, 0.28), 0.014, 6),
        shapes.rod((0.36, 0.98, 0), (*head, 0), 0.016, 6),
    ]
    rods.append(shapes.block((-0.34, 0.86, -0.07), (-0.1, 0.92, 0.07)))
    made.add(shapes.joined(rods), made.texture("plain", "metal"), 1.0)
    return made.surfaces
