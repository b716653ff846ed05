"""Scale and shift from a sonar and a floor: found where they can be, doubted where they cannot."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.metric_scale.evidence import Cone, Evidence, Floor, Points, SpreadPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.ground import GroundView
from depthnet_ros.metric_scale.spread import depth_spread
from depthnet_ros.metric_scale.view_depth import estimate_view_depth

from .world import CAMERA, smooth_noise

PRIOR = SpreadPrior(0.85, 0.4)
PLANE = GroundPlane.from_height(0.6, 0.25)
VIEW = GroundView.of(PLANE, CAMERA)
ROWS, COLUMNS = np.mgrid[0:120, 0:160]


def room(height_m: float = 0.6, wall: float = 0.5) -> np.ndarray:
    """(120, 160) inverse depth of a floor before a wall."""
    return np.maximum(GroundPlane.from_height(height_m, 0.25).inverse_depth(COLUMNS, ROWS, CAMERA), wall)


class Frame:
    """A scene as a network sees it, ``relative = 6 * inverse_depth - 2`` and a few percent of error by surfaces."""

    def __init__(self, inverse: np.ndarray, seed: int = 0, noise: float = 0.03) -> None:
        self.inverse = inverse
        self.relative = 6.0 * inverse * (1 + noise * smooth_noise(np.random.default_rng(seed))) - 2.0
        self.view = ViewNormalisation.of(self.relative)

    def floor(self, plane: GroundPlane = PLANE) -> Floor:
        view = GroundView.of(plane, CAMERA)
        column, row = np.rint(view.u_px).astype(int), np.rint(view.v_px).astype(int)
        return Floor(self.relative[row, column], view.inverse_depth, np.full(len(row), 0.03))

    def cone(self) -> Cone:
        patch = np.s_[50:70:3, 70:90:3]
        nearest = self.inverse[patch].max()
        return Cone(self.relative[patch].ravel(), np.full(49, nearest), 0.02)

    def error(self, weighed) -> float:
        """Median relative error of depth."""
        estimate = weighed.state[0] * self.view.normalised(self.relative) + weighed.state[1]
        return float(np.median(np.abs(self.inverse / np.maximum(estimate, 1e-3) - 1)))

    def surprise(self, weighed) -> float:
        """How many sigmas the truth is away."""
        true = self.view.from_scale_shift() @ np.array([1 / 6, 2 / 6])
        off = weighed.state - true
        return float(np.sqrt(off @ np.linalg.solve(weighed.covariance, off) / 2))


def test_points_of_one_depth_share_what_a_surface_is_worth():
    """A post before a wall, whatever they are measured in; and one stray point is no surface."""
    inverse = np.concatenate((np.full(5, 1.0), np.full(45, 0.5), np.full(1, 0.25)))
    for unit in (1.0, 0.05):
        points = Points(inverse, unit * inverse, np.zeros(51), 20.0)
        post, wall, stray = points.share[:5].sum(), points.share[5:50].sum(), points.share[50]
        assert post == pytest.approx(wall) and stray < 0.5 * post and points.share.sum() == pytest.approx(1.0)
        assert points.effective == pytest.approx(1.2 * (1.0 + 1.0 + 1.0 / 2.55))
    assert Points(inverse, inverse, np.zeros(51), 2.0).effective == 2.0


def test_two_opinions_that_are_as_sure_meet_in_the_middle_and_are_surer_together():
    both = SpreadPrior(1.0, 0.4).narrowed(2.0, 0.4)
    assert (both.mean, both.sigma) == pytest.approx((1.5, 0.4 / np.sqrt(2.0)))
    assert SpreadPrior(1.0, 0.1).narrowed(2.0, 10.0).mean == pytest.approx(1.0, abs=1e-3)


def test_floor_and_sonar_determine_scale_and_shift():
    frame = Frame(room())
    weighed = estimate_view_depth(Evidence(frame.view, PRIOR, [], [frame.cone()], frame.floor()))
    assert frame.error(weighed) < 0.06 and weighed.floor_share > 0.7 and not weighed.notes


def test_floor_is_found_behind_clutter_that_covers_most_of_it():
    inverse = room()
    inverse[:, 50:] = np.maximum(inverse[:, 50:], 0.8)  # a crate as wide as two thirds of the view
    frame = Frame(inverse)
    weighed = estimate_view_depth(Evidence(frame.view, PRIOR, [], [frame.cone()], frame.floor()))
    assert frame.error(weighed) < 0.12 and frame.surprise(weighed) < 2.0


def test_a_table_is_not_taken_for_the_floor_with_certainty():
    """All that is seen below the horizon is a table, twice as near as the floor. A sonar measures it."""
    frame = Frame(room(height_m=0.3, wall=0.8))
    with_sonar = estimate_view_depth(Evidence(frame.view, PRIOR, [], [frame.cone()], frame.floor()))
    assert frame.surprise(with_sonar) < 2.5 and frame.error(with_sonar) < 0.35
    alone = estimate_view_depth(Evidence(frame.view, PRIOR, [], [], frame.floor()))
    assert frame.error(alone) > 0.4  # nobody could tell ...
    assert not alone.well_posed  # ... and so it never counts as measured


@pytest.mark.parametrize("height_m", [0.2, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_a_declared_ground_above_what_is_seen_is_told_and_not_used(seed: int, height_m: float):
    frame = Frame(room(), seed=seed)
    row, column = np.arange(4, 116, 4), np.full(28, 80)  # a scan from top to bottom
    points = Points(frame.relative[row, column], frame.inverse[row, column], np.zeros(len(row)), 6.0)
    wrong = frame.floor(GroundPlane.from_height(height_m, 0.25))  # the camera is at 0.6 m
    weighed = estimate_view_depth(Evidence(frame.view, PRIOR, [points], [], wrong))
    assert any("check its height and pitch" in note for note in weighed.notes)
    assert frame.error(weighed) < 0.1 and not weighed.well_posed


def test_one_sonar_leaves_the_depth_spread_to_the_prior():
    frame = Frame(room())
    weighed = estimate_view_depth(Evidence(frame.view, PRIOR, [], [frame.cone()]))
    assert weighed.spread_sigma > 0.3 and not weighed.well_posed and weighed.floor_share is None
    narrow = estimate_view_depth(Evidence(frame.view, PRIOR.narrowed(0.85, 0.05), [], [frame.cone()]))
    assert narrow.spread_sigma < 0.1


def test_anchors_of_one_depth_do_not_speak_for_the_depth_spread(rng):
    """A scan along a wall: the network's noise makes all of its spread."""
    frame = Frame(room())
    row = np.full(40, 20)
    column = np.linspace(5, 155, 40).astype(int)
    depth = frame.inverse[row, column] * (1 + 0.02 * rng.normal(size=40))
    scan = Points(frame.relative[row, column], depth, np.zeros(len(row)), 6.0)
    weighed = estimate_view_depth(Evidence(frame.view, PRIOR, [scan], []))
    assert weighed.spread_sigma > 0.3 and frame.surprise(weighed) < 2.5


