"""What the filter gives out over time: smoothed where nothing happens, quick where something does."""

import numpy as np
import pytest

from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.metric_scale.filter import ScaleFilter
from depthnet_ros.metric_scale.fit import ScaleFit, ViewNormalisation
from depthnet_ros.metric_scale.spread import SpreadMemory

VIEW = ViewNormalisation(0.0, 1.0)
START = np.array([1.0, 1.0])


def begun(sigma: float) -> ScaleFilter:
    scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
    assert scale.begin(START, sigma**2 * np.eye(2), VIEW)
    return scale


def given_out(sigma: float, states: np.ndarray) -> np.ndarray:
    """(N, 2) what is given out for estimates of one standard deviation."""
    scale, out = begun(sigma), []
    for state in states:
        scale._accept(state, sigma**2 * np.eye(2), VIEW)
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
        scale._accept(factor * START, 0.005**2 * np.eye(2), VIEW)
        assert abs(factor - scale.smoothed[0]) < 2.0 * scale.reported_covariance[0, 0] ** 0.5
    assert scale.relative_sigma(VIEW, 20.0) > 1.5 * 0.005  # and the state is judged by it


def test_estimates_that_agree_do_not_grow_uncertain():
    """A network that does not wander: each frame as sure as the estimate given for it."""
    covariance = 0.05**2 * np.eye(2)
    scale = begun(0.05)
    for _ in range(60):
        scale.predict(VIEW, 1.0 / 30.0)
        assert scale.fuse(START, covariance, VIEW, True)
    assert np.diag(scale.covariance) == pytest.approx(np.diag(covariance), rel=0.05)
    for _ in range(3):  # and then it does
        scale.predict(VIEW, 1.0 / 30.0)
        scale.fuse(1.3 * START, covariance, VIEW, False)
    assert scale.state == pytest.approx(1.3 * START, rel=0.12)


def test_a_view_whose_median_is_far_reaches_farther():
    memory = SpreadMemory(MetricScaleConfig(mode="anchors"))
    usual, hall = (memory.prior(ViewNormalisation(0.0, 1.0, far), False, None) for far in (-0.3, -0.1))
    assert usual.mean == pytest.approx(MetricScaleConfig().view_range)
    assert hall.mean - usual.mean == pytest.approx(0.16) and hall.sigma == usual.sigma


@pytest.mark.parametrize("limit_rate", [False, True])
def test_what_is_far_never_gets_behind_the_camera(limit_rate):
    """Anchors that see only what is near would put the farthest 5 % of the view at a negative inverse depth."""
    view = ViewNormalisation(0.0, 1.0, -0.4, 0.1)
    scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
    scale.begin(np.array([1.0, 0.6]), np.diag([0.04, 0.01]), view)
    measured, information = np.array([1.5, 0.5]), np.diag([50.0, 400.0])
    assert measured[0] * view.far + measured[1] < 0
    for _ in range(60):
        scale.predict(view, 1.0 / 30.0)
        scale.update(
            ScaleFit(measured, information, information @ measured, np.ones(9), 9, True, True), view, limit_rate
        )
        gain, level = view.from_scale_shift() @ scale.state
        assert gain * view.far + level > 0


def test_sky_in_view_makes_scale_no_less_sure():
    """What is beyond the farthest depth that is told has next to no inverse depth for sigma to be a share of."""
    street, room = ViewNormalisation(0.0, 1.0, far=-1.0), ViewNormalisation(0.0, 1.0, far=-0.5)
    sigmas = []
    for view in (street, room):
        scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
        assert scale.begin(np.array([0.1, 0.1]), 0.004**2 * np.eye(2), view)
        sigmas.append(scale.relative_sigma(view, 20.0))
    assert sigmas[0] < 1.5 * sigmas[1] < 0.15


def fit(measured: np.ndarray, sigma: float, corroborated: bool = False) -> ScaleFit:
    information = np.eye(2) / sigma**2
    return ScaleFit(measured, information, information @ measured, np.ones(9), 9, True, corroborated)


def sigma_of(scale: ScaleFilter) -> float:
    return float(scale.covariance[0, 0] ** 0.5)


