"""Procedural textures, seeded: wood, plaster, brick, asphalt and what is painted on them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]
SHADES = 24
"""Number of brightness steps a texture is kept in."""
SKY_ELEVATION_DEG = (60.0, -30.0)
"""Elevation of the first and the last row of a sky."""


class Texture:
    """An RGB picture with its smaller copies, each kept in every brightness that a face has asked for."""

    def __init__(self, picture: Picture) -> None:
        self._levels: list[Picture] = [np.ascontiguousarray(picture)]
        while max(self._levels[-1].shape[:2]) > 1:
            last = self._levels[-1]
            size = (max(1, last.shape[1] // 2), max(1, last.shape[0] // 2))
            self._levels.append(np.asarray(cv2.resize(last, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
        self._shaded: dict[tuple[int, int], Picture] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in texels of the full picture."""
        return self._levels[0].shape[1], self._levels[0].shape[0]

    def mean(self, brightness: float) -> Picture:
        """(3,) mean colour, darkened to ``brightness``."""
        return self.at(len(self._levels) - 1, brightness)[0, 0]

    def at(self, level: int, brightness: float) -> Picture:
        """The picture halved ``level`` times and darkened to ``brightness`` (0..1, rounded to 1 / SHADES)."""
        level = min(max(level, 0), len(self._levels) - 1)
        shade = round(min(max(brightness, 0.0), 1.0) * SHADES)
        key = (level, shade)
        if key not in self._shaded:
            self._shaded[key] = np.asarray(cv2.convertScaleAbs(self._levels[level], alpha=shade / SHADES), np.uint8)
        return self._shaded[key]


def noise(rng: np.random.Generator, width: int, height: int, cells: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """(height, width) float32 of mean 0 and deviation about 1: a layer per entry (columns, rows) of ``cells``."""
    total = np.zeros((height, width), np.float32)
    for columns, rows in cells:
        layer = rng.standard_normal((max(rows, 2), max(columns, 2))).astype(np.float32)
        total += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC)
    return total / np.float32(np.sqrt(max(len(cells), 1)))


def tint(color: Color, variation: NDArray[np.float32]) -> Picture:
    """A flat colour with ``variation`` (grey levels, H x W) added."""
    return np.clip(np.asarray(color, np.float32) + variation[..., None], 0, 255).astype(np.uint8)


def darken(picture: Picture, factor: NDArray[np.float32]) -> Picture:
    """``picture`` times ``factor`` (H x W, 0..1)."""
    return np.asarray(np.clip(picture * factor[..., None], 0, 255), dtype=np.uint8)


def edge_shade(width: int, height: int, margin: int, depth: float) -> NDArray[np.float32]:
    """(height, width) factor: 1 inside, falling to ``1 - depth`` at the border over about ``margin`` texels."""
    x = np.minimum(np.arange(width), np.arange(width)[::-1]).astype(np.float32)
    y = np.minimum(np.arange(height), np.arange(height)[::-1]).astype(np.float32)
    factor = (1 - depth * np.exp(-x / margin))[None, :] * (1 - depth * np.exp(-y / margin))[:, None]
    return np.asarray(factor, dtype=np.float32)


