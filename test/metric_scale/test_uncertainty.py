"""Sigma of inverse depth, against closed forms."""

import warnings

import numpy as np
import pytest

from depthnet_ros.metric_scale.uncertainty import ResidualLevel, inverse_depth_variance

SCALE, SHIFT = 0.25, -0.25
NO_DOUBT = np.zeros((2, 2))


@pytest.fixture
def inverse():
    """(40, 60) 1/m, a factor of four from far to near."""
    return np.linspace(0.3, 1.2, 2400, dtype=np.float32).reshape(40, 60)


def sigma(inverse, network_sigma, log_sigma, covariance=NO_DOUBT):
    relative = ((inverse - SHIFT) / SCALE).astype(np.float32)
    return np.sqrt(inverse_depth_variance(inverse, relative, covariance, network_sigma, 0.0, log_sigma))


def test_an_error_that_is_the_same_everywhere_stays_so(inverse):
    """A network that errs by 0.08 of its unit at every pixel errs by SCALE * 0.08 in 1/m at every pixel."""
    same = np.full(inverse.shape, np.log(0.08), np.float32)
    network_sigma = float(np.median(SCALE * 0.08 / inverse))  # what anchors show of it
    np.testing.assert_allclose(sigma(inverse, network_sigma, same), SCALE * 0.08, rtol=2e-2)


def test_an_error_in_proportion_to_inverse_depth_is_what_no_claim_says(inverse):
    share = np.log(0.2 * inverse)
    np.testing.assert_allclose(sigma(inverse, 0.1, share), 0.1 * inverse, rtol=1e-5)
    np.testing.assert_allclose(sigma(inverse, 0.1, None), 0.1 * inverse, rtol=1e-6)


def test_the_unit_of_the_network_drops_out(inverse):
    claim = np.random.default_rng(0).normal(-2.0, 0.3, inverse.shape).astype(np.float32)
    np.testing.assert_allclose(sigma(inverse, 0.1, claim), sigma(inverse, 0.1, claim + 3.0), rtol=1e-4)


def test_about_68_percent_of_errors_lie_within_it_far_and_near(inverse):
    rng = np.random.default_rng(0)
    own = (0.02 + 0.06 * rng.random(inverse.shape)).astype(np.float32)  # 1/m
    error = own * rng.standard_normal(inverse.shape)
    claimed = sigma(inverse, float(np.percentile(np.abs(error / inverse), 68)), np.log(own / SCALE))
    within = np.abs(error) <= claimed
    assert within[:20].mean() == pytest.approx(0.68, abs=0.05) and within[20:].mean() == pytest.approx(0.68, abs=0.05)


def test_a_claim_is_believed_to_a_factor_and_what_is_not_known_spoils_nothing(inverse):
    claim = np.log(0.1 * inverse)
    claim[0, 0], claim[0, 1], claim[0, 2] = 50.0, -50.0, np.nan
    inverse = inverse.copy()
    inverse[1, :2] = np.nan, -0.1
    claimed = sigma(inverse, 0.1, claim) / (0.1 * np.abs(inverse))
    assert claimed[0, :3] == pytest.approx([np.exp(3.0), np.exp(-1.5), 1.0], rel=1e-3)
    assert np.isnan(claimed[1, 0]) and claimed[1, 1] == pytest.approx(1.0)
    rest = claimed[2:]
    np.testing.assert_allclose(rest, 1.0, rtol=1e-4)


def test_doubt_about_scale_and_shift_adds(inverse):
    covariance = np.array([[0.0004, -0.0006], [-0.0006, 0.0016]])
    row = np.stack(((inverse - SHIFT) / SCALE, np.ones_like(inverse)), axis=-1)
    scale_variance = np.einsum("hwi,ij,hwj->hw", row, covariance, row)
    want = np.sqrt((0.1 * inverse) ** 2 + scale_variance)
    np.testing.assert_allclose(sigma(inverse, 0.1, np.log(0.2 * inverse), covariance), want, rtol=1e-4)


def test_an_edge_that_a_network_smears_counts_with_a_share_of_its_step():
    inverse = np.full((9, 12), 0.5, np.float32)
    inverse[:, 6:] = 1.5
    share = np.sqrt(inverse_depth_variance(inverse, inverse, NO_DOUBT, 0.0, 0.3))
    np.testing.assert_allclose(share[:, 5:7], 0.3, rtol=1e-5)
    assert not share[:, :5].any() and not share[:, 7:].any()


def learnt(estimate: np.ndarray, weights: np.ndarray, frames: int = 100, level: ResidualLevel | None = None) -> float:
    """The level after frames in which the truth is 1/m everywhere."""
    level = ResidualLevel(0.2) if level is None else level
    for _ in range(frames):
        level.update(estimate, np.ones(len(estimate)), weights, 40.0)
    return level.value


def test_a_network_s_error_is_learnt_as_a_share_of_the_sensor_s_depth_and_not_of_outliers():
    everywhere = np.ones(40)
    assert learnt(np.full(40, 0.8), everywhere) == pytest.approx(1.6 * 0.25, rel=0.05)  # 1.25 m instead of 1 m
    assert learnt(np.full(40, 1.25), everywhere) == pytest.approx(1.6 * 0.2, rel=0.05)
    estimate, weights = np.full(40, 0.95), np.ones(40)
    estimate[:25], weights[:25] = 3.0, 0.0
    assert learnt(estimate, weights) < 0.1


def test_a_network_that_errs_more_in_another_place_is_known_to_within_a_minute():
    """However long it was good: six hundred frames, of ten a second."""
    level = ResidualLevel(0.2)
    assert learnt(np.full(40, 0.98), np.ones(40), 20_000, level) < 0.05
    assert learnt(np.full(40, 0.8), np.ones(40), 600, level) > 0.38


def test_where_nothing_around_is_known_there_is_no_sigma_and_no_warning(inverse):
    """In the picture and at its edge."""
    inverse = inverse.copy()
    inverse[10:20, 10:20] = inverse[30:] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        variance = inverse_depth_variance(inverse, inverse, NO_DOUBT, 0.1, 0.5)
    assert not np.isfinite(variance[np.isnan(inverse)]).any()
    assert np.isfinite(variance[np.isfinite(inverse)]).all()