def test_frames_that_scatter_more_than_they_say_widen_what_is_reported():
    """More than process noise, as much as it may be, explains."""
    reported = []
    for scatter in (0.01, 0.12):
        scale = begun(0.05)
        for frame in range(60):
            scale.predict(VIEW, 1.0 / 30.0)
            assert scale.update(fit(START * (1.0 + scatter * (-1) ** frame), 0.05), VIEW, False)
        reported.append(scale.reported_covariance[0, 0] / scale.covariance[0, 0])
    assert reported[0] < 1.1 and reported[1] > 1.4


def test_a_pause_lets_scale_drift_however_steady_it_was():
    """Of frames that follow one another, quiet ones show that scale hardly moves; of a pause nobody knows."""
    config, scale = MetricScaleConfig(mode="anchors"), begun(0.05)
    for _ in range(60):
        scale.predict(VIEW, 1.0 / 30.0)
        scale.update(fit(START, 0.05), VIEW, False)
    before = sigma_of(scale)
    scale.predict(VIEW, 0.1)
    assert sigma_of(scale) < 1.1 * before
    scale.predict(VIEW, 10.0)
    assert sigma_of(scale) >= config.process_noise_per_second * 10.0**0.5


def test_after_a_cut_scale_may_be_another():
    scale = begun(0.02)
    scale.predict(VIEW, 1.0 / 30.0, cut=True)
    assert sigma_of(scale) > 0.25
    assert scale.update(fit(1.6 * START, 0.02), VIEW, False), "no frame of the new scene contradicts the old"
    assert scale.state == pytest.approx(1.6 * START, rel=0.02)


def test_a_network_s_own_metres_are_a_guess_until_something_measures():
    scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
    scale.begin_metric()
    assert scale.state == pytest.approx([1.0, 0.0])
    assert np.sqrt(np.diag(scale.covariance)) == pytest.approx([0.3, 0.05], rel=0.1)
    assert scale.update(fit(1.4 * np.array([0.5, 1.0]), 0.02), ViewNormalisation(1.0, 0.5), False)
    assert scale.state == pytest.approx([1.4, 0.0], abs=0.05)


def test_a_fit_that_is_not_finite_changes_nothing_but_doubt():
    scale = begun(0.05)
    before = sigma_of(scale)
    assert not scale.update(fit(np.array([1.0, np.nan]), 0.05), VIEW, True)
    assert scale.rejected == 1 and scale.state == pytest.approx(START) and sigma_of(scale) > before


def test_a_contradiction_is_taken_in_only_where_many_anchors_agree_or_it_lasts():
    alone = begun(0.02)
    assert not alone.update(fit(3.0 * START, 0.02), VIEW, True)
    assert alone.state == pytest.approx(START) and alone.rejected == 1
    agreed = begun(0.02)
    assert agreed.update(fit(3.0 * START, 0.02, corroborated=True), VIEW, True)
    assert agreed.state == pytest.approx(3.0 * START, rel=0.01), "at once, however limited changes are"
    assert alone.update(fit(3.0 * START, 0.02), VIEW, True)
    assert alone.state == pytest.approx(3.0 * START, rel=0.01) and alone.rejected == 0


def test_each_frame_that_is_rejected_in_a_row_raises_more_doubt_along_the_network_s_unit():
    scale, doubts = begun(0.02), []
    for _ in range(2):
        assert not scale.fuse(8.0 * START, 0.02**2 * np.eye(2), VIEW, False)
        doubts.append(sigma_of(scale))
        assert scale.covariance[0, 1] == pytest.approx(scale.covariance[0, 0], rel=0.01)
    assert 0.4 < doubts[0] < 0.5 * doubts[1]


