"""The mean of several networks: better where their errors differ, NaN where one knows nothing, and never of metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from depthnet_ros.inference.ensemble import DepthEnsemble, consensus
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.inference.weights import ENSEMBLE
from depthnet_ros.models.spec import InputSpec, ModelSpec

RAMP = np.linspace(0.0, 1.0, 96, dtype=np.float32)[:, None].repeat(128, axis=1)


def test_the_mean_does_not_depend_on_scale_and_shift():
    noise = np.random.default_rng(0).normal(0, 0.05, RAMP.shape).astype(np.float32)
    first, second = RAMP + noise, RAMP - noise
    mean, spread = consensus([first, second])
    again, _ = consensus([7.0 * first - 3.0, 0.01 * second + 5.0])
    np.testing.assert_allclose(again, mean, atol=2e-3)
    assert np.isfinite(spread).all()
    # Opposite errors cancel.
    own, _ = consensus([first])
    wanted, _ = consensus([RAMP])
    assert np.abs(mean - wanted).mean() < 0.3 * np.abs(own - wanted).mean()


def test_spread_tells_where_members_disagree():
    other = RAMP.copy()
    other[10:20, 30:60] += 1.0
    unknown = RAMP.copy()
    unknown[50:60] = np.nan
    mean, spread = consensus([RAMP, other, unknown])
    wrong = np.zeros(RAMP.shape, bool)
    wrong[10:20, 30:60] = True
    assert spread[wrong].min() > 0.5
    assert np.isnan(mean[50:60]).all() and np.isnan(spread[50:60]).all()
    rest = ~wrong & np.isfinite(spread)
    assert np.quantile(spread[rest], 0.99) < 0.25
    assert rest.mean() > 0.8


def test_a_network_of_one_value_counts_nothing():
    mean, _ = consensus([RAMP, np.full_like(RAMP, 3.0)])
    alone, _ = consensus([RAMP])
    np.testing.assert_allclose(mean, alone / 2, atol=1e-6)
    nothing, _ = consensus([np.full_like(RAMP, np.nan)] * 2)
    assert np.isnan(nothing).all()


def test_one_network_is_itself_and_several_have_the_first_ones_scale(tiny_weights: Path):
    image = np.random.default_rng(0).integers(0, 255, (72, 96, 3), dtype=np.uint8)
    one = DepthEstimator.from_weights(tiny_weights)
    wanted = one.infer_with_mirror(image).at_source()
    np.testing.assert_array_equal(DepthEnsemble([one]).infer(image).at_source(), wanted)
    twice = DepthEnsemble([one, one]).infer(image)
    np.testing.assert_allclose(twice.at_source(), wanted, rtol=1e-3, atol=1e-4 * float(np.abs(wanted).max()))
    assert twice.source_size == (72, 96)
    one.close()


def test_metres_are_not_averaged(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch):
    one = DepthEstimator.from_weights(tiny_weights)
    spec = one.spec
    metric = type(spec.output_kind)("metric_depth")
    other = DepthEstimator.from_weights(tiny_weights)
    monkeypatch.setattr(other, "spec", type(spec)(**{**vars(spec), "output_kind": metric}))
    with pytest.raises(ConfigError, match="claims metres"):
        DepthEnsemble([one, other])
    DepthEnsemble([other])


def test_the_shipped_mean_is_of_networks_that_are_there():
    for name in ENSEMBLE:
        DepthEstimator.from_weights(name).close()


class FixedNetwork:
    """One that says the same of every picture."""

    def __init__(self, inverse: np.ndarray, **values: object) -> None:
        self.spec = ModelSpec("fixed", InputSpec(48, 64))
        self.prediction = DepthPrediction(inverse.astype(np.float32), (96, 128), **values)
        self.closed = False

    def infer_with_mirror(self, image: np.ndarray) -> DepthPrediction:
        return self.prediction

    def close(self) -> None:
        self.closed = True


PICTURE = np.zeros((96, 128, 3), np.uint8)
SMALL = np.random.default_rng(0).gamma(2.0, 1.0, (48, 64))


def test_the_mean_is_of_the_first_network_s_level_and_spread():
    first, other = 3.0 * SMALL + 7.0, 0.1 * SMALL[::-1] - 2.0
    mean = DepthEnsemble([FixedNetwork(first), FixedNetwork(other)]).infer(PICTURE)
    wanted, _ = consensus([FixedNetwork(one).prediction.at_source() for one in (first, other)])
    own = FixedNetwork(first).prediction.at_source()
    middle = np.median(own)
    np.testing.assert_allclose(mean.at_source(), wanted * np.abs(own - middle).mean() + middle, atol=1e-3)
    assert mean.source_size == (96, 128) and mean.at_source().shape == (96, 128)


def test_a_mean_claims_no_sigma_and_no_zero_of_one_of_its_networks():
    first = FixedNetwork(SMALL, log_sigma=np.zeros((48, 64), np.float32), zero_sigma=0.3)
    mean = DepthEnsemble([first, FixedNetwork(SMALL)]).infer(PICTURE)
    assert mean.log_sigma is None and mean.zero_sigma == 0.0


def test_what_one_network_does_not_know_the_mean_does_not():
    holed = SMALL.copy()
    holed[:12] = np.nan
    mean = DepthEnsemble([FixedNetwork(SMALL), FixedNetwork(holed, unknown_share=0.25)]).infer(PICTURE)
    known = np.isfinite(mean.inverse_depth)
    assert 0.2 < mean.unknown_share < 0.3 and mean.unknown_share == pytest.approx(1.0 - known.mean())
    first, nothing = FixedNetwork(SMALL), FixedNetwork(np.full_like(SMALL, np.nan), unknown_share=1.0)
    assert DepthEnsemble([first, nothing]).infer(PICTURE) is first.prediction


def test_one_wild_network_of_three_counts_a_third():
    """A mean, not a median: each errs."""
    other = np.zeros_like(RAMP)
    other[:, ::2] = 1.0
    mean, _ = consensus([RAMP, RAMP, other])
    members = [consensus([one])[0] for one in (RAMP, RAMP, other)]
    np.testing.assert_allclose(mean, np.mean(members, axis=0), atol=1e-6)


def test_a_member_has_median_zero_and_mean_absolute_deviation_one():
    alone, spread = consensus([SMALL.astype(np.float32)])
    assert np.median(alone) == pytest.approx(0.0, abs=1e-6) and np.abs(alone).mean() == pytest.approx(1.0, rel=1e-5)
    assert not spread.any()


def test_all_backends_are_freed():
    networks = [FixedNetwork(SMALL) for _ in range(3)]
    DepthEnsemble(networks).close()
    assert all(network.closed for network in networks)
