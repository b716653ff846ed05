"""From anchors to observations, by closed forms: where the network is looked at, and how far the two may differ."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthnet_ros.metric_scale import GroundPlane, RangeFinder, from_range
from depthnet_ros.metric_scale.anchors import PointAnchors
from depthnet_ros.metric_scale.config import AnchorKind
from depthnet_ros.metric_scale.ground import GroundView
from depthnet_ros.metric_scale.observe import Observer, SeenMask, sample, thin
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY

from .world import CAMERA, FOV, SIZE

GRID = np.full(SIZE, 0.5, np.float32)
DOWN = np.array([0.0, 1.0, 0.0])


def points(
    inverse_depth: np.ndarray | list[float],
    kind: AnchorKind = AnchorKind.POINTS,
    down: np.ndarray | None = None,
    v_px: float = 60.0,
    source: str = "",
) -> PointAnchors:
    inverse = np.asarray(inverse_depth, dtype=np.float64)
    columns = np.linspace(10.0, 150.0, len(inverse))
    return PointAnchors(columns, np.full(len(inverse), v_px), inverse, np.zeros(len(inverse)), kind, 0.0, source, down)


def observer(
    estimate: tuple[float, float] | None = (1.0, 0.0), sigma: float = 0.1, seen: np.ndarray | None = None
) -> Observer:
    return Observer(GRID, SIZE, estimate, sigma, seen)


def test_a_pixel_of_the_image_is_looked_up_where_the_network_s_grid_has_it() -> None:
    """By pixel centres: an image of two by three pixels to each of the grid's."""
    rows, columns = np.mgrid[0:40, 0:80]
    grid = (2.0 * columns + 5.0 * rows).astype(np.float32)
    u, v = np.array([20.0, 77.0, 101.5]), np.array([60.0, 33.0, 99.0])
    value, step = sample(grid, u, v, (120, 160))
    np.testing.assert_allclose(value, 2.0 * ((u + 0.5) / 2 - 0.5) + 5.0 * ((v + 0.5) / 3 - 0.5), rtol=1e-6)
    np.testing.assert_allclose(step, 7.0)


def test_nothing_is_learnt_where_the_picture_or_the_network_shows_nothing() -> None:
    mask, image, unknown = SeenMask(), np.ones((240, 320), bool), np.zeros(SIZE, bool)
    image[:, :160], unknown[:30] = False, True
    assert mask.on_grid(None, None, SIZE) is None
    np.testing.assert_array_equal(mask.on_grid(None, unknown, SIZE), ~unknown)
    small = mask.on_grid(image, None, SIZE)
    assert small is not None and not small[:, :79].any() and small[:, 81:].all()
    both = mask.on_grid(image, unknown, SIZE)
    np.testing.assert_array_equal(both, small & ~unknown)
    other = mask.on_grid(image[:, ::-1].copy(), None, SIZE)
    np.testing.assert_array_equal(other, small[:, ::-1])


@pytest.mark.parametrize(("v_px", "left"), [(58.0, 3), (70.0, 0)])
def test_points_in_the_black_are_left_out(v_px: float, left: int) -> None:
    seen = np.ones(SIZE, bool)
    seen[60:] = False
    looking = observer(seen=seen)
    looking.add_points(points([1.0, 1.0, 1.0], v_px=v_px))
    assert sum(len(one.relative) for one in looking.points) == left


def test_a_scan_beside_a_cloud_takes_nothing_from_it_and_tells_where_down_is() -> None:
    scan, cloud = points([1.0] * 5, AnchorKind.SCAN, DOWN), points([1.0] * 5)
    for anchors, spread_out in (([scan], False), ([cloud, scan], True), ([scan, cloud], True)):
        looking = observer()
        for one in anchors:
            looking.add_points(one)
        assert looking.spread_out == spread_out and looking.down is DOWN


def test_a_limit_is_weighed_against_an_estimate_and_nearness_without_one() -> None:
    for estimate, reading, weighed in (
        (None, math.inf, False), ((1.0, 0.0), math.inf, True), (None, -math.inf, True),
    ):  # fmt: skip
        looking = observer(estimate)
        looking.add_cone(from_range(reading, RangeFinder(FOV, 0.3, 4.0), CAMERA, OPTICAL_FROM_BODY, 0.0))
        assert (len(looking.cones) == 1) == weighed and not looking.measured


def test_a_range_s_sigma_is_a_share_of_it() -> None:
    looking = observer()
    sensor = RangeFinder(FOV, 0.3, 6.0)
    looking.add_cone(from_range(4.0, sensor, CAMERA, OPTICAL_FROM_BODY, 0.0, variance_m2=0.04))
    assert looking.cones[0].sigma == pytest.approx(0.2 / 4.0, rel=0.03)


def test_far_points_do_not_rule_by_their_small_error_and_a_poor_network_s_count_less() -> None:
    """Sigma is a share of inverse depth, but no less than that of three tenths of the median; beyond 0.15 certainty
    shrinks in place of it.
    """
    found = {}
    for sigma in (0.1, 0.3):
        looking = observer(sigma=sigma)
        looking.add_points(points([1.0, 1.0, 2.0, 0.01]))
        observations = looking.observations()
        assert observations is not None
        found[sigma] = observations
    assert found[0.1].sigma == pytest.approx([0.1, 0.1, 0.2, 0.03])
    assert found[0.3].sigma == pytest.approx([0.15, 0.15, 0.3, 0.045])
    assert found[0.3].effective == pytest.approx(found[0.1].effective / 4.0)


def test_the_floor_is_the_less_sure_the_nearer_it_is_to_the_horizon() -> None:
    """A tilt adds to inverse depth alike all over, so it is a larger share of it far away: against a tilted plane."""
    plane = GroundPlane.from_height(0.5, 0.3, height_sigma=0.03, tilt_sigma_rad=0.02)
    view = GroundView.of(plane, CAMERA)
    floor = observer().floor(view)
    assert floor is not None
    tilted = GroundPlane.from_height(0.5, 0.32).inverse_depth(view.u_px, view.v_px, CAMERA)
    wanted = np.hypot(0.03, np.abs(tilted / view.inverse_depth - 1.0))
    np.testing.assert_allclose(floor.sigma, wanted, rtol=0.25)


def test_each_sensor_is_thinned_by_the_same_share() -> None:
    batches = [points([1.0] * count, source=str(count)) for count in (300, 100, 4)]
    assert [len(batch) for batch in thin(batches, 101)] == [75, 25, 3]
    assert [len(batch) for batch in thin(batches, 404)] == [300, 100, 4]
