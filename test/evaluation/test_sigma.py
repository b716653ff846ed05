"""Sigma's tally and the sparsification error against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.evaluation.sigma import SigmaTally, sparsification_error


def test_the_errors_themselves_are_the_best_sigma():
    error = np.random.default_rng(0).normal(size=5000)
    assert sparsification_error(error, np.abs(error)) == 0.0
    assert sparsification_error(error, 7 * np.abs(error) ** 3) == 0.0, "only the order counts"


def test_a_sigma_that_knows_nothing_has_the_area_above_the_best_curve():
    """Errors uniform on 0..1: the smallest share s of them has the mean s/2, of 1/2 in all: the best curve is s."""
    rng = np.random.default_rng(0)
    error, blind = rng.random(200_000), rng.random(200_000)
    shares = np.linspace(1.0, 1.0 / 20, 20)
    assert sparsification_error(error, blind) == pytest.approx(np.mean(1.0 - shares), abs=0.01)
    assert sparsification_error(error, 1.0 - error) > sparsification_error(error, blind)


@pytest.mark.parametrize(("error", "sigma"), [(np.ones(3), np.ones(2)), (np.ones((2, 2)), np.ones((2, 2)))])
def test_shapes_are_named(error: np.ndarray, sigma: np.ndarray):
    with pytest.raises(ValueError, match="two vectors of one length"):
        sparsification_error(error, sigma)


@pytest.mark.parametrize("error", [np.zeros(5), np.zeros(0)])
def test_no_error_is_no_measure(error: np.ndarray):
    with pytest.raises(ValueError, match="nothing to compare"):
        sparsification_error(error, np.ones_like(error))


def tally_of(error: np.ndarray, sigma: np.ndarray) -> dict:
    tally = SigmaTally()
    tally.add(error, sigma)
    found = tally.to_dict()
    assert found is not None
    return found


@pytest.mark.parametrize("factor", [1e-3, 0.005, 1.0, 100.0, 1e3])
def test_how_far_off_a_sigma_is_is_told_however_far(factor: float) -> None:
    """Millimetres for metres, say."""
    error = np.random.default_rng(0).normal(size=20_000)
    assert tally_of(error, np.full(20_000, factor))["median_ratio"] == pytest.approx(1.0 / factor, rel=0.03)


def test_an_error_under_a_sigma_of_zero_is_beyond_all_of_them() -> None:
    error, sigma = np.full(4000, 0.1), np.full(4000, 1.0)
    sigma[:3000] = 0.0
    found = tally_of(error, sigma)
    assert found["pixels"] == 4000 and found["within"][-1]["observed"] == pytest.approx(0.25)
    assert found["median_ratio"] > 1e4


def test_what_is_not_finite_is_left_out_and_so_is_nothing_under_nothing() -> None:
    error, sigma = np.full(4000, 0.1), np.full(4000, 1.0)
    error[0], error[1], sigma[2], sigma[3] = np.nan, np.inf, np.nan, np.inf
    error[4] = sigma[4] = error[5] = 0.0
    assert tally_of(error, sigma)["pixels"] == 3995


def test_shares_within_sigmas_are_those_that_were_put_in() -> None:
    error = np.repeat((0.25, 0.75, 1.25, 1.75, 2.5, 9.0), 1000)
    found = tally_of(error, np.ones(6000))
    assert [row["observed"] for row in found["within"]] == pytest.approx(np.arange(1, 6) / 6)
