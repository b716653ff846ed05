"""What the filter gives out over time: smoothed where nothing happens, quick where something does."""

import numpy as np
import pytest

from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import Reference, ScaleFit
from depthnet_ros.metric_scale.tracker import ScaleTracker

REFERENCE = Reference(0.0, 1.0)
START = np.array([1.0, 1.0])


def begun(sigma: float) -> ScaleFilter:
    scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
    assert scale.begin(START, sigma**2 * np.eye(2), REFERENCE)
    return scale


def given_out(sigma: float, states: np.ndarray) -> np.ndarray:
    """(N, 2) what is given out for estimates of one standard deviation."""
    scale, out = begun(sigma), []
    for state in states:
        scale._accept(state, sigma**2 * np.eye(2), REFERENCE)
        out.append(scale.smoothed.copy())
    return np.array(out)


@pytest.mark.parametrize("noise", [0.1, 0.7])
def test_noise_of_the_estimate_is_not_given_out(rng, noise):
    """``noise``: of the estimate from frame to frame, in its own sigmas."""
    states = START + noise * 0.05 * rng.normal(size=(400, 2))
    step_in, step_out = (np.abs(np.diff(s, axis=0)).mean() for s in (states, given_out(0.05, states)))
    assert step_out < 0.2 * step_in


def test_what_is_beyond_all_doubt_is_given_out_at_once():
    after = given_out(0.01, np.array([START, 1.1 * START, 1.1 * START]))
    assert after[1] == pytest.approx(1.1 * START)


def test_a_drift_is_followed_within_five_frames_of_it():
    ramp = START * (1.0 + 0.004 * np.arange(100.0))[:, None]
    behind = (ramp - given_out(0.005, ramp))[50:, 0] / 0.004
    assert behind.max() < 5.0


def test_what_lags_behind_says_so():
    """The truth of a drift lies within two of the sigmas that are stated with what is given out."""
    scale = begun(0.005)
    for factor in 1.0 + 0.004 * np.arange(100.0):
        scale._accept(factor * START, 0.005**2 * np.eye(2), REFERENCE)
        assert abs(factor - scale.smoothed[0]) < 2.0 * scale.reported_covariance[0, 0] ** 0.5
    assert scale.relative_sigma(REFERENCE) > 1.5 * 0.005  # and the state is judged by it


def test_estimates_that_agree_do_not_grow_uncertain():
    """A network that does not wander: each frame as sure as the estimate given for it."""
    covariance = 0.05**2 * np.eye(2)
    scale = begun(0.05)
    for _ in range(60):
        scale.predict(REFERENCE, 1.0 / 30.0)
        assert scale.fuse(START, covariance, REFERENCE, True)
    assert np.diag(scale.covariance) == pytest.approx(np.diag(covariance), rel=0.05)
    for _ in range(3):  # and then it does
        scale.predict(REFERENCE, 1.0 / 30.0)
        scale.fuse(1.3 * START, covariance, REFERENCE, False)
    assert scale.state == pytest.approx(1.3 * START, rel=0.12)


def test_a_view_whose_median_is_far_reaches_farther():
    tracker = ScaleTracker(MetricScaleConfig(mode="anchors"))
    usual, hall = (tracker._prior(Reference(0.0, 1.0, far), False, None) for far in (-0.3, -0.1))
    assert usual.mean == pytest.approx(MetricScaleConfig().view_range)
    assert hall.mean - usual.mean == pytest.approx(0.16) and hall.sigma == usual.sigma


@pytest.mark.parametrize("limit_rate", [False, True])
def test_what_is_far_never_gets_behind_the_camera(limit_rate):
    """Anchors that see only what is near would put the farthest 5 % of the view at a negative inverse depth."""
    reference = Reference(0.0, 1.0, -0.4, 0.1)
    scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
    scale.begin(np.array([1.0, 0.6]), np.diag([0.04, 0.01]), reference)
    measured, information = np.array([1.5, 0.5]), np.diag([50.0, 400.0])
    assert measured[0] * reference.far + measured[1] < 0
    for _ in range(60):
        scale.predict(reference, 1.0 / 30.0)
        scale.update(
            ScaleFit(measured, information, information @ measured, np.ones(9), 9, True, True), reference, limit_rate
        )
        gain, level = reference.from_scale_shift() @ scale.state
        assert gain * reference.far + level > 0


def test_sky_in_view_makes_scale_no_less_sure():
    """What is beyond the farthest depth that is told has next to no inverse depth for sigma to be a share of."""
    street, room = Reference(0.0, 1.0, far=-1.0), Reference(0.0, 1.0, far=-0.5)
    sigmas = []
    for reference in (street, room):
        scale = ScaleFilter(MetricScaleConfig(mode="anchors", max_depth_m=20.0))
        assert scale.begin(np.array([0.1, 0.1]), 0.004**2 * np.eye(2), reference)
        sigmas.append(scale.relative_sigma(reference))
    assert sigmas[0] < 1.5 * sigmas[1] < 0.15
