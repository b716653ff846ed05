"""A clear floor as a measurement of gain and level: closed forms, and how sure it may be."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale.evidence import Cone, Evidence, Floor, SpreadPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.floor import FloorFit, fit_floor
from depthnet_ros.metric_scale.grid import Grid
from depthnet_ros.metric_scale.view_depth import estimate_view_depth

from .test_view_depth import PRIOR, Frame, room

GAIN, LEVEL = 0.7, 0.25
NOISE = np.full(80, 0.05)


def floor(inverse_depth: np.ndarray | None = None, **settings) -> tuple[Floor, np.ndarray]:
    """A floor, and what a perfect network of GAIN and LEVEL gives there (normalised)."""
    w = np.linspace(0.2, 0.9, 80) if inverse_depth is None else inverse_depth
    x = (w - LEVEL) / GAIN
    return Floor(x, w, np.full(len(w), 0.03), **settings), x


def test_a_floor_tells_gain_and_level_though_things_stand_on_it():
    seen, x = floor()
    assert fit_floor(seen, x, NOISE, np.ones(80)).state == pytest.approx([GAIN, LEVEL], rel=1e-9)
    x[::4] += 0.5  # nearer than the floor
    likely = np.ones(80)
    likely[::4] = 0.3  # the search was not sure
    assert fit_floor(seen, x, NOISE, likely).state == pytest.approx([GAIN, LEVEL], rel=1e-6)


def test_what_rises_away_from_the_viewer_is_no_floor():
    seen, x = floor()
    assert fit_floor(seen, -x, NOISE, np.ones(80)) is None
    flat, _ = floor(np.full(80, 0.4))
    assert fit_floor(flat, np.zeros(80), NOISE, np.ones(80)) is None


def test_a_floor_is_as_sure_as_its_height_tilt_and_network_are(rng):
    """Over many draws of all three errors, the squared distance of the truth in sigmas is two on average."""
    height, tilt, distances = 0.03, 0.02, []
    for _ in range(400):
        w = np.linspace(0.2, 0.9, 80)
        seen, x = floor(w * (1 + height * rng.normal()) + tilt * rng.normal(), height_sigma=height, tilt_sigma=tilt)
        # A network errs by surfaces: eight of them here.
        x = (w - LEVEL) / GAIN + np.repeat(0.05 * rng.normal(size=8), 10)
        fit = fit_floor(seen, x, NOISE, np.ones(80))
        off = fit.state - (GAIN, LEVEL)
        distances.append(off @ fit.information @ off)
    assert 1.2 < np.mean(distances) < 3.0


@pytest.mark.parametrize("reach", [0.02, 0.01])
def test_a_floor_of_little_relief_is_no_fit(rng, reach):
    """Seen from straight above, or a strip of it only, the network's error tilts the line as it likes: then there is no
    fit, rather than a sure one of any gain.
    """
    w, far_off = np.linspace(0.55 - reach, 0.55 + reach, 80), 0
    for _ in range(400):
        x = (w - LEVEL) / GAIN + np.repeat(0.05 * rng.normal(size=8), 10)
        seen = Floor(x, w, np.full(80, 0.03), height_sigma=0.001)
        if (fit := fit_floor(seen, x, NOISE, np.ones(80))) is not None:
            off = fit.state - (GAIN, LEVEL)
            far_off += off @ fit.information @ off > 25.0
    assert far_off <= 0.02 * 400


def test_no_height_is_negative():
    fit = FloorFit(np.array([1.0, -0.2]), np.eye(2), False)
    nothing = -5.0 * np.log1p(fit.state @ fit.state / 8.0)
    assert fit.log_likelihood(np.array(0.1), np.array(2.0)) == pytest.approx(nothing)


def test_a_floor_of_unknown_height_tells_the_ratio_only():
    seen, x = floor(height_known=False, tilt_sigma=0.02)
    fit = fit_floor(seen, x, NOISE, np.ones(80))
    heights = np.array([0.3, 1.0, 4.0])
    same = fit.log_likelihood(GAIN * heights, LEVEL * heights)
    assert same == pytest.approx(0.0, abs=1e-9)
    other = fit.log_likelihood(GAIN * heights, 1.5 * LEVEL * heights)
    assert other == pytest.approx(other[0]) and other[0] < -1.0
    known = fit_floor(replace(seen, height_known=True), x, NOISE, np.ones(80))
    assert known.log_likelihood(GAIN * heights, LEVEL * heights)[0] < -1.0
    # A tilt moves infinity without another gain: it costs what its sigma says, whatever the height.
    tilted = fit.log_likelihood(GAIN * heights, (LEVEL + 0.02) * heights)
    assert tilted[0] == pytest.approx(-5.0 * np.log1p(1.0 / 8.0), abs=0.25)


@pytest.mark.parametrize("wall", [0.2, 0.3])
def test_a_clear_floor_is_not_drawn_towards_what_may_stand_on_it(wall):
    """A wide hall: nothing but floor below the horizon. The network is exact, and so must the answer be."""
    frame = Frame(room(wall=wall), noise=0.0)
    weighed = estimate_view_depth(Evidence(frame.view, SpreadPrior(1.0, 2.0), [], [], frame.floor()))
    true = frame.view.from_scale_shift() @ np.array([1 / 6, 2 / 6])
    assert weighed.state == pytest.approx(true, rel=0.025) and frame.error(weighed) < 0.025


@pytest.mark.parametrize("with_floor", [True, False])
def test_the_fine_grid_integrates_as_a_dense_one(with_floor):
    frame = Frame(room())
    evidence = Evidence(frame.view, PRIOR, [], [frame.cone()], frame.floor() if with_floor else None)
    weighed = estimate_view_depth(evidence)
    wide = Grid(evidence)
    ranges = np.linspace(0.05, 2.45, 201)
    centre = np.interp(ranges, np.linspace(0.05, 2.45, len(wide.level)), wide.level.mean(axis=1))
    dense = Grid(evidence, ranges, centre[:, None] + np.linspace(-0.6, 0.6, 201), wide.fit)
    state, covariance, sigma, _ = dense.moments(dense.weight())
    assert np.abs(weighed.state - state) == pytest.approx([0.0, 0.0], abs=0.1 * np.sqrt(np.diag(covariance)).min())
    assert weighed.spread_sigma == pytest.approx(sigma, rel=0.1)


def test_the_answer_follows_the_reading_without_steps():
    """Where the hypotheses happen to lie must not show: half a percent of the reading is no more than that."""
    frame, states = Frame(room(wall=0.2), seed=1, noise=0.02), []
    for factor in np.linspace(0.9, 1.1, 41):
        cone = replace(frame.cone(), inverse_depth=factor * frame.cone().inverse_depth)
        states.append(estimate_view_depth(Evidence(frame.view, PRIOR, [], [cone], frame.floor())).state)
    assert np.abs(np.diff(np.log(states), axis=0)).max() < 0.01


def test_a_cone_along_a_floor_says_less_than_one_at_a_wall():
    """How much of a surface is heard is not known: at a wall it is all the same, where a floor leaves the cone not."""
    view, cap = ViewNormalisation.of(np.linspace(0.0, 1.0, 101)), np.full(113, 0.5)
    wall = Cone(np.full(113, 0.6), cap, 0.02)
    slant = Cone(np.linspace(0.6, 0.2, 113) + 1e-9, cap * np.linspace(1.0, 0.5, 113), 0.02)
    steep = Cone(np.concatenate((np.linspace(0.6, 0.4, 9), np.full(104, 0.2))), cap, 0.02)
    sure, less, least = (
        np.sqrt(estimate_view_depth(Evidence(view, SpreadPrior(1.0, 0.05), [], [cone])).covariance[1, 1])
        for cone in (wall, slant, steep)
    )
    assert least > 1.1 * sure and least > less
