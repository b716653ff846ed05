"""Textures for generated geometry: crops of all installed games' textures and generated patterns, tinted at random."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic import household, openarena, supertuxkart, torcs
from training.synthetic.errors import AssetsMissingError
from training.synthetic.images import decode_image
from training.synthetic.mesh import Texture

Image = NDArray[np.uint8]
SIZE_PX = 256
# Pictures that say nothing as a surface: normal maps, masks, glow, interface.
_NO_SURFACE = re.compile(
    r"normal|gloss|_nm\b|_nmm|_n\.|mask|glow|smoke|spark|particle|lens|flare|shadow|alpha|icon|skid|minimap|lightmap"
    r"|screenshot|spec\b|counter|rpm|speed\d|levelshot|env/|skies|sky|flame|explo|blast|gfx|cloud|light\d?\.|decal|fog",
    re.IGNORECASE,
)
KINDS = {
    "wood": r"wood|plank|parquet|crate|oldwood|board",
    "brick": r"brick",
    "wall": r"wall|plaster|stucco|stone|block|concrete|brick|paper",
    "floor": r"floor|tile|carpet|parquet|pav|checker|chess|marble|wood",
    "road": r"asphalt|road1|concrete|city_ground",
    "pavement": r"pav|concrete|stone|tile|brick|cobble",
    "grass": r"grass|field|moss",
    "earth": r"dirt|earth|sand|gravel|ground|mud",
    "metal": r"metal|iron|steel|rust",
    "cloth": r"fabric|cloth|carpet|leather|pattern|motif|paper",
    "windows": r"window|building",
    "leaves": r"grass|leaves|moss|fern|ivy",
    "picture": r"flag|poster|logo|sign|banner|ad\d|screen|portrait|paint",
    "roof": r"roof|tile|thatch|slate",
}


def wave_noise(
    rng: np.random.Generator, size_px: int = SIZE_PX, octaves: int = 6, stretch: float = 1.0
) -> NDArray[np.float32]:
    """(size, size) float32 in 0..1: random values at several scales, seamless; ``stretch`` draws them out along u."""
    out = np.zeros((size_px, size_px), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        across = max(1, int(cells / stretch))
        grid = rng.uniform(-1, 1, (cells, across)).astype(np.float32)
        grid = np.pad(grid, 2, mode="wrap")
        large = cv2.resize(
            grid, (size_px * (across + 4) // across, size_px * (cells + 4) // cells), interpolation=cv2.INTER_CUBIC
        )
        top, left = large.shape[0] * 2 // (cells + 4), large.shape[1] * 2 // (across + 4)
        out += large[top : top + size_px, left : left + size_px] * 0.6**octave
    return (out - out.min()) / max(float(np.ptp(out)), 1e-6)


def random_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """(3,) in 0..255: anything from nearly black and nearly white to saturated, mostly subdued."""
    hue, saturation = rng.uniform(0, 6), rng.beta(1.0, 3.2)
    value = rng.uniform(0.12, 1.0)
    ramp = np.clip(np.abs((hue + np.array((0.0, 4.0, 2.0))) % 6 - 3) - 1, 0, 1)
    return 255 * value * (1 - saturation + saturation * ramp)


def _mixed(share: NDArray[np.floating], low: NDArray[np.floating], high: NDArray[np.floating]) -> Image:
    return np.clip(low + (high - low) * share[..., None], 0, 255).astype(np.uint8)


def _plain(rng: np.random.Generator) -> Image:
    colour = random_colour(rng)
    return _mixed(wave_noise(rng), colour * rng.uniform(0.75, 1.0), colour)


def _noise(rng: np.random.Generator) -> Image:
    share = wave_noise(rng, octaves=int(rng.integers(3, 8))) ** rng.uniform(0.5, 2)
    return _mixed(share, random_colour(rng), random_colour(rng))


def _grain(rng: np.random.Generator) -> Image:
    brown = np.array((150, 100, 60)) * rng.uniform(0.5, 1.5) + rng.normal(0, 15, 3)
    share = wave_noise(rng, stretch=float(rng.choice((8.0, 16.0))))
    rings = 0.5 + 0.5 * np.sin(share * rng.uniform(10, 40))
    image = _mixed(0.6 * share + 0.4 * rings, brown * rng.uniform(0.55, 0.85), brown)
    boards = int(rng.choice((0, 0, 3, 5, 8)))
    for k in range(boards):
        image[k * SIZE_PX // boards : k * SIZE_PX // boards + 2] //= 2
    return image


def _stripes(rng: np.random.Generator) -> Image:
    wave = np.sin(2 * np.pi * int(rng.integers(1, 12)) * np.arange(SIZE_PX) / SIZE_PX)
    share = np.clip(wave * rng.uniform(1, 20) + 0.5, 0, 1)[None].repeat(SIZE_PX, 0)
    return _mixed(share if rng.uniform() < 0.5 else share.T, random_colour(rng), random_colour(rng))


def _checks(rng: np.random.Generator) -> Image:
    count = 2 * int(rng.integers(1, 7))
    cell = np.arange(SIZE_PX) * count // SIZE_PX
    share = ((cell[:, None] + cell) % 2).astype(np.float64)
    if rng.uniform() < 0.4:  # gingham
        share = 0.5 * ((cell % 2)[:, None] + cell % 2)
    return _mixed(np.clip(share + 0.12 * (wave_noise(rng) - 0.5), 0, 1), random_colour(rng), random_colour(rng))


def _bricks(rng: np.random.Generator) -> Image:
    rows, columns, joint = int(rng.choice((2, 4, 6, 8))), int(rng.integers(1, 6)), rng.uniform(0.02, 0.12)
    offset = 0.0 if rng.uniform() < 0.4 else 0.5  # tiles or bricks
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] / SIZE_PX
    row = np.floor(y * rows)
    along = x * columns + offset * (row % 2)
    ratio = rows / columns
    edge = np.minimum(np.minimum(y * rows % 1, 1 - y * rows % 1), np.minimum(along % 1, 1 - along % 1) * ratio)
    shade = rng.uniform(0.75, 1.05, (rows, columns))[row.astype(int) % rows, along.astype(int) % columns]
    image = _mixed(wave_noise(rng), *(random_colour(rng) * k for k in (0.8, 1.0))).astype(np.float64) * shade[..., None]
    image[edge < joint] = random_colour(rng)
    return np.clip(image, 0, 255).astype(np.uint8)


def _dots(rng: np.random.Generator) -> Image:
    image = np.full((SIZE_PX, SIZE_PX, 3), random_colour(rng), np.float64).astype(np.uint8)
    for _ in range(int(rng.integers(5, 120))):
        centre = tuple(int(v) for v in rng.integers(0, SIZE_PX, 2))
        cv2.circle(image, centre, int(rng.integers(2, 26)), random_colour(rng).tolist(), -1, cv2.LINE_AA)
    return image


def _print(rng: np.random.Generator) -> Image:
    """A label or a page: a ground, a picture block or two, lines of letters."""
    paper = 255 - rng.uniform(0, 60, 3) if rng.uniform() < 0.5 else random_colour(rng)
    image = np.full((SIZE_PX, SIZE_PX, 3), paper, np.float64).astype(np.uint8)
    ink = (random_colour(rng) * 0.4 if paper.mean() > 110 else 255 - random_colour(rng) * 0.3).tolist()
    for _ in range(int(rng.integers(0, 4))):
        corner, size = rng.integers(0, SIZE_PX * 3 // 4, 2), rng.integers(20, 140, 2)
        cv2.rectangle(image, corner.tolist(), (corner + size).tolist(), random_colour(rng).tolist(), -1)
    y, letters = 4, list("abcdefghiklmnoprstuvwxyzABDEGHKMNRSTW0123456789  ")
    while y < SIZE_PX:
        scale = float(rng.choice((0.3, 0.4, 0.5, 0.9, 1.6), p=(0.3, 0.3, 0.2, 0.12, 0.08)))
        y += int(30 * scale) + 4
        text = "".join(rng.choice(letters, int(rng.integers(3, 40))))
        font = int(rng.choice((cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)))
        cv2.putText(image, text, (int(rng.integers(2, 60)), y), font, scale, ink, 1 + int(scale > 0.8), cv2.LINE_AA)
    return image


PATTERNS: dict[str, Callable[[np.random.Generator], Image]] = {
    "plain": _plain,
    "noise": _noise,
    "grain": _grain,
    "stripes": _stripes,
    "checks": _checks,
    "bricks": _bricks,
    "dots": _dots,
    "print": _print,
}


class TexturePool:
    """All surface pictures of the installed games by name, and what is made of them."""

    def __init__(self) -> None:
        """Raises AssetsMissingError if none of the games is installed."""
        self._files: dict[str, Path] = {}
        self._packs = openarena.Packs(openarena.ROOT) if any(openarena.ROOT.glob("*.pk3")) else None
        folders = (
            (supertuxkart.ROOT / "textures", ""),
            (supertuxkart.ROOT / "library", "*/"),
            (supertuxkart.ROOT / "tracks", "*/"),
            (torcs.ROOT / "data/textures", ""),
            (torcs.ROOT / "tracks", "*/*/"),
        )
        for root, depth in folders:
            for ending in ("png", "jpg", "rgb"):
                for path in root.glob(f"{depth}*.{ending}"):
                    self._files[f"{path.parent.name}/{path.name}"] = path
        if (assets := household.assets_root()) is not None:
            self._files |= {f"household/{path.name}": path for path in household.surface_pictures(assets)}
        names = list(self._files)
        if self._packs is not None:
            names += [n for e in (".jpg", ".tga") for n in self._packs.names(e) if n.startswith("textures/")]
        self._names = sorted(name for name in names if not _NO_SURFACE.search(name))
        self._by_kind = {k: [n for n in self._names if re.search(p, n, re.IGNORECASE)] for k, p in KINDS.items()}
        if not self._names:
            raise AssetsMissingError(
                "no game's textures found: apt-get install supertuxkart-data torcs-data openarena-data"
            )

    def picture(self, rng: np.random.Generator, kind: str | None = None) -> Image:
        """(256, 256, 3) uint8: a game's picture as it is; of one of ``KINDS`` if that has any."""
        names = self._by_kind.get(kind or "") or self._names
        for _ in range(8):
            image = self._read(names[int(rng.integers(len(names)))])
            if image is not None:
                return image
        return _noise(rng)

    @lru_cache(maxsize=2500)  # noqa: B019 - one pool lives as long as its world
    def _read(self, name: str) -> Image | None:
        """None for pictures that are damaged, mostly transparent, too small or of one colour."""
        image = decode_image(self._files[name].read_bytes(), SIZE_PX) if name in self._files else self._packed(name)
        if image is None or min(image.shape[:2]) < 32 or (image[..., 3] < 128).mean() > 0.1:
            return None
        small = cv2.resize(image[..., :3], (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
        return None if small.std() < 4 or small.mean() < 12 else small

    def _packed(self, name: str) -> Image | None:
        return None if self._packs is None else self._packs.image(name, SIZE_PX)

    def texture(self, rng: np.random.Generator, kind: str | None = None, tame: bool = False) -> Texture:
        """A new texture.

        Args:
            kind: one of ``KINDS`` (a game's picture) or ``PATTERNS`` (generated); None takes any of all.
            tame: only slightly tinted, not cropped: what the kind really looks like.
        """
        if kind in PATTERNS:
            image = PATTERNS[kind](rng)
        elif kind is None and rng.uniform() < 0.45:
            image = list(PATTERNS.values())[int(rng.integers(len(PATTERNS)))](rng)
        else:
            image = self.picture(rng, kind)
        image = _varied(image, rng, tame)
        key = f"generated:{rng.integers(2**62)}"
        return Texture(key, lambda: np.dstack((image, np.full(image.shape[:2], 255, np.uint8))))


def _varied(image: Image, rng: np.random.Generator, tame: bool) -> Image:
    """Cropped, turned and tinted at random; a crop is mirrored so that it repeats without a seam."""
    if not tame and rng.uniform() < 0.4:
        size = int(SIZE_PX * rng.uniform(0.2, 0.8))
        top, left = (int(v) for v in rng.integers(0, SIZE_PX - size + 1, 2))
        crop = cv2.resize(image[top : top + size, left : left + size], (SIZE_PX // 2, SIZE_PX // 2))
        image = np.vstack((np.hstack((crop, crop[:, ::-1])), np.hstack((crop, crop[:, ::-1]))[::-1]))
    strength = 0.12 if tame else 0.35
    out = image.astype(np.float32)
    if not tame and rng.uniform() < 0.35:  # another colour altogether
        grey = out.mean(axis=2, keepdims=True)
        out = grey * (random_colour(rng) / 110 + 0.15).astype(np.float32)
    out = (out - out.mean()) * rng.uniform(1 - strength, 1 + strength) + out.mean()
    out = out * np.exp(rng.normal(0, strength, 3) * 0.5 + rng.normal(0, strength)).astype(np.float32)
    brightness = float(out.mean())
    out *= np.clip(brightness, 45, 215) / max(brightness, 1.0)
    return np.clip(out, 0, 255).astype(np.uint8)


def leaf_texture(rng: np.random.Generator) -> Texture:
    """A generated cut-out: a bunch of leaves, blades or a net, transparent between them."""
    image = np.zeros((SIZE_PX, SIZE_PX, 4), np.uint8)
    green = np.clip(np.array((60, 110, 40)) * rng.uniform(0.5, 1.6) + rng.normal(0, 18, 3), 5, 250)
    if rng.uniform() < 0.2:
        green = random_colour(rng)
    style = rng.uniform()
    foot = np.array((SIZE_PX / 2, SIZE_PX))
    for _ in range(int(rng.integers(20, 110))):
        colour = (*np.clip(green * rng.uniform(0.6, 1.35), 0, 255), 255.0)
        if style < 0.4:  # blades from the foot
            tip = np.array((rng.uniform(0, SIZE_PX), rng.uniform(0, 0.7 * SIZE_PX)))
            bend = np.array((foot[0] + 0.2 * (tip[0] - foot[0]), tip[1]))
            t = np.linspace(0, 1, 12)[:, None]
            curve = (1 - t) ** 2 * (foot + np.array((rng.normal(0, 12), 0))) + 2 * t * (1 - t) * bend + t**2 * tip
            cv2.polylines(image, [curve.astype(np.int32)], False, colour, int(rng.integers(2, 9)), cv2.LINE_AA)
        else:  # leaves in a crown, with a stem
            centre = rng.normal((SIZE_PX / 2, 0.45 * SIZE_PX), (0.2 * SIZE_PX, 0.19 * SIZE_PX))
            axes = (int(rng.integers(6, 30)), int(rng.integers(4, 14)))
            cv2.line(image, centre.astype(int).tolist(), foot.astype(int).tolist(), colour, 2)
            cv2.ellipse(image, centre.astype(int).tolist(), axes, rng.uniform(0, 360), 0, 360, colour, -1, cv2.LINE_AA)
    return Texture(f"generated:{rng.integers(2**62)}", lambda: image)


def net_texture(rng: np.random.Generator) -> Texture:
    """A generated cut-out: bars, a grid or a sheet with round holes, seamless."""
    colour = random_colour(rng)
    image = np.dstack((_mixed(wave_noise(rng), colour * 0.8, colour), np.full((SIZE_PX, SIZE_PX), 255, np.uint8)))
    count, width = int(rng.integers(3, 11)), rng.uniform(0.12, 0.4)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] * count / SIZE_PX % 1
    style = rng.uniform()
    if style < 0.35:
        hole = x > width
    elif style < 0.75:
        hole = (x > width) & (y > width)
    else:
        hole = np.hypot(x - 0.5, y - 0.5) < 0.5 - 0.4 * width
    image[hole, 3] = 0
    return Texture(f"generated:{rng.integers(2**62)}", lambda: image)