@pytest.mark.parametrize("by", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("whole", [True, False])
def test_no_accepted_frame_moves_scale_or_level_farther_than_it_may(by, whole):
    limited, free = (begun(0.35) for _ in range(2))
    target = START + 0.9 * np.array(by)
    for scale, limit in ((limited, True), (free, False)):
        if whole:
            assert scale.fuse(target, 0.02**2 * np.eye(2), VIEW, limit)
        else:
            assert scale.update(fit(target, 0.02), VIEW, limit)
    assert limited.state == pytest.approx(START + 0.25 * np.array(by), abs=0.01)
    assert free.state == pytest.approx(target, abs=0.02)


def test_of_a_good_and_a_poor_estimate_the_good_one_counts():
    for sigma, wanted in ((0.005, 1.1), (0.5, 1.0)):
        scale = begun(0.05)
        assert scale.fuse(1.1 * START, sigma**2 * np.eye(2), VIEW, False)
        assert scale.state == pytest.approx(wanted * START, rel=0.01)
        assert sigma_of(scale) < 1.1 * min(sigma, 0.05)


def test_an_estimate_that_is_repeated_grows_no_surer():
    scale = begun(0.05)
    for _ in range(200):
        scale.fuse(START, 0.05**2 * np.eye(2), VIEW, True)
    assert sigma_of(scale) == pytest.approx(0.05, rel=0.02)


def test_after_a_contradiction_the_next_frame_that_is_believed_is_taken_whole():
    scale = begun(0.05)
    assert not scale.fuse(2.0 * START, 0.02**2 * np.eye(2), VIEW, True)
    assert scale.fuse(2.0 * START, 0.02**2 * np.eye(2), VIEW, True)
    assert scale.state == pytest.approx(2.0 * START, rel=0.01)


def test_a_fit_of_a_negative_scale_leaves_it_small_and_positive():
    """Near and far would change places."""
    scale = begun(0.5)
    assert scale.update(fit(np.array([-0.5, 1.0]), 0.05), ViewNormalisation(0.0, 1.0, 0.0), False)
    assert 0.0 < scale.state[0] < 0.2 and scale.smoothed[0] > 0.0


def test_a_whole_estimate_puts_nothing_behind_the_camera_either():
    view = ViewNormalisation(0.0, 1.0, -0.4, 0.1)
    scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
    scale.begin(np.array([1.0, 0.6]), np.diag([0.04, 0.01]), view)
    assert scale.fuse(np.array([1.5, 0.5]), np.diag([0.02, 0.005]), view, False)
    gain, level = view.from_scale_shift() @ scale.state
    assert gain * view.far + level > 0


def test_a_scale_is_known_to_nothing_before_the_first_frame_and_where_the_view_would_be_behind_the_camera():
    scale = ScaleFilter(MetricScaleConfig(mode="anchors"))
    assert scale.relative_sigma(VIEW, 20.0) == np.inf
    assert scale.begin(np.array([1.0, -0.1]), 0.01**2 * np.eye(2), VIEW)
    assert scale.relative_sigma(VIEW, 20.0) == np.inf


def test_a_network_that_wanders_more_than_expected_is_followed_more_closely():
    """Five per cent a frame, of estimates that are each good to ten: a steady filter would be 17 % behind."""
    scale = begun(0.1)
    for factor in 1.05 ** np.arange(40.0):
        scale.predict(VIEW, 1.0 / 30.0)
        assert scale.update(fit(factor * START, 0.1 * factor), VIEW, False)
    assert scale.state[0] == pytest.approx(factor, rel=0.12)


def test_no_doubt_is_larger_than_anything():
    """However long a pause or a contradiction: one good frame ends it."""
    scale = begun(0.02)
    scale.predict(VIEW, 1e6)
    assert 1.4 < sigma_of(scale) < 1.6
    assert scale.update(fit(0.5 * START, 0.02), VIEW, False)
    assert scale.state == pytest.approx(0.5 * START, rel=0.02)


def test_two_positive_scales_make_no_negative_one():
    """A mean weighted by matrices may lie outside of both: then the new estimate is taken as it is."""
    scale, view = ScaleFilter(MetricScaleConfig(mode="anchors")), ViewNormalisation(0.0, 1.0, 0.0)
    assert scale.begin(np.array([0.93, 0.62]), np.array([[0.38, -0.0521], [-0.0521, 0.0219]]), view)
    new = np.array([0.064, 1.063])
    assert scale.fuse(new, np.array([[0.0297, 0.033], [0.033, 0.0381]]), view, False)
    assert scale.state == pytest.approx(new)
