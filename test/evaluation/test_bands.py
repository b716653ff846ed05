"""Figures of one band of distance, where depth is missing for some of its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.evaluation.bands import BandTally, band_of


def band(depth: list[float], reference_m: float, times: int) -> dict[str, float | None]:
    """The figures of one band, of ``depth`` repeated."""
    tally, reference = BandTally(), np.full(len(depth) * times, reference_m)
    tally.add(np.tile(depth, times), reference, band_of(reference))
    (row,) = [row for row in tally.to_list() if row["from_m"] <= reference_m < row["to_m"]]
    return row


def test_errors_are_of_the_pixels_that_have_depth() -> None:
    row = band([8.8, 6.4, 8.0, float("nan")], 8.0, 100)
    assert row["pixels"] == 400 and row["coverage"] == 0.75
    assert row["abs_rel"] == pytest.approx(0.1) and row["bias"] == pytest.approx(-0.1 / 3)
    assert row["rmse"] == pytest.approx(np.sqrt((0.8**2 + 1.6**2) / 3))
    assert row["delta1"] == pytest.approx(2 / 3)  # 0.8 is just not within a factor of 1.25


@pytest.mark.parametrize(("depth_m", "good"), [(9.9, 1.0), (10.1, 0.0), (6.5, 1.0), (6.3, 0.0)])
def test_delta1_is_a_factor_of_a_quarter_either_way(depth_m: float, good: float) -> None:
    assert band([depth_m], 8.0, 100)["delta1"] == good


def test_few_pixels_have_no_figures_and_fewer_no_coverage() -> None:
    nan = float("nan")
    row = band([8.0, nan], 8.0, 99)
    assert row["abs_rel"] is None and row["delta1"] is None and row["coverage"] == 0.5
    row = band([8.0, nan], 8.0, 49)
    assert row["coverage"] is None and row["pixels"] == 98
