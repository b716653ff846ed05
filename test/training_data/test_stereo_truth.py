from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthnet_ros.errors import ConfigError
from test.training_data.conftest import picture
from training.datasets.base import DatasetError
from training.datasets.disparity_png import LIMIT_PX, read_disparity, write_disparity
from training.datasets.flow import DisFlow, open_flow
from training.datasets.stereo_truth import split_side_by_side, stereo_truth


def stereo_pair(
    height: int = 160, width: int = 240, near_px: int = 18, far_px: int = -4
) -> tuple[np.ndarray, np.ndarray]:
    """Two eyes that see a wall at disparity ``far_px`` and before it a poster at ``near_px`` (left x - right x)."""
    wall, poster = picture(height, width + 80, seed=1), picture(height // 2, width // 2, seed=2)
    eyes = []
    for side in (0, 1):
        eye = wall[:, 40 + side * far_px : 40 + side * far_px + width].copy()
        left = width // 4 - side * near_px
        eye[height // 4 : height // 4 + height // 2, left : left + width // 2] = poster
        eyes.append(eye)
    return eyes[0], eyes[1]


def test_disparity_has_the_right_sign_and_size() -> None:
    left, right = stereo_pair()
    truth = stereo_truth(left, right, DisFlow())
    assert truth.fault is None
    inside, outside = truth.disparity_px[60:100, 90:150], truth.disparity_px[5:30, 20:220]
    assert np.median(inside) == pytest.approx(18, abs=0.3)
    assert np.median(outside) == pytest.approx(-4, abs=0.3)
    assert truth.range_px == pytest.approx(22, abs=2)


def test_what_only_one_eye_sees_is_invalid() -> None:
    left, right = stereo_pair()
    truth = stereo_truth(left, right, DisFlow())
    # Left of the poster, the wall that the right eye's poster covers.
    hidden = truth.valid_mask[50:110, 44:56]
    assert hidden.mean() < 0.4
    assert truth.valid_mask[60:100, 90:150].mean() > 0.95


def test_swapped_eyes_turn_the_sign() -> None:
    left, right = stereo_pair()
    truth = stereo_truth(right, left, DisFlow())
    assert np.median(truth.disparity_px[60:100, 80:140]) == pytest.approx(-18, abs=0.3)


def test_rejected_for_vertical_flow() -> None:
    left, right = stereo_pair()
    shifted = np.roll(right, 4, axis=0)
    assert stereo_truth(left, shifted, DisFlow()).fault == "vertical disparity"


def test_rejected_for_a_flat_scene() -> None:
    left, right = stereo_pair(near_px=4, far_px=-4)
    assert stereo_truth(left, right, DisFlow()).fault == "flat"


class _Flow:
    """Given flows in the order of the calls."""

    def __init__(self, *flows: np.ndarray) -> None:
        self._flows = list(flows)

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return self._flows.pop(0)


@pytest.mark.parametrize(("error_px", "valid"), [(1.9, True), (2.1, False)])
def test_consistency_threshold_is_two_pixels(error_px: float, valid: bool) -> None:
    there = np.zeros((40, 60, 2), np.float32)
    back = there.copy()
    back[..., 0] = error_px
    truth = stereo_truth(picture(40, 60), picture(40, 60), _Flow(there, back))
    assert truth.valid_mask.all() == valid
    assert truth.consistent_share == (1.0 if valid else 0.0)


def test_thresholds_of_rejection() -> None:
    def fault(vertical_rows: int, broken_rows: int, spread_px: float) -> str | None:
        there, back = np.zeros((100, 120, 2), np.float32), np.zeros((100, 120, 2), np.float32)
        there[:, 60:, 0], back[:, 60:, 0] = -spread_px, spread_px
        there[:vertical_rows, :, 1], back[:, :, 1] = 2.5, 0
        back[100 - broken_rows :, :, 0] += 50
        back[:vertical_rows, :, 1] = -2.5
        return stereo_truth(picture(100, 120), picture(100, 120), _Flow(there, back)).fault

    assert fault(9, 0, 12) is None
    assert fault(11, 0, 12) == "vertical disparity"
    assert fault(0, 9, 12) is None
    assert fault(0, 40, 12) == "eyes disagree"
    assert fault(0, 0, 9) == "flat"


def test_frame_is_cut_in_the_middle_and_stretched() -> None:
    left, right = stereo_pair()
    half = [cv2.resize(eye, (120, 160), interpolation=cv2.INTER_AREA) for eye in (left, right)]
    for extra in (0, 1):  # an odd width loses its last column
        frame = np.pad(np.hstack(half), ((0, 0), (0, extra), (0, 0)))
        found = split_side_by_side(frame)
        for eye, original in zip(found, (left, right), strict=True):
            assert eye.shape == original.shape
            assert np.abs(eye.astype(int) - original).mean() < 3
    with pytest.raises(DatasetError, match="too small"):
        split_side_by_side(np.zeros((100, 20, 3), np.uint8))


def test_eyes_of_different_size() -> None:
    with pytest.raises(DatasetError, match="differ in size"):
        stereo_truth(picture(40, 60), picture(40, 61), DisFlow())


def test_full_resolution_is_finer() -> None:
    """A thin thing, three pixels wide, that half the resolution rounds off."""
    left = picture(96, 160)
    right = np.roll(left, -4, axis=1)
    left[:, 80:83], right[:, 68:71] = (255, 0, 0), (255, 0, 0)
    errors = []
    for name in ("dis", "dis_full"):
        flow = open_flow(name)(left, right)[..., 0]
        errors.append(float(np.abs(flow[:, 81] + 12).mean()))
    assert errors[1] < errors[0]


def test_another_flow_by_name() -> None:
    assert isinstance(open_flow("training.datasets.flow:DisFlow"), DisFlow)
    for name in ("raft", "no.such.module:Flow", "training.datasets.flow:Nothing", "os:getcwd", "math:sqrt"):
        with pytest.raises(ConfigError, match="module:attribute"):
            open_flow(name)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(0.1, 2000))
def test_png_keeps_signed_disparity_to_a_64th(
    tmp_path_factory: pytest.TempPathFactory, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    disparity = rng.normal(0, scale, (20, 30)).astype(np.float32)
    valid = rng.uniform(size=disparity.shape) < 0.8
    path = tmp_path_factory.mktemp("png") / "a.png"
    write_disparity(path, disparity, valid)
    back, mask = read_disparity(path)
    np.testing.assert_array_equal(mask, valid & (np.abs(disparity) < LIMIT_PX))
    assert np.abs(back - disparity)[mask].max(initial=0) <= 1 / 64 + 1e-4


def test_damaged_png(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(DatasetError, match=r"cannot read .*a\.png: missing or damaged"):
        read_disparity(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30), np.uint8))
    with pytest.raises(DatasetError, match=r"expected a 16-bit grey PNG .*, got uint8 of shape \(20, 30\)"):
        read_disparity(tmp_path / "a.png")