def beams(frame: Frame, post: slice, rng: np.random.Generator) -> Points:
    """A scan of 64 beams along a wall at 4 m, a few of which meet what stands at 1 m."""
    column = np.linspace(2, 157, 64).astype(int)
    depth = np.full(64, 0.25)
    depth[post] = 1.0
    relative = frame.relative[np.full(64, 20), column]
    return Points(relative, depth * (1 + 0.02 * rng.normal(size=64)), np.zeros(64), 6.0)


def test_a_post_before_a_wall_counts_as_a_surface_of_its_own(rng):
    """Nine beams in ten meet the wall, which suits any depth spread: the few on the post tell it."""
    inverse = room(wall=0.25)
    inverse[:60, 70:82] = 1.0
    frame = Frame(inverse)
    points = beams(frame, slice(28, 33), rng)
    weighed = estimate_view_depth(Evidence(frame.view, PRIOR, [points], []))
    assert points.share[28:33].sum() > 0.4 and points.effective > 2.0
    assert frame.error(weighed) < 0.1 and frame.surprise(weighed) < 2.5 and weighed.spread_sigma < 0.25


def test_a_stray_beam_is_no_surface(rng):
    """One echo out of nothing, where the network sees the wall: the answer stays that of the wall, and its doubt."""
    frame = Frame(room(wall=0.25))
    clean, stray = (beams(frame, post, rng) for post in (slice(0, 0), slice(30, 31)))
    assert stray.share[30] < 0.35
    alone, spoilt = (estimate_view_depth(Evidence(frame.view, PRIOR, [points], [])) for points in (clean, stray))
    assert clean.effective == pytest.approx(1.2)  # a wall alone says one thing, however many beams say it
    assert spoilt.spread_sigma > 0.75 * alone.spread_sigma and not spoilt.well_posed
    assert frame.surprise(spoilt) < 2.5


