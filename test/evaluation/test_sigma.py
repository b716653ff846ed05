"""The sparsification error against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.evaluation.sigma import sparsification_error


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