def planks(rng: np.random.Generator, width: int, height: int, plank: int, color: Color) -> Picture:
    """Floor boards along x, ``plank`` texels wide, with grain and joints."""
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, plank):
        rows = min(plank, height - top)
        x = 0
        while x < width:
            length = int(rng.integers(plank * 5, plank * 11))
            columns = min(length, width - x)
            shade = float(rng.uniform(-26, 22))
            grain = shade + 9 * noise(rng, columns, rows, [(columns // 24, rows // 2), (columns // 60, rows // 4)])
            picture[top : top + rows, x : x + columns] = tint(color, grain)
            picture[top : top + rows, x : x + 1] = picture[top : top + rows, x : x + 1] // 2
            x += columns
        picture[top : top + 1] = picture[top : top + 1] // 2
    return picture


def tiles(
    rng: np.random.Generator, width: int, height: int, tile: int, colors: Sequence[Color], joint: Color
) -> Picture:
    """Square tiles in alternating colours with joints."""
    picture = np.empty((height, width, 3), np.uint8)
    for row, top in enumerate(range(0, height, tile)):
        for column, left in enumerate(range(0, width, tile)):
            block = picture[top : top + tile, left : left + tile]
            variation = float(rng.uniform(-10, 10)) + 4 * noise(rng, block.shape[1], block.shape[0], [(8, 8)])
            block[:] = tint(colors[(row + column) % len(colors)], variation)
            block[:2], block[:, :2] = joint, joint
    return picture


def plaster(rng: np.random.Generator, width: int, height: int, color: Color, roughness: float = 4.0) -> Picture:
    """A painted wall: nearly flat, with stains and fine grain."""
    variation = roughness * noise(rng, width, height, [(width // 90 + 2, height // 90 + 2), (width // 4, height // 4)])
    return tint(color, variation)


def bricks(rng: np.random.Generator, width: int, height: int, brick: int, color: Color) -> Picture:
    """A brick wall in stretcher bond; bricks are ``brick`` texels high and 2.6 times as long."""
    picture = tint((176, 170, 160), 5 * noise(rng, width, height, [(width // 3, height // 3)]))
    length = int(brick * 2.6)
    for row, top in enumerate(range(0, height, brick)):
        for left in range(-(row % 2) * length // 2, width, length):
            block = picture[top + 1 : top + brick, max(left + 1, 0) : left + length]
            if block.size:
                grain = 6 * noise(rng, block.shape[1], block.shape[0], [(6, 4)])
                block[:] = tint(color, float(rng.normal(0, 13)) + grain)
    return picture


def speckle(rng: np.random.Generator, width: int, height: int, color: Color, strength: float) -> Picture:
    """Asphalt, concrete or cloth: grain of every size down to the texel."""
    cells = [(width // 40 + 2, height // 40 + 2), (width // 6 + 2, height // 6 + 2), (width, height)]
    return tint(color, strength * noise(rng, width, height, cells))


def foliage(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Leaves: light and dark green blots."""
    variation = 26 * noise(rng, width, height, [(width // 5, height // 5), (width // 11, height // 11)])
    return tint((64, 104, 46), variation)


def framed(
    picture: Picture, rectangle: tuple[int, int, int, int], fill: Color, frame: Color, thickness: int
) -> Picture:
    """Draw a framed rectangle (left, top, right, bottom) in place: a window, a door, a picture on the wall."""
    left, top, right, bottom = rectangle
    cv2.rectangle(picture, (left, top), (right, bottom), fill, cv2.FILLED)
    cv2.rectangle(picture, (left, top), (right, bottom), frame, thickness)
    return picture


def crate(rng: np.random.Generator, size: int, color: Color = (168, 124, 74)) -> Picture:
    """One side of a wooden crate: boards, a frame and a brace."""
    picture = planks(rng, size, size, size // 6, color)
    width = size // 8
    dark = tuple(int(0.72 * value) for value in color)
    cv2.line(picture, (0, size), (size, 0), dark, width)
    cv2.rectangle(picture, (0, 0), (size - 1, size - 1), dark, 2 * width)
    return darken(picture, edge_shade(size, size, max(size // 16, 1), 0.35))


def shelf(rng: np.random.Generator, width: int, height: int, rows: int) -> Picture:
    """A bookshelf seen from the front: boards and coloured spines."""
    picture = plaster(rng, width, height, (58, 42, 30))
    step = height // rows
    for row in range(rows):
        left = 6
        while left < width - 10:
            thick = int(rng.integers(6, 15))
            top = row * step + int(rng.integers(step // 8, step // 3)) + 4
            color = tuple(int(value) for value in rng.integers(40, 215, 3))
            cv2.rectangle(picture, (left, top), (left + thick - 2, (row + 1) * step - 6), color, cv2.FILLED)
            left += thick
        cv2.rectangle(picture, (0, (row + 1) * step - 5), (width, (row + 1) * step), (122, 86, 54), cv2.FILLED)
    cv2.rectangle(picture, (0, 0), (width - 1, height - 1), (122, 86, 54), 8)
    return picture


def facade(rng: np.random.Generator, width: int, height: int, color: Color, px_per_m: float) -> Picture:
    """A house front: brick, three rows of windows, shop windows and a door at the bottom."""
    picture = bricks(rng, width, height, max(int(0.085 * px_per_m), 3), color)
    storey = int(2.8 * px_per_m)
    bay = int(2.4 * px_per_m)
    for index, left in enumerate(range(bay // 4, width - bay // 2, bay)):
        for bottom in range(height - storey, storey // 2, -storey):
            glass: Color = (58, 74, 92) if rng.random() < 0.75 else (206, 188, 128)
            window = (left, bottom - int(1.7 * px_per_m), left + bay // 2, bottom - int(0.4 * px_per_m))
            framed(picture, window, glass, (226, 222, 212), max(int(0.09 * px_per_m), 2))
            middle = left + bay // 4
            cv2.line(picture, (middle, window[1]), (middle, window[3]), (226, 222, 212), 2)
        high = height - int((2.1 if index % 2 else 1.9) * px_per_m)
        low = height if index % 2 else height - int(0.6 * px_per_m)
        fill: Color = (86, 52, 40) if index % 2 else (74, 92, 104)
        framed(picture, (left, high, left + int(0.42 * bay), low), fill, (60, 56, 54), max(int(0.08 * px_per_m), 2))
    return picture


def sky(rng: np.random.Generator, width: int = 1440, height: int = 360) -> Picture:
    """A panorama: columns are 360 degrees of azimuth, rows go through SKY_ELEVATION_DEG."""
    elevation = np.linspace(*SKY_ELEVATION_DEG, height, dtype=np.float32)[:, None, None]
    zenith, horizon = np.array((84, 132, 196), np.float32), np.array((206, 216, 224), np.float32)
    weight = np.clip(elevation / 55, 0, 1) ** 0.6
    picture = np.broadcast_to(horizon + weight * (zenith - horizon), (height, width, 3)).copy()
    wide = noise(rng, width + 240, height, [(14, 8), (40, 20), (90, 46)])
    fade = np.linspace(0, 1, 240, dtype=np.float32)
    clouds = wide[:, :width].copy()
    clouds[:, :240] = wide[:, :240] * fade + wide[:, width:] * (1 - fade)  # closes the circle without a seam
    cover = np.clip(clouds - 0.25, 0, 1)[..., None] * np.clip(elevation / 12, 0, 1)
    picture += cover * (np.array((250, 250, 252), np.float32) - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)