def test_a_floor_of_unknown_height_tells_the_depth_spread_where_a_scan_cannot(rng):
    """A level lidar sees one wall; how the floor falls away to the horizon says how near all else is beside it."""
    inverse = np.maximum(GroundPlane.from_height(0.6, 0.25).inverse_depth(COLUMNS, ROWS, CAMERA), 0.25)
    frame = Frame(inverse)
    row, column = np.full(40, 10), np.linspace(5, 155, 40).astype(int)
    depth = inverse[row, column] * (1 + 0.02 * rng.normal(size=40))
    scan = [Points(frame.relative[row, column], depth, np.zeros(len(row)), 6.0)]
    alone = estimate_view_depth(Evidence(frame.view, PRIOR, scan, []))
    known = frame.floor(GroundPlane.from_height(1.0, 0.25, height_sigma=1e-6))  # another height: only "down" is right
    both = estimate_view_depth(Evidence(frame.view, PRIOR, scan, [], replace(known, height_known=False)))
    assert frame.error(both) < 0.1 and frame.error(both) < 0.5 * frame.error(alone)
    assert both.spread_sigma < 0.6 * alone.spread_sigma and both.floor_share is None


def test_depth_spread_of_a_view_counts_from_infinity():
    view = ViewNormalisation.of(np.linspace(2.0, 8.0, 1001))
    assert depth_spread(view, 0.0) == pytest.approx(np.log((8 - 0.3) / (2 + 0.3)), abs=0.01)
    assert depth_spread(view, 3.0) is None


def test_nothing_at_all_is_an_error():
    with pytest.raises(ValueError, match="nothing measures"):
        estimate_view_depth(Evidence(ViewNormalisation(0.0, 1.0), PRIOR, [], []))


@pytest.mark.parametrize("liar", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.4, 2.0])
def test_one_sonar_of_three_that_lies_is_outvoted_whichever_is_heard_first(liar, factor):
    """By an echo that takes a detour, or by another's ping."""
    frame = Frame(room())
    cones = [frame.cone() for _ in range(3)]
    cones[liar] = replace(cones[liar], inverse_depth=cones[liar].inverse_depth / factor)
    weighed = estimate_view_depth(Evidence(frame.view, PRIOR, [], cones, frame.floor()))
    assert frame.error(weighed) < 0.12
    without_floor = estimate_view_depth(Evidence(frame.view, PRIOR, [], cones))
    near = frame.inverse[50:70, 70:90].max()
    estimate = without_floor.state[0] * frame.view.normalised(frame.relative) + without_floor.state[1]
    assert estimate[50:70, 70:90].max() == pytest.approx(near, rel=0.15)
