"""A frame's robust fit: wrong points lie on lines, too."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.metric_scale import MetricScaleConfig
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import Observations, ScaleFit, ViewNormalisation, robust_fit

_TRUE = np.array([2.0, 2.5])  # gain and level, 1/m
_VIEW = ViewNormalisation(pivot=0.0, spread=1.0, far=-0.75, variance=0.1)
_KNOWN = np.linalg.inv(np.diag([0.06, 0.05]) ** 2)


def _close_up(seed: int, wrong: float, factor: float = 1.0) -> Observations:
    """A thing on a table, near, middle and far in three clumps, which the network bends, as a recording has it;
    ``wrong``: a share of points anywhere from 0.2 to 8 m, nearly all of which lie behind it. ``factor``: all inverse
    depths times this."""
    rng = np.random.default_rng(seed)
    x = np.concatenate((rng.normal(-0.75, 0.03, 22), rng.normal(-0.42, 0.04, 24), rng.uniform(-0.1, 0.2, 88)))
    bent = np.repeat((1.2, 0.85, 1.0), (22, 24, 88))
    y = factor * (_TRUE[0] * x + _TRUE[1]) * bent * (1.0 + 0.04 * rng.standard_normal(len(x)))
    outlying = rng.random(len(x)) < wrong
    y[outlying] = 1.0 / rng.uniform(0.2, 8.0, int(outlying.sum()))
    sigma = np.hypot(0.02 * y, 0.1 * np.maximum(y, 0.3 * np.median(y)))
    return Observations(x, y, sigma, np.full(len(x), 40.0 / len(x)))


def _fit(observations: Observations, seed: int) -> ScaleFit:
    return robust_fit(observations, _VIEW, _TRUE, _KNOWN, np.random.default_rng(seed))


def test_wrong_points_behind_a_thing_do_not_tilt_the_fit() -> None:
    # Some line through them has more on it than the true one, in one frame of a few, by chance.
    fits = [_fit(_close_up(seed, 0.3), seed) for seed in range(60)]
    far = np.array([_VIEW.far, 1.0])
    off = [float(fit.state @ far / (_TRUE @ far)) for fit in fits]
    assert min(off) > 0.7, "inverse depth of the view's far end"
    assert max(off) < 1.3


def test_what_is_known_is_not_overridden_by_a_fit_that_is_hardly_better() -> None:
    assert not any(_fit(_close_up(seed, 0.3), seed).corroborated for seed in range(60))


@pytest.mark.parametrize("factor", [3.0, 1.0 / 3.0])
def test_a_step_of_the_unit_is_overriding(factor: float) -> None:
    for seed in range(20):
        fit = _fit(_close_up(seed, 0.0, factor), seed)
        assert fit.corroborated
        assert fit.state == pytest.approx(factor * _TRUE, rel=0.35)


def test_what_is_hardly_known_holds_nothing_back() -> None:
    anything = np.linalg.inv(np.diag([3.0, 3.0]) ** 2)
    for seed in range(20):
        fit = robust_fit(_close_up(seed, 0.0), _VIEW, np.array([0.5, 1.0]), anything, np.random.default_rng(seed))
        assert fit.state == pytest.approx(_TRUE, rel=0.25)


def test_a_filter_keeps_its_estimate_through_frames_with_wrong_points() -> None:
    filter_ = ScaleFilter(MetricScaleConfig())
    filter_.begin(_TRUE, np.diag([0.06, 0.05]) ** 2, _VIEW)
    for seed in range(200):
        filter_.predict(_VIEW, 1.0 / 30.0)
        prior, information = filter_.fit_prior(_VIEW)
        fit = robust_fit(_close_up(seed, 0.3), _VIEW, prior, information, np.random.default_rng(seed))
        filter_.update(fit, _VIEW, limit_rate=True)
        assert filter_.smoothed is not None
        assert filter_.smoothed == pytest.approx(_TRUE, rel=0.15), f"frame {seed}"
