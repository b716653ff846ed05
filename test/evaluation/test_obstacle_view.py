"""Obstacle rates of one frame whose depth and reference are walls at known distances."""

import numpy as np
import pytest
from numpy.typing import NDArray

from depthnet_ros.evaluation.frame import Frame
from depthnet_ros.evaluation.obstacle_view import ObstacleView
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import GroundPlane, MetricDepth, MetricScaleConfig, MetricScaler, ScaleState
from depthnet_ros.metric_scale.result import ScaleEstimate
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.reach import height_band, trusted
from depthnet_ros.navigation.scan import ScanProjector

CAMERA = PinholeCamera.from_fov(80, 60, 1.2)
LEVEL = GroundPlane.from_height(0.5).levelled_from_optical


def rates(
    estimated_m: float, true_m: float, *, dense: bool, mask: NDArray[np.bool_] | None = None
) -> dict[str, float | None]:
    """Of a wall that fills the picture; ``dense``: its reference has every pixel, or one of nine; ``mask``: where the
    picture is not black.
    """
    prediction = DepthPrediction(np.full((60, 80), 1.0 / estimated_m, np.float32), (60, 80))
    metric = MetricScaler(MetricScaleConfig(mode="fixed"), CAMERA).update(prediction, 0.0)
    reference = np.full((60, 80), np.nan, np.float32)
    reference[:: 1 if dense else 3, :: 1 if dense else 3] = true_m
    rgb = np.zeros((60, 80, 3), np.uint8)
    frame = Frame(0, rgb, prediction, metric, CAMERA, reference, level_from_optical=LEVEL, valid_mask=mask)
    return ObstacleView(NavigationConfig()).rates(frame)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("true_m", [0.15, 0.3])
def test_a_wall_nearer_than_the_least_range_is_an_obstacle_to_both(true_m: float, dense: bool) -> None:
    for estimated_m in (0.05, 0.15, 0.3):
        found = rates(estimated_m, true_m, dense=dense)
        assert found["scan.obstacles"] and found["scan.false_free"] == 0.0 and not found["scan.false_obstacle"]
        assert found["grid.obstacles"]
    assert rates(4.0, true_m, dense=dense)["scan.false_free"] == 1.0


def test_the_scan_that_is_judged_is_the_node_s_where_depth_ends_before_the_planner_s_range() -> None:
    """A wall at 3 m that is told beyond the 5 m that depth goes to, and whose sigma leaves it beyond these."""
    inverse = np.full((60, 80), 0.04, np.float32)
    covariance = np.diag([0.0, 0.12**2])
    estimate = ScaleEstimate(1.0, 0.0, covariance, 0.1, 0.0)
    metric = MetricDepth(
        ScaleState.CALIBRATED, True, "", 0.1, 5.0, estimate,
        inverse_depth=inverse, relative=inverse, steady_covariance=covariance, edge_share=0.0,
    )  # fmt: skip
    reference = np.full((60, 80), 3.0, np.float32)
    prediction = DepthPrediction(inverse, (60, 80))
    frame = Frame(0, np.zeros((60, 80, 3), np.uint8), prediction, metric, CAMERA, reference, level_from_optical=LEVEL)
    found = ObstacleView(NavigationConfig(max_range_m=10.0, clearing_range_m=10.0)).rates(frame)
    assert (found["scan.false_free"], found["scan.unseen"]) == (1.0, 0.0)


