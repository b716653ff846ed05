"""Masks on other grids."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.geometry.masks import resized_mask


@pytest.mark.parametrize("size", [(7, 9), (16, 24), (49, 77), (480, 640)])
def test_each_pixel_of_a_resized_mask_is_the_one_about_its_middle(
    size: tuple[int, int], rng: np.random.Generator
) -> None:
    mask = rng.random((21, 27)) < 0.5
    row, column = (
        np.floor((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True)
    )
    assert np.array_equal(resized_mask(mask, *size), mask[np.ix_(row, column)])
