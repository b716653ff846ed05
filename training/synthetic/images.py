"""Texture files to RGBA arrays, and mip levels that keep leaves on distant trees."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.mesh import Texture

LARGEST_PX = 1024


def decode_image(data: bytes, largest_px: int = LARGEST_PX) -> NDArray[np.uint8] | None:
    """(H, W, 4) uint8 RGBA of any format Pillow reads (SGI ``.rgb`` and ``.tga`` among them); None if it is damaged.

    No side of it is longer than ``largest_px``; larger pictures are shrunk.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        opened = Image.open(io.BytesIO(data))
        opened.draft("RGB", (largest_px, largest_px))  # JPEGs alone can be read at a smaller size
        image = opened.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    image.thumbnail((largest_px, largest_px), reducing_gap=2.0)
    return np.asarray(image)


def file_texture(name: str, folders: tuple[Path, ...], mask: str | None = None) -> Texture:
    """A texture looked for in ``folders`` in order; ``mask`` names a second image whose grey level is the alpha."""
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        return Texture(f"missing:{name}", lambda: None)
    found = path

    def load() -> NDArray[np.uint8] | None:
        image = decode_image(found.read_bytes())
        mask_path = found.with_name(mask) if mask else None
        if image is None or mask_path is None or not mask_path.is_file():
            return image
        alpha = decode_image(mask_path.read_bytes())
        if alpha is None:
            return image
        grey = cv2.resize(alpha[..., :3].mean(axis=2).astype(np.uint8), image.shape[1::-1])
        return np.dstack((image[..., :3], grey))

    return Texture(str(found), load)


def is_cut_out(image: NDArray[np.uint8] | None) -> bool:
    """Whether the alpha channel is a shape: a fair share of it (2 % or more) is fully transparent."""
    return image is not None and bool((image[..., 3] < 16).mean() >= 0.02)


def mip_levels(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A cut-out, (H, W, 4), and its halves down to one pixel.

    Plain averaging thins a cut-out until distant trees vanish, and lets the hidden colour of holes bleed in. So colours
    are averaged weighted by alpha, and each level's alpha is scaled until as much of it passes the one-half test as in
    the full image (Castano, "Computing alpha mipmaps", 2010).
    """
    alpha = image[..., 3:].astype(np.float32) / 255
    weighted = np.concatenate((image[..., :3].astype(np.float32) * alpha, alpha), axis=2)
    coverage = float((alpha >= 0.5).mean())
    levels = [image]
    while max(weighted.shape[:2]) > 1:
        size = (max(1, weighted.shape[1] // 2), max(1, weighted.shape[0] // 2))
        weighted = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
        level_alpha = weighted[..., 3]
        colour = weighted[..., :3] / np.maximum(level_alpha, 1e-3)[..., None]
        if 0 < coverage < 1:
            pivot = float(np.quantile(level_alpha, 1 - coverage))
            level_alpha = level_alpha * (0.5 / max(pivot, 1e-2))
        rgba = np.dstack((colour, 255 * level_alpha))
        levels.append(np.clip(rgba, 0, 255).astype(np.uint8))
    return levels