@pytest.mark.parametrize("reference_px", [(120, 160), (60, 80), (90, 120)])
@pytest.mark.parametrize("camera", [PinholeCamera.from_fov(160, 120, 1.2), PinholeCamera.from_fov(161, 121, 1.2)])
def test_the_scan_that_is_judged_is_made_on_the_grid_of_the_node_s(
    camera: PinholeCamera, reference_px: tuple[int, int]
) -> None:
    """Posts before a wall, so that neighbouring pixels are at other depths: each depth must keep its own sigma."""
    ground = GroundPlane.from_height(0.4, 0.1)
    v, u = np.mgrid[: camera.height_px, : camera.width_px]
    inverse = np.maximum(ground.inverse_depth(u, v, camera), 1.0 / 6.0).astype(np.float32)
    for left, width, depth_m in ((11, 3, 1.3), (37, 5, 2.9), (58, 2, 1.1), (90, 4, 2.2), (121, 3, 1.7), (140, 5, 1.0)):
        inverse[20:90, left : left + width] = 1.0 / depth_m
    nothing = np.zeros((2, 2))
    estimate = ScaleEstimate(1.0, 0.0, nothing, 0.05, 0.1)
    metric = MetricDepth(
        ScaleState.CALIBRATED, True, "", 0.1, 20.0, estimate,
        inverse_depth=inverse, relative=inverse, steady_covariance=nothing,
    )  # fmt: skip
    size, level = (camera.height_px, camera.width_px), ground.levelled_from_optical
    rgb, prediction = np.zeros((*size, 3), np.uint8), DepthPrediction(inverse, size)
    reference = np.full(reference_px, 3.0, np.float32)
    frame = Frame(0, rgb, prediction, metric, camera, reference, level_from_optical=level)

    config = NavigationConfig()
    node = ScanProjector(camera.resized(-(-camera.width_px // 2), -(-camera.height_px // 2)), level)
    depth_m = metric.depth_m(node.camera.height_px, node.camera.width_px)
    sigma_m = metric.sigma_m(*depth_m.shape, depth_m=depth_m)
    ranges_m = node.scan(
        node.classify(depth_m, trusted(metric, depth_m, config), height_band(config), sigma_m)
    ).ranges_m
    judged = ObstacleView(config, 2).planner_view(frame)
    assert judged is not None and np.isfinite(ranges_m).any()
    np.testing.assert_array_equal(judged.scan.ranges_m, ranges_m)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_exact_metres_are_no_false_obstacle_and_no_false_free_view(stride: int) -> None:
    """Boxes on a floor: estimate and reference are judged at the same places of each block."""
    camera, ground = PinholeCamera.from_fov(320, 240, 1.2), GroundPlane.from_height(0.4, 0.1)
    row, column = np.mgrid[:240, :320]
    inverse = np.maximum(ground.inverse_depth(column, row, camera), 1.0 / 8.0).astype(np.float32)
    for left, distance_m in ((20, 1.5), (110, 2.5), (190, 4.0), (260, 2.0)):
        inverse[80:, left : left + 31] = np.maximum(inverse[80:, left : left + 31], 1.0 / distance_m)
    nothing = np.zeros((2, 2))
    estimate = ScaleEstimate(1.0, 0.0, nothing, 0.001, 0.01)
    metric = MetricDepth(
        ScaleState.CALIBRATED, True, "", 0.1, 20.0, estimate, inverse_depth=inverse, relative=inverse,
        steady_covariance=nothing,
    )  # fmt: skip
    rgb, prediction = np.zeros((240, 320, 3), np.uint8), DepthPrediction(inverse, (240, 320))
    level = ground.levelled_from_optical
    frame = Frame(0, rgb, prediction, metric, camera, 1.0 / inverse, level_from_optical=level)
    found = ObstacleView(NavigationConfig(), stride).rates(frame)
    assert found["scan.false_obstacle"] == 0.0
    if stride < 3:  # of coarser blocks the estimate has the mean, and a box's edge may lie in one
        assert found["scan.false_free"] == 0.0


def test_the_black_border_of_a_rectified_picture_hides_no_false_free_view() -> None:
    mask = np.ones((60, 80), bool)
    mask[56:] = False
    assert rates(1000.0, 3.0, dense=True, mask=mask)["scan.false_free"] == 1.0


def test_a_picture_that_no_scan_can_be_made_of_has_no_rates() -> None:
    narrow = PinholeCamera.from_fov(1, 60, 0.02)
    prediction = DepthPrediction(np.full((60, 1), 0.5, np.float32), (60, 1))
    metric = MetricScaler(MetricScaleConfig(mode="fixed"), narrow).update(prediction, 0.0)
    reference = np.full((60, 1), 2.0, np.float32)
    frame = Frame(0, np.zeros((60, 1, 3), np.uint8), prediction, metric, narrow, reference, level_from_optical=LEVEL)
    assert metric.published and ObstacleView(NavigationConfig()).rates(frame) == {}
