"""People: legs, a coat and a head."""

from __future__ import annotations

import numpy as np

from depthnet_ros.simulation import textures as tx
from depthnet_ros.simulation.solids import Solid, box, join, prism
from depthnet_ros.simulation.textures import Color, Texture


def person(rng: np.random.Generator, coat: Color) -> Solid:
    """Someone 1.75 m tall at the origin, in a coat of this colour."""
    trousers = Texture(tx.speckle(rng, 48, 64, (44, 50, 66), 7))
    cloth = Texture(tx.speckle(rng, 48, 64, coat, 10))
    skin = tx.speckle(rng, 24, 24, (188, 142, 116), 5)
    skin[:9] = tx.speckle(rng, 24, 9, (60, 44, 34), 8)
    return join([
        box((0, 0.12), (0.17, 0.15, 0.8), trousers, trousers, ends=""),
        box((0, -0.12), (0.17, 0.15, 0.8), trousers, trousers, ends=""),
        prism((0, 0), 0.24, 0.75, 1.45, cloth, "top"),
        prism((0, 0), 0.11, 1.45, 1.75, Texture(skin), "bottom"),
    ])  # fmt: skip
