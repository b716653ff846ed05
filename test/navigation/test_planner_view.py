"""One frame as planners get it: every step from metric depth on, with the frame's own sigma and caution."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.metric_scale import GroundPlane, MetricDepth, ScaleState
from depthnet_ros.metric_scale.result import ScaleEstimate
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.planner_view import PlannerView
from test.navigation.test_scan import CAMERA, projector, wall_and_ground

CONFIG = NavigationConfig(min_height_m=0.1, max_height_m=1.1, max_range_m=5.0, clearing_range_m=6.0)


def view_of_wall(distance_m: float, network_sigma: float = 0.02, caution: float = 1.0) -> PlannerView:
    """Of a wall across the way, standing on the ground."""
    inverse = (1.0 / wall_and_ground(GroundPlane.from_height(0.5), distance_m)).astype(np.float32)
    nothing = np.zeros((2, 2))
    metric = MetricDepth(
        ScaleState.CALIBRATED, True, "", 0.1, 20.0, ScaleEstimate(1.0, 0.0, nothing, 0.0, network_sigma),
        inverse_depth=inverse, relative=inverse, steady_covariance=nothing, edge_share=0.0, caution=caution,
    )  # fmt: skip
    return PlannerView(metric, metric.depth_m(CAMERA.height_px, CAMERA.width_px), projector(0.5), CONFIG)


@pytest.mark.parametrize(
    ("network_sigma", "caution", "free_share"), [(0.02, 1.0, 0.9), (0.25, 1.0, 0.8), (0.02, 1.2, 0.75)]
)
def test_a_wall_is_marked_where_it_is_told_and_cleared_short_of_it(
    network_sigma: float, caution: float, free_share: float
) -> None:
    view = view_of_wall(3.0, network_sigma, caution)
    middle = len(view.scan.ranges_m) // 2
    assert view.scan.ranges_m[middle] == pytest.approx(3.0, rel=0.01)
    assert view.nearest_m() == pytest.approx(3.0, rel=0.01)
    ends, lines = view.clearing_points(), view.lines_of_sight()
    assert len(ends) > 10 and len(lines) > 10
    ahead = np.abs(lines[:, 1]) < 0.1  # at the camera's height: not the floor in front of the wall
    assert lines[ahead, 2].max() == pytest.approx(3.0 * free_share, rel=0.01)
    assert ends[:, 2].max() <= 3.0 * free_share * 1.002
    assert ends[:, 1] == pytest.approx(0.5 - 0.6, abs=1e-3), "in the middle of the band, 0.6 m over the ground"


def test_each_step_is_computed_once() -> None:
    view = view_of_wall(3.0)
    assert view.scan is view.scan and view.pixels is view.pixels and view.placed.sigma_m is view.sigma_m


def test_sigma_is_that_of_the_same_pixels() -> None:
    view = view_of_wall(3.0, network_sigma=0.25)
    np.testing.assert_allclose(view.sigma_m, 0.25 * view.depth_m, rtol=1e-5)
