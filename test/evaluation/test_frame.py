"""One frame against its reference where the network, or the node, has no depth for some or all of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.evaluation.frame import Frame, judge
from depthnet_ros.evaluation.session import EvaluationSession, SessionOptions
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricDepth, ScaleState
from depthnet_ros.metric_scale.result import ScaleEstimate

_SIZE = (24, 32)


def _frame(reference_m: np.ndarray, farthest_m: float = 20.0) -> Frame:
    """A network and a node that are right, in 1/m, of a reference of any depth."""
    inverse = (1.0 / reference_m).astype(np.float32)
    prediction = DepthPrediction(inverse.copy(), _SIZE)
    known = {"inverse_depth": inverse, "relative": inverse, "steady_covariance": 1e-6 * np.eye(2)}
    estimate = ScaleEstimate(1.0, 0.0, 1e-6 * np.eye(2), 0.01, 0.05)
    metric = MetricDepth(ScaleState.CALIBRATED, True, "", 0.1, farthest_m, estimate, **known)
    rgb = np.zeros((*_SIZE, 3), np.uint8)
    return Frame(0, rgb, prediction, metric, None, reference_m.astype(np.float32))


def _ramp(near_m: float, far_m: float) -> np.ndarray:
    return np.linspace(near_m, far_m, _SIZE[0] * _SIZE[1]).reshape(_SIZE)


def test_pixels_that_the_network_leaves_unknown_cost_coverage_not_the_figures():
    frame = _frame(_ramp(1.0, 8.0))
    frame.prediction.inverse_depth[3, 4] = np.nan
    judged = judge(frame, 0.1, 80.0)
    assert judged is not None
    assert judged.aligned["abs_rel"] == pytest.approx(0.0, abs=1e-5)
    assert judged.coverage == pytest.approx(1.0 - 1.0 / np.prod(_SIZE))


def test_a_frame_without_any_depth_is_not_compared():
    frame = _frame(_ramp(1.0, 8.0))
    frame.prediction.inverse_depth[:] = np.nan
    assert judge(frame, 0.1, 80.0) is None
    assert not EvaluationSession(SessionOptions()).add(frame)


def test_coverage_is_asked_only_where_metres_are_published():
    """Beyond the farthest published depth +Inf is right: such a frame says nothing of coverage, nor do its bands."""
    session = EvaluationSession(SessionOptions())
    for reference in (_ramp(25.0, 39.0), _ramp(1.0, 8.0), _ramp(21.0, 60.0)):
        assert session.add(_frame(reference))
    far = judge(_frame(_ramp(25.0, 39.0)), 0.1, 80.0)
    assert far is not None and far.metric is None and far.metric_coverage is None
    figures = session.figures()
    assert figures["metric"]["coverage"] == 1.0
    assert {band["coverage"] for band in figures["metric"]["bands"]} <= {1.0, None}


def test_a_hole_in_what_is_published_is_missing_coverage():
    frame = _frame(_ramp(1.0, 8.0))
    assert frame.metric is not None and frame.metric.inverse_depth is not None
    inverse = frame.metric.inverse_depth.copy()
    inverse[:12] = np.nan
    judged = judge(replace(frame, metric=replace(frame.metric, inverse_depth=inverse)), 0.1, 80.0)
    assert judged is not None and judged.metric_coverage == pytest.approx(0.5)
