"""The mean of several networks: better where their errors differ, NaN where one knows nothing, and never of metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from depthnet_ros.inference.ensemble import DepthEnsemble, consensus
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.weights import ENSEMBLE

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
