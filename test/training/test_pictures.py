"""Pictures of a run in TensorBoard, of what is not finite as well."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.runtime import RunLog

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
NOT_FINITE = (float("nan"), float("inf"), -float("inf"))


def logged(folder: Path, image: Tensor, target: Tensor, prediction: Tensor) -> list[NDArray[np.uint8]]:
    """The tiles, (8, 8, 3) each, that TensorBoard shows of one picture."""
    batch = {"image": image[None], "target": target[None], "mask": torch.ones(1, 8, 8, dtype=torch.bool)}
    with RunLog(folder, True) as log:
        log.pictures(1, batch, prediction[None])
    (shown,) = accumulator.EventAccumulator(str(folder)).Reload().Images("image, truth, prediction")
    picture = cv2.imdecode(np.frombuffer(shown.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    return np.split(picture, 3, axis=1)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_what_is_not_finite_is_black_and_nothing_else(tmp_path: Path, value: float):
    torch.manual_seed(0)
    maps = torch.rand(3, 8, 8), torch.rand(8, 8), torch.rand(8, 8)
    for values in maps:
        values[..., 2, 5] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        tiles = logged(tmp_path, *maps)
    for tile in tiles:
        assert np.argwhere(~tile.any(axis=-1)).tolist() == [[2, 5]]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_where_nothing_is_finite_all_is_black(tmp_path: Path, value: float):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        tiles = logged(tmp_path, *(torch.full(shape, value) for shape in ((3, 8, 8), (8, 8), (8, 8))))
    assert not np.any(tiles)
